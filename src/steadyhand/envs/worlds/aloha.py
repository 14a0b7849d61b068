"""ALOHA's two ViperX arms with two tasks (Zhao et al., RSS 2023), as gym-aloha describes them."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from steadyhand.core.specs import FeatureSpec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.base import Start
from steadyhand.envs.worlds.config import Quality, WorldConfig
from steadyhand.envs.worlds.physics import Physics
from steadyhand.envs.worlds.world import Facts, Turn, World

Task = Literal["transfer-cube", "insertion"]

SENTENCES: dict[Task, str] = {
    "transfer-cube": "Pick up the cube with the right arm and hand it to the left arm.",
    "insertion": "Pick up the peg and the socket, and insert the peg into the socket.",
}
"""What each task asks for, in words."""

OBJECTS: dict[Task, tuple[str, ...]] = {"transfer-cube": ("cube",), "insertion": ("peg", "socket")}
"""What lies on the table."""

SIDES = ("left", "right")
_ARM = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
JOINT_NAMES = tuple(f"{side}.{joint}" for side in SIDES for joint in (*_ARM, "gripper"))
_FINGER = ("left_finger", "right_finger")
_POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
_CAMERAS = {
    "top": "top",
    "angle": "angle",
    "vis": "front_close",
    "left_wrist": "left_wrist",
    "right_wrist": "right_wrist",
}
"""Our name of a camera -> its name in the model; the first three are those that gym-aloha draws."""

ARMS = "privileged.arms"
"""(B, 16) joint positions: for each arm six joints [rad], left finger and right finger [m]."""
LAID = "privileged.objects"
"""(B, 7 K) pose of each object: position [m] and unit quaternion, real part first."""

START_POSE = (0.0, -0.96, 1.16, 0.0, -0.3, 0.0, 0.02239, -0.02239)
"""Joint positions of either arm in which an episode begins [rad, m]."""
CLOSED, OPEN = 0.01844, 0.058
"""Positions of a finger at which a gripper counts as 0 and 1 [m]."""
SUBSTEPS = 10
"""Steps of the simulator in one of an episode."""


@dataclass(frozen=True, kw_only=True)
class AlohaConfig(WorldConfig):
    """Two ViperX arms of ALOHA that hand over a cube, or insert a peg into a socket.

    Attributes:
        task: Which of the two tasks.
    """

    expert: ClassVar[str] = "AlohaExpert"
    package: ClassVar[str] = "gym_aloha"
    step_limit: ClassVar[int] = 400

    task: Task = "transfer-cube"

    def world(self) -> "AlohaWorld":
        """Return one copy."""
        return AlohaWorld(self.task, quality=self.quality)


class AlohaWorld(World):
    """One copy of a task; it ends when it has succeeded, which is when its reward is 4.

    The model, the starts and the rewards are those of gym-aloha, step by step; the physics is MuJoCo alone,
    without the three pictures that gym-aloha draws at each step and without its global list of poses.

    Args:
        task: Which task.
        quality: How pictures are drawn.
    """

    def __init__(self, task: Task, *, quality: Quality) -> None:
        self._mujoco: Any = import_module("mujoco")
        self._task: Task = task
        self._model: Any = model_of(task)
        self._data: Any = self._mujoco.MjData(self._model)
        self._physics = Physics(self._model, self._data, quality=quality)
        self._names = [self._model.geom(geom).name for geom in range(self._model.ngeom)]
        low, high = normalized(self._model.actuator_ctrlrange.T)
        units = tuple("1" if name.endswith("gripper") else "rad" for name in JOINT_NAMES)
        self.facts = Facts(
            env_id="aloha",
            senses={
                "state": FeatureSpec(shape=(14,), names=JOINT_NAMES, units=units),
                "velocity": FeatureSpec(
                    shape=(14,), names=JOINT_NAMES, units=tuple(f"{unit}/s" for unit in units)
                ),
            },
            cameras=tuple(_CAMERAS),
            privileged={
                ARMS: FeatureSpec(
                    shape=(16,),
                    names=tuple(f"{side}.{joint}" for side in SIDES for joint in (*_ARM, *_FINGER)),
                    units=("rad", "rad", "rad", "rad", "rad", "rad", "m", "m") * 2,
                ),
                LAID: FeatureSpec(
                    shape=(7 * len(OBJECTS[task]),),
                    names=tuple(f"{thing}.{word}" for thing in OBJECTS[task] for word in _POSE),
                    units=("m", "m", "m", "1", "1", "1", "1") * len(OBJECTS[task]),
                ),
            },
            action=FeatureSpec(
                shape=(14,),
                names=JOINT_NAMES,
                units=units,
                low=tuple(low.tolist()),
                high=tuple(high.tolist()),
            ),
            control_dt=SUBSTEPS * float(self._model.opt.timestep),
            success=SuccessRule(said=f"{_SUCCESS[task]} (reward 4), which also ends the episode"),
            task=SENTENCES[task],
        )

    def reset(self, start: Start) -> None:
        """Begin anew, with the arms at rest and the objects where the seed puts them."""
        mujoco, model, data = self._mujoco, self._model, self._data
        poses: Any = import_module("gym_aloha.utils")
        draw = poses.sample_box_pose if self._task == "transfer-cube" else poses.sample_insertion_pose
        mujoco.mj_resetData(model, data)
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
        mujoco.mj_forward(model, data)
        data.qpos[:16] = data.ctrl[:] = START_POSE * 2
        data.qpos[16:] = np.ravel(draw(start.seed))
        for _ in range(2):  # as often as dm_control does: the solver of contacts starts from what it found
            mujoco.mj_forward(model, data)
        model.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)

    def step(self, action: Float32[np.ndarray, " A"]) -> Turn:
        """Advance by ten steps of the simulator towards the joint positions of the action."""
        mujoco, model, data = self._mujoco, self._model, self._data
        data.ctrl[:] = unnormalized(action.astype(np.float64))
        mujoco.mj_step2(model, data)
        mujoco.mj_step(model, data, SUBSTEPS - 1)
        mujoco.mj_step1(model, data)
        reward = _REWARDS[self._task](self._contacts())
        return Turn(reward=float(reward), terminated=reward == 4, success=reward == 4)

    def fault(self) -> str:
        """Return whether the simulation diverged."""
        return self._physics.fault()

    def numbers(self) -> Mapping[str, np.ndarray]:
        """Return the joints, their velocities, and what experts read."""
        data = self._data
        speed = data.qvel[:16] / np.where(_FINGERS, OPEN - CLOSED, 1.0)
        return {
            "state": normalized(data.qpos[:16]),
            "velocity": np.delete(speed, (7, 15)),
            ARMS: data.qpos[:16].copy(),
            LAID: data.qpos[16:].copy(),
        }

    def draw(self, camera: str, *, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return what a camera sees."""
        return self._physics.draw(_CAMERAS[camera], height=height, width=width)

    def snapshot(self) -> Mapping[str, np.ndarray]:
        """Return the state of the physics."""
        return self._physics.snapshot()

    def put_back(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a snapshot."""
        self._physics.put_back(snapshot)

    def _contacts(self) -> set[tuple[str, str]]:
        pairs = self._data.contact.geom.tolist()
        return {(self._names[first], self._names[second]) for first, second in pairs}


def model_of(task: Task) -> Any:
    """Return a model of its own, an `mujoco.MjModel`, for a task."""
    return copy(_compiled(task))


@cache
def _compiled(task: Task) -> Any:
    spec = find_spec("gym_aloha")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "assets" / f"bimanual_viperx_{task.replace('-', '_')}.xml"
    return import_module("mujoco").MjModel.from_xml_path(str(path))


_FINGERS = np.array(([False] * 6 + [True] * 2) * 2)


def normalized(joints: Float64[np.ndarray, "*b 16"]) -> Float64[np.ndarray, "*b 14"]:
    """Return six joints [rad] and the opening from 0 to 1 for each arm, of joints and both fingers [m]."""
    joints = np.where(_FINGERS, (joints - CLOSED) / (OPEN - CLOSED), joints)
    return np.delete(joints, (7, 15), axis=-1)


def unnormalized(action: Float64[np.ndarray, "*b 14"]) -> Float64[np.ndarray, "*b 16"]:
    """Return the positions of joints and both fingers of six joints and the opening for each arm."""
    left, right = np.split(action, 2, axis=-1)
    arms: list[np.ndarray] = []
    for arm in (left, right):
        finger = arm[..., 6:] * (OPEN - CLOSED) + CLOSED
        arms += [arm[..., :6], finger, -finger]
    return np.concatenate(arms, axis=-1)


_LEFT, _RIGHT = (f"vx300s_{side}/10_{side}_gripper_finger" for side in SIDES)
_WALLS = ("socket-1", "socket-2", "socket-3", "socket-4")


def _transfer_reward(contacts: set[tuple[str, str]]) -> int:
    """Return 1 for a touch by the right arm, 2 for a lift, 3 for a touch by the left arm, 4 in the air."""
    on_table = ("red_box", "table") in contacts
    if ("red_box", _LEFT) in contacts:
        return 3 if on_table else 4
    if ("red_box", _RIGHT) in contacts:
        return 1 if on_table else 2
    return 0


def _insertion_reward(contacts: set[tuple[str, str]]) -> int:
    """Return 1 for a touch by both arms, 2 for a lift, 3 if peg and socket touch in the air, 4 at the pin."""
    if ("red_peg", "pin") in contacts:
        return 4
    in_air = not any((part, "table") in contacts for part in ("red_peg", *_WALLS))
    if in_air and any(("red_peg", wall) in contacts for wall in _WALLS):
        return 3
    if ("red_peg", _RIGHT) in contacts and any((wall, _LEFT) in contacts for wall in _WALLS):
        return 2 if in_air else 1
    return 0


_REWARDS = {"transfer-cube": _transfer_reward, "insertion": _insertion_reward}
_SUCCESS: dict[Task, str] = {
    "transfer-cube": "the left arm's left finger touches the cube, which is off the table",
    "insertion": "the peg touches the pin inside the socket",
}
