"""Clean-label noise injection: the executed action is disturbed, the label is the intended one.

Laskey et al. (2017) disturb the demonstrator so that recoveries are shown; Zhang et al. (2025, arXiv
2507.09061) show that labels must stay clean and that clean episodes belong into the mix.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.protocol import (
    Actor,
    Controller,
    Decision,
    Observation,
    grown,
    merge_states,
    split_state,
)
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class GaussianNoise:
    """Independent noise at every step.

    Attributes:
        sigma: Standard deviation, in units of the action.
    """

    sigma: float = 0.3

    def __post_init__(self) -> None:
        _check_sigma(self.sigma)

    @property
    def memory(self) -> float:
        """Correlation between one step's noise and the next."""
        return 0.0


@dataclass(frozen=True, kw_only=True)
class OrnsteinUhlenbeck:
    """Noise that stays for a while, so that it really displaces a robot with inertia.

    n_{t+1} = (1 - theta) n_t + sigma sqrt(1 - (1 - theta)^2) z: its stationary deviation is sigma.

    Attributes:
        sigma: Stationary standard deviation, in units of the action.
        theta: Share of the noise that is forgotten each control step, in (0, 1].
    """

    sigma: float = 0.3
    theta: float = 0.15

    def __post_init__(self) -> None:
        _check_sigma(self.sigma)
        if not 0.0 < self.theta <= 1.0:
            raise ConfigError("theta is the share forgotten at each step.", got=self.theta, expected="(0, 1]")

    @property
    def memory(self) -> float:
        """Correlation between one step's noise and the next."""
        return 1.0 - self.theta


def _check_sigma(sigma: float) -> None:
    if not 0.0 <= sigma < np.inf:
        raise ConfigError("sigma is a standard deviation.", got=sigma, expected=">= 0 and finite")


ActionNoise = GaussianNoise | OrnsteinUhlenbeck


class NoisyExecution(Controller):
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
                hint="use the DAgger mixture, which needs no distance between actions",
            )
        if not 0.0 <= clean_fraction <= 1.0:
            raise ConfigError("clean_fraction is a share of episodes.", got=clean_fraction, expected="0 to 1")
        self._controller = controller
        self._noise = noise
        self._clean_fraction = clean_fraction
        self._low = np.full(action.shape, -np.inf) if action.low is None else np.array(action.low)
        self._high = np.full(action.shape, np.inf) if action.high is None else np.array(action.high)
        self._size = action.size
        self._value = np.zeros((0, action.size))
        self._clean = np.zeros(0, dtype=bool)

    def begin(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Start the noise of `rows` afresh."""
        self._controller.begin(rows)
        self._reach(rows)
        self._value[rows] = np.nan

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Ask the wrapped controller, disturb what is executed, keep its label."""
        intended = self._controller.act(observation, privileged, rows, generator.fork("controller"))
        noise, disturbed = self._draw(rows, generator.fork("noise"))
        action = np.clip(intended.action + noise.reshape(intended.action.shape), self._low, self._high)
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
        self._reach(rows)
        coin = streams.uniform() < self._clean_fraction
        drawn = streams.normal(self._size) * self._noise.sigma
        past = self._value[rows]
        fresh: np.ndarray = np.isnan(past[:, 0])
        keep = self._noise.memory
        value = np.where(np.expand_dims(fresh, 1), drawn, keep * past + np.sqrt(1.0 - keep**2) * drawn)
        self._value[rows] = value
        self._clean[rows] = np.where(fresh, coin, self._clean[rows])
        return value, ~self._clean[rows]

    def _reach(self, rows: np.ndarray) -> None:
        self._value = grown(self._value, rows, fill=np.nan)
        self._clean = grown(self._clean, rows, fill=False)

    def state(self) -> dict[str, np.ndarray]:
        """Return the noise of each row, and the memory of the wrapped controller."""
        inner = merge_states(controller=self._controller)
        return {"value": self._value.copy(), "clean": self._clean.copy(), **inner}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        self._value, self._clean = state["value"].copy(), state["clean"].copy()
        split_state(state, controller=self._controller)
