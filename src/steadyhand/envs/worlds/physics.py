"""A MuJoCo model and its state: snapshots that continue bit for bit, and pictures."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import UInt8

from steadyhand.envs.worlds.config import Quality
from steadyhand.envs.worlds.pictures import scene_of

MOVED = ("body_pos", "body_quat", "site_pos", "geom_pos", "geom_quat", "geom_rgba")
"""What tasks change of a model when they are reset."""

FOLLOWED = (
    *("xpos", "xquat", "xmat", "xipos", "ximat", "geom_xpos", "geom_xmat", "site_xpos", "site_xmat"),
    *("cvel", "subtree_com"),
)
"""What follows from a state, as MuJoCo left it: after a step, that of the state before its last substep."""


class Physics:
    """What every world on MuJoCo does alike.

    Args:
        model: A `mujoco.MjModel`.
        data: The `mujoco.MjData` that belongs to it.
        quality: How pictures are drawn.
    """

    def __init__(self, model: Any, data: Any, *, quality: Quality) -> None:
        self._mujoco: Any = import_module("mujoco")
        self._model, self._data = model, data
        self._quality: Quality = quality
        self._warnings: np.ndarray = data.warning.number  # a view of what MuJoCo counts
        signs = self._mujoco.mjtWarning
        self._diverged = slice(int(signs.mjWARN_BADQPOS), int(signs.mjWARN_BADCTRL) + 1)  # and QVEL, QACC
        self._signature = self._mujoco.mjtState.mjSTATE_INTEGRATION
        self._size = self._mujoco.mj_stateSize(model, self._signature)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return all that the next step hangs on."""
        state = np.empty(self._size)
        self._mujoco.mj_getState(self._model, self._data, state, self._signature)
        moved = {f"model.{name}": getattr(self._model, name).copy() for name in MOVED}
        followed = {f"data.{name}": getattr(self._data, name).copy() for name in FOLLOWED}
        return {"physics": state, **moved, **followed}

    def put_back(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a snapshot of this model, or of one that was made alike."""
        for name in MOVED:
            getattr(self._model, name)[:] = snapshot[f"model.{name}"]
        for _ in range(2):  # what follows from a state is computed from it, and may not change it
            self._mujoco.mj_setState(self._model, self._data, snapshot["physics"], self._signature)
            self._mujoco.mj_forward(self._model, self._data)
        self._mujoco.mj_setState(self._model, self._data, snapshot["physics"], self._signature)
        for name in FOLLOWED:
            getattr(self._data, name)[:] = snapshot[f"data.{name}"]
        self._warnings[:] = 0

    def fault(self) -> str:
        """Return that the simulation diverged: MuJoCo then goes on from its start, and counts a warning."""
        if any(self._warnings.tolist()[self._diverged]):  # sooner than the array's own any
            return "The simulation diverged, and MuJoCo reset it."
        return ""

    def draw(self, camera: str, *, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return what a camera of the model sees."""
        scene = scene_of(self._model, quality=self._quality)
        return scene.draw(self._model, self._data, camera, height=height, width=width)
