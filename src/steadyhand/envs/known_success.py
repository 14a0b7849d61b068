"""What success means in Gymnasium envs that are known by their id; docs/envs.md gives the reasons."""

import re
from collections.abc import Mapping
from typing import Any

from steadyhand.core.success import AS_TOLD, UNKNOWN, SuccessRule

_ENDS_AT_GOAL = SuccessRule(kind="terminated")
_LASTS = SuccessRule(kind="survived")
_LAST = SuccessRule(kind="last")

_BY_NAME = {
    "CartPole": _LASTS,
    "InvertedPendulum": _LASTS,
    "InvertedDoublePendulum": _LASTS,
    "MountainCar": _ENDS_AT_GOAL,
    "MountainCarContinuous": _ENDS_AT_GOAL,
    "Acrobot": _ENDS_AT_GOAL,
    "CliffWalking": _ENDS_AT_GOAL,
    "CliffWalkingSlippery": _ENDS_AT_GOAL,
    "Taxi": _ENDS_AT_GOAL,
    "FrozenLake": SuccessRule(kind="return", threshold=1.0),
    "FrozenLake8x8": SuccessRule(kind="return", threshold=1.0),
    "Blackjack": SuccessRule(kind="return", threshold=1.0),
    "LunarLander": SuccessRule(kind="return", threshold=200.0),
    "LunarLanderContinuous": SuccessRule(kind="return", threshold=200.0),
    "BipedalWalker": SuccessRule(kind="return", threshold=300.0),
    "BipedalWalkerHardcore": SuccessRule(kind="return", threshold=300.0),
    "CarRacing": SuccessRule(kind="ever", keys=("lap_finished",), absent="failure"),
    "Pendulum": UNKNOWN,
    "Reacher": UNKNOWN,
    "Pusher": UNKNOWN,
    "HalfCheetah": UNKNOWN,
    "Hopper": UNKNOWN,
    "Walker2d": UNKNOWN,
    "Swimmer": UNKNOWN,
    "Ant": UNKNOWN,
    "Humanoid": UNKNOWN,
    "HumanoidStandup": UNKNOWN,
    "FrankaKitchen": _ENDS_AT_GOAL,
}
_BY_PREFIX = (("Fetch", _LAST), ("HandReach", _LAST), ("HandManipulate", _LAST))
"""Families of gymnasium-robotics whose goal must be held to the end; its other tasks, and Meta-World's, tell
success at the step at which it happens and are read as any env that says so."""

_ID = re.compile(r"^(?:.*:)?(?:phys2d/|tabular/)?(?P<name>[\w/]+)-v\d+$")


def known_success(env_id: str, kwargs: Mapping[str, Any]) -> SuccessRule:
    """Return the rule of an id; of an unknown one what its info says, if it says anything.

    Args:
        env_id: Gymnasium id, with or without a module before it.
        kwargs: Keyword arguments of the env.
    """
    match = _ID.match(env_id)
    if match is None:
        return AS_TOLD
    name = match["name"]
    if name == "FrankaKitchen" and kwargs.get("terminate_on_tasks_completed") is False:
        return UNKNOWN
    by_prefix = (rule for prefix, rule in _BY_PREFIX if name.startswith(prefix))
    return _BY_NAME.get(name) or next(by_prefix, AS_TOLD)
