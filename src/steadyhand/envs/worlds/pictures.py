"""Pictures of MuJoCo scenes without a screen: one context of the graphics library for a whole process."""

import atexit
import os
import sys
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import UInt8

from steadyhand.core.errors import CapabilityError
from steadyhand.envs.worlds.config import Quality

LARGEST = 1024
"""Largest height and width of a picture [pixels]."""

_MOST_SCENES = 8

_scenes: dict[tuple[object, ...], "ScenePictures"] = {}
_owner: dict[str, int] = {}


class ScenePictures:
    """Draws states of models that differ in no mesh and no texture, such as the copies of one env.

    Args:
        model: One of the models, an `mujoco.MjModel`.
        quality: "fast" draws without shadows, reflections and multisampling.

    Raises:
        CapabilityError: Nothing can draw here.
    """

    def __init__(self, model: Any, *, quality: Quality) -> None:
        self._mujoco: Any = import_module("mujoco")
        mujoco = self._mujoco
        _current()
        samples, size = (
            model.vis.quality.offsamples,
            (model.vis.global_.offwidth, model.vis.global_.offheight),
        )
        if quality == "fast":
            model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = model.vis.global_.offheight = LARGEST
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_150)
        model.vis.quality.offsamples = samples
        model.vis.global_.offwidth, model.vis.global_.offheight = size
        self._scene = mujoco.MjvScene(model, maxgeom=10_000)
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        if quality == "fast":
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._scene.flags[flag] = 0

    def draw(
        self, model: Any, data: Any, camera: str, *, height: int, width: int
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Return what a camera of the model sees."""
        mujoco = self._mujoco
        _current()
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


def scene_of(model: Any, *, quality: Quality) -> ScenePictures:
    """Return what draws a model; copies of one model share it, so that a scene is loaded once."""
    key = (quality, bytes(model.names), model.nmeshvert, model.ntexdata, model.ngeom)
    if key not in _scenes:
        while len(_scenes) >= _MOST_SCENES:
            _scenes.pop(next(iter(_scenes)))
        _scenes[key] = ScenePictures(model, quality=quality)
    return _scenes[key]


def _current() -> None:
    """Make the context of this process the one that is drawn with.

    Raises:
        CapabilityError: Nothing can draw here, or a process that draws was forked: its copy would hang.
    """
    _owner.setdefault("process", os.getpid())
    if _owner["process"] != os.getpid():
        raise CapabilityError(
            "A process that was forked from one that draws pictures of MuJoCo cannot draw them.",
            got=f"process {os.getpid()}, forked from {_owner['process']}",
            hint='start workers by multiprocessing.get_context("spawn"), or fork before the first picture',
        )
    _context().make_current()


@cache
def _context() -> Any:
    """Return the context of this process: by the library that MUJOCO_GL names, or EGL where it names none."""
    named = "MUJOCO_GL" in os.environ or sys.platform != "linux"
    try:
        library: Any = import_module("mujoco" if named else "mujoco.egl")
        context = library.GLContext(LARGEST, LARGEST)
        atexit.register(context.free)  # later, the library that frees it would be gone
        return context
    except Exception as error:
        raise CapabilityError(
            "Nothing can draw pictures of MuJoCo here.",
            got=f"{type(error).__name__}: {error}",
            hint="install EGL (on Debian: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri), or name"
            " another library by the environment variable MUJOCO_GL",
        ) from error
