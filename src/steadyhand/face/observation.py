"""Observations as robots and simulators give them, converted to the form that a policy was trained on."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from steadyhand.core.errors import SpecError
from steadyhand.core.pictures import picture_format
from steadyhand.core.specs import FeatureSpec, full_names


def read_observation(
    observation: Mapping[str, Any] | Any, features: Mapping[str, FeatureSpec]
) -> tuple[dict[str, np.ndarray], bool]:
    """Return (B, ...) arrays of the features, in their dtypes, and whether a batch was given.

    Args:
        observation: Feature, or a short name of it -> array of one observation or of a batch; or the array of
            the only feature.
        features: Feature -> spec, of those to read.

    Raises:
        SpecError: A feature is missing, or its array has another shape, or holds what is no number.
    """
    given = _named(observation, features)
    read = {name: _read(given[name], name, spec) for name, spec in features.items()}
    sizes = {name: len(value) if is_batch else None for name, (value, is_batch) in read.items()}
    if len(set(sizes.values())) > 1:
        words = (f"{name} {'of one' if size is None else f'of {size}'}" for name, size in sizes.items())
        raise SpecError("The features are not of the same observations.", got=", ".join(words))
    is_batch = next(iter(sizes.values())) is not None
    return {name: value if is_batch else value[None] for name, (value, _) in read.items()}, is_batch


def _named(observation: Any, features: Mapping[str, FeatureSpec]) -> dict[str, Any]:
    if not isinstance(observation, Mapping):
        if len(features) == 1:
            return dict.fromkeys(features, observation)
        raise SpecError(
            "The policy reads several features, so that an observation must name them.",
            got=type(observation).__name__,
            expected="a dictionary of " + ", ".join(features),
        )
    found: dict[str, Any] = {}
    for name in features:
        given = [key for key in observation if name in full_names(str(key))]
        if not given:
            raise SpecError(
                "The observation lacks a feature that the policy reads.",
                got=", ".join(map(str, observation)),
                expected=", ".join(features),
            )
        found[name] = observation[name if name in given else given[0]]
    return found


def _read(value: Any, name: str, spec: FeatureSpec) -> tuple[np.ndarray, bool]:
    """Return an array in the form of the spec, and whether it has an axis for a batch."""
    array = _array(value, name)
    if spec.kind == "image":
        return _picture(array, name, spec)
    if spec.shape == (1,) and array.ndim <= 1 and array.shape != (1,):
        array = array[..., None]  # a number for an array of one, numbers for a batch of them
    if array.shape == spec.shape:
        is_batch = False
    elif array.shape[1:] == spec.shape and array.ndim == len(spec.shape) + 1 and len(array):
        is_batch = True
    else:
        raise _shape(array, name, spec)
    read = np.rint(array) if spec.kind == "discrete" else array
    if spec.kind == "discrete" and not np.array_equal(read, array):
        raise SpecError(f"{name} is a choice, and not a whole number.", got=array.reshape(-1)[0])
    read = read.astype(spec.dtype)
    spec.check(read, name=name)
    return read, is_batch


def _array(value: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(_on_host(value))
    except (TypeError, ValueError) as error:  # rows of different lengths, say
        raise SpecError(f"{name} is no array.", got=error, expected="numbers in a regular array") from error
    if array.dtype.kind not in "biuf":
        raise SpecError(
            f"{name} holds what is no real number.", got=f"{array.dtype} {array.shape}", expected="an array"
        )
    if np.ma.is_masked(value):
        raise SpecError(f"{name} lacks values.", got="a masked array", expected="a number in every place")
    return array


def _on_host(value: Any) -> Any:
    """Return a tensor as one that NumPy reads, and anything else as it is."""
    if not hasattr(value, "detach"):
        return value
    tensor = value.detach().cpu()
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor


def _picture(array: np.ndarray, name: str, spec: FeatureSpec) -> tuple[np.ndarray, bool]:
    """Return pictures as (..., height, width, channels) uint8, and whether there is an axis for a batch."""
    height, width, channels = spec.shape
    layouts = {(height, width, channels), (channels, height, width)}
    layouts |= {(height, width)} if channels == 1 else set()
    layout = next((one for one in layouts if one in (array.shape, array.shape[1:])), None)
    if layout is None:
        raise _shape(array, name, spec)
    kind = picture_format(
        layout,
        array.dtype,
        name=name,
        limits=lambda: (float(array.min()), float(array.max())),
        is_declared=True,
    )
    assert kind is not None, "declared as a picture"
    return kind.read(array, name=name), array.shape != layout


def _shape(array: np.ndarray, name: str, spec: FeatureSpec) -> SpecError:
    return SpecError(
        f"{name} has the wrong shape.",
        got=array.shape,
        expected=f"{tuple(spec.shape)}, or (B, {', '.join(map(str, spec.shape))}) for a batch",
    )
