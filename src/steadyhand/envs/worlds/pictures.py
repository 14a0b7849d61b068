"""Pictures of MuJoCo scenes without a screen: one context of the graphics library for a whole process."""

import os
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import UInt8

from steadyhand.envs.worlds.config import Quality


class ScenePictures:
    """Draws states of models that differ in no mesh or texture, such as the copies of one env.

    Args:
        model: One of the models, an `mujoco.MjModel`.
        quality: "fast" draws without shadows, reflections and multisampling.
    """

    def __init__(self, model: Any, *, quality: Quality) -> None:
        self._mujoco: Any = import_module("mujoco")
        mujoco = self._mujoco
        self._plain = quality == "fast"
        if self._plain:
            model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, 1024)
        model.vis.global_.offheight = max(model.vis.global_.offheight, 1024)
        _context().make_current()
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        self._scene = mujoco.MjvScene(model, maxgeom=10_000)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        if self._plain:
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._scene.flags[flag] = 0

    def draw(
        self, model: Any, data: Any, camera: str, *, height: int, width: int
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Return what a camera of the model sees."""
        mujoco = self._mujoco
        _context().make_current()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._camera.fixedcamid = model.camera(camera).id
        mujoco.mjv_updateScene(
            model, data, self._option, None, self._camera, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        where = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(where, self._scene, self._context)
        picture = np.empty((height, width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(picture, None, where, self._context)
        return picture[::-1].copy()


@cache
def _context() -> Any:
    """Return the context of this process; MUJOCO_GL says by which library, EGL if it does not."""
    os.environ.setdefault("MUJOCO_GL", "egl")
    mujoco: Any = import_module("mujoco")
    return mujoco.GLContext(1024, 1024)
