"""Settings of a learned dynamics model; see `policies.dynamics`."""

from dataclasses import dataclass, field
from typing import Literal

from steadyhand.core.settings import Count, NotNegative, Positive, Settings, Whole, Widths


@dataclass(frozen=True, kw_only=True)
class Unlimited:
    """No limit on the slope: a plain net."""


@dataclass(frozen=True, kw_only=True)
class Spectral(Settings):
    """Every layer's spectral norm is at most `per_layer`, so that of n layers is at most per_layer^n.

    That is in normalised units; what it comes to in raw ones is `ResidualMap.end_to_end`.

    Attributes:
        per_layer: The constant c. With two hidden layers, 2.0 allows slopes of 8.
    """

    per_layer: Positive = 2.0


@dataclass(frozen=True, kw_only=True)
class SlopePenalty(Settings):
    """Adds weight * mean over samples of max(0, ||g(x + d) - g(x)|| / ||d|| - limit)^2 to the loss.

    g is the net, x = (s, a) a datum and d a perturbation of length `radius`, all normalised.

    Deviation: a random direction in n dimensions shows only about n^(-1/2) of the steepest slope, so each d
    is first turned towards it by `power_steps` steps of power iteration (d <- J^T J d, through a gradient).

    Attributes:
        limit: Largest slope that costs nothing.
        num_samples: Perturbations for each datum.
        radius: Length of a perturbation; what lies between data farther apart than this is not seen.
        weight: Weight of the penalty, against the mean squared error.
        power_steps: 0 leaves the directions random.
    """

    limit: Positive = 2.0
    num_samples: Count = 5
    radius: Positive = 0.03
    weight: NotNegative = 1.0
    power_steps: Whole = 1


Lipschitz = Unlimited | Spectral | SlopePenalty


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig(Settings):
    """The net and its limit.

    Attributes:
        hidden: Widths of the hidden layers.
        activation: One whose slope is at most 1, or the product of the layers' norms would not be a bound.
        lipschitz: How steep the net may be.
        slack: Lets the net give transitions up: with keep(s, a) = sigmoid of a second, small net, the loss is
            keep * mse + (1 - keep) * slack, so that a transition is given up where its mean squared error
            (normalised) stays above `slack`: at a rare jump, which a limited net would otherwise smear over
            its neighbourhood. It limits no slope and certifies nothing; without a limit in `lipschitz` it
            only forgives. An untrained net's error is about 1: at a lower price it may give everything up
            before it has learnt anything. None keeps every transition.
    """

    hidden: Widths = (512, 512)
    activation: Literal["relu", "tanh"] = "relu"
    lipschitz: Lipschitz = field(default_factory=Spectral)
    slack: Positive | None = None
