"""The Fetch tasks of gymnasium-robotics (Plappert et al., 2018): an arm that must bring a thing to a goal."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from steadyhand.core.errors import CapabilityError
from steadyhand.core.specs import FeatureSpec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.base import Start
from steadyhand.envs.worlds.config import Quality, WorldConfig
from steadyhand.envs.worlds.physics import Physics
from steadyhand.envs.worlds.world import Facts, Turn, World

FetchTask = Literal["pick-and-place", "push", "reach", "slide"]

SENTENCES: dict[FetchTask, str] = {
    "pick-and-place": "Bring the block to the goal, on the table or above it.",
    "push": "Push the block to the goal on the table.",
    "reach": "Bring the gripper to the goal.",
    "slide": "Hit the puck so that it slides to the goal and stops there.",
}
_MODULES: dict[FetchTask, tuple[str, str]] = {
    "pick-and-place": ("pick_and_place", "MujocoFetchPickAndPlaceEnv"),
    "push": ("push", "MujocoFetchPushEnv"),
    "reach": ("reach", "MujocoFetchReachEnv"),
    "slide": ("slide", "MujocoFetchSlideEnv"),
}
CAMERAS = ("external_camera_0", "head_camera_rgb", "gripper_camera_rgb", "lidar")
SCENE = "privileged.scene"
"""(B, 11) what the scripts read: gripper, fingers, thing (or else the gripper again) and goal [m]."""
_PLACE = ("x", "y", "z")
SCENE_NAMES = (
    *(f"gripper.{axis}" for axis in _PLACE),
    *("finger.right", "finger.left"),
    *(f"thing.{axis}" for axis in _PLACE),
    *(f"goal.{axis}" for axis in _PLACE),
)
_GRIPPER = tuple(f"gripper.{axis}" for axis in _PLACE)
_MOTION = (*(f"gripper.v{axis}" for axis in _PLACE), "finger.right.v", "finger.left.v")
_BARE = (*_GRIPPER, "finger.right", "finger.left", *_MOTION)
_FULL = (
    *_GRIPPER,
    *(f"thing.{axis}" for axis in _PLACE),
    *(f"thing.from.gripper.{axis}" for axis in _PLACE),
    *("finger.right", "finger.left"),
    *(f"thing.{angle}" for angle in ("roll", "pitch", "yaw")),
    *(f"thing.v{axis}.to.gripper" for axis in _PLACE),
    *(f"thing.w{axis}" for axis in _PLACE),
    *_MOTION,
)
_RADIANS = ("roll", "pitch", "yaw", "wx", "wy", "wz")


@dataclass(frozen=True, kw_only=True)
class FetchConfig(WorldConfig):
    """A Fetch arm that reaches, pushes, picks and places, or slides a puck, to a goal.

    Attributes:
        task: What is to be done.
    """

    expert: ClassVar[str] = "FetchExpert"
    package: ClassVar[str] = "gymnasium_robotics"
    step_limit: ClassVar[int] = 50

    observation: tuple[str, ...] = ("state", "goal")
    task: FetchTask = "pick-and-place"

    def world(self) -> "FetchWorld":
        """Return one copy."""
        return FetchWorld(self.task, quality=self.quality)


class FetchWorld(World):
    """One copy of a task; the goal must be held at the end of the episode.

    Args:
        task: What is to be done.
        quality: How pictures are drawn.

    Raises:
        CapabilityError: The installed MuJoCo cannot run it.
    """

    def __init__(self, task: FetchTask, *, quality: Quality) -> None:
        module, kind = _MODULES[task]
        try:
            self._env: Any = getattr(import_module(f"gymnasium_robotics.envs.fetch.{module}"), kind)()
        except AssertionError as error:
            version = import_module("mujoco").__version__
            raise CapabilityError(
                "The Fetch tasks cannot run with this version of MuJoCo.",
                got=f"mujoco {version}",
                expected="mujoco >= 3.3, < 3.9",
                hint='pip install "mujoco>=3.3,<3.9"',
            ) from error
        self._physics = Physics(self._env.model, self._env.data, quality=quality)
        self._seen: dict[str, np.ndarray] = {}
        names = _FULL if self._env.has_object else _BARE
        self.facts = Facts(
            env_id="fetch",
            senses={
                "state": FeatureSpec(shape=(len(names),), names=names, units=tuple(map(_unit, names))),
                "goal": FeatureSpec(shape=(3,), names=SCENE_NAMES[-3:], units=("m",) * 3),
            },
            cameras=CAMERAS[:3],
            privileged={SCENE: FeatureSpec(shape=(11,), names=SCENE_NAMES, units=("m",) * 11)},
            action=FeatureSpec(
                shape=(4,),
                names=("dx", "dy", "dz", "open"),
                units=("5 cm", "5 cm", "5 cm", "1"),
                low=(-1.0,) * 4,
                high=(1.0,) * 4,
            ),
            control_dt=float(self._env.dt),
            success=SuccessRule(
                said=f"within {100 * self._env.distance_threshold:g} cm of the goal at the end of the episode"
            ),
            task=SENTENCES[task],
        )

    def reset(self, start: Start) -> None:
        """Begin anew, with the thing and the goal where the seed puts them."""
        self._seen, _ = self._env.reset(seed=start.seed)

    def step(self, action: Float32[np.ndarray, " A"]) -> Turn:
        """Advance by one step of twenty steps of the simulator."""
        self._seen, reward, _, _, info = self._env.step(action.astype(np.float64))
        return Turn(reward=float(reward), terminated=False, success=bool(info["is_success"]))

    def fault(self) -> str:
        """Return whether the simulation diverged."""
        return self._physics.fault()

    def numbers(self) -> Mapping[str, np.ndarray]:
        """Return the observation, the goal, and what the scripts read."""
        state, goal = self._seen["observation"], self._seen["desired_goal"]
        fingers = state[9:11] if self._env.has_object else state[3:5]
        scene = np.concatenate([state[:3], fingers, self._seen["achieved_goal"], goal])
        return {"state": state, "goal": goal, SCENE: scene}

    def draw(self, camera: str, *, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return a camera's picture, with the goal in it."""
        self._env._render_callback()
        return self._physics.draw(camera, height=height, width=width)

    def snapshot(self) -> Mapping[str, np.ndarray]:
        """Return the state of the physics, and the goal."""
        return {**self._physics.snapshot(), "goal": self._env.goal.copy()}

    def put_back(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a snapshot."""
        self._env.goal = snapshot["goal"].copy()
        self._physics.put_back(snapshot)
        self._seen = self._env._get_obs()

    def close(self) -> None:
        """Free the simulator."""
        self._env.close()


def _unit(name: str) -> str:
    if any(name.endswith(f".{word}") for word in _RADIANS[:3]):
        return "rad"
    if ".w" in name:
        return "rad/step"
    return "m/step" if ".v" in name else "m"
