"""What is told from the bytes at the end of a journal."""

import pytest

from steadyhand.data.records import MARK, PREFIX_SIZE, encode, encode_step, is_cut, next_record

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
