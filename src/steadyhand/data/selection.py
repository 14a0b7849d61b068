"""Which episodes of a data set are read, and under which names its features are."""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Int64

from steadyhand.core.errors import DataError

Episodes = str | Sequence[int] | np.ndarray
"""Episode numbers, or a text such as "0-9,!4"."""

_PART = re.compile(r"(!?)(\d+)(?:(-)(\d*))?")


def chosen_episodes(choice: Episodes, total: int) -> Int64[np.ndarray, " K"]:
    """Return the numbers of the chosen episodes, rising.

    Args:
        choice: Numbers in any order, or a text: numbers and ranges (both ends included; "10-" runs to the
            end), separated by commas. Those behind a "!" are left out; "!4" alone is all but 4.
        total: Number of episodes there are.

    Raises:
        DataError: Not such a text, an episode that is not there or named twice, or none at all.
    """
    if isinstance(choice, str):
        kept = _from_text(choice, total)
    else:
        kept = np.ravel(choice)
        if kept.dtype.kind not in "iu" and len(kept):
            raise DataError("Episodes are chosen by their numbers.", got=kept.dtype, expected="integers")
        kept = np.sort(kept.astype(np.int64))
        _check_there(kept, total)
        if (np.diff(kept) == 0).any():
            raise DataError(
                "An episode is chosen twice.", got=int(kept[:-1][np.diff(kept) == 0][0]), expected="once each"
            )
    if not len(kept):
        raise DataError("No episode is chosen.", got=repr(choice), expected=f"some of 0 to {total - 1}")
    return kept


def _from_text(text: str, total: int) -> np.ndarray:
    named: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for part in text.replace(" ", "").split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise DataError(
                "Episodes are named by numbers and ranges.",
                got=repr(text),
                expected="such as 0-9,12,!4 (the episodes 0 to 9 and 12, without 4)",
            )
        out, first, dash, last = match.groups()
        end = int(first) if not dash else int(last) if last else total - 1
        if end < int(first):
            raise DataError("A range of episodes ends before it begins.", got=part)
        _check_there(np.array([int(first), end]), total)
        named[bool(out)].append(np.arange(int(first), end + 1))
    kept = np.unique(np.concatenate(named[False])) if named[False] else np.arange(total)
    return np.setdiff1d(kept, np.concatenate(named[True])) if named[True] else kept


def _check_there(numbers: np.ndarray, total: int) -> None:
    absent = numbers[(numbers < 0) | (numbers >= total)]
    if len(absent):
        raise DataError("There is no such episode.", got=int(absent[0]), expected=f"0 to {total - 1}")


def names_from(texts: Iterable[str]) -> dict[str, str]:
    """Return {name in the files: name here} of texts such as "actions=action".

    Raises:
        DataError: Another form, or a name that is given twice.
    """
    rename: dict[str, str] = {}
    for text in texts:
        old, separator, new = (part.strip() for part in text.partition("="))
        if not (old and separator and new) or old in rename:
            raise DataError(
                "A feature is renamed by old=new, each once.", got=text, expected="such as actions=action"
            )
        rename[old] = new
    return rename
