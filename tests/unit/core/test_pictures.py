"""Pictures in every layout that people store them in, against the one that they were made from."""

import numpy as np
import pytest

from steadyhand.core.errors import SpecError
from steadyhand.core.pictures import picture_format

RGB = np.random.default_rng(0).integers(0, 256, (5, 24, 32, 3), dtype=np.uint8)
GREY = RGB[..., :1]
MASK = GREY > 127
OPAQUE = np.full((5, 24, 32, 1), 255, dtype=np.uint8)


def read(value, *, is_declared=True):
    found = picture_format(
        value.shape[1:],
        value.dtype,
        name="front",
        limits=lambda: (float(value.min()), float(value.max())),
        is_declared=is_declared,
    )
    if found is None:
        return None
    pictures = found.read(value, name="front")
    assert found.spec.shape == pictures.shape[1:]
    assert pictures.dtype == np.uint8
    assert found.read(value[2], name="front").tolist() == pictures[2].tolist(), "one like many"
    return pictures


@pytest.mark.parametrize(
    ("stored", "pictures"),
    [
        (RGB, RGB),
        (RGB.transpose(0, 3, 1, 2), RGB),
        (RGB / 255, RGB),
        ((RGB / 255).astype(np.float32).transpose(0, 3, 1, 2), RGB),
        (RGB.astype(np.float32), RGB),
        (RGB.astype(np.int64), RGB),
        (np.concatenate([RGB, OPAQUE], axis=-1), RGB),
        (GREY[..., 0], GREY),
        (GREY.transpose(0, 3, 1, 2), GREY),
        ((GREY[..., 0] / 255).astype(np.float16), GREY),
        (MASK, MASK * np.uint8(255)),
        (MASK[..., 0], MASK * np.uint8(255)),
    ],
)
def test_every_layout_gives_the_same_pictures(stored, pictures):
    np.testing.assert_array_equal(read(stored), pictures)


def test_floats_are_rounded_to_the_nearest_level_and_may_overshoot_a_little():
    value = np.full((3, 16, 16, 3), 0.4999 / 255, dtype=np.float32)
    value[0, 0, 0] = -0.0005, 1.0005, 254.6 / 255
    assert read(value)[0, 0, 0].tolist() == [0, 255, 255]
    assert read(value)[0, 1, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros((5, 4, 84, 84), np.uint8), "n_obs_steps"),
        (np.zeros((5, 4, 84, 84, 3), np.uint8), "n_obs_steps"),
        (np.zeros((5, 84, 84, 12), np.uint8), "n_obs_steps"),
        (np.repeat(GREY, 4, axis=-1), "255 everywhere"),
        (np.zeros((5, 24, 32, 1), np.uint16), "depth as float32 metres"),
        (RGB / 127.5 - 1, "-1 to 1"),
        (RGB * 2.0, "range of values"),
        (np.full((5, 24, 32, 3), np.nan), "range of values"),
        (np.zeros((5, 64)), "height, width"),
        (np.zeros((5, 24, 32, 3), np.complex128), "more levels than the 256"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_is_wanted(stored, message):
    with pytest.raises(SpecError, match=message):
        read(stored)


def test_a_live_picture_must_keep_to_the_range_that_was_declared():
    found = picture_format((3, 24, 32), np.dtype(np.float32), name="front", limits=lambda: (0.0, 1.0))
    assert found is not None
    for wrong in (255.0, -1.0, np.nan):
        with pytest.raises(SpecError, match="leave their range"):
            found.read(np.full((3, 24, 32), wrong, dtype=np.float32), name="front")


@pytest.mark.parametrize(
    ("shape", "dtype", "is_picture"),
    [
        ((24, 32, 3), np.uint8, True),
        ((3, 24, 32), np.uint8, True),
        ((8, 8, 3), np.uint8, True),
        ((16, 16, 1), np.float32, True),
        ((15, 16, 1), np.float32, False),
        ((84, 84), np.uint8, True),
        ((84, 84), np.bool_, True),
        ((96, 96, 3), np.float32, True),
        ((3, 96, 96), np.float64, True),
        ((7,), np.uint8, False),
        ((3, 4), np.uint8, False),
        ((10, 7, 3), np.float32, False),  # ten frames of seven points
        ((1, 32, 32), np.float32, True),
        ((84, 84, 1), np.float32, True),
        ((84, 84), np.float64, True),
        ((84, 84), np.int64, True),
        ((4, 4), np.float32, False),
        ((8, 84), np.float32, False),  # eight steps of 84 numbers
        ((1024, 3), np.float32, False),  # a cloud of points
    ],
)
def test_which_undeclared_arrays_are_pictures(shape, dtype, is_picture):
    found = picture_format(shape, np.dtype(dtype), name="x", limits=lambda: (0.0, 1.0))
    assert (found is not None) == is_picture


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_a_name_may_say_that_numbers_are_no_picture(dtype):
    wide = {"limits": lambda: (-3.0, 1000.0)}
    for name in ("observation.depth", "observation.height_map", "The observation grid"):
        assert picture_format((32, 32), np.dtype(dtype), name=name, **wide) is None
    for shape in ((32, 32), (32, 32, 1), (1, 32, 32), (2, 84, 84)):
        with pytest.raises(SpecError, match="depth, map, grid"):
            picture_format(shape, np.dtype(dtype), name="observation.mapped", **wide)


def test_numbers_on_two_axes_are_told_of_or_refused_and_either_way_with_how_to_call_them(caplog):
    unit = {"limits": lambda: (0.0, 1.0)}
    for _ in range(2):
        assert picture_format((20, 30), np.dtype(np.float32), name="observation.felt", **unit) is not None
    (told,) = [record.getMessage() for record in caplog.records]
    for part in (
        "float32 of shape (20, 30)",
        "grey pictures",
        "--rename observation.felt=observation.history",
    ):
        assert part in told
    assert picture_format((20, 30, 3), np.dtype(np.float32), name="observation.eye", **unit) is not None
    assert picture_format((20, 30), np.dtype(np.uint8), name="observation.eye", **unit) is not None
    declared = picture_format(
        (20, 30), np.dtype(np.float32), name="observation.eye", is_declared=True, **unit
    )
    assert declared is not None
    assert len(caplog.records) == 1
    with pytest.raises(SpecError, match=r"--rename observation\.felt=observation\.history.*rename={"):
        picture_format((20, 30), np.dtype(np.float32), name="observation.felt", limits=lambda: (-4.0, 4.0))
    with pytest.raises(SpecError, match="store them as float32, and give them a name"):
        picture_format((2, 20, 30), np.dtype(np.uint8), name="observation.felt", **unit)


@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 1), (1, 32, 32), (32, 32, 3), (2, 32, 32)])
def test_sixteen_bits_are_refused_whatever_their_layout_and_name(shape):
    with pytest.raises(SpecError, match="cannot be read as pictures"):
        picture_format(shape, np.dtype(np.uint16), name="observation.depth", limits=lambda: (0.0, 9.0))


@pytest.mark.parametrize(
    ("dtype", "limits", "values"),
    [
        (np.float32, (0.0, 1.0), "unit"),
        (np.float32, (0.0, 1.5), "bytes"),
        (np.float32, (-0.1, 1.0), "bytes"),
        (np.float32, (-0.001, 1.001), "unit"),
        (np.float32, (0.0, 255.0), "bytes"),
        (np.float32, (-0.001 * 255.0, 1.001 * 255.0), "bytes"),
        (np.int64, (0.0, 1.0), "bytes"),
        (np.uint8, (0.0, 1.0), "bytes"),
        (np.bool_, (0.0, 1.0), "mask"),
    ],
)
def test_the_range_of_floats_says_what_they_count(dtype, limits, values):
    found = picture_format((16, 16, 3), np.dtype(dtype), name="front", limits=lambda: limits)
    assert found.values == values


@pytest.mark.parametrize("limits", [(-0.3, 255.0), (0.0, 256.0)])
def test_a_range_that_is_no_picture_s_is_refused(limits):
    with pytest.raises(SpecError, match="its range of values is no picture's"):
        picture_format((16, 16, 3), np.dtype(np.float32), name="front", limits=lambda: limits)


@pytest.mark.parametrize("top", [1.0, 255.0])
def test_the_overshoot_of_floats_ends_at_a_thousandth(top):
    value = np.full((3, 16, 16, 3), 0.5 * top)
    value[0, 0, 0, :2] = -0.00099 * top, 1.00099 * top
    assert read(value)[0, 0, 0].tolist() == [0, 255, 128]
    value[0, 0, 0, :2] = -0.001 * top, 1.001 * top
    assert read(value)[0, 0, 0].tolist() == [0, 255, 128]
    declared = picture_format(
        (16, 16, 3), value.dtype, name="front", limits=lambda: (0.0, top), is_declared=True
    )
    for wrong in (-0.0011 * top, 1.0011 * top):
        value[0, 0, 0, 0] = wrong
        with pytest.raises(SpecError):
            declared.read(value, name="front")
    with pytest.raises(SpecError):
        read(np.full((3, 16, 16, 3), 255.0 * 1.0011))
    value[0, 0, 0, :2] = -0.0011 * 255.0, 255.0
    with pytest.raises(SpecError):
        read(value)
