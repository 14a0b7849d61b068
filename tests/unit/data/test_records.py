"""What is told from the bytes of a journal, and what its writer does with the file."""

import os
import threading
from pathlib import Path

import pytest

from steadyhand.data.records import (
    MAGIC,
    MARK,
    PREFIX_SIZE,
    JournalWriter,
    encode,
    encode_step,
    is_cut,
    next_record,
)

SOUND = encode({"a": 1})
STEP = encode_step(0, 0, b"payload")


@pytest.mark.parametrize("record", [SOUND, STEP], ids=["header", "step"])
def test_every_beginning_of_a_record_is_a_write_that_was_cut(record):
    for length in range(1, len(record)):
        assert is_cut(SOUND + record[:length], len(SOUND)), length


def test_a_whole_record_was_not_cut():
    assert not is_cut(SOUND, 0)
    assert not is_cut(SOUND + STEP, len(SOUND))


@pytest.mark.parametrize("length", [1, len(MARK), PREFIX_SIZE - 1, PREFIX_SIZE, 3 * PREFIX_SIZE])
def test_zeros_were_never_written_and_other_bytes_were(length):
    assert is_cut(SOUND + bytes(length), len(SOUND))
    assert not is_cut(SOUND + b"x" * length, len(SOUND))
    assert not is_cut(SOUND + MARK[:1] + b"x" * length, len(SOUND))
    assert not is_cut(SOUND + bytes(length) + b"x", len(SOUND))


def test_the_record_behind_a_damaged_one_is_found_past_what_only_looks_like_one():
    damaged = bytearray(SOUND)
    damaged[0] ^= 1
    between = MARK + b"no record" + MARK + MARK
    data = bytes(damaged) + between + STEP + SOUND
    assert next_record(data, 0) == len(damaged) + len(between)
    assert next_record(bytes(damaged) + between, 0) == len(damaged) + len(between)
    body = bytearray(STEP)
    body[-1] ^= 1  # the frame is sound, so that the next record is known to lie behind it
    assert next_record(bytes(body) + SOUND, 0) == len(body)


def test_what_is_as_long_as_a_frame_and_is_none_was_not_cut():
    assert not is_cut(MARK + b"x" * (PREFIX_SIZE - len(MARK)), 0)


def test_the_frame_of_a_damaged_record_tells_where_the_next_one_begins():
    """A journal that was recorded inside a payload is no part of this one."""
    inner = encode({"inner": 1})
    for outer in (encode({"kind": "x"}, inner + b"tail"), encode_step(3, 4, b"head" + inner + b"tail")):
        damaged = outer[:-1] + bytes([outer[-1] ^ 1])
        before = SOUND + damaged
        assert next_record(before + STEP, len(SOUND)) == len(before)
        assert next_record(before + b"garbage" + STEP, len(SOUND)) == before.index(inner)


@pytest.mark.parametrize("gap", [1, 2, 4, 7])
def test_the_next_record_may_begin_at_any_byte(gap):
    assert next_record(b"x" * gap + SOUND, 0) == gap
    assert next_record(MARK + b"x" * gap + SOUND, 0) == len(MARK) + gap


def test_a_header_says_nothing_that_is_no_json():
    with pytest.raises(ValueError, match="JSON compliant"):
        encode({"a": float("nan")})


def writer_of(path: Path, data: bytes, **options: object) -> JournalWriter:
    path.write_bytes(data)
    return JournalWriter(path, **{"end": len(data), **options})


def test_what_lies_behind_the_end_is_cut_away_and_records_follow_it(tmp_path: Path) -> None:
    writer = writer_of(tmp_path / "j", MAGIC + SOUND + b"torn" * 100, end=len(MAGIC + SOUND))
    writer.append(STEP)
    writer.close()
    assert (tmp_path / "j").read_bytes() == MAGIC + SOUND + STEP


def test_a_writer_is_closed_once_and_forces_nothing_to_disk_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[int] = []
    monkeypatch.setattr(os, "fsync", forced.append)
    writer = writer_of(tmp_path / "j", MAGIC)
    assert not forced
    writer.append(SOUND)
    writer.close()
    assert len(forced) == 1
    writer.close()
    writer.sync()
    assert len(forced) == 1
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(forced[0])


def test_a_pending_flush_keeps_no_process_alive_and_ends_when_it_is_done(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    writer = writer_of(tmp_path / "j", MAGIC)
    writer.append(SOUND)
    writer.append(STEP)
    (timer,) = set(threading.enumerate()) - before
    assert timer.daemon
    writer.sync()
    timer.join(0.5)  # it would wait for a second
    assert not timer.is_alive()
    writer.close()


def test_a_replay_compares_what_is_there_and_then_goes_on(tmp_path: Path) -> None:
    writer = writer_of(tmp_path / "j", MAGIC + SOUND + STEP, replay=True)
    replaying: list[bool] = []
    for record in (SOUND, STEP, SOUND):
        replaying.append(writer.replaying)
        writer.append(record)
    writer.close()
    assert replaying == [True, True, False]
    assert (tmp_path / "j").read_bytes() == MAGIC + SOUND + STEP + SOUND
