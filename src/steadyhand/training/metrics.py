"""What a run says about itself: metrics.jsonl."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from steadyhand.core.errors import ConfigError
from steadyhand.core.strict import naming, parse_json, read_text

Line = dict[str, float | int]
NAME = "metrics.jsonl"
Progress = Callable[[int, int, str], None]
"""Takes how much is done, of how much, and a few words."""
MetricsListener = Callable[[Path, int, Mapping[str, float | int]], None]
"""Takes the folder that figures are of (a training, or rounds), the gradient step or round, and those."""


class Metrics:
    """Collects lines of figures and appends them to a file, if there is one.

    Args:
        path: JSON lines; None keeps them in memory only.
        resume_at: Keep lines up to this step, drop later ones (of a run that died after its last checkpoint).
        listener: Told of each further line.

    Raises:
        ConfigError: A run is continued, and its lines are gone or are none.
    """

    def __init__(self, path: Path | None, *, resume_at: int, listener: MetricsListener | None = None) -> None:
        self.lines: list[Line] = []
        self._path = path
        self._listener = listener
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if resume_at and path.exists():
            self.lines = [line for line in _complete(path) if line["step"] <= resume_at]
        path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))

    def add(self, line: Mapping[str, float | int]) -> None:
        """Append one line."""
        self.lines.append(dict(line))
        if self._path is not None:
            with naming(self._path), self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        if self._listener is not None:
            figures = {name: value for name, value in line.items() if name != "step"}
            self._listener(Path() if self._path is None else self._path.parent, int(line["step"]), figures)


def updates_of_fits(folder: Path) -> dict[Path, int]:
    """Return the gradient updates of every fit of a policy that was kept in `folder` or below it.

    Returns:
        Folder of metrics.jsonl -> updates; nothing for fits that kept none, such as of the nets of a gate.

    Raises:
        ConfigError: A file holds no lines of a training.
    """
    lines = {path.parent: _complete(path) for path in sorted(folder.rglob(NAME))}
    return {place: int(found[-1]["step"]) for place, found in lines.items() if found}


def _complete(path: Path) -> list[Line]:
    """Return the lines of a file whose last one may have been cut short by a kill."""
    lines = read_text(path).split("\n")[:-1]
    found = [parse_json(line, source=f"Line {n} of {path}") for n, line in enumerate(lines, start=1)]
    for number, line in enumerate(found, start=1):
        is_line = isinstance(line, dict) and {"step", "loss"} <= line.keys()
        if not is_line or not all(isinstance(value, int | float) for value in line.values()):
            raise ConfigError(
                f"Line {number} of {path} is no line of a training.",
                got=repr(line)[:80],
                expected='an object of numbers, "step" and "loss" among them',
                hint="restore the file from a copy, or train in another folder",
            )
    return found
