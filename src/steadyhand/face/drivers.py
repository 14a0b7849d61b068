"""Everything that can drive: policies, their folders, experts, and controllers of your own."""

from pathlib import Path

from steadyhand.core.protocol import Controller
from steadyhand.envs.base import BatchEnv
from steadyhand.experts.base import Expert
from steadyhand.face.asked import require_controller
from steadyhand.face.policy import Policy, load
from steadyhand.rollout.executors.config import ExecutorConfig

Driver = Policy | Controller | str | Path
"""Who can be evaluated: a policy, its folder, an expert, or any other controller."""


def as_driver(
    who: Driver, env: BatchEnv, *, executor: ExecutorConfig | None = None
) -> tuple[Controller, str]:
    """Return a driver as a controller of the rows of an env, and its name.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(who, str | Path):
        who = load(who)
    if isinstance(who, Policy):
        return who.controller(env, executor=executor), who.name
    controller = require_controller(who, role="driver")
    return controller, "expert" if isinstance(who, Expert) else type(who).__name__
