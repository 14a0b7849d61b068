"""The file that recording appends to: constant cost, and nothing lost when the process is killed.

After eight bytes of magic, records follow one another: three little-endian uint32 (bytes of the body, CRC-32
of the body, bytes of its JSON header), then the body: header, then raw bytes. A record that is cut or damaged
ends the journal; what lies behind it is dropped. No pickle.
"""

import json
import mmap
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import DataError
from steadyhand.data.episode import Branch, Episode, Provenance
from steadyhand.data.spec import StoreSpec

JOURNAL_PATH = "meta/steadyhand/journal.bin"
MAGIC = b"SHJRNL1\n"
_PREFIX = struct.Struct("<III")
_SYNC_EVERY = 1.0  # [s]


def encode(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """Return one record."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    body = text + payload
    return _PREFIX.pack(len(body), zlib.crc32(body), len(text)) + body


class JournalWriter:
    """Appends records.

    Every record is handed to the system at once, so a killed process loses nothing; it is forced to disk
    within a second and at close, so a power cut loses at most the last second.
    """

    def __init__(self, path: Path, *, end: int) -> None:
        self._handle = os.open(path, os.O_RDWR)
        os.ftruncate(self._handle, end)
        os.lseek(self._handle, end, os.SEEK_SET)
        self._timer: threading.Timer | None = None
        self._mutex = threading.Lock()

    def append(self, record: bytes) -> None:
        """Write one record."""
        view = memoryview(record)
        while view:
            view = view[os.write(self._handle, view) :]
        if self._timer is None:
            self._timer = threading.Timer(_SYNC_EVERY, self.sync)
            self._timer.daemon = True
            self._timer.start()

    def sync(self) -> None:
        """Force everything to disk."""
        with self._mutex:
            timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
            if self._handle >= 0:
                os.fsync(self._handle)

    def close(self) -> None:
        """Force everything to disk and close."""
        self.sync()
        with self._mutex:
            if self._handle >= 0:
                os.close(self._handle)
            self._handle = -1


@dataclass(slots=True)
class Entry:
    """Where one episode lies in the journal.

    Attributes:
        header: How it ended; for an open episode how it began.
        blocks: Offset of each block of packed steps.
        length: Number of steps.
        final: Offset of the packed final observation, or -1.
        records: Offset of each record, so that an open episode can be moved to a new journal.
    """

    header: dict[str, Any]
    blocks: list[int] = field(default_factory=list[int])
    length: int = 0
    final: int = -1
    records: list[int] = field(default_factory=list[int])


class JournalReader(Sequence[Episode]):
    """The finished episodes of a journal, and those that a killed process left open.

    Episodes are read from the file when they are asked for.

    Args:
        path: The journal.
        spec: What the store holds.
        live: Whether a writer is at work, so that open episodes are not over yet.

    Raises:
        DataError: The file is no journal.
    """

    def __init__(self, path: Path, spec: StoreSpec, *, live: bool) -> None:
        self.path = path
        self._spec = spec
        self._step = spec.step_dtype()
        self._final = spec.observation_dtype()
        self._live = live
        self._finished: list[Entry] = []
        self.open: dict[int, Entry] = {}
        self.end = 0
        self.next_number = 0
        self.dropped = 0
        self._data: mmap.mmap | bytes = b""
        self.refresh()

    def refresh(self) -> None:
        """Read what was appended since."""
        with self.path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        if self.end == 0:
            if self._data[: len(MAGIC)] != MAGIC:
                raise DataError(f"{self.path} is not a journal.", got=bytes(self._data[:8]), expected=MAGIC)
            self.end = len(MAGIC)
        self.end = self._scan(self.end)
        self.dropped = len(self._data) - self.end

    def _scan(self, offset: int) -> int:
        data, size = self._data, len(self._data)
        view = memoryview(data)
        while offset + _PREFIX.size <= size:
            length, crc, text = _PREFIX.unpack_from(data, offset)
            start = offset + _PREFIX.size
            if start + length > size or text > length or zlib.crc32(view[start : start + length]) != crc:
                break
            try:
                self._take(json.loads(bytes(view[start : start + text])), offset, start + text, length - text)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{self.path} holds a record that this version cannot read.",
                    got=error,
                    hint="it was written by another version or is damaged; restore it from a copy",
                ) from error
            offset = start + length
        view.release()
        return offset

    def _take(self, header: dict[str, Any], record: int, payload: int, size: int) -> None:
        number = header["episode"]
        self.next_number = max(self.next_number, number + 1)
        match header["kind"]:
            case "begin":
                self.open[number] = Entry(header, records=[record])
            case "step":
                entry = self.open[number]
                self._add_block(entry, payload, size)
                entry.records.append(record)
            case "end":
                entry = self.open.pop(number)
                entry.header, entry.records = header, []
                entry.final = payload if size else -1
                self._finished.append(entry)
            case "episode":
                final = self._final.itemsize if header["final"] else 0
                entry = Entry(header)
                self._add_block(entry, payload, size - final)
                entry.final = payload + size - final if final else -1
                self._finished.append(entry)
            case "abort":
                del self.open[number]
            case kind:
                raise ValueError(f"kind {kind!r}")

    def _add_block(self, entry: Entry, payload: int, size: int) -> None:
        if size % self._step.itemsize or size == 0:
            raise ValueError(f"{size} bytes of steps of {self._step.itemsize} bytes")
        steps = size // self._step.itemsize
        if steps == 1:
            entry.blocks.append(payload)
        else:
            entry.blocks.extend(range(payload, payload + size, self._step.itemsize))
        entry.length += steps

    @property
    def entries(self) -> list[Entry]:
        """Finished episodes, then the interrupted ones in the order in which they began."""
        if self._live:
            return self._finished
        return self._finished + [entry for entry in self.open.values() if entry.length]

    def __len__(self) -> int:
        return len(self.entries)

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...
    def __getitem__(self, index: int | slice) -> Episode | list[Episode]:
        entries = self.entries
        if isinstance(index, slice):
            return [self._load(entry) for entry in entries[index]]
        return self._load(entries[index])

    def __iter__(self) -> Iterator[Episode]:
        for entry in self.entries:
            yield self._load(entry)

    @property
    def lengths(self) -> list[int]:
        """Number of steps of each episode."""
        return [entry.length for entry in self.entries]

    @property
    def tasks(self) -> list[str]:
        """Text of the task of each episode."""
        return [entry.header.get("task", "") for entry in self.entries]

    @property
    def provenances(self) -> list[Provenance]:
        """Where each episode came from."""
        return [_provenance(entry.header) for entry in self.entries]

    @property
    def branches(self) -> list[tuple[int, int]]:
        """(parent, step) of each episode, (-1, -1) where it is no branch."""
        marks = [entry.header.get("branch") for entry in self.entries]
        return [(-1, -1) if mark is None else (mark[0], mark[1]) for mark in marks]

    def record(self, offset: int) -> bytes:
        """Return the bytes of one record."""
        length = _PREFIX.unpack_from(self._data, offset)[0]
        return bytes(self._data[offset : offset + _PREFIX.size + length])

    def steps(self, entry: Entry) -> np.ndarray:
        """Return the packed steps of an episode, (T,) records."""
        size, first, last = self._step.itemsize, entry.blocks[0], entry.blocks[-1]
        if last - first == (entry.length - 1) * size:
            raw = bytes(self._data[first : last + size])
        else:
            raw = b"".join(self._data[offset : offset + size] for offset in entry.blocks)
        return np.frombuffer(bytearray(raw), dtype=self._step)

    def _load(self, entry: Entry) -> Episode:
        final = None
        if entry.final >= 0:
            raw = bytes(self._data[entry.final : entry.final + self._final.itemsize])
            packed = np.frombuffer(raw, dtype=self._final)[0]
            final = {name: np.array(packed[name]) for name in self._spec.observation}
        return unpack(self._spec, self.steps(entry), entry.header, final)


def outcome_header(episode: Episode) -> dict[str, Any]:
    """Return how an episode ended, as JSON data."""
    return {
        "terminated": bool(episode.terminated),
        "truncated": bool(episode.truncated),
        "success": None if episode.success is None else bool(episode.success),
        "task": episode.task,
        "provenance": to_data(episode.provenance),
        "branch": None if episode.branch is None else [episode.branch.parent, episode.branch.step],
    }


def _provenance(header: dict[str, Any]) -> Provenance:
    """Return where an episode came from; one without an end was interrupted."""
    provenance = from_data(header.get("provenance", {}), Provenance, source="the journal")
    return provenance if "terminated" in header else replace(provenance, outcome="interrupted")


def unpack(
    spec: StoreSpec, steps: np.ndarray, header: dict[str, Any], final: dict[str, np.ndarray] | None
) -> Episode:
    """Return the episode of packed steps; without an end in `header` it counts as interrupted."""
    columns = ("action", "expert_action", "expert_action_valid", "actor", "intervention", "weight", "reward")
    branch = header.get("branch")
    return Episode(
        observation={name: np.ascontiguousarray(steps["observation"][name]) for name in spec.observation},
        **{name: np.ascontiguousarray(steps[name]) for name in columns},
        final_observation=final,
        terminated=header.get("terminated", False),
        truncated=header.get("truncated", True),
        success=header.get("success"),
        task=header.get("task", ""),
        control_dt=spec.control_dt,
        provenance=_provenance(header),
        branch=None if branch is None else Branch(parent=branch[0], step=branch[1]),
    )
