"""Records of a journal: how they are framed, written whole or not at all, and found again after damage.

A journal begins with eight bytes of magic. Each record follows as 24 bytes, little-endian: a mark of four
bytes, uint64 bytes of the body, uint32 bytes of its JSON header, uint32 CRC-32 of the body, uint32 CRC-32 of
the 20 bytes before; then the body: header, then raw bytes. A step has no JSON header: its body begins with
uint64 number of its episode and uint64 number of the step. Damage costs the records that it touches: the next
one is found by its mark and its checksums. No pickle.
"""

import json
import mmap
import os
import struct
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steadyhand.core.errors import DataError

MAGIC = b"SHJRNL2\n"
MARK = b"\x9dSH\xf4"
STEP = struct.Struct("<QQ")
"""(number of the episode, number of the step), ahead of the bytes of a step."""
_FRAME = struct.Struct("<4sQII")
_CRC = struct.Struct("<I")
PREFIX_SIZE = _FRAME.size + _CRC.size
_SYNC_EVERY = 1.0  # [s]

Bytes = bytes | mmap.mmap


def encode(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """Return one record with a JSON header."""
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return _framed(text + payload, len(text))


def encode_step(episode: int, step: int, payload: bytes) -> bytes:
    """Return the record of one step."""
    return _framed(STEP.pack(episode, step) + payload, 0)


def _framed(body: bytes, text: int) -> bytes:
    frame = _FRAME.pack(MARK, len(body), text, zlib.crc32(body))
    return frame + _CRC.pack(zlib.crc32(frame)) + body


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes of a journal that are no whole record.

    Attributes:
        offset: Where they begin.
        size: How many.
    """

    offset: int
    size: int


def frame_at(data: Bytes, offset: int) -> tuple[int, int, int] | None:
    """Return (bytes of the body, bytes of the header, CRC of the body), or None without a sound frame."""
    if offset + PREFIX_SIZE > len(data):
        return None
    mark, length, text, crc = _FRAME.unpack_from(data, offset)
    own = _CRC.unpack_from(data, offset + _FRAME.size)[0]
    if mark != MARK or text > length or own != zlib.crc32(data[offset : offset + _FRAME.size]):
        return None
    return length, text, crc


def record_at(data: Bytes, offset: int) -> tuple[int, int] | None:
    """Return (end of the record, bytes of its header), or None if no whole record begins at `offset`."""
    frame = frame_at(data, offset)
    if frame is None:
        return None
    length, text, crc = frame
    start = offset + PREFIX_SIZE
    with memoryview(data) as view, view[start : start + length] as body:
        return (start + length, text) if zlib.crc32(body) == crc else None  # also where it was cut


def next_record(data: Bytes, offset: int) -> int:
    """Return where the next whole record behind a damaged one begins, or the end of the data."""
    frame = frame_at(data, offset)
    if frame is not None:
        behind = offset + PREFIX_SIZE + frame[0]
        if record_at(data, behind) is not None:
            return behind
    found = offset
    while (found := data.find(MARK, found + 1)) != -1:
        if record_at(data, found) is not None:
            return found
    return len(data)


def is_cut(data: Bytes, offset: int) -> bool:
    """Return whether what begins at `offset` is a write that did not come to its end.

    That is the beginning of a frame, a sound frame whose body is not all there, or bytes that were never
    written (a file system that lost its power leaves zeros).
    """
    with memoryview(data) as view, view[offset:] as tail:
        if not any(tail):
            return True
    rest = len(data) - offset
    if rest < PREFIX_SIZE:
        return bool(data[offset : offset + len(MARK)] == MARK[:rest])
    frame = frame_at(data, offset)
    return frame is not None and frame[0] > rest - PREFIX_SIZE


class JournalWriter:
    """Appends records, each whole or not at all.

    Every record is handed to the system at once, so a killed process loses nothing; it is forced to disk
    within a second and at close, so a power cut loses at most the last second. What a failed write left is
    cut away; where that fails too, or where forcing to disk fails, nothing more is written.

    Args:
        path: The journal.
        end: Length of what is whole in the journal [bytes]; what lies behind is cut away.
        replay: Whether the records that are there are to come again, in the same order and to the bit,
            before new ones are written.
    """

    def __init__(self, path: Path, *, end: int, replay: bool = False) -> None:
        self._path = path
        self._handle = os.open(path, os.O_RDWR)
        self._end = end
        self._position = len(MAGIC) if replay else end
        self._broken: OSError | None = None
        self._is_closed = False
        self._timer: threading.Timer | None = None
        self._mutex = threading.Lock()
        os.ftruncate(self._handle, end)
        os.lseek(self._handle, self._position, os.SEEK_SET)

    @property
    def replaying(self) -> bool:
        """Whether records that are there already are still to come."""
        return self._position < self._end

    def append(self, record: bytes) -> None:
        """Write one record.

        Raises:
            OSError: The system refused, such as on a full disk. Nothing of the record is left, and writing
                may be tried again.
            DataError: A write could not be undone, or a replayed record differs from the one that is there.
        """
        self._refuse_if_broken()
        if self.replaying:
            self._replay(record)
            return
        try:
            view = memoryview(record)
            while view:
                view = view[os.write(self._handle, view) :]
        except BaseException as error:
            self._cut_back()
            if isinstance(error, OSError):
                raise OSError(error.errno, os.strerror(error.errno or 0), str(self._path)) from error
            raise
        self._position = self._end = self._end + len(record)
        if self._timer is None:
            self._timer = threading.Timer(_SYNC_EVERY, self._sync_later)
            self._timer.daemon = True
            self._timer.start()

    def sync(self) -> None:
        """Force everything to disk.

        Raises:
            OSError: The system refused: what was appended may be lost, and nothing more is written.
        """
        with self._mutex:
            timer, self._timer = self._timer, None
            if timer is not None:
                timer.cancel()
            if not self._is_closed:
                try:
                    os.fsync(self._handle)
                except OSError as error:
                    self._broken = error
                    raise

    def close(self) -> None:
        """Force everything to disk and close."""
        try:
            self.sync()
        finally:
            with self._mutex:
                if not self._is_closed:
                    os.close(self._handle)
                self._is_closed = True

    def _sync_later(self) -> None:
        with suppress(OSError):  # kept in _broken: the next append says it
            self.sync()

    def _cut_back(self) -> None:
        try:
            os.ftruncate(self._handle, self._end)
            os.lseek(self._handle, self._end, os.SEEK_SET)
        except OSError as error:
            self._broken = error

    def _refuse_if_broken(self) -> None:
        if self._broken is not None:
            raise DataError(
                f"{self._path} could not be written any more, so nothing is recorded into it.",
                got=self._broken,
                hint="close the store, free space or mend the disk, and open it again",
            ) from self._broken

    def _replay(self, record: bytes) -> None:
        if os.read(self._handle, len(record)) != record:
            raise DataError(
                f"Going on from {self._path} gave another step than it holds.",
                got=f"a difference at byte {self._position}",
                expected="the same steps again: the same env, expert, code and settings",
                hint="record into another folder; what is there stays as it is",
            )
        self._position += len(record)
