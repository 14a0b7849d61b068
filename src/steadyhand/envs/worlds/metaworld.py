"""Meta-World's fifty tasks of a Sawyer arm (Yu et al., CoRL 2019; version 3)."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from steadyhand.core.specs import FeatureSpec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.base import Start
from steadyhand.envs.worlds.config import Quality, WorldConfig
from steadyhand.envs.worlds.physics import Physics
from steadyhand.envs.worlds.world import Facts, Turn, World

Task = Literal[
    "assembly",
    "basketball",
    "bin-picking",
    "box-close",
    "button-press",
    "button-press-topdown",
    "button-press-topdown-wall",
    "button-press-wall",
    "coffee-button",
    "coffee-pull",
    "coffee-push",
    "dial-turn",
    "disassemble",
    "door-close",
    "door-lock",
    "door-open",
    "door-unlock",
    "drawer-close",
    "drawer-open",
    "faucet-close",
    "faucet-open",
    "hammer",
    "hand-insert",
    "handle-press",
    "handle-press-side",
    "handle-pull",
    "handle-pull-side",
    "lever-pull",
    "peg-insert-side",
    "peg-unplug-side",
    "pick-out-of-hole",
    "pick-place",
    "pick-place-wall",
    "plate-slide",
    "plate-slide-back",
    "plate-slide-back-side",
    "plate-slide-side",
    "push",
    "push-back",
    "push-wall",
    "reach",
    "reach-wall",
    "shelf-place",
    "soccer",
    "stick-pull",
    "stick-push",
    "sweep",
    "sweep-into",
    "window-close",
    "window-open",
]

SENTENCES: dict[Task, str] = {
    "assembly": "Pick up the ring and put it over the peg.",
    "basketball": "Put the ball into the basket.",
    "bin-picking": "Move the block from the red bin into the blue one.",
    "box-close": "Put the lid on the box.",
    "button-press": "Press the button.",
    "button-press-topdown": "Press the button from above.",
    "button-press-topdown-wall": "Press the button from above, past the wall.",
    "button-press-wall": "Press the button behind the wall.",
    "coffee-button": "Press the button of the coffee machine.",
    "coffee-pull": "Pull the mug away from the coffee machine.",
    "coffee-push": "Push the mug under the coffee machine.",
    "dial-turn": "Turn the dial.",
    "disassemble": "Take the ring off the peg.",
    "door-close": "Close the door.",
    "door-lock": "Lock the door.",
    "door-open": "Open the door.",
    "door-unlock": "Unlock the door.",
    "drawer-close": "Close the drawer.",
    "drawer-open": "Open the drawer.",
    "faucet-close": "Close the faucet.",
    "faucet-open": "Open the faucet.",
    "hammer": "Hammer the nail into the wall.",
    "hand-insert": "Put the hand into the hole.",
    "handle-press": "Press the handle down.",
    "handle-press-side": "Press the handle down from the side.",
    "handle-pull": "Pull the handle up.",
    "handle-pull-side": "Pull the handle up from the side.",
    "lever-pull": "Pull the lever up.",
    "peg-insert-side": "Insert the peg into the hole at the side.",
    "peg-unplug-side": "Pull the peg out of its hole.",
    "pick-out-of-hole": "Take the puck out of the hole.",
    "pick-place": "Pick up the puck and hold it at the goal.",
    "pick-place-wall": "Carry the puck over the wall to the goal.",
    "plate-slide": "Slide the plate into the cabinet.",
    "plate-slide-back": "Slide the plate back out of the cabinet.",
    "plate-slide-back-side": "Slide the plate out of the cabinet sideways.",
    "plate-slide-side": "Slide the plate into the cabinet sideways.",
    "push": "Push the puck to the goal.",
    "push-back": "Pull the puck back to the goal.",
    "push-wall": "Push the puck round the wall to the goal.",
    "reach": "Move the hand to the goal.",
    "reach-wall": "Move the hand round the wall to the goal.",
    "shelf-place": "Put the block onto the shelf.",
    "soccer": "Push the ball into the goal.",
    "stick-pull": "Pull the thermos with the stick.",
    "stick-push": "Push the thermos with the stick.",
    "sweep": "Sweep the block off the table.",
    "sweep-into": "Sweep the block into the hole.",
    "window-close": "Close the window.",
    "window-open": "Open the window.",
}
"""What each task asks for, in words."""

CAMERAS = ("corner2", "corner", "corner3", "corner4", "topview", "behindGripper", "gripperPOV")
"""Cameras of the scene; the first one is the one that papers use."""

_HUNG_OVER = ("corner", "corner2", "corner3")
"""Cameras that the model mounts upside down; their pictures are turned by half a turn."""

_OBJECT = ("x", "y", "z", "qw", "qx", "qy", "qz")
_FRAME = ("hand.x", "hand.y", "hand.z", "open", *(f"object{k}.{word}" for k in (1, 2) for word in _OBJECT))
_UNITS = ("m", "m", "m", "1", *("m", "m", "m", "1", "1", "1", "1") * 2)
STATE_NAMES = (*_FRAME, *(f"before.{name}" for name in _FRAME), "goal.x", "goal.y", "goal.z")
OBSERVED = "privileged.observed"
"""(B, 39) the observation as Meta-World's own policies read it, whatever the env shows."""


@dataclass(frozen=True, kw_only=True)
class MetaworldConfig(WorldConfig):
    """A Sawyer arm with one of Meta-World's fifty tasks, such as to pick and place a puck.

    Attributes:
        task: Name of the task, as Meta-World calls it, without its version.
    """

    expert: ClassVar[str] = "MetaworldExpert"
    package: ClassVar[str] = "metaworld"
    step_limit: ClassVar[int] = 500

    task: Task = "pick-place"

    def world(self) -> "MetaworldWorld":
        """Return one copy."""
        return MetaworldWorld(self.task, quality=self.quality)


class MetaworldWorld(World):
    """One copy of a task, with its goal visible; it ends when it has succeeded.

    Meta-World ignores the seed of a reset, draws from NumPy's global generator unless told otherwise, and
    hides the goal; here the seed of a start decides all that is random, and the state shows the goal.

    Args:
        task: Name of the task.
        quality: How pictures are drawn.
    """

    def __init__(self, task: Task, *, quality: Quality) -> None:
        kinds: Any = import_module("metaworld.env_dict").ALL_V3_ENVIRONMENTS
        self._env: Any = kinds[f"{task}-v3"]()
        self._env._set_task_called = True
        self._env._partially_observable = False
        vars(self._env).pop("sawyer_observation_space", None)  # bounds that would clip the goal to zero
        self._env._freeze_rand_vec = False
        self._env.seeded_rand_vec = True
        self._env.max_path_length = np.iinfo(np.int64).max  # how long an episode is, `WorldEnv` says
        self._physics = Physics(self._env.model, self._env.data, quality=quality)
        self._seen = np.zeros(len(STATE_NAMES))
        self.facts = Facts(
            env_id="metaworld",
            senses={
                "state": FeatureSpec(
                    shape=(39,), names=STATE_NAMES, units=(*_UNITS, *_UNITS, *("m", "m", "m"))
                ),
                "hand": FeatureSpec(shape=(4,), names=_FRAME[:4], units=_UNITS[:4]),
            },
            cameras=CAMERAS,
            privileged={OBSERVED: FeatureSpec(shape=(39,), names=STATE_NAMES)},
            action=FeatureSpec(
                shape=(4,),
                names=("dx", "dy", "dz", "close"),
                units=("cm", "cm", "cm", "1"),
                low=(-1.0,) * 4,
                high=(1.0,) * 4,
            ),
            control_dt=float(self._env.dt),
            success=SuccessRule(said="Meta-World's own sign of success, which also ends the episode"),
            task=SENTENCES[task],
        )

    def reset(self, start: Start) -> None:
        """Begin anew, with the hand, the objects and the goal where the seed puts them."""
        self._env.seed(start.seed)
        self._seen, _ = self._env.reset()

    def step(self, action: Float32[np.ndarray, " A"]) -> Turn:
        """Advance by one step of five steps of the simulator."""
        self._seen, reward, _, _, info = self._env.step(action)
        succeeded = bool(info["success"])
        return Turn(reward=float(reward), terminated=succeeded, success=succeeded)

    def fault(self) -> str:
        """Return whether the simulation diverged."""
        return self._physics.fault()

    def numbers(self) -> Mapping[str, np.ndarray]:
        """Return the state, the hand alone, and what experts read."""
        return {"state": self._seen, "hand": self._seen[:4], OBSERVED: self._seen}

    def draw(self, camera: str, *, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return a camera's picture the right way up."""
        picture = self._physics.draw(camera, height=height, width=width)
        return np.ascontiguousarray(picture[::-1, ::-1]) if camera in _HUNG_OVER else picture

    def snapshot(self) -> Mapping[str, np.ndarray]:
        """Return the state of the physics, and what the task remembers beside it."""
        memory = {f"task.{name}": np.array(value) for name, value in _remembered(self._env).items()}
        return {**self._physics.snapshot(), **memory, "seen": self._seen.copy()}

    def put_back(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a snapshot."""
        for name, value in snapshot.items():
            if name.startswith("task."):
                now = getattr(self._env, name.removeprefix("task."))
                setattr(
                    self._env,
                    name.removeprefix("task."),
                    type(now)(value) if np.ndim(value) == 0 else value.copy(),
                )
        self._physics.put_back(snapshot)
        self._seen = snapshot["seen"].copy()

    def close(self) -> None:
        """Free the simulator."""
        self._env.close()


def scripted(task: Task) -> Any:
    """Return Meta-World's own policy of a task, which answers one observation of 39 numbers."""
    return import_module("metaworld.policies").ENV_POLICY_MAP[f"{task}-v3"]()


def _remembered(env: Any) -> dict[str, Any]:
    """Return the numbers among the attributes of an env that change from episode to episode."""
    return {
        name: value
        for name, value in vars(env).items()
        if isinstance(value, bool | int | float | np.floating)
        or (isinstance(value, np.ndarray) and not _is_live(value))
    }


def _is_live(array: np.ndarray) -> bool:
    """Whether an array shows memory of the simulator, which the physics restores."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.base is not None
