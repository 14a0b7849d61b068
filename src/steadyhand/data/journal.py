"""The file that recording appends to: constant cost, and nothing lost when the process is killed.

Episodes are put together from the records of `steadyhand.data.records`. A damaged record costs itself alone:
an episode that lost a step is read as two, because what lies on both sides of the gap does not follow.
"""

import json
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from steadyhand.core.errors import DataError
from steadyhand.core.strict import require_file
from steadyhand.data.entries import Entry, ending_of, provenance_of, task_runs_of, unpacked
from steadyhand.data.episode import STEP_COLUMNS, Branch, Episode, EpisodeOrigin, TaskRun
from steadyhand.data.formats.blocks import EpisodeBlock
from steadyhand.data.formats.sidecar import SidecarRow
from steadyhand.data.records import (
    MAGIC,
    PREFIX_SIZE,
    STEP,
    Bytes,
    Damage,
    frame_at,
    is_cut,
    next_record,
    record_at,
)
from steadyhand.data.spec import StoreSpec

_BLOCK_BYTES, _BLOCK_EPISODES = 1 << 26, 1000
JOURNAL_PATH = "meta/steadyhand/journal.bin"
_LET_GO = 1 << 26
"""Bytes after which pages that were scanned are given back to the system."""


class JournalReader(Sequence[Episode]):
    """The finished episodes of a journal, and those that a killed process left open.

    Episodes are read from the file when they are asked for.

    Args:
        path: The journal.
        spec: What the store holds.
        live: Whether a writer is at work, so that open episodes are not over yet.
        first: Number of its first episode in the data set: of the episodes before the journal.

    Attributes:
        entries: Finished episodes, then the interrupted ones in the order in which they began.
        open: Pieces of each open episode, by its number in the journal.
        end: Where whole records end; what lies behind is cut or damaged.
        next_number: Number for the next episode.
        orphans: Branches that are left out because damage took their parent.

    Raises:
        DataError: The file is no journal.
    """

    def __init__(self, path: Path, spec: StoreSpec, *, live: bool, first: int = 0) -> None:
        self.path = path
        self.first = first
        self.spec = spec
        self._step = spec.step_dtype()
        self._final = spec.observation_dtype()
        self._live = live
        self._finished: list[Entry] = []
        self._inner: list[Damage] = []
        self.entries: list[Entry]
        self.open: dict[int, list[Entry]] = {}
        self.end = len(MAGIC)
        self.next_number = 0
        self.orphans: int
        self._data: Bytes = b""
        self.refresh()

    def refresh(self) -> None:
        """Read what was appended since."""
        require_file(self.path, error=DataError)
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        if self._data[: len(MAGIC)] != MAGIC:
            raise DataError(
                f"{self.path} is not a journal that this version reads.",
                got=bytes(self._data[: len(MAGIC)]),
                expected=MAGIC,
                hint="compact the store with the version that wrote it, or restore the file from a copy",
            )
        self.end = self._scan(self.end)
        self._arrange()

    @property
    def cut(self) -> int:
        """Bytes at the end that a killed process left of the record that it was writing."""
        rest = len(self._data) - self.end
        return rest if rest and is_cut(self._data, self.end) else 0

    @property
    def damages(self) -> list[Damage]:
        """Damaged records, in order; what a killed process left at the end is not damage."""
        rest = len(self._data) - self.end
        return [*self._inner, Damage(self.end, rest)] if rest and not self.cut else list(self._inner)

    @property
    def writable_end(self) -> int:
        """Where a writer goes on: behind everything but a cut record."""
        return self.end if self.cut else len(self._data)

    def _scan(self, offset: int) -> int:
        data, size, let_go = self._data, len(self._data), offset + _LET_GO
        while True:
            found = record_at(data, offset)
            if found is None:
                behind = next_record(data, offset)
                if behind == size:
                    break
                self._inner.append(Damage(offset, behind - offset))
                offset = behind
                continue
            end, text = found
            try:
                self._take(offset, offset + PREFIX_SIZE, text, end)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{self.path} holds a record that this version cannot read.",
                    got=error,
                    hint="it was written by another version or is damaged; restore it from a copy",
                ) from error
            offset = end
            if offset > let_go:
                let_go = offset + _LET_GO
                self.let_go()
        return offset

    def let_go(self) -> None:
        """Give pages of the file that were read back to the system."""
        if isinstance(self._data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._data.madvise(mmap.MADV_DONTNEED)

    def _take(self, record: int, start: int, text: int, end: int) -> None:
        if not text:
            number, step = STEP.unpack_from(self._data, start)
            self.next_number = max(self.next_number, number + 1)
            if end - start != STEP.size + self._step.itemsize:
                raise ValueError(f"a step of {end - start - STEP.size} bytes, not {self._step.itemsize}")
            entry = self._piece(number, step)
            assert isinstance(entry.blocks, list)
            entry.blocks.append(start + STEP.size)
            entry.records.append(record)
            entry.length += 1
            return
        header = json.loads(self._data[start : start + text])
        number, payload, size = header["episode"], start + text, end - start - text
        self.next_number = max(self.next_number, number + 1)
        match header["kind"]:
            case "begin":
                self.open[number] = [Entry(number, header, records=[record])]
            case "end":
                self._end(number, header, payload if size else None)
            case "episode":
                self._finished.append(self._whole(number, header, payload, size))
            case "abort":
                if self.open.pop(number, None) is None and not self._inner:
                    raise ValueError(f"the end of episode {number}, which was never begun")
            case kind:
                raise ValueError(f"kind {kind!r}")

    def _piece(self, number: int, step: int) -> Entry:
        """Return where a step belongs: a new piece if the step before it is missing."""
        if number not in self.open:
            self.open[number] = [Entry(number, {})]  # damage took its beginning
        last = self.open[number][-1]
        expected = last.start + last.length
        if step < expected:
            raise ValueError(f"step {step} of episode {number} comes twice")
        if step > expected:
            if last.length:
                last = Entry(number, last.header)
                self.open[number].append(last)
            last.start = step
        return last

    def _end(self, number: int, header: dict[str, Any], final: int | None) -> None:
        pieces = self.open.pop(number, None)
        if pieces is None:
            if not self._inner:
                raise ValueError(f"the end of episode {number}, which was never begun")
            return
        last = pieces[-1]
        if header["length"] == last.start + last.length:
            last.header, last.final = header, final
        for piece in pieces:
            piece.records = []
        self._finished += [piece for piece in pieces if piece.length]

    def _whole(self, number: int, header: dict[str, Any], payload: int, size: int) -> Entry:
        size -= self._final.itemsize if header["final"] else 0
        if size < self._step.itemsize or size % self._step.itemsize:
            raise ValueError(f"{size} bytes of steps of {self._step.itemsize} bytes")
        blocks = range(payload, payload + size, self._step.itemsize)
        entry = Entry(number, header, blocks=blocks, length=len(blocks))
        entry.final = payload + size if header["final"] else None
        return entry

    def _arrange(self) -> None:
        """Number the episodes, and find the parents of branches where damage has moved them."""
        entries = list(self._finished)
        if not self._live:
            entries += [piece for pieces in self.open.values() for piece in pieces if piece.length]
        self.entries, self.orphans = [], 0
        places: dict[int, list[tuple[int, Entry]]] = {}
        for entry in entries:
            mark = entry.header.get("branch")
            if mark is not None:
                entry.branch = self._parent(mark, places)
                if entry.branch is None:
                    self.orphans += 1
                    continue
            places.setdefault(entry.number, []).append((self.first + len(self.entries), entry))
            self.entries.append(entry)

    @staticmethod
    def _parent(mark: dict[str, int], places: dict[int, list[tuple[int, Entry]]]) -> Branch | None:
        step = mark["step"]
        if "parent" in mark:
            return Branch(parent=mark["parent"], step=step)
        for position, piece in places.get(mark["episode"], []):
            if piece.start <= step < piece.start + piece.length:
                return Branch(parent=position, step=step - piece.start)
        return None

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...
    def __getitem__(self, index: int | slice) -> Episode | list[Episode]:
        if isinstance(index, slice):
            return [self._load(entry) for entry in self.entries[index]]
        return self._load(self.entries[index])

    def __iter__(self) -> Iterator[Episode]:
        for entry in self.entries:
            yield self._load(entry)

    @property
    def lengths(self) -> list[int]:
        """Number of steps of each episode."""
        return [entry.length for entry in self.entries]

    @property
    def successes(self) -> list[bool | None]:
        """Whether each episode succeeded, None where nothing told it."""
        return [entry.header.get("success") for entry in self.entries]

    @property
    def tasks(self) -> list[str]:
        """Text of the task of each episode."""
        return [entry.header.get("task", "") for entry in self.entries]

    @property
    def task_runs(self) -> list[tuple[TaskRun, ...]]:
        """The tasks of each episode, and how many steps each took."""
        return [task_runs_of(entry.header, entry.length) for entry in self.entries]

    @property
    def provenances(self) -> list[EpisodeOrigin]:
        """Where each episode came from."""
        return [provenance_of(entry.header) for entry in self.entries]

    @property
    def branches(self) -> list[Branch | None]:
        """What each episode continues, None where it is no branch."""
        return [entry.branch for entry in self.entries]

    def blocks(self) -> Iterator[tuple[EpisodeBlock, list[SidecarRow]]]:
        """Yield all episodes in order, some at a time, with what the sidecar keeps of each."""
        first = size = 0
        for place, entry in enumerate(self.entries):
            more = entry.length * self._step.itemsize
            if place > first and (size + more > _BLOCK_BYTES or place - first == _BLOCK_EPISODES):
                yield self._block(self.entries[first:place])
                first, size = place, 0
            size += more
        if first < len(self.entries):
            yield self._block(self.entries[first:])

    def _block(self, entries: list[Entry]) -> tuple[EpisodeBlock, list[SidecarRow]]:
        raw = b"".join(self._raw(entry) for entry in entries)
        steps = np.frombuffer(raw, dtype=self._step)
        rows: list[SidecarRow] = [(ending_of(entry), self._final_of(entry)) for entry in entries]
        endings = [ending for ending, _ in rows]
        block = EpisodeBlock(
            lengths=np.array([entry.length for entry in entries], dtype=np.int64),
            observation={
                name: np.ascontiguousarray(steps["observation"][name]) for name in self.spec.observation
            },
            steps={name: np.ascontiguousarray(steps[name]) for name in STEP_COLUMNS},
            terminated=np.array([ending.terminated for ending in endings]),
            truncated=np.array([ending.truncated for ending in endings]),
            succeeded=np.array([ending.success is True for ending in endings]),
            task_runs=[task_runs_of(entry.header, entry.length) for entry in entries],
        )
        self.let_go()
        return block, rows

    def record(self, offset: int) -> bytes:
        """Return the bytes of one record."""
        frame = frame_at(self._data, offset)
        assert frame is not None
        return bytes(self._data[offset : offset + PREFIX_SIZE + frame[0]])

    def steps(self, entry: Entry) -> np.ndarray:
        """Return the packed steps of an episode, (T,) records."""
        return np.frombuffer(bytearray(self._raw(entry)), dtype=self._step)

    def _raw(self, entry: Entry) -> bytes:
        if isinstance(entry.blocks, range):  # they lie end to end
            return bytes(self._data[entry.blocks.start : entry.blocks.stop])
        size = self._step.itemsize
        return b"".join(self._data[offset : offset + size] for offset in entry.blocks)

    def _final_of(self, entry: Entry) -> dict[str, np.ndarray] | None:
        if entry.final is None:
            return None
        raw = bytes(self._data[entry.final : entry.final + self._final.itemsize])
        packed = np.frombuffer(raw, dtype=self._final)[0]
        return {name: np.array(packed[name]) for name in self.spec.observation}

    def _load(self, entry: Entry) -> Episode:
        return unpacked(self.spec, self.steps(entry), entry, self._final_of(entry))
