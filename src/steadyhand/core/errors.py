"""Errors that say what was got, what was expected, what is available and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


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


class SpecError(SteadyhandError):
    """A value does not have the shape, dtype or meaning that its spec declares."""


class ConfigError(SteadyhandError):
    """A configuration file or a command line holds something that it must not."""


class DataError(SteadyhandError):
    """A data set on disk or an episode in memory is malformed."""


class CapabilityError(SteadyhandError):
    """An env, policy or controller was asked for something that it cannot do."""


class ArtifactError(SteadyhandError):
    """A saved policy or checkpoint is incomplete or does not fit the code that loads it."""
