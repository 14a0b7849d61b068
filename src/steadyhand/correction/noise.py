"""Clean-label noise injection: the executed action is disturbed, the label is the intended one.

Laskey et al. (2017) disturb the demonstrator so that recoveries are shown; Zhang et al. (2025, arXiv
2507.09061) show that labels must stay clean and that clean episodes belong into the mix.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from jaxtyping import Float64, Int64

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.parts import Part, located
from steadyhand.core.protocol import (
    Actor,
    Controller,
    Decision,
    Observation,
    PerRow,
    Wrapper,
)
from steadyhand.core.seeding import RowStreams
from steadyhand.core.settings import NotNegative, PositiveShare
from steadyhand.core.specs import FeatureSpec

_UNDRAWN = -1


class ActionNoise(Part, ABC):
    """Settings of a distribution of disturbances of the action."""

    kind: ClassVar[str] = "noise"
    ours: ClassVar[Mapping[str, str]] = located(
        __name__, "GaussianNoise", "OrnsteinUhlenbeck", "CorrelatedNoise"
    )

    @property
    @abstractmethod
    def memory(self) -> float:
        """Correlation between one step's noise and the next, in [0, 1)."""

    @abstractmethod
    def scaled(self, normal: Float64[np.ndarray, "B A"]) -> Float64[np.ndarray, "B A"]:
        """Turn standard normal numbers, each row's own, into noise in units of the action."""


@dataclass(frozen=True, kw_only=True)
class GaussianNoise(ActionNoise):
    """Independent noise at every step.

    Attributes:
        sigma: Standard deviation, in units of the action.
    """

    sigma: NotNegative = 0.3

    @property
    def memory(self) -> float:
        """Correlation between one step's noise and the next."""
        return 0.0

    def scaled(self, normal: Float64[np.ndarray, "B A"]) -> Float64[np.ndarray, "B A"]:
        """Turn standard normal numbers into noise."""
        return normal * self.sigma


@dataclass(frozen=True, kw_only=True)
class OrnsteinUhlenbeck(ActionNoise):
    """Noise that stays for a while, so that it really displaces a robot with inertia.

    n_{t+1} = (1 - theta) n_t + sigma sqrt(1 - (1 - theta)^2) z: its stationary deviation is sigma.

    Attributes:
        sigma: Stationary standard deviation, in units of the action.
        theta: Share of the noise that is forgotten each control step, in (0, 1].
    """

    sigma: NotNegative = 0.3
    theta: PositiveShare = 0.15

    @property
    def memory(self) -> float:
        """Correlation between one step's noise and the next."""
        return 1.0 - self.theta

    def scaled(self, normal: Float64[np.ndarray, "B A"]) -> Float64[np.ndarray, "B A"]:
        """Turn standard normal numbers into noise."""
        return normal * self.sigma


@dataclass(frozen=True, kw_only=True)
class CorrelatedNoise(ActionNoise):
    """Noise with a full covariance between the dimensions of an action, as DART estimates it.

    Attributes:
        covariance: (A, A) in squared units of the action; symmetric, no negative eigenvalue. For a chosen
            shape of the action it is that of the flattened action.
        theta: Share of the noise that is forgotten each control step, in (0, 1]; 1 is independent noise.
    """

    covariance: tuple[tuple[float, ...], ...]
    theta: PositiveShare = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        matrix = self._matrix
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
            raise ConfigError("A covariance is a square matrix of numbers.", got=self.covariance)
        least = float(np.linalg.eigvalsh(matrix).min())
        if not np.allclose(matrix, matrix.T) or least < -1e-9 * max(1.0, float(np.trace(matrix))):
            raise ConfigError(
                "A covariance is symmetric and has no negative eigenvalue.", got=self.covariance
            )

    @property
    def memory(self) -> float:
        """Correlation between one step's noise and the next."""
        return 1.0 - self.theta

    def scaled(self, normal: Float64[np.ndarray, "B A"]) -> Float64[np.ndarray, "B A"]:
        """Turn standard normal numbers into noise, by the symmetric square root of the covariance."""
        root = self._root
        if len(root) != normal.shape[1]:
            raise ConfigError(
                "The covariance does not fit the action.", got=root.shape, expected=(normal.shape[1],) * 2
            )
        # Term by term: a matrix product may sum in an order that depends on the number of rows.
        noise = np.zeros_like(normal)
        for column, weights in zip(normal.T, root, strict=True):
            noise += np.expand_dims(column, 1) * weights
        return noise

    @cached_property
    def _root(self) -> np.ndarray:
        values, vectors = np.linalg.eigh(self._matrix)
        return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T

    @property
    def _matrix(self) -> np.ndarray:
        try:
            return np.array(self.covariance, dtype=np.float64)
        except ValueError as error:
            raise ConfigError("A covariance is a square matrix.", got=self.covariance) from error


class NoisyExecution(Wrapper):
    """Executes the wrapped controller's action plus noise; the label stays what was intended.

    Args:
        controller: Usually an expert.
        noise: Distribution of the disturbance.
        action: Spec of the action; the executed action is clipped to its bounds.
        clean_fraction: Probability that an episode is left undisturbed.

    Raises:
        CapabilityError: The action is discrete.
    """

    def __init__(
        self,
        controller: Controller,
        *,
        noise: ActionNoise,
        action: FeatureSpec,
        clean_fraction: float = 0.5,
    ) -> None:
        if action.kind == "discrete":
            raise CapabilityError(
                "Additive noise needs a continuous action.",
                got="a discrete action",
                expected="an action to which a number can be added",
                hint="use RandomExecution, or the DAgger mixture: they need no distance between actions",
            )
        _check_clean(clean_fraction)
        super().__init__(controller)
        self._noise = noise
        self._clean_fraction = clean_fraction
        self._action = action
        self._size = action.size
        self._value, self._clean = PerRow(np.full(action.size, np.nan)), PerRow(fresh=False)

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Ask the wrapped controller, disturb what is executed, keep its label."""
        intended = self._inner.act(observation, privileged, rows, generator.fork("controller"))
        noise, disturbed = self._draw(rows, generator.fork("noise"))
        # What would be executed is disturbed, not what lies beyond the bounds, where noise would be lost.
        received = self._action.clipped(intended.action)
        action = self._action.clipped(received + noise.reshape(received.shape))
        action = np.where(disturbed.reshape(-1, *[1] * (action.ndim - 1)), action, intended.action).astype(
            intended.action.dtype
        )
        return Decision(
            action=action,
            label=intended.label,
            label_valid=intended.label_valid,
            actor=np.where(disturbed, Actor.NOISE, intended.actor).astype(np.uint8),
            intervention=intended.intervention,
        )

    def _draw(self, rows: np.ndarray, streams: RowStreams) -> tuple[np.ndarray, np.ndarray]:
        """Return the (B, A) noise of this step and which rows it applies to."""
        coin = streams.uniform() < self._clean_fraction
        drawn = self._noise.scaled(streams.normal(self._size))
        past = self._value[rows]
        fresh: np.ndarray = np.isnan(past[:, 0])
        keep = self._noise.memory
        value = np.where(np.expand_dims(fresh, 1), drawn, keep * past + np.sqrt(1.0 - keep**2) * drawn)
        self._value[rows] = value
        self._clean[rows] = np.where(fresh, coin, self._clean[rows])
        return value, ~self._clean[rows]


class RandomExecution(Wrapper):
    """Executes another action than was intended in a share of the steps; the label stays what was intended.

    The epsilon-greedy supervisor of DART's first version, for discrete actions. The other action is drawn
    uniformly among those that were not intended, so that epsilon is the rate of disagreement itself.

    Args:
        controller: Usually an expert.
        epsilon: Probability of another action, step by step.
        action: Spec of the action.
        clean_fraction: Probability that an episode is left undisturbed.

    Raises:
        CapabilityError: The action is continuous.
    """

    def __init__(
        self, controller: Controller, *, epsilon: float, action: FeatureSpec, clean_fraction: float = 0.0
    ) -> None:
        if action.num_classes is None:
            raise CapabilityError(
                "Random execution needs a discrete action.",
                got="a continuous action",
                hint="use NoisyExecution",
            )
        if not 0.0 <= epsilon <= 1.0:
            raise ConfigError("epsilon is a probability.", got=epsilon, expected="0 to 1")
        _check_clean(clean_fraction)
        super().__init__(controller)
        self._epsilon = epsilon
        self._num_classes, self._start = action.num_classes, action.start
        self._clean_fraction = clean_fraction
        self._clean = PerRow(_UNDRAWN)

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Ask the wrapped controller, now and then execute something else, keep its label."""
        intended = self._inner.act(observation, privileged, rows, generator.fork("controller"))
        # One call: successive calls would each continue the streams, which is right but easy to break.
        coin, chance, which = generator.fork("noise").uniform(3).T
        drawn = self._clean[rows]
        self._clean[rows] = np.where(drawn == _UNDRAWN, coin < self._clean_fraction, drawn)
        other = chance < self._epsilon
        other &= self._clean[rows] == 0
        # The first K - 1 classes, moved past the intended one.
        drawn_class = self._start + (which * (self._num_classes - 1)).astype(np.int64)
        drawn_class += drawn_class >= intended.action[:, 0]
        action = np.where(other, drawn_class, intended.action[:, 0])[:, None].astype(intended.action.dtype)
        return Decision(
            action=action,
            label=intended.label,
            label_valid=intended.label_valid,
            actor=np.where(self._clean[rows] == 0, Actor.NOISE, intended.actor).astype(np.uint8),
            intervention=intended.intervention,
        )


def _check_clean(clean_fraction: float) -> None:
    if not 0.0 <= clean_fraction <= 1.0:
        raise ConfigError("clean_fraction is a share of episodes.", got=clean_fraction, expected="0 to 1")
