"""The features of info.json: what LeRobot may write is understood, everything else is refused by name."""

import json
import logging
from typing import Any

import numpy as np
import pytest

from lerobot_folders import VECTOR
from steadyhand.core.errors import DataError
from steadyhand.core.specs import FeatureSpec, discrete_spec, image_spec
from steadyhand.data.formats.depth import depth_scale, is_depth
from steadyhand.data.formats.schema import (
    DEFAULT_FEATURES,
    STEP_FEATURES,
    Feature,
    action_spec,
    describe,
    huggingface_metadata,
    is_observation,
    observation_specs,
    parse_features,
    picture_of,
)


def one(dtype: Any, shape: Any, **more: Any) -> Feature:
    return parse_features({"x": {"dtype": dtype, "shape": shape, **more}})["x"]


@pytest.mark.parametrize(
    ("features", "what"),
    [
        ([VECTOR], "is not an object with features"),
        ({}, "is not an object with features"),
        ({"a/b": VECTOR}, "name that cannot be used"),
        ({"x": [1]}, "'x' in info.json is incomplete"),
        ({"x": {"shape": [1]}}, "'x' in info.json is incomplete"),
        ({"x": {"dtype": "float32"}}, "'x' in info.json is incomplete"),
        *(
            ({"x": {"dtype": "float32", "shape": shape}}, "'x' has a shape that is no list of sizes")
            for shape in (3, "3", [], [0], [2, 0], [2, -1], [2, 1.5], [2, True], [None, 2], [1] * 6)
        ),
        *(
            ({"x": {"dtype": dtype, "shape": [2]}}, "'x' has an unknown dtype")
            for dtype in (
                "object",
                "complex64",
                "nonsense",
                "U3",
                "",
                "f4,f4",
                ",",
                "(2,3",
                None,
                3,
                ["float32"],
            )
        ),
        *(
            ({"x": {"dtype": dtype, "shape": shape}}, "Camera 'x' has a wrong shape")
            for dtype in ("image", "video")
            for shape in ([30, 44], [30], [1, 30, 44, 3])
        ),
    ],
)
def test_features_that_cannot_be_are_refused_by_name(features: object, what: str) -> None:
    with pytest.raises(DataError, match=what):
        parse_features(features)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8", "bool"])
def test_numbers_of_up_to_five_axes_are_features(dtype: str) -> None:
    for shape in ([1], [7], [3, 4], [3, 30, 44], [1, 2, 3, 4, 5]):
        assert one(dtype, shape) == Feature(dtype=dtype, shape=tuple(shape))


@pytest.mark.parametrize("dtype", ["image", "video"])
@pytest.mark.parametrize(
    ("declared", "read"),
    [
        *(([channels, 30, 44], (30, 44, channels)) for channels in (1, 3, 4)),
        *(([30, 44, channels], (30, 44, channels)) for channels in (1, 3, 4)),
        ([3, 44, 1], (3, 44, 1)),  # both ends may be the channels: as LeRobot writes it, last
        ([4, 44, 3], (4, 44, 3)),
        ([1, 44, 4], (1, 44, 4)),
        ([2, 30, 44], (2, 30, 44)),
        ([5, 30, 44], (5, 30, 44)),
    ],
)
def test_channels_may_come_first_or_last(dtype: str, declared: list[int], read: tuple[int, ...]) -> None:
    assert one(dtype, declared).shape == read


def test_what_a_feature_is() -> None:
    deep = {"is_depth_map": True}
    table = [  # image, depth, number, scalar
        (Feature(dtype="video", shape=(8, 9, 3)), (True, False, False, False)),
        (Feature(dtype="image", shape=(1, 1, 1)), (True, False, False, False)),
        (Feature(dtype="float32", shape=(1,)), (False, False, True, True)),
        (Feature(dtype="float32", shape=(2,)), (False, False, True, False)),
        (Feature(dtype="bool", shape=(1, 1)), (False, False, True, False)),
        (Feature(dtype="string", shape=(1,)), (False, False, False, False)),
    ]
    for feature, expected in table:
        found = (feature.is_image, feature.is_depth, feature.is_number, feature.is_scalar)
        assert found == expected, feature
    for dtype, is_map in (("video", True), ("image", True), ("float32", False)):
        feature = Feature(dtype=dtype, shape=(8, 9, 1), info=deep)
        assert (feature.is_image, feature.is_depth) == (False, is_map)


def test_both_names_of_how_a_camera_is_stored_are_read() -> None:
    video = one("video", [8, 9, 3], video_info={"a": 1, "b": 1}, info={"b": 2, "c": 2})
    assert video.info == {"a": 1, "b": 2, "c": 2}
    assert one("video", [8, 9, 3], info=3).info == {}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b", "c", "d"], "abcd"),
        ({"left": ["a", "b"], "right": ["c", "d"]}, "abcd"),
        ({"left": {"b": 1, "a": 0}, "right": {"c": 0, "d": 1}}, "abcd"),  # each from 0
        ({"left": {"a": 1, "b": 2}, "right": {"d": 2, "c": 1}}, "abcd"),  # each from 1
        ({"left": {"a": 0, "b": 1}, "right": {"c": 2, "d": 3}}, "abcd"),  # on from those before
        ({"d": 3, "a": 0, "c": 2, "b": 1}, "abcd"),
        ({"a": "m", "b": "m", "c": "rad", "d": "rad"}, "abcd"),
        ({"a": 0, "b": "m", "c": None, "d": 1}, "abcd"),
        ({"a": True, "b": False, "c": True, "d": True}, "abcd"),
        ([["a"], ["b", ["c", "d"]]], "abcd"),
        ({"a": 2, "b": 3, "c": 4, "d": 5}, None),  # from 2, with none before
        ({"left": {"a": 0, "b": 1}, "right": {"c": 3, "d": 4}}, None),
        ([{"a": 0, "b": 5}, "c", "d"], None),
        (["c", "d", {"a": 0, "b": 5}], None),
        ({"left": {"a": 0, "b": 5}, "right": ["c", "d"]}, None),
        ({"a": 0, "b": 1, "c": 1, "d": 2}, None),
        (["a", "b", "c", "a"], None),
    ],
)
def test_names_are_flattened_in_the_order_of_their_values(
    caplog: pytest.LogCaptureFixture, names: Any, expected: str | None
) -> None:
    caplog.set_level(logging.WARNING, "steadyhand")
    assert one("float32", [4], names=names).names == (None if expected is None else tuple(expected))
    assert one("float32", [2, 2], names=names).names == (None if expected is None else tuple(expected))
    assert ("names of x in info.json do not tell its values apart" in caplog.text) == (expected is None)


@pytest.mark.parametrize("names", [None, {}, [], "ab", ["a", "b", "c"], {"motors": ["a"]}, [0, 1, 2, 3]])
def test_names_of_another_number_of_values_say_nothing(caplog: pytest.LogCaptureFixture, names: Any) -> None:
    assert one("float32", [4], names=names).names is None
    assert not caplog.text


def test_observations_are_known_by_their_names() -> None:
    names = ["observation", "observation.state", "observations", "action", "next.observation", ""]
    assert [is_observation(name) for name in names] == [True, True, False, False, False, False]


def test_policies_see_numbers_and_pictures_that_are_observations() -> None:
    numbers = {"dtype": "float64", "shape": [2], "names": ["a", "b"]}
    features = parse_features(
        {
            "action": numbers,
            "observation": numbers,
            "observation.text": {"dtype": "string", "shape": [1]},
            "observation.depth": {"dtype": "video", "shape": [8, 9, 1], "info": {"is_depth_map": True}},
            "observation.images.a": {"dtype": "video", "shape": [4, 30, 44]},
            "observation.images.b": {"dtype": "image", "shape": [30, 44, 1]},
            "observation.images.c": {"dtype": "float32", "shape": [3, 20, 24]},
            "observation.images.d": {"dtype": "float32", "shape": [5, 20, 24]},  # refused when it is read
            "observation.image_features": {"dtype": "float32", "shape": [512]},
            "next.images": {"dtype": "image", "shape": [30, 44, 1]},
        }
    )
    assert observation_specs(features) == {
        "observation": FeatureSpec(shape=(2,), names=("a", "b")),
        "observation.images.a": image_spec(30, 44, 3),
        "observation.images.b": image_spec(30, 44, 1),
        "observation.images.c": image_spec(20, 24, 3),
        "observation.images.d": FeatureSpec(shape=(5, 20, 24)),
        "observation.image_features": FeatureSpec(shape=(512,)),
    }
    with pytest.raises(DataError, match="cannot be read as pictures"):
        picture_of("observation.images.d", features["observation.images.d"], lambda: (0.0, 1.0))
    for name in ("observation.text", "observation.images.b", "observation.image_features"):
        assert picture_of(name, features[name], lambda: (0.0, 1.0)) is None


@pytest.mark.parametrize(
    ("dtype", "shape", "classes", "what"),
    [
        (None, (), None, "has no action"),
        ("string", (1,), None, "not a vector of numbers"),
        ("float32", (2, 3), None, "not a vector of numbers"),
        ("int64", (2,), (0, 1), "Only an action of one number"),
    ],
)
def test_an_action_that_cannot_be_is_refused(dtype: Any, shape: Any, classes: Any, what: str) -> None:
    features = {} if dtype is None else {"action": Feature(dtype=dtype, shape=shape)}
    with pytest.raises(DataError, match=what):
        action_spec(features, classes=classes)


def test_an_action_is_numbers_or_one_of_several_classes() -> None:
    features = {"action": Feature(dtype="int64", shape=(1,), names=("gear",))}
    assert action_spec(features, classes=None) == FeatureSpec(shape=(1,), names=("gear",))
    assert action_spec(features, classes=(2, 4)) == discrete_spec(3, start=2)


SEEN = {
    "observation.state": FeatureSpec(shape=(3,), names=("x", "y", "z")),
    "observation.top": image_spec(6, 5, 1),
}
HOW = {  # as LeRobot 0.6.1 writes it
    "video.height": 6,
    "video.width": 5,
    "video.pix_fmt": "yuv420p",
    "video.fps": 7,
    "video.channels": 3,
    "has_audio": False,
    "video.g": 2,
    "video.crf": 30,
    "video.fast_decode": 0,
    "video.video_backend": "pyav",
    "video.extra_options": {},
    "is_depth_map": False,
}


@pytest.mark.parametrize(
    ("image_format", "codec", "camera"),
    [
        ("png", "h264", {"dtype": "image", "shape": [6, 5, 1]}),
        *(
            (
                "mp4",
                codec,
                {
                    "dtype": "video",
                    "shape": [6, 5, 3],
                    "info": {**HOW, "video.codec": codec, "video.preset": preset},
                },
            )
            for codec, preset in (("h264", None), ("av1", 12))
        ),
    ],
)
def test_features_are_described_as_lerobot_does(image_format: str, codec: str, camera: Any) -> None:
    action = discrete_spec(4)
    found = describe(SEEN, action, image_format=image_format, fps=7, codec=codec)
    scalar = {"shape": [1], "names": None}
    choice = {"dtype": "int64", **scalar}
    names = ["action", *SEEN, "expert_action", *STEP_FEATURES, *DEFAULT_FEATURES]
    assert list(found) == names
    assert found["action"] == found["expert_action"] == choice
    assert found["observation.state"] == {"dtype": "float32", "shape": [3], "names": ["x", "y", "z"]}
    assert found["observation.top"] == {**camera, "names": ["height", "width", "channels"]}
    for name, dtype in (STEP_FEATURES | DEFAULT_FEATURES).items():
        assert found[name] == {"dtype": dtype, **scalar}


def test_the_schema_says_what_the_datasets_library_reads() -> None:
    features = {
        "scalar": {"dtype": "int64", "shape": [1]},
        "vector": {"dtype": "float32", "shape": [7]},
        "pair": {"dtype": "float32", "shape": [2]},
        "grid": {"dtype": "float32", "shape": [7, 2]},
        "column": {"dtype": "float32", "shape": [1, 1]},
        "block": {"dtype": "bool", "shape": [7, 2, 3]},
        "picture": {"dtype": "image", "shape": [6, 5, 3]},
        "film": {"dtype": "video", "shape": [6, 5, 3]},
    }
    value = {"dtype": "float32", "_type": "Value"}
    assert json.loads(huggingface_metadata(features)) == {
        "info": {
            "features": {
                "scalar": {"dtype": "int64", "_type": "Value"},
                "vector": {"feature": value, "length": 7, "_type": "List"},
                "pair": {"feature": value, "length": 2, "_type": "List"},
                "grid": {"shape": [7, 2], "dtype": "float32", "_type": "Array2D"},
                "column": {"shape": [1, 1], "dtype": "float32", "_type": "Array2D"},
                "block": {"shape": [7, 2, 3], "dtype": "bool", "_type": "Array3D"},
                "picture": {"_type": "Image"},
            }
        }
    }


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, False),
        ({"is_depth_map": True}, True),
        ({"video.is_depth_map": True}, True),
        ({"is_depth_map": False, "video.is_depth_map": False}, False),
        ({"is_depth_map": 1}, False),
        ({"video.pix_fmt": "gray12le"}, True),
        ({"video.pix_fmt": "gray16be"}, True),
        ({"video.pix_fmt": "gray"}, False),
        ({"video.pix_fmt": "gray8"}, False),
        ({"video.pix_fmt": "gray", "is_depth_map": True}, True),
        ({"video.pix_fmt": "yuv420p"}, False),
    ],
)
def test_depth_maps_are_told_in_words_or_by_their_pixels(info: dict[str, Any], *, expected: bool) -> None:
    assert is_depth(info) is expected


CODES = {"video.depth_min": 0.25, "video.depth_max": 4.0, "video.shift": 0.5, "video.use_log": True}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        *(({name: None}, "quantisation that cannot be") for name in CODES),
        *(({name: float("inf")}, "quantisation that cannot be") for name in list(CODES)[:3]),
        *(
            ({name: value}, "quantisation that cannot be")
            for name in list(CODES)[:3]
            for value in ("1", True)
        ),
        ({"video.use_log": 1}, "quantisation that cannot be"),
        ({"video.depth_max": 0.25}, "quantisation that cannot be"),
        ({"video.shift": -0.25}, "quantisation that cannot be"),  # of which there is no logarithm
        (dict.fromkeys(CODES), "does not say what its numbers mean"),
    ],
)
def test_a_quantisation_is_whole_or_refused(change: dict[str, Any], what: str) -> None:
    with pytest.raises(DataError, match=what):
        depth_scale({**CODES, **change}, name="top")


def test_codes_divide_metres_or_their_logarithm() -> None:
    stored = np.array([[0, 1365], [2730, 4095]], dtype=np.uint16)  # 0, 1/3, 2/3 and all of 4095
    even = depth_scale({**CODES, "video.use_log": False, "video.shift": -9}, name="top")
    np.testing.assert_allclose(even.metres(stored, name="x"), [[0.25, 1.5], [2.75, 4.0]], rtol=1e-6)
    uneven = depth_scale({**CODES, "depth_unit": "mm"}, name="top")
    # 0.75, 4.5 and what divides log 6 in three, each less the shift
    expected = 0.75 * 6 ** (np.arange(4) / 3) - 0.5
    np.testing.assert_allclose(uneven.metres(stored, name="x").ravel(), expected, rtol=1e-6)
    assert uneven.metres(stored[:0], name="x").shape == (0, 2)
    near_zero = depth_scale({**CODES, "video.depth_min": 0.1, "video.shift": 0.1}, name="top")
    assert near_zero.metres(stored, name="x")[0, 0] == np.float32(0.1)
    for wrong in (stored.astype(np.float32), stored + np.eye(2, dtype=np.uint16) * 2048):
        with pytest.raises(DataError, match="no codes of 12 bits"):
            uneven.metres(wrong, name="x")
