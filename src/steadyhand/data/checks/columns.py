"""What is wrong with the files of a data set: journal, columns, rows, times, tasks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from steadyhand.core.errors import DataError
from steadyhand.core.listing import listed
from steadyhand.data.checks.blocks import block_steps, runs_of
from steadyhand.data.checks.detector import episodes
from steadyhand.data.dataset import StoredDataset
from steadyhand.data.formats.files import open_parquet
from steadyhand.data.formats.layout import EpisodeRef, Layout
from steadyhand.data.formats.schema import EXPERT_ACTION, STEP_FEATURES
from steadyhand.data.problems import Problem, from_error
from steadyhand.data.rows import has_column, step_times
from steadyhand.data.spec import load_spec

_TIMESTAMP = "timestamp"
_DRIFT = 0.25  # of a step
_GAP = 1.5  # steps
_OFF_RATE = 0.02  # share by which the rate may differ from fps
_COUNTERS = ("frame_index", "index", "task_index")


def journal_problems(dataset: StoredDataset) -> Iterator[Problem]:
    """Tell what lies in the journal, and what of it cannot be read."""
    where = "meta/steadyhand/journal.bin"
    if dataset.num_pending:
        yield Problem(
            code="not-compacted",
            severity="note",
            where=where,
            what=f"{dataset.num_pending} episodes are only in the journal, where LeRobot does not look",
            hint="steadyhand data compact FOLDER",
        )
    if dataset.journal_damages:
        places = dataset.journal_damages
        yield Problem(
            code="journal-damaged",
            severity="error",
            where=where,
            what=f"{len(places)} records are damaged, {sum(place.size for place in places)} bytes from byte "
            f"{places[0].offset} on; all others are read, and an episode that lost a step is read as two",
            hint="restore the file from a copy, or keep what can be read: "
            "steadyhand data compact FOLDER --set-damage-aside",
        )
    if dataset.dropped_bytes:
        yield Problem(
            code="journal-cut",
            severity="warning",
            where=where,
            what=f"the last {dataset.dropped_bytes} bytes are a record that was not written to its end",
            hint="nothing: the recording was killed, and the step that was being written is lost",
        )


def foreign_problems(dataset: StoredDataset) -> Iterator[Problem]:
    """Name the columns of another origin that are called as ours are."""
    if is_ours(dataset):
        return
    ours = {EXPERT_ACTION, *(name for name in STEP_FEATURES if not name.startswith("next."))}
    found = [name for name in dataset.layout.features if name in ours]
    if found:
        yield Problem(
            code="foreign-column",
            severity="note",
            where=listed(found),
            what="called as a column of ours is, but written by another program: an ordinary column",
            hint="nothing; every step counts as a demonstration of weight 1",
        )


def task_problems(dataset: StoredDataset) -> Iterator[Problem]:
    """Say that there are several tasks, which a policy is not told apart."""
    tasks = dataset.tasks
    if len(tasks) > 1:
        yield Problem(
            code="several-tasks",
            severity="note",
            where=f"{len(tasks)} tasks",
            what=listed([repr(text) for text in tasks]),
            hint="a policy is not told which: train on the episodes of one, unless what it sees tells",
        )


def is_ours(dataset: StoredDataset) -> bool:
    """Whether the data set was written by this library."""
    return load_spec(dataset.root) is not None


class ColumnCheck:
    """Reads every column of numbers once, some episodes at a time, and tells what is wrong with it."""

    def __init__(self, dataset: StoredDataset) -> None:
        self._dataset = dataset
        self._names = [
            name
            for name, feature in dataset.layout.features.items()
            if feature.is_number and name != _TIMESTAMP
        ]
        self._times = _Times(1.0 / dataset.layout.fps)
        self._switching: list[int] = []
        self._said: set[tuple[str, str]] = set()

    def problems(self) -> Iterator[Problem]:
        """Yield everything that is wrong."""
        size = block_steps(self._dataset)
        last: EpisodeRef | None = None
        for run in runs_of(self._dataset.layout.episodes, size):
            if last is not None and run[0].data_path != last.data_path:
                yield from self._rows_beyond(last)
            last = run[-1]
            yield from self._run(run)
        if last is not None:
            yield from self._rows_beyond(last)
        yield from self._times.problems()
        if self._switching:
            yield Problem(
                code="task-switch",
                severity="note",
                where=episodes(self._switching),
                what="the task changes within the episode",
                hint="a policy is not told which; cut the episodes there, or train on one of the tasks",
            )

    def _run(self, run: Sequence[EpisodeRef]) -> Iterator[Problem]:
        path = run[0].data_path
        where = f"{_shown(path, self._dataset.root)} (episodes {run[0].index} to {run[-1].index})"
        features = self._dataset.layout.features
        try:
            read = self._dataset.stored.read(run, {name: features[name].dtype for name in self._names})
        except DataError:
            read = None
        for name in self._names:
            try:
                parts = self._dataset.stored.read(run, {name: features[name].dtype}) if read is None else read
            except DataError as error:
                problem = from_error("data-file", where, error)
                if (where, problem.what) not in self._said:
                    yield problem
                self._said.add((where, problem.what))
                continue
            if name in _COUNTERS:
                yield from self._counted(name, [part[name].ravel() for part in parts], run)
        try:
            self._times.take(run, self._dataset.layout)
        except DataError as error:
            problem = from_error("data-file", where, error)
            if (where, problem.what) not in self._said:
                yield problem

    def _counted(
        self, name: str, columns: Sequence[np.ndarray], run: Sequence[EpisodeRef]
    ) -> Iterator[Problem]:
        num_tasks = max(len(self._dataset.layout.tasks), 1)
        for ref, values in zip(run, columns, strict=True):
            steps = np.arange(ref.length)
            wrong = ""
            if name == "frame_index" and not np.array_equal(values, steps):
                wrong = "frame_index does not count from 0"
            elif name == "index" and not np.array_equal(values, values[0] + steps):
                wrong = "index does not count through the episode"
            elif name == "task_index" and (values.min() < 0 or values.max() >= num_tasks):
                worst = values.min() if values.min() < 0 else values.max()
                wrong = f"task_index {worst:g} has no text; there are {len(self._dataset.layout.tasks)} tasks"
            elif name == "task_index" and (values != values[0]).any():
                self._switching.append(ref.index)
            if wrong:
                yield Problem(
                    code=name.replace("_", "-"),
                    severity="error",
                    where=f"episode {ref.index}",
                    what=wrong,
                    hint="steadyhand data repair FOLDER --out NEW counts anew"
                    if name != "task_index"
                    else "record or convert the episode again",
                )

    def _rows_beyond(self, last: EpisodeRef) -> Iterator[Problem]:
        try:
            rows = open_parquet(last.data_path).num_rows
        except DataError:
            return
        if not self._dataset.layout.is_whole:
            return
        beyond = rows - last.first_row - last.length
        if beyond > 0:
            yield Problem(
                code="rows-beyond",
                severity="warning",
                where=_shown(last.data_path, self._dataset.root),
                what=f"the file has {beyond} rows more than the metadata counts; they are not read",
                hint="metadata of an earlier state, or a recording that was cut; "
                "copy the whole data set again if these rows matter",
            )


class _Times:
    """Compares the times of the steps with the rate that the metadata gives."""

    def __init__(self, control_dt: float) -> None:
        self._dt = control_dt
        self._between: list[np.ndarray] = []
        self._drifting: list[int] = []
        self._late: list[int] = []
        self._gaps: dict[int, tuple[int, float]] = {}
        self._backwards: dict[int, int] = {}

    def take(self, run: Sequence[EpisodeRef], layout: Layout) -> None:
        if not has_column(run, _TIMESTAMP):
            return
        times = step_times(layout, run)
        for ref, column in zip(run, times, strict=True):
            between = np.diff(column)
            if abs(column[0]) > _DRIFT * self._dt:
                self._late.append(ref.index)
            if not len(between):
                continue
            self._between.append(between[:: max(1, len(between) // 50)].astype(np.float32))
            if between.min() <= 0:
                self._backwards[ref.index] = int(between.argmin()) + 1
            elif between.max() > _GAP * self._dt and between.max() > _GAP * np.median(between):
                self._gaps[ref.index] = (int(between.argmax()) + 1, float(between.max()))
            elif np.abs(column - column[0] - np.arange(ref.length) * self._dt).max() > _DRIFT * self._dt:
                self._drifting.append(ref.index)

    def problems(self) -> Iterator[Problem]:
        if not self._between:
            return
        usual = float(np.median(np.concatenate(self._between)))
        rate = f"{1 / self._dt:.4g} Hz"
        if usual > 0 and abs(usual / self._dt - 1) > _OFF_RATE:
            yield Problem(
                code="rate",
                severity="warning",
                where=f"{len(self._between)} episodes",
                what=f"the steps are {usual:.4g} s apart ({1 / usual:.4g} Hz); the metadata says {rate}",
                hint="correct fps in meta/info.json: a policy runs at the rate of its data",
            )
        elif self._drifting:
            yield Problem(
                code="timestamp",
                severity="warning",
                where=episodes(self._drifting),
                what=f"timestamps drift from {rate} by more than a quarter of a step",
                hint="record at a steady rate; pictures follow the timestamps, policies the rate",
            )
        if self._gaps:
            number, (step, gap) = next(iter(self._gaps.items()))
            yield Problem(
                code="steps-dropped",
                severity="warning",
                where=episodes(list(self._gaps)),
                what=f"steps are missing: {gap:.3g} s before step {step} of episode {number}, "
                f"where a step takes {self._dt:.3g} s",
                hint="cut the episodes there: the next observation is not what the action led to",
            )
        if self._backwards:
            number, step = next(iter(self._backwards.items()))
            yield Problem(
                code="time-backwards",
                severity="error",
                where=episodes(list(self._backwards)),
                what=f"time stands still or runs backwards, first at step {step} of episode {number}",
                hint="rows are repeated or out of order; sort them, or record the episode again",
            )
        if self._late:
            yield Problem(
                code="late-start",
                severity="note",
                where=episodes(self._late),
                what="the first timestamp is not 0: the episode was cut from a longer one",
                hint="nothing; pictures follow the timestamps",
            )


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
