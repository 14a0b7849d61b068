"""What broken envs do, turned into errors that name the env, the feature, the step and what to do."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from steadyhand.core.errors import EnvError, SpecError, SteadyhandError

Doing = Literal["reset", "step", "observe", "render"]

_SIGNATURES: dict[Doing, str] = {
    "reset": "reset(self, *, seed=None, options=None) returns (observation, info)",
    "step": "step(self, action) returns (observation, reward, terminated, truncated, info)",
    "observe": "observe(self, rows) returns feature -> (B, ...)",
    "render": "render(self) returns a uint8 picture (height, width, 3)",
}
_OLD = "an env made for the old gym needs a wrapper, such as shimmy's GymV21CompatibilityV0"
_OLD_SIGNS = ("to unpack", "unexpected keyword argument", "takes 1 positional argument")


def broken(error: Exception, doing: Doing, *, where: str) -> EnvError:
    """Return the error of an env that raised, or answered with something of another form.

    Args:
        error: What was raised.
        doing: What the env was asked to do.
        where: Which env, row and step.
    """
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


def not_finite(name: str, value: np.ndarray, where: Callable[[int], str]) -> EnvError:
    """Return the error of a feature with NaN or infinity in it.

    Args:
        name: Of the feature.
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
