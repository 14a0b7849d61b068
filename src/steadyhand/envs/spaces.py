"""Gymnasium spaces as feature specs, and back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Shaped

from steadyhand.core.errors import SpecError
from steadyhand.core.specs import ACTION, IMAGES, STATE, EnvSpec, FeatureSpec, discrete_spec


@dataclass(frozen=True)
class Leaf:
    """One entry of a (nested) observation space: its feature name, the keys that lead to it, and its spec."""

    name: str
    path: tuple[str, ...]
    spec: FeatureSpec
    start: int = 0

    def read(self, observation: Any) -> np.ndarray:
        """Return the entry in the dtype and shape of its spec."""
        for key in self.path:
            observation = observation[key]
        value = np.asarray(observation, dtype=self.spec.dtype).reshape(self.spec.shape)
        # Features count from 0 what a discrete space may count from anywhere.
        return value - np.asarray(self.start, dtype=self.spec.dtype) if self.start else value


def observation_leaves(space: spaces.Space[Any]) -> tuple[Leaf, ...]:
    """Return the features of an observation space.

    A bare Box or Discrete is "observation.state", a bare uint8 picture "observation.images.main"; entries of
    a Dict are "observation.<keys>" or "observation.images.<keys>", nested keys joined by dots.

    Raises:
        SpecError: A space that no feature can hold.
    """
    leaves = tuple(_walk(space, ()))
    if not leaves:
        raise SpecError("The observation space is empty.", got=space)
    return leaves


def _walk(space: spaces.Space[Any], path: tuple[str, ...]) -> Iterator[Leaf]:
    if isinstance(space, spaces.Dict):
        for key, entry in space.spaces.items():
            yield from _walk(entry, (*path, str(key)))
        return
    key = ".".join(path)
    name = f"observation.{key}" if path else STATE
    if isinstance(space, spaces.Discrete):
        yield Leaf(name, path, discrete_spec(int(space.n)), start=int(space.start))
    elif isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3:
        picture = FeatureSpec(shape=space.shape, dtype="uint8", kind="image")
        yield Leaf(f"{IMAGES}{key or 'main'}", path, picture)
    elif isinstance(space, spaces.Box):
        yield Leaf(name, path, _box_spec(space))
    else:
        raise SpecError(
            f"The observation space of {key or 'the env'} cannot become a feature.",
            got=space,
            expected="Box, Discrete, or Dict of these",
            hint="wrap the env with gymnasium.wrappers.FlattenObservation",
        )


def _box_spec(space: spaces.Box) -> FeatureSpec:
    bounded = bool(np.isfinite(space.low).all() and np.isfinite(space.high).all())
    return FeatureSpec(
        shape=space.shape or (1,),
        low=tuple(space.low.ravel().tolist()) if bounded else None,
        high=tuple(space.high.ravel().tolist()) if bounded else None,
    )


class ActionCodec:
    """Turns a row of a batched action into what a Gymnasium env takes.

    A Box becomes (A,) float32, whatever its shape; a Discrete becomes (1,) int64 counted from 0; a Dict of
    Boxes becomes their concatenation in the order of its keys.

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
        self._start = self._last = 0
        self._bounds: tuple[np.ndarray, np.ndarray] | None = None
        if isinstance(space, spaces.Discrete):
            self.spec = discrete_spec(int(space.n))
            self._start, self._last = int(space.start), int(space.n) - 1
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
                )
            size = int(np.prod(box.shape, dtype=np.int64))
            low += np.broadcast_to(box.low, box.shape).ravel().tolist()
            high += np.broadcast_to(box.high, box.shape).ravel().tolist()
            names += [f"{key}_{index}" for index in range(size)]
        bounded = bool(np.isfinite(low).all() and np.isfinite(high).all())
        self.spec = FeatureSpec(
            shape=(len(names),),
            names=tuple(names),
            low=tuple(low) if bounded else None,
            high=tuple(high) if bounded else None,
        )
        if bounded:
            self._bounds = np.array(low), np.array(high)

    def decode(self, action: Shaped[np.ndarray, " A"]) -> Any:
        """Return the action for the env, clipped to its bounds."""
        space = self.space
        if isinstance(space, spaces.Discrete):
            return self._start + min(max(int(action[0]), 0), self._last)
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
        return spaces.MultiDiscrete(np.array([spec.num_classes]))
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
