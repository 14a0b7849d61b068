"""Errors that say what was got, what was expected, what is available and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

E = TypeVar("E", bound="SteadyhandError")


class SteadyhandError(Exception):
    """Base of every error raised on purpose.

    Args:
        what: One sentence that names the thing that is wrong.
        got: What was found.
        expected: What would have been right.
        available: The valid choices, when they can be listed.
        hint: What to do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        expected: object = None,
        available: Iterable[object] | None = None,
        hint: str | None = None,
    ) -> None:
        lines = [what]
        names = None
        if got is not None:
            lines.append(f"  got:       {got}")
        if expected is not None:
            lines.append(f"  expected:  {expected}")
        if available is not None:
            names = [str(name) for name in available]
            lines.append(f"  available: {', '.join(names) or '(none)'}")
            close = get_close_matches(str(got), names, n=1)
            if close and hint is None:
                hint = f"did you mean {close[0]!r}?"
        if hint is not None:
            lines.append(f"  do this:   {hint}")
        super().__init__("\n".join(lines))
        self.what = what
        self.rest: dict[str, Any] = {"got": got, "expected": expected, "available": names, "hint": hint}

    def within(self: E, place: object) -> E:
        """Return the same error, said of a place: a file, a feature, a row."""
        return type(self)(f"{place}: {self.what}", **self.rest)

    def completed(self: E, place: object, *, hint: str) -> E:
        """Return the same error with its place and with what to do, where it does not say them itself."""
        what = self.what if str(place) in str(self) else f"{place}: {self.what}"
        return type(self)(what, **{**self.rest, "hint": self.rest["hint"] or hint})


class Stopped(SystemExit):
    """A signal asked the process to end: the fault of no code that happened to run."""


class SpecError(SteadyhandError):
    """A value does not have the shape, dtype or meaning that its spec declares."""


class ConfigError(SteadyhandError):
    """A configuration file or a command line holds something that it must not."""


class DataError(SteadyhandError):
    """A data set on disk or an episode in memory is malformed."""


class EnvError(SteadyhandError):
    """An env raised, or returned what its spaces do not declare: its own fault, not its driver's."""


class CapabilityError(SteadyhandError):
    """An env, policy or controller was asked for something that it cannot do."""


class ArtifactError(SteadyhandError):
    """A saved policy or checkpoint is incomplete or does not fit the code that loads it."""
