"""What broken envs do, turned into errors that name the env, the feature, the step and what to do."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64, Shaped

from steadyhand.core.errors import EnvError, SpecError, SteadyhandError, Stopped
from steadyhand.envs.base import BatchEnv, Start, StepResult

Doing = Literal["reset", "step", "observe", "render"]

_SIGNATURES: dict[Doing, str] = {
    "reset": "reset(self, *, seed=None, options=None) returns (observation, info)",
    "step": "step(self, action) returns (observation, reward, terminated, truncated, info)",
    "observe": "observe(self, rows) returns feature -> (B, ...)",
    "render": "render(self) returns a uint8 picture (height, width, 3)",
}
_OLD = "an env made for the old gym needs a wrapper, such as shimmy's GymV21CompatibilityV0"
_OLD_SIGNS = ("to unpack", "unexpected keyword argument", "takes 1 positional argument")


def broken(error: BaseException, doing: Doing, *, where: str) -> EnvError:
    """Return the error of an env that raised, or answered with something of another form.

    Args:
        error: What was raised.
        doing: What the env was asked to do.
        where: Which env, row and step.

    Raises:
        Stopped: It is the end of the process, asked for by a signal.
    """
    if isinstance(error, Stopped):
        raise error
    if isinstance(error, SteadyhandError):
        rest = error.rest | {"hint": error.rest["hint"] or "correct the env, or the spaces that it declares"}
        return EnvError(f"{where}: {error.what}", **rest)
    is_old = doing in ("reset", "step") and any(sign in str(error) for sign in _OLD_SIGNS)
    return EnvError(
        f"{where}.",
        got=f"{type(error).__name__}: {error}",
        expected=_SIGNATURES[doing],
        hint=_OLD if is_old else "correct the env; from Python, the error's __cause__ shows the line",
    )


def first_observation(answer: Any) -> Any:
    """Return the observation of what `reset` returned.

    Raises:
        SpecError: It is not (observation, info).
    """
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict)):
        raise SpecError(
            "reset did not return (observation, info).",
            got=type(answer).__name__,
            expected="a tuple of the observation and a dict",
            hint=_OLD,
        )
    return answer[0]


def finite_reward(gain: Any) -> float:
    """Return a reward as a number.

    Raises:
        SpecError: It is NaN or infinite.
    """
    reward = float(gain)
    if not math.isfinite(reward):
        raise SpecError("The reward is not finite.", got=reward, expected="a finite number")
    return reward


def as_info(info: Any) -> Mapping[str, Any]:
    """Return what a step says beside its outcome.

    Raises:
        SpecError: It is no dict.
    """
    if type(info) is not dict and not isinstance(info, Mapping):
        raise SpecError("step returned an info that is no dict.", got=type(info).__name__, expected="a dict")
    return info


def not_finite(name: str, value: np.ndarray, where: Callable[[int], str]) -> EnvError:
    """Return the error of a feature with NaN or infinity in it.

    Args:
        name: Name of the feature.
        value: (B, ...), not all of it finite.
        where: Tells env, row and step of a position among the B.
    """
    place, *entry = np.argwhere(~np.isfinite(value))[0].tolist()
    bad = value[(place, *entry)]
    at = f" at entry {entry}" if entry else ""
    return EnvError(
        f"{where(place)}: {name} is not finite.",
        got=f"{bad}{at}",
        expected="finite numbers",
        hint="the simulation diverged, or a sensor has no reading: give that a finite value in the env",
    )


def as_spec_error(error: Exception, *, env_id: str) -> SpecError:
    """Return what is wrong with the spaces of an env, which may have none, under its name."""
    if isinstance(error, SpecError):
        return error.within(env_id)
    return SpecError(
        f"{env_id} declares no spaces.",
        got=f"{type(error).__name__}: {error}",
        expected="observation_space and action_space",
        hint="set both in the env's __init__",
    )


def flag(value: Any, *, name: str) -> bool:
    """Return one of the two flags with which `step` says that an episode ended.

    Args:
        value: The flag that the env gave: a bool, or one 0 or 1.
        name: "terminated" or "truncated".

    Raises:
        SpecError: It is neither true nor false, such as a text.
    """
    truth = as_truth(value)
    if truth is None:
        raise SpecError(
            f"{name} is neither true nor false.",
            got=f"{value!r:.60}",
            expected="a bool, or 0 or 1",
            hint="return what step declares: (observation, reward, terminated, truncated, info)",
        )
    return truth


def as_truth(value: Any) -> bool | None:
    """Return a value that is true or false, be it a bool or one 0 or 1 in any array; None for any other."""
    if value is True or value is False:
        return value
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf" or array.reshape(-1)[0] not in (0, 1):
        return None
    return bool(array.reshape(-1)[0])


def read_only(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return views of the same numbers through which nobody can change them."""
    views = {name: value.view() for name, value in features.items()}
    for view in views.values():
        view.flags.writeable = False
    return views


def restart(env: BatchEnv, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
    """Reset rows of an env; see `BatchEnv.reset`.

    Raises:
        EnvError: The env raised.
    """
    try:
        env.reset(starts, rows)
    except SteadyhandError:
        raise
    except (Exception, SystemExit) as error:
        raise _blamed(error, env, "reset", rows) from error


def stepped(env: BatchEnv, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> StepResult:
    """Step rows of an env, and check the outcome; see `BatchEnv.step`.

    Raises:
        EnvError: The env raised, or a reward is not finite, or an outcome has the wrong shape or dtype.
    """
    try:
        result = env.step(actions, rows)
    except SteadyhandError:
        raise
    except (Exception, SystemExit) as error:
        raise _blamed(error, env, "step", rows) from error
    if env.checks_itself:
        return result
    for name in ("reward", "terminated", "truncated", "success"):
        value = getattr(result, name)
        if value.shape != (len(rows),) or value.dtype.kind != ("f" if name == "reward" else "b"):
            raise EnvError(
                f"{env.spec.env_id} broke in step: {name} has the wrong shape or dtype.",
                got=f"{value.dtype} {value.shape}",
                expected=f"{'float32' if name == 'reward' else 'bool'} ({len(rows)},)",
                hint="one entry for each of the rows that were stepped, in their order",
            )
    if not np.isfinite(result.reward).all():
        raise not_finite("reward", result.reward, lambda place: _row(env, "step", int(rows[place])))
    return result


def observed(env: BatchEnv, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
    """Return what rows of an env see, checked against its spec, to read alone; see `BatchEnv.observe`.

    One observation is shown to the controller and then stored, so nobody may change it in place.

    Raises:
        EnvError: The env raised, or a feature is missing, not finite, or of another shape, dtype or class.
    """
    try:
        observation = env.observe(rows)
    except SteadyhandError:
        raise
    except (Exception, SystemExit) as error:
        raise _blamed(error, env, "observe", rows) from error
    if env.checks_itself:
        return read_only(observation)
    for name, spec in env.spec.observation.items():
        value = observation.get(name)
        if value is None:
            raise EnvError(
                f"{env.spec.env_id} does not show what its spec declares.",
                got=", ".join(observation),
                expected=name,
                hint="return every feature of spec.observation from observe",
            )
        try:
            if value.shape[:1] != (len(rows),):
                raise SpecError(f"{name} has the wrong number of rows.", got=len(value), expected=len(rows))
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise not_finite(name, value, lambda place: _row(env, "observe", int(rows[place])))
            spec.check_form(value, name=name)
        except SpecError as error:
            raise broken(error, "observe", where=f"{env.spec.env_id} broke in observe") from error
    return read_only(observation)


def _blamed(error: BaseException, env: BatchEnv, doing: Doing, rows: Int64[np.ndarray, " B"]) -> EnvError:
    """Return what an env raised by accident as an error that says so; what it raises on purpose passes."""
    return broken(error, doing, where=f"{env.spec.env_id} broke in {doing} of rows {rows[:8].tolist()}")


def _row(env: BatchEnv, doing: Doing, row: int) -> str:
    return f"{env.spec.env_id} broke in {doing} of row {row}"
