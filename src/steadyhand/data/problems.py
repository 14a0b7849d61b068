"""One thing that is wrong or doubtful in a data set."""

from dataclasses import dataclass
from typing import Literal

from steadyhand.core.errors import DataError

Severity = Literal["error", "warning", "note"]
"""The worst first."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One finding.

    Attributes:
        code: Short name of the kind of finding, such as "video-missing".
        severity: "error": cannot be read or trained on; "warning": look at it; "note": good to know.
        where: File, feature or episode.
        what: What is wrong.
        hint: What to do.
    """

    code: str
    severity: Severity
    where: str
    what: str
    hint: str = ""


def from_error(code: str, where: str, error: DataError) -> Problem:
    """Return an error that reading raised as a finding."""
    lines = str(error).splitlines()
    hints = [line.split(":", 1)[1].strip() for line in lines if line.strip().startswith("do this:")]
    told = [" ".join(line.split()).rstrip(".") for line in lines if not line.strip().startswith("do this:")]
    return Problem(
        code=code, severity="error", where=where, what="; ".join(told), hint=hints[0] if hints else ""
    )
