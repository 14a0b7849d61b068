"""What an env or a data set offers: named features with shape, dtype, units and the control step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from steadyhand.core.errors import SpecError
from steadyhand.core.settings import as_written
from steadyhand.core.success import SuccessRule

FeatureKind = Literal["continuous", "discrete", "image", "rotation"]

STATE = "observation.state"
ENVIRONMENT_STATE = "observation.environment_state"
IMAGES = "observation.images."
ACTION = "action"

_MOST_CLASSES = 100_000


def full_names(name: str) -> tuple[str, ...]:
    """Return what a feature's name may stand for: itself, "state" for "observation.state", or a camera."""
    return name, f"observation.{name}", f"{IMAGES}{name}"


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """One named array of an observation or an action, without batch or time axes.

    Attributes:
        shape: Shape of one step. Images are (height, width, channels). Discrete features are (1,).
        dtype: NumPy dtype name. Images are uint8, discrete features int64, the rest float32.
        kind: How the values may be treated: only "continuous" is ever normalised by statistics.
        names: One name for each entry of a vector, if known.
        units: One unit for each entry of a vector, such as "m" or "rad/s", if known.
        low: Lowest legal value of each entry; -inf for an entry that has none, None where none has one.
        high: Highest legal value of each entry, likewise.
        num_classes: Number of values of a discrete feature.
        start: Lowest value of a discrete feature. Arrays hold the env's own numbers, `start` to
            `start + num_classes - 1`; whatever counts from 0 (a network's outputs) subtracts it itself.
        drawn: How an image was drawn, such as "fast" or "full", if that is known.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    kind: FeatureKind = "continuous"
    names: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    num_classes: int | None = None
    start: int = 0
    drawn: str = ""

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.shape):
            raise SpecError("A feature has an empty axis.", got=self.shape, expected="sizes >= 1")
        if self.kind == "image" and (len(self.shape) != 3 or self.dtype != "uint8"):
            raise SpecError(
                "An image feature must be uint8 of shape (height, width, channels).",
                got=f"{self.dtype} {self.shape}",
                hint="use kind='continuous' for other arrays",
            )
        if (self.kind == "discrete") != (self.num_classes is not None):
            raise SpecError(
                "num_classes belongs to discrete features, and only to them.",
                got=f"kind={self.kind!r}, num_classes={self.num_classes}",
            )
        if self.kind == "discrete" and self.dtype != "int64":
            raise SpecError("A discrete feature must be int64.", got=self.dtype, expected="int64")
        if self.num_classes is not None and self.num_classes < 1:
            raise SpecError("A discrete feature needs a value.", got=self.num_classes, expected=">= 1")
        if self.kind != "discrete" and self.start != 0:
            raise SpecError(
                "start belongs to discrete features only.", got=f"{self.kind}, start={self.start}"
            )
        for label, values in (("names", self.names), ("units", self.units)):
            if values is not None and len(values) != self.size:
                raise SpecError(
                    f"One entry of {label} is needed for each value.",
                    got=len(values),
                    expected=self.size,
                )
        for label, bounds in (("low", self.low), ("high", self.high)):
            if bounds is not None and len(bounds) != self.size:
                raise SpecError(
                    f"One entry of {label} is needed for each value.",
                    got=len(bounds),
                    expected=self.size,
                )
            if bounds is not None and any(math.isnan(value) for value in bounds):
                raise SpecError(f"{label} holds NaN.", got=bounds, expected="numbers, -inf or inf")

    @property
    def size(self) -> int:
        """Number of values in one step."""
        return math.prod(self.shape)

    @property
    def classes(self) -> range:
        """The values of a discrete feature, as the env counts them; empty for all others."""
        return range(self.start, self.start + (self.num_classes or 0))

    def agrees_with(self, other: "FeatureSpec") -> bool:
        """Return whether both mean the same: shape, kind and, for choices, the same numbers.

        Names, units and bounds may differ. Pictures are drawn alike, where both say how.
        """
        alike = (self.shape, self.kind, self.classes) == (other.shape, other.kind, other.classes)
        return alike and (self.drawn == other.drawn or not (self.drawn and other.drawn))

    @property
    def bounds(self) -> str:
        """The legal values in words, such as "from -1 to 1", or one such range for each entry."""
        if self.kind == "discrete":
            return self.describe()
        low, high = self.low or (-math.inf,) * self.size, self.high or (math.inf,) * self.size
        ranges = [_range(*pair) for pair in zip(low, high, strict=True)]
        if len(set(ranges)) == 1:
            return ranges[0]
        names = self.names or tuple(f"dimension {number}" for number in range(self.size))
        return ", ".join(f"{name} {said}" for name, said in zip(names, ranges, strict=True))

    def __repr__(self) -> str:
        return as_written(self)

    def describe(self) -> str:
        """Return kind and shape in a few words, such as "discrete, 3 values, 1 to 3"."""
        if self.num_classes is None:
            return f"{self.kind} {list(self.shape)}" + (f", drawn {self.drawn}" if self.drawn else "")
        return f"discrete, {self.num_classes} values, {self.start} to {self.classes[-1]}"

    def check_form(self, value: np.ndarray, *, name: str) -> None:
        """Raise SpecError unless `value` is (leading axes..., *shape) of this dtype, and of these classes."""
        shape = value.shape[value.ndim - len(self.shape) :]
        if value.ndim < len(self.shape) or shape != self.shape:
            raise SpecError(
                f"{name} has the wrong shape.",
                got=value.shape,
                expected=f"(..., {', '.join(map(str, self.shape))})",
            )
        if value.dtype != np.dtype(self.dtype):
            raise SpecError(
                f"{name} has the wrong dtype.",
                got=value.dtype,
                expected=self.dtype,
                hint=f"convert it with .astype({self.dtype!r})",
            )
        if self.num_classes is not None and value.size and not self.is_class(value).all():
            bad = np.argwhere(~self.is_class(value))[0]
            raise SpecError(
                f"{name} holds a value that is none of its classes.",
                got=f"{value[tuple(bad)]}, first at index {bad.tolist()}",
                expected=self.describe(),
                hint="say which classes there are, such as --classes 3 or --classes 1..3, or check the data",
            )

    def check(self, value: np.ndarray, *, name: str) -> None:
        """Raise SpecError unless `value` has the form of `check_form`, and its numbers are finite.

        Bounds are not checked.
        """
        self.check_form(value, name=name)
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            bad = np.argwhere(~np.isfinite(value))[0].tolist()
            raise SpecError(
                f"{name} holds values that are not finite.",
                got=f"first at index {bad}",
                expected="finite numbers",
            )

    def holds(self, value: np.ndarray) -> bool:
        """Return whether every entry is finite and within the bounds, or one of the classes; cheap."""
        low, high = self._box
        return bool(np.count_nonzero((value >= low) & (value <= high)) == value.size)

    def outside(self, value: np.ndarray) -> np.ndarray:
        """Return (leading axes...) where `value` leaves its bounds in some entry."""
        low, high = self._box
        beyond = (value < low) | (value > high)
        return np.asarray(beyond.any(axis=tuple(range(-len(self.shape), 0))))

    def clipped(self, value: np.ndarray) -> np.ndarray:
        """Return `value` within its bounds; itself where it has none."""
        if self.low is None and self.high is None:
            return value
        low, high = self._box
        return np.minimum(np.maximum(value, low), high).astype(value.dtype, copy=False)

    @cached_property
    def _box(self) -> tuple[np.ndarray, np.ndarray]:
        """Bounds in the feature's own dtype: 0.1 as float32 does not lie outside [0, 0.1].

        The largest number of the dtype stands for a bound that is not there, so that infinity is outside.
        """
        if self.num_classes is not None:
            return np.array(self.start), np.array(self.classes[-1])
        dtype = np.dtype(self.dtype)
        if dtype.kind == "b":
            least, most = False, True
        else:
            limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
            least, most = limits.min, limits.max

        def bound(values: tuple[float, ...] | None, missing: Any) -> np.ndarray:
            if values is None:
                return np.full(self.shape, missing, dtype=dtype)
            # one by one, since the largest int64 is no float
            kept = [most if value >= most else least if value <= least else value for value in values]
            return np.array([dtype.type(value) for value in kept]).reshape(self.shape)

        return bound(self.low, least), bound(self.high, most)

    def is_class(self, value: np.ndarray) -> np.ndarray:
        """Return where `value` is one of `classes`."""
        return (value >= self.start) & (value < self.classes.stop)


def table_of_shapes(title: str, features: Mapping[str, FeatureSpec]) -> str:
    """Return features one below the other: name, kind and shape, dtype, and the names of entries."""
    width = max((len(name) for name in features), default=0)
    lines = [title]
    for name, spec in features.items():
        names = "" if spec.names is None else ", ".join(spec.names)
        short = names if len(names) <= 60 else f"{names[:57]}..."
        lines.append(f"  {name:<{width}}  {spec.dtype} {spec.describe()}  {short}".rstrip())
    return "\n".join(lines)


def image_spec(height: int, width: int, channels: int, *, drawn: str = "") -> FeatureSpec:
    """Return the spec of a uint8 image of shape (height, width, channels)."""
    return FeatureSpec(shape=(height, width, channels), dtype="uint8", kind="image", drawn=drawn)


def discrete_spec(num_classes: int, *, start: int = 0) -> FeatureSpec:
    """Return the spec of one choice out of `num_classes`, counted from `start`, as int64 of shape (1,)."""
    return FeatureSpec(shape=(1,), dtype="int64", kind="discrete", num_classes=num_classes, start=start)


def class_spec(classes: tuple[int, int]) -> FeatureSpec:
    """Return the spec of one choice among the whole numbers from the first to the last of `classes`.

    Raises:
        SpecError: The last is below the first, or there are more than a policy can choose from.
    """
    first, last = classes
    if last < first:
        raise SpecError("The last class lies below the first.", got=classes, expected="(lowest, highest)")
    if last - first + 1 > _MOST_CLASSES:
        raise SpecError(
            "There are too many classes: a policy has one output for each.",
            got=f"{last - first + 1:,}, from {first} to {last}",
            expected=f"at most {_MOST_CLASSES:,}",
            hint="leave classes out if the action is a number",
        )
    return discrete_spec(last - first + 1, start=first)


def _range(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "without bounds"
    if math.isinf(low) or math.isinf(high):
        return f"{high:g} at most" if math.isinf(low) else f"{low:g} at least"
    return f"from {low:g} to {high:g}"


@dataclass(frozen=True, kw_only=True)
class EnvSpec:
    """What a learner may see and do, and how fast.

    Attributes:
        env_id: Name under which `steadyhand.envs.make` finds the env.
        observation: Features that policies see, by LeRobot name.
        privileged: Features that only experts see (for a car: its pose on the track).
        action: The action; (A,) float32, or (1,) int64 for a discrete action.
        control_dt: Time between two actions [s].
        max_episode_steps: Steps after which an episode is truncated.
        task: Text of the task, stored with every episode.
        success: When an episode counts as a success, and whether anything tells it.
    """

    env_id: str
    observation: dict[str, FeatureSpec]
    action: FeatureSpec
    control_dt: float
    max_episode_steps: int
    privileged: dict[str, FeatureSpec] = field(default_factory=dict[str, FeatureSpec])
    task: str = ""
    success: SuccessRule = field(default_factory=SuccessRule)

    def __repr__(self) -> str:
        rate = f"every {self.control_dt:g} s, at most {self.max_episode_steps} steps"
        features = {**self.observation, **self.privileged, ACTION: self.action}
        return table_of_shapes(f"<EnvSpec {self.env_id}: {rate}; success: {self.success.words}>", features)

    def __post_init__(self) -> None:
        if not 0.0 < self.control_dt < math.inf:
            raise SpecError(
                "control_dt must be positive.", got=self.control_dt, expected="a finite number > 0 [s]"
            )
        if self.max_episode_steps < 1:
            raise SpecError("max_episode_steps must be positive.", got=self.max_episode_steps)
        if not self.observation:
            raise SpecError("An env needs at least one observation feature.", got="none")
