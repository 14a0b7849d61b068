"""Looks for everything that is wrong or doubtful in a data set, instead of stopping at the first thing."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from steadyhand.core.errors import DataError
from steadyhand.data.content_checks import content_problems
from steadyhand.data.dataset import Dataset, open_dataset
from steadyhand.data.formats.layout import EpisodeRef
from steadyhand.data.formats.video import VideoReader
from steadyhand.data.problems import Problem

Depth = Literal["quick", "full"]
_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Report:
    """Result of `check`.

    Attributes:
        root: Folder that was looked at.
        problems: Errors first, then warnings, then notes.
    """

    root: Path
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error."""
        return not any(problem.severity == "error" for problem in self.problems)


def check(root: Path | str, *, depth: Depth = "full") -> Report:
    """Look through a data set.

    Args:
        root: Folder of the data set.
        depth: "quick" opens every file once; "full" also decodes every image.
    """
    root = Path(root)
    try:
        dataset = open_dataset(root)
    except DataError as error:
        problem = _from_error("metadata", str(root), error)
        return Report(root=root, problems=(problem,))
    found = [
        *_journal_problems(dataset),
        *_column_problems(dataset),
        *_camera_problems(dataset, depth),
    ]
    if not any(problem.severity == "error" for problem in found if problem.code not in _CAMERA_CODES):
        found += content_problems(dataset)
    order = {"error": 0, "warning": 1, "note": 2}
    return Report(root=root, problems=tuple(sorted(found, key=lambda p: order[p.severity])))


_CAMERA_CODES = ("video-missing", "video-damaged", "image-damaged")


def _from_error(code: str, where: str, error: DataError) -> Problem:
    lines = str(error).splitlines()
    hints = [line.split(":", 1)[1].strip() for line in lines if line.strip().startswith("do this:")]
    told = [" ".join(line.split()).rstrip(".") for line in lines if not line.strip().startswith("do this:")]
    what = "; ".join(told)
    return Problem(code=code, severity="error", where=where, what=what, hint=hints[0] if hints else "")


def _journal_problems(dataset: Dataset) -> Iterator[Problem]:
    if dataset.num_pending:
        yield Problem(
            code="not-compacted",
            severity="note",
            where="meta/steadyhand/journal.bin",
            what=f"{dataset.num_pending} episodes are only in the journal, where LeRobot does not look",
            hint="steadyhand data compact FOLDER",
        )
    if dataset.journal_damages:
        places = dataset.journal_damages
        yield Problem(
            code="journal-damaged",
            severity="error",
            where="meta/steadyhand/journal.bin",
            what=f"{len(places)} records are damaged, {sum(place.size for place in places)} bytes from byte "
            f"{places[0].offset} on; all others are read, and an episode that lost a step is read as two",
            hint="restore the file from a copy, or keep what can be read: "
            "steadyhand data compact FOLDER --set-damage-aside",
        )
    if dataset.dropped_bytes:
        yield Problem(
            code="journal-cut",
            severity="warning",
            where="meta/steadyhand/journal.bin",
            what=f"the last {dataset.dropped_bytes} bytes are a record that was not written to its end",
            hint="nothing: the recording was killed, and the step that was being written is lost",
        )


def _column_problems(dataset: Dataset) -> Iterator[Problem]:
    layout = dataset.layout
    by_file: dict[Path, list[EpisodeRef]] = {}
    for ref in layout.episodes:
        by_file.setdefault(ref.data_path, []).append(ref)
    names = [name for name, f in layout.features.items() if not f.is_image and f.dtype != "string"]
    for path, refs in by_file.items():
        where = f"{path.relative_to(dataset.root)} (episodes {refs[0].index} to {refs[-1].index})"
        seen: set[str] = set()
        for name in names:
            try:
                columns = dataset.stored.read(refs, {name: layout.features[name].dtype})
            except DataError as error:
                problem = _from_error("data-file", where, error)
                if problem.what not in seen:
                    yield problem
                seen.add(problem.what)
                continue
            for ref, column in zip(refs, columns, strict=True):
                yield from _index_problems(dataset, name, column[name], ref)


def _index_problems(dataset: Dataset, name: str, column: np.ndarray, ref: EpisodeRef) -> Iterator[Problem]:
    steps = np.arange(ref.length)
    values = column.reshape(-1)
    wrong = ""
    match name:
        case "frame_index" if not np.array_equal(values, steps):
            wrong = "frame_index does not count from 0"
        case "timestamp" if np.abs(values - steps * dataset.control_dt).max() > 0.25 * dataset.control_dt:
            wrong = "timestamp drifts from frame_index / fps by more than a quarter of a step"
        case "task_index" if values.min() < 0 or values.max() >= max(len(dataset.layout.tasks), 1):
            wrong = f"task_index {values.max()} has no text; there are {len(dataset.layout.tasks)} tasks"
        case "index" if not np.array_equal(values, values[0] + steps):
            wrong = "index does not count through the episode"
        case _:
            return
    yield Problem(
        code=name.replace("_", "-"),
        severity="warning" if name == "timestamp" else "error",
        where=f"episode {ref.index}",
        what=wrong,
        hint="record or convert the episode again",
    )


def _camera_problems(dataset: Dataset, depth: Depth) -> Iterator[Problem]:
    for name in dataset.layout.cameras:
        refs = dataset.layout.episodes
        absent = [ref for ref in refs if not dataset.stored.image_file(name, ref).is_file()]
        if absent and dataset.layout.features[name].dtype == "video":
            shown = ", ".join(str(ref.index) for ref in absent[:_LISTED])
            shown += ", ..." if len(absent) > _LISTED else ""
            yield Problem(
                code="video-missing",
                severity="error",
                where=name,
                what=f"no video for {len(absent)} of {len(refs)} episodes: {shown}",
                hint="copy the videos, or train without this camera",
            )
        for ref in refs:
            if ref in absent:
                continue
            try:
                _decode(dataset, name, ref, depth)
            except DataError as error:
                is_video = dataset.layout.features[name].dtype == "video"
                code = "video-damaged" if is_video else "image-damaged"
                yield _from_error(code, f"{name}, episode {ref.index}", error)


def _decode(dataset: Dataset, name: str, ref: EpisodeRef, depth: Depth) -> None:
    if depth == "full":
        dataset.stored.images(name, ref.index)
    elif dataset.layout.features[name].dtype == "video":
        start = ref.videos[name].start
        with VideoReader(ref.videos[name].path) as video:
            last = start + (ref.length - 1) / dataset.fps
            video.indices_at(np.array([start, last]), tolerance_s=0.25 / dataset.fps)
    else:
        dataset.stored.images(name, ref.index, np.array([0]))
