"""An MLP over the vector features of the observation window."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from steadyhand.core.settings import Widths
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.choices import Activation
from steadyhand.policies.encoders.config import EncoderConfig, is_vector

if TYPE_CHECKING:
    from steadyhand.policies.encoders.state_encoder import StateMLPEncoder


@dataclass(frozen=True, kw_only=True)
class StateMLP(EncoderConfig):
    """An MLP over the vector features, side by side.

    Attributes:
        hidden: Width of each layer; the last is the width of a token. Empty passes the features on as they
            are, which with a linear head is linear regression.
        activation: Activation after every layer.
        join: How steps become tokens. "window": one token for all observed steps. "steps": one for each, from
            that step alone, for heads that attend to tokens.
    """

    hidden: Widths = (256, 256)
    activation: Activation = "relu"
    join: Literal["window", "steps"] = "window"

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return the features that this encoder can read: all but images."""
        return tuple(name for name, spec in observation.items() if is_vector(spec))

    @classmethod
    def toys(cls) -> tuple["StateMLP", ...]:
        """Return small forms; see `Part`."""
        return cls(hidden=(16,)), cls(hidden=(16,), join="steps")

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "StateMLPEncoder":
        """Return the encoder for these features."""
        from steadyhand.policies.encoders.state_encoder import StateMLPEncoder

        return StateMLPEncoder(self, observation, n_obs_steps=n_obs_steps)
