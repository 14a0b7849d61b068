"""Features as LeRobot describes them, and the feature specs that the rest of the house uses."""

import json
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from steadyhand.core.errors import DataError, SpecError
from steadyhand.core.pictures import PictureFormat, picture_format
from steadyhand.core.specs import ACTION, FeatureSpec, class_spec, image_spec
from steadyhand.data.formats.depth import is_depth
from steadyhand.data.formats.files import check_feature_name

DEFAULT_FEATURES: dict[str, str] = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
"""What every LeRobot data set has, in its order."""

STEP_FEATURES: dict[str, str] = {
    "expert_action_valid": "bool",
    "actor": "uint8",
    "intervention": "bool",
    "weight": "float32",
    "next.reward": "float32",
    "next.done": "bool",
    "next.success": "bool",
    "next.truncated": "bool",
}
"""Our scalar columns; `expert_action` comes before them and looks like `action`."""

EXPERT_ACTION = "expert_action"
SUCCESS = "next.success"
OWN_COLUMNS = (EXPERT_ACTION, "expert_action_valid", "actor", "intervention", "weight")
"""What these columns mean is ours, so they are read as such only from a recording of ours; in data of another
origin a `weight` may be kilograms. The others follow LeRobot's names, which mean the same everywhere."""

_MAX_AXES = 5
_logger = logging.getLogger("steadyhand")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One entry of "features" in info.json.

    Attributes:
        dtype: A NumPy dtype name, "string", "image" or "video".
        shape: Shape of one step.
        names: One name for each value, if the file gives exactly that many.
        column: What it is called in the files, if it was renamed on reading.
        info: How a camera is stored, such as video.pix_fmt; empty for other features.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] | None = None
    column: str = ""
    info: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def is_image(self) -> bool:
        """Whether it is a camera that takes pictures."""
        return self.dtype in ("image", "video") and not self.is_depth

    @property
    def is_depth(self) -> bool:
        """Whether it is a depth map."""
        return self.dtype in ("image", "video") and is_depth(self.info)

    @property
    def is_number(self) -> bool:
        """Whether it holds numbers: no camera, no text."""
        return self.dtype not in ("image", "video", "string")

    @property
    def is_scalar(self) -> bool:
        """Whether it holds one number."""
        return self.is_number and self.shape == (1,)


def parse_features(data: object) -> dict[str, Feature]:
    """Return the features of an info.json.

    Raises:
        DataError: Names, dtypes or shapes that no LeRobot data set has.
    """
    if not isinstance(data, dict) or not data:
        raise DataError('"features" in info.json is not an object with features.', got=repr(data)[:80])
    return {str(name): _parse_feature(str(name), entry) for name, entry in data.items()}


def _parse_feature(name: str, entry: object) -> Feature:
    check_feature_name(name)
    if not isinstance(entry, dict) or "dtype" not in entry or "shape" not in entry:
        raise DataError(
            f"Feature {name!r} in info.json is incomplete.",
            got=repr(entry)[:80],
            expected='an object with "dtype" and "shape"',
        )
    dtype, shape = entry["dtype"], entry["shape"]
    sizes_ok = (
        isinstance(shape, list)
        and 1 <= len(shape) <= _MAX_AXES
        and all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in shape)
    )
    if not sizes_ok:
        raise DataError(f"Feature {name!r} has a shape that is no list of sizes.", got=shape)
    if dtype not in ("string", "image", "video"):
        known = False
        with suppress(TypeError, SyntaxError):  # NumPy takes a text with a comma for a list of types
            known = isinstance(dtype, str) and np.dtype(dtype).kind in "fiub"
        if not known:
            raise DataError(
                f"Feature {name!r} has an unknown dtype.",
                got=dtype,
                available=["float32", "float64", "int64", "bool", "string", "image", "video", "..."],
            )
    if dtype in ("image", "video") and len(shape) != 3:
        raise DataError(
            f"Camera {name!r} has a wrong shape.", got=shape, expected="[height, width, channels]"
        )
    sizes = tuple(shape)
    if dtype in ("image", "video") and sizes[0] in (1, 3, 4) and sizes[2] not in (1, 3, 4):
        sizes = (sizes[1], sizes[2], sizes[0])
    info: dict[str, object] = {}
    for key in ("video_info", "info"):  # the first is how older files call it
        part = entry.get(key)
        info |= {str(name): value for name, value in part.items()} if isinstance(part, dict) else {}
    return Feature(dtype=dtype, shape=sizes, names=_names(name, entry.get("names"), sizes), info=info)


def _names(feature: str, names: object, shape: tuple[int, ...]) -> tuple[str, ...] | None:
    """Flatten the ways in which names are written: lists, dicts of lists, and {name: index} in any order.

    Indices count from 0, from 1, or on from the names before. Names that do not tell which value is which are
    dropped, with a warning.
    """
    flat: list[str] = []
    is_clear = _gather(names, flat)
    if len(flat) != math.prod(shape):
        return None
    if is_clear and len(set(flat)) == len(flat):
        return tuple(flat)
    _logger.warning(
        "names of %s in info.json do not tell its values apart, and are dropped: %s", feature, names
    )
    return None


def _gather(value: object, flat: list[str]) -> bool:
    """Append names in the order of their values; return whether that order is beyond doubt."""
    if isinstance(value, str):
        flat.append(value)
    elif isinstance(value, list):
        are_clear = [_gather(item, flat) for item in value]
        return all(are_clear)
    elif isinstance(value, dict):
        indices = list(value.values())
        if indices and all(isinstance(index, int) and not isinstance(index, bool) for index in indices):
            first, before = min(indices), len(flat)
            flat.extend(str(key) for key in sorted(value, key=value.__getitem__))
            return first in (0, 1, before) and sorted(indices) == list(range(first, first + len(indices)))
        are_clear = [
            _gather(item if isinstance(item, list | dict) else str(key), flat) for key, item in value.items()
        ]
        return all(are_clear)
    return True


def _picture_spec(shape: tuple[int, ...]) -> FeatureSpec:
    """Return the spec of pictures of a declared shape; of four channels the transparency is left out."""
    height, width, channels = shape
    return image_spec(height, width, 3 if channels == 4 else channels)


def is_observation(name: str) -> bool:
    """Whether a feature is something that is observed, by its name."""
    return name == "observation" or name.startswith("observation.")


def picture_of(
    name: str, feature: Feature, limits: Callable[[], tuple[float, float]]
) -> PictureFormat | None:
    """Return how pictures lie in a column of numbers; None if it holds no pictures.

    Args:
        name: Name of the feature.
        feature: The feature.
        limits: Returns the lowest and the highest value of the column; only asked for floats.

    Raises:
        DataError: They look like pictures, but cannot be read as such.
    """
    if not feature.is_number or len(feature.shape) < 2:
        return None
    is_declared = name.startswith("observation.image")
    try:
        return picture_format(
            feature.shape, np.dtype(feature.dtype), name=name, limits=limits, is_declared=is_declared
        )
    except SpecError as error:
        raise DataError(error.what, **error.rest) from error


def observation_specs(features: Mapping[str, Feature]) -> dict[str, FeatureSpec]:
    """Return the specs of everything that a policy may see; text and depth maps are left out.

    Deviation: numbers that are not float32 in the file are read as float32.
    """
    seen = {name: f for name, f in features.items() if is_observation(name) and (f.is_image or f.is_number)}
    return {name: _observed(name, feature) for name, feature in seen.items()}


def _observed(name: str, feature: Feature) -> FeatureSpec:
    if feature.is_image:
        return _picture_spec(feature.shape)
    with suppress(DataError):  # said when the feature is read: others work without it
        picture = picture_of(name, feature, lambda: (0.0, 255.0))
        if picture is not None:
            return picture.spec
    return FeatureSpec(shape=feature.shape, names=feature.names)


def action_spec(features: Mapping[str, Feature], *, classes: tuple[int, int] | None) -> FeatureSpec:
    """Return the spec of the action: numbers, or one choice from the lowest to the highest of `classes`.

    Raises:
        DataError: There is no action, it is no vector of numbers, or it has classes and several numbers.
    """
    feature = features.get(ACTION)
    if feature is None:
        raise DataError(
            "The data set has no action.",
            got="no feature 'action'",
            available=sorted(features),
            hint="if it has another name, say so: --rename NAME=action, or rename={'NAME': 'action'}",
        )
    if not feature.is_number or len(feature.shape) != 1:
        raise DataError(
            "The action is not a vector of numbers.", got=f"{feature.dtype} {feature.shape}", expected="(A,)"
        )
    if classes is None:
        return FeatureSpec(shape=feature.shape, names=feature.names)
    if feature.shape != (1,):
        raise DataError(
            "Only an action of one number can be one of several classes.",
            got=f"shape {feature.shape}",
            expected="(1,)",
            hint="leave classes out",
        )
    return class_spec(classes)


def describe(
    observation: Mapping[str, FeatureSpec],
    action: FeatureSpec,
    *,
    image_format: str,
    fps: int,
    codec: str,
) -> dict[str, dict[str, Any]]:
    """Return "features" of the info.json of a data set that we write, in column order."""
    features: dict[str, dict[str, Any]] = {ACTION: _vector(action)}
    for name, spec in observation.items():
        if spec.kind == "image":
            features[name] = _camera(spec, image_format=image_format, fps=fps, codec=codec)
        else:
            features[name] = _vector(spec)
    features[EXPERT_ACTION] = _vector(action)
    for name, dtype in (STEP_FEATURES | DEFAULT_FEATURES).items():
        features[name] = {"dtype": dtype, "shape": [1], "names": None}
    return features


def _vector(spec: FeatureSpec) -> dict[str, Any]:
    names = None if spec.names is None else list(spec.names)
    return {"dtype": spec.dtype, "shape": list(spec.shape), "names": names}


def _camera(spec: FeatureSpec, *, image_format: str, fps: int, codec: str) -> dict[str, Any]:
    height, width, channels = spec.shape
    shape = [height, width, channels if image_format == "png" else 3]
    camera: dict[str, Any] = {
        "dtype": "image" if image_format == "png" else "video",
        "shape": shape,
        "names": ["height", "width", "channels"],
    }
    if image_format == "mp4":
        camera["info"] = {
            "video.height": height,
            "video.width": width,
            "video.codec": codec,
            "video.pix_fmt": "yuv420p",
            "video.fps": fps,
            "video.channels": 3,
            "has_audio": False,
            "video.g": 2,
            "video.crf": 30,
            "video.preset": 12 if codec == "av1" else None,
            "video.fast_decode": 0,
            "video.video_backend": "pyav",
            "video.extra_options": {},
            "is_depth_map": False,
        }
    return camera


def huggingface_metadata(features: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return the value of the schema metadata key "huggingface" for a data file."""
    described: dict[str, Any] = {}
    for name, feature in features.items():
        dtype, shape = feature["dtype"], list(feature["shape"])
        if dtype == "video":
            continue
        value = {"dtype": dtype, "_type": "Value"}
        if dtype == "image":
            described[name] = {"_type": "Image"}
        elif shape == [1]:
            described[name] = value
        elif len(shape) == 1:
            described[name] = {"feature": value, "length": shape[0], "_type": "List"}
        else:
            described[name] = {"shape": shape, "dtype": dtype, "_type": f"Array{len(shape)}D"}
    return json.dumps({"info": {"features": described}}).encode()
