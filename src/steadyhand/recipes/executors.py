"""Executors by the short names of the command line."""

from typing import Literal, assert_never

from steadyhand.core.errors import ConfigError
from steadyhand.rollout.executors import Ensemble, ExecutorConfig, RealTime, Receding

ExecutorName = Literal["receding", "ensemble", "realtime"]


def executor_from_text(
    name: ExecutorName, *, n_action_steps: int | None = None, delay: int | None = None
) -> ExecutorConfig:
    """Return the executor of this name.

    Args:
        name: Which.
        n_action_steps: Steps from one prediction to the next; each policy's own number if None.
        delay: Control steps that a prediction takes; the executor's default if None.

    Raises:
        ConfigError: The numbers do not fit the executor.
    """
    match name:
        case "receding":
            return Receding(n_action_steps=n_action_steps, delay=delay or 0)
        case "realtime":
            return RealTime(execution_horizon=n_action_steps, delay=1 if delay is None else delay)
        case "ensemble":
            if n_action_steps not in (None, 1) or delay:
                raise ConfigError(
                    "A temporal ensemble predicts at every step, and has its answer at once.",
                    got=f"n_action_steps = {n_action_steps or 1}, delay = {delay or 0}",
                    hint="leave --n-action-steps and --delay out, or take another --executor",
                )
            return Ensemble()
        case _:
            assert_never(name)
