"""One thing that is wrong or doubtful in a data set."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


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
