"""Gymnasium spaces as feature specs, and back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Shaped

from steadyhand.core.errors import SpecError
from steadyhand.core.pictures import PictureFormat, picture_format
from steadyhand.core.specs import ACTION, IMAGES, STATE, EnvSpec, FeatureSpec, discrete_spec

_RENAME = """GymnasiumConfig(rename={{'%s': 'observation.history'}}), or --set 'env.rename={{"%s": ...}}'"""


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """One entry of a (nested) observation space.

    Attributes:
        name: Name of the feature.
        path: Keys that lead to it.
        spec: Spec of the feature.
        stored: Shape of what the env returns.
        dtype: NumPy type of what the env returns.
        picture: How its pictures lie in that; None for everything else.
    """

    name: str
    path: tuple[str, ...]
    spec: FeatureSpec
    stored: tuple[int, ...]
    dtype: np.dtype
    picture: PictureFormat | None = None

    def read(self, observation: Any) -> np.ndarray:
        """Return the entry in a dtype that may become that of the spec, and in its shape.

        Whether numbers are finite is not looked at: that is cheaper for many rows at once.

        Raises:
            SpecError: The observation lacks the entry, or it has another shape or kind than the space says.
        """
        for key in self.path:
            try:
                observation = observation[key]
            except (KeyError, IndexError, TypeError) as error:
                raise SpecError(
                    f"The observation has no entry {key!r}, which its space declares.",
                    got=list(observation) if isinstance(observation, Mapping) else type(observation).__name__,
                ) from error
        value = np.asarray(observation)
        if value.shape != self.stored and (self.stored or value.size != 1):
            raise SpecError(
                f"{self.name} has another shape than its space.", got=value.shape, expected=self.stored
            )
        if value.dtype != self.dtype:
            value = self._converted(value)
        if self.picture is not None:
            return self.picture.read(value, name=self.name)
        if value.shape != self.spec.shape:
            value = value.reshape(self.spec.shape)
        if self.spec.num_classes is not None and not self.spec.is_class(value).all():
            raise SpecError(
                f"{self.name} is none of its classes.", got=value.tolist(), expected=self.spec.describe()
            )
        return value

    def _converted(self, value: np.ndarray) -> np.ndarray:
        """Return a value of another dtype than the space's if that loses nothing but precision."""
        found, declared = value.dtype.kind, self.dtype.kind
        if self.picture is not None:
            fits = found == declared or {found, declared} == {"i", "u"}
        else:
            fits = found in "fiub" and (
                declared == "f" or found != "f" or bool((value == np.rint(value)).all())
            )
        if not fits:
            raise SpecError(
                f"{self.name} has another dtype than its space.",
                got=value.dtype,
                expected=self.dtype,
                hint="let the env return what its observation space declares",
            )
        return value if declared == "f" or self.picture is not None else value.astype(np.int64)


def observation_leaves(space: spaces.Space[Any], rename: Mapping[str, str] | None = None) -> tuple[Leaf, ...]:
    """Return the features of an observation space.

    A bare Box or Discrete is "observation.state", a bare picture "observation.images.main"; entries of a Dict
    are "observation.<keys>" or "observation.images.<keys>", nested keys joined by dots. What a picture is,
    and how it is turned to (height, width, channels) uint8, says `steadyhand.core.pictures`.

    Args:
        space: The space.
        rename: Name of a feature, before pictures are told from numbers -> its name here.

    Raises:
        SpecError: A space that no feature can hold, or a name to change that is not there.
    """
    rename = rename or {}
    names: list[str] = []
    leaves = tuple(_walk(space, (), rename, names))
    if absent := [name for name in rename if name not in names]:
        raise SpecError("There is no such observation to rename.", got=absent[0], available=names)
    if twice := [leaf.name for leaf in leaves if [one.name for one in leaves].count(leaf.name) > 1]:
        raise SpecError("Two observations would have the same name.", got=twice[0])
    if not leaves:
        raise SpecError("The observation space is empty.", got=space)
    return leaves


def _walk(
    space: spaces.Space[Any], path: tuple[str, ...], rename: Mapping[str, str], names: list[str]
) -> Iterator[Leaf]:
    if isinstance(space, spaces.Dict):
        for key, entry in space.spaces.items():
            yield from _walk(entry, (*path, str(key)), rename, names)
        return
    key = ".".join(path)
    own = f"observation.{key}" if path else STATE
    names.append(own)
    name = rename.get(own, own)
    if (choice := _choice(space)) is not None:
        yield Leaf(name=name, path=path, spec=choice, stored=space.shape or (), dtype=np.dtype(np.int64))
    elif isinstance(space, spaces.Box):
        yield _box_leaf(space, name=name, own=own, path=path)
    else:
        raise SpecError(
            f"The observation space of {key or 'the env'} cannot become a feature.",
            got=space,
            expected="Box, Discrete, or Dict of these",
            hint="leave it out with gymnasium.wrappers.FilterObservation, or make numbers of it with "
            "TransformObservation",
        )


def _box_leaf(space: spaces.Box, *, name: str, own: str, path: tuple[str, ...]) -> Leaf:
    def limits() -> tuple[float, float]:
        return float(np.min(space.low)), float(np.max(space.high))

    dtype = np.dtype(space.dtype)
    is_declared = name.startswith(IMAGES)
    picture = picture_format(
        space.shape, dtype, name=name, limits=limits, is_declared=is_declared, rename=_RENAME % (own, own)
    )
    if picture is not None:
        key = "main" if name == STATE and not path else name.removeprefix("observation.")
        name = name if is_declared else f"{IMAGES}{key}"
        return Leaf(name=name, path=path, spec=picture.spec, stored=space.shape, dtype=dtype, picture=picture)
    low, high = _bounds(space.low.ravel().tolist(), space.high.ravel().tolist())
    spec = FeatureSpec(shape=space.shape or (1,), low=low, high=high)
    return Leaf(name=name, path=path, spec=spec, stored=space.shape, dtype=dtype)


def _bounds(
    low: Sequence[float], high: Sequence[float]
) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return the bounds of a feature: infinite where an entry has none, None where none of them has one."""
    return (
        tuple(low) if np.isfinite(low).any() else None,
        tuple(high) if np.isfinite(high).any() else None,
    )


def _choice(space: spaces.Space[Any]) -> FeatureSpec | None:
    """Return the spec of a space that is one choice, counted as the env counts; None for all others."""
    if isinstance(space, spaces.Discrete):
        return discrete_spec(int(space.n), start=int(space.start))
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.size == 1:
        return discrete_spec(int(space.nvec.ravel()[0]), start=int(space.start.ravel()[0]))
    return None


class ActionCodec:
    """Turns a row of a batched action into what a Gymnasium env takes.

    A Box becomes (A,) float32, whatever its shape; a Discrete becomes (1,) int64, counted as the env counts;
    a Dict of Boxes becomes their concatenation in the order of its keys.

    Args:
        space: The env's action space.

    Raises:
        SpecError: Any other space, or an unbounded or integer Box.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        boxes: dict[str, spaces.Space[Any]] = (
            dict(space.spaces) if isinstance(space, spaces.Dict) else {ACTION: space}
        )
        self._bounds: tuple[np.ndarray, np.ndarray] | None = None
        if (choice := _choice(space)) is not None:
            self.spec = choice
            return
        low: list[float] = []
        high: list[float] = []
        names: list[str] = []
        for key, box in boxes.items():
            if not isinstance(box, spaces.Box) or np.dtype(box.dtype).kind != "f":
                raise SpecError(
                    "The action space cannot become an action feature.",
                    got=space,
                    expected="a float Box, a Discrete, or a Dict of float Boxes",
                    hint="wrap the env with gymnasium.wrappers.TransformAction: one Discrete that counts all "
                    "combinations, or one float Box",
                )
            size = int(np.prod(box.shape, dtype=np.int64))
            low += np.broadcast_to(box.low, box.shape).ravel().tolist()
            high += np.broadcast_to(box.high, box.shape).ravel().tolist()
            names += [f"{key}_{index}" for index in range(size)]
        lowest, highest = _bounds(low, high)
        self.spec = FeatureSpec(shape=(len(names),), names=tuple(names), low=lowest, high=highest)
        if lowest is not None or highest is not None:
            self._bounds = np.array(low), np.array(high)

    def decode(self, action: Shaped[np.ndarray, " A"]) -> Any:
        """Return the action for the env, clipped to its bounds.

        Raises:
            SpecError: A choice that the env does not offer.
        """
        space = self.space
        if self.spec.num_classes is not None:
            chosen = int(action[0])
            if chosen not in self.spec.classes:
                raise SpecError("The action is none of the env's.", got=chosen, expected=self.spec.describe())
            return np.full(space.shape, chosen, dtype=np.int64) if space.shape else chosen
        if self._bounds is not None:
            low, high = self._bounds
            action = np.minimum(np.maximum(action, low), high)
        if isinstance(space, spaces.Box):
            return action.reshape(space.shape).astype(space.dtype)
        if not isinstance(space, spaces.Dict):
            raise SpecError("The action space changed after the env was made.", got=space)
        parts: dict[str, np.ndarray] = {}
        used = 0
        for key, box in space.spaces.items():
            size = int(np.prod(box.shape or (), dtype=np.int64))
            parts[key] = action[used : used + size].reshape(box.shape or ()).astype(box.dtype)
            used += size
        return parts


def feature_space(spec: FeatureSpec) -> spaces.Space[Any]:
    """Return the Gymnasium space of a feature."""
    if spec.num_classes is not None:
        return spaces.MultiDiscrete(np.array([spec.num_classes]), start=np.array([spec.start]))
    if spec.kind == "image":
        return spaces.Box(0, 255, spec.shape, np.uint8)
    low = np.full(spec.shape, -np.inf) if spec.low is None else np.reshape(spec.low, spec.shape)
    high = np.full(spec.shape, np.inf) if spec.high is None else np.reshape(spec.high, spec.shape)
    dtype = np.dtype(spec.dtype)
    return spaces.Box(low.astype(dtype), high.astype(dtype), spec.shape, dtype.type)


def observation_space(spec: EnvSpec) -> spaces.Space[Any]:
    """Return the space of a lone feature, or a Dict by feature name."""
    parts = {name: feature_space(feature) for name, feature in spec.observation.items()}
    return next(iter(parts.values())) if len(parts) == 1 else spaces.Dict(parts)


def pack(observation: Mapping[str, np.ndarray]) -> Any:
    """Return an observation as `observation_space` declares it."""
    return next(iter(observation.values())) if len(observation) == 1 else dict(observation)
