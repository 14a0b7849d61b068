"""What an episode store holds, and one step of it as a packed record."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from steadyhand.core.codec import from_data, to_data, write_json
from steadyhand.core.digests import sealed, unsealed
from steadyhand.core.errors import ConfigError, DataError
from steadyhand.core.protocol import OutsideLabels
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.formats.files import check_feature_name, read_json_file

ImageFormat = Literal["png", "mp4"]

SPEC_PATH = "meta/steadyhand/store.json"
_UNBOUNDED = float(np.finfo(np.float64).max)  # JSON has no infinity


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """Kept in meta/steadyhand/store.json: what LeRobot's info.json has no place for.

    Attributes:
        observation: Feature name -> spec.
        action: Spec of the action.
        control_dt: Time between steps [s].
        image_format: "png" (lossless) or "mp4" (small).
        env_id: Env that was recorded, or "".
        robot_type: Robot that was recorded, or None.
        outside_labels: What became of expert actions outside the action's bounds: "clipped" to them, or
            stored as "meant".
    """

    observation: dict[str, FeatureSpec]
    action: FeatureSpec
    control_dt: float
    image_format: ImageFormat = "png"
    env_id: str = ""
    robot_type: str | None = None
    outside_labels: OutsideLabels = "clipped"

    def __post_init__(self) -> None:
        if not self.observation:
            raise DataError("A store needs at least one observation feature.", got="none")
        for name, spec in self.observation.items():
            check_feature_name(name)
            if not name.startswith("observation."):
                raise DataError(
                    "An observation feature has a name that LeRobot does not know.",
                    got=name,
                    expected="observation.state, observation.environment_state, observation.images.<camera>",
                )
            if spec.kind == "image" and spec.shape[2] not in (1, 3):
                raise DataError(f"{name} has {spec.shape[2]} channels.", expected="1 (grey) or 3 (RGB)")
        if len(self.action.shape) != 1:
            raise DataError("The action must be a vector.", got=self.action.shape, expected="(A,)")
        if self.image_format not in ("png", "mp4"):
            raise DataError("There is no such image format.", got=self.image_format, available=("png", "mp4"))
        if not 0.0 < self.control_dt < math.inf:
            raise DataError("control_dt must be positive.", got=self.control_dt, expected="> 0 [s]")

    @property
    def fps(self) -> int:
        """Steps a second as LeRobot's info.json can say it: the nearest integer, at least 1.

        `control_dt` is kept exactly beside it, and is what is read back. Timestamps and videos in the files
        count by this integer, so that LeRobot finds each frame.
        """
        return max(1, round(1.0 / self.control_dt))

    @property
    def cameras(self) -> list[str]:
        """Names of the image features."""
        return [name for name, spec in self.observation.items() if spec.kind == "image"]

    def observation_dtype(self) -> np.dtype:
        """Return the packed record of one observation."""
        return np.dtype([(name, spec.dtype, spec.shape) for name, spec in self.observation.items()])

    def step_dtype(self) -> np.dtype:
        """Return the packed record of one step, columns as in `Episode`."""
        action = (self.action.dtype, self.action.shape)
        return np.dtype(
            [
                ("observation", self.observation_dtype()),
                ("action", *action),
                ("expert_action", *action),
                ("expert_action_valid", "?"),
                ("actor", "u1"),
                ("intervention", "?"),
                ("weight", "<f4"),
                ("reward", "<f4"),
            ]
        )


def save_spec(root: Path, spec: StoreSpec) -> None:
    """Write meta/steadyhand/store.json."""
    plain = replace(
        spec,
        observation={name: _finite(feature) for name, feature in spec.observation.items()},
        action=_finite(spec.action),
    )
    write_json(root / SPEC_PATH, sealed(to_data(plain)))


def load_spec(root: Path) -> StoreSpec | None:
    """Return the spec of a store, or None for a data set of another origin.

    Raises:
        DataError: The file is there but damaged.
    """
    path = root / SPEC_PATH
    if not path.exists():
        return None
    data = read_json_file(path)
    if isinstance(data, dict) and "sha256" in data:  # earlier versions wrote none
        data = unsealed(data, path=path, error=DataError)
    try:
        spec = from_data(data, StoreSpec, source=str(path))
    except ConfigError as error:
        raise DataError(
            f"{path} does not describe a store.", got=error, hint="restore it from a copy"
        ) from error
    return replace(
        spec,
        observation={name: _infinite(feature) for name, feature in spec.observation.items()},
        action=_infinite(spec.action),
    )


def _finite(spec: FeatureSpec) -> FeatureSpec:
    def bound(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        return None if values is None else tuple(float(np.clip(v, -_UNBOUNDED, _UNBOUNDED)) for v in values)

    return replace(spec, low=bound(spec.low), high=bound(spec.high))


def _infinite(spec: FeatureSpec) -> FeatureSpec:
    def bound(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if values is None:
            return None
        return tuple(math.copysign(math.inf, v) if abs(v) >= _UNBOUNDED else v for v in values)

    return replace(spec, low=bound(spec.low), high=bound(spec.high))


def pack_observation(spec: StoreSpec, observation: Mapping[str, np.ndarray], out: np.ndarray) -> None:
    """Write an observation, one step or T of them, into a packed array.

    Raises:
        DataError: A feature is missing or too many, or has another shape or dtype.
    """
    if observation.keys() != spec.observation.keys():
        raise DataError(
            "The observation has other features than the store.",
            got=sorted(observation),
            expected=sorted(spec.observation),
            hint="pick the features that the store was created with",
        )
    for name, value in observation.items():
        put(out, name, value, name=name)


def put(out: np.ndarray, field: str, value: np.ndarray, *, name: str) -> None:
    """Write one field of a packed array.

    Raises:
        DataError: Another shape, another dtype, or NaN.
    """
    target = out[field]
    if value.shape != target.shape or value.dtype != target.dtype:
        raise DataError(
            f"{name} does not fit the store.",
            got=f"{value.dtype} {value.shape}",
            expected=f"{target.dtype} {target.shape}",
        )
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise DataError(f"{name} holds NaN or infinity.", expected="finite numbers")
    out[field] = value
