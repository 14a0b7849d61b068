"""Replaying a data set in an env, for `data check --env` and `data repair --env`."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from steadyhand.cli.arguments import with_overrides

if TYPE_CHECKING:
    from steadyhand.analysis.replay import Replay
    from steadyhand.cli.data import CheckArguments, RepairArguments
    from steadyhand.data.base import Dataset
    from steadyhand.data.problems import Problem


def replayed(chosen: "CheckArguments", opened: "Callable[..., Dataset]") -> "tuple[Problem, ...]":
    """Return what replaying tells, or that it cannot tell anything: the rest of the report stands."""
    from steadyhand.core.errors import CapabilityError

    try:
        found = replay_in_env(chosen, opened)
    except CapabilityError as error:
        return (not_replayed(chosen, error.what, str(error.rest["hint"] or "")),)
    return found.problems(data=_as_typed(chosen, found.control_dt))


def not_replayed(chosen: "CheckArguments", why: str, hint: str) -> "Problem":
    """Return that nothing was replayed, and why."""
    from steadyhand.data.problems import Problem

    what = f"not replayed: {why}"
    return Problem(code="replay", severity="warning", where=chosen.env, what=what, hint=hint)


def _as_typed(chosen: "CheckArguments", control_dt: float) -> str:
    """Return the data and how they are opened, for a command that can be pasted."""
    import shlex

    words = [str(chosen.data), *(word for pair in chosen.rename for word in ("--rename", pair))]
    if chosen.episodes:
        words += ["--episodes", chosen.episodes]
    if chosen.data.is_file():  # an npz file does not know its rate
        words += ["--control-dt", f"{control_dt:g}"]
    return shlex.join(words)


def replay_in_env(chosen: "CheckArguments | RepairArguments", opened: "Callable[..., Dataset]") -> "Replay":
    """Replay the recorded actions in the env that was named; `opened` opens the data at its rate."""
    from steadyhand.analysis.replay import World, replay
    from steadyhand.envs.catalogue import env_config

    world = with_overrides(World(env=env_config(chosen.env)), chosen.set)
    env = world.env.build(world.env.cheap_rows)
    try:
        return replay(opened(chosen, like=env.spec), env)
    finally:
        env.close()
