"""Recurrent encoder: the trunk of robomimic's BC-RNN (Mandlekar et al., 2021)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.pictures import Size
from steadyhand.policies.contract import Context, ContextSpec, Observation, StepEncoder
from steadyhand.policies.encoders.cameras import source_grid
from steadyhand.policies.encoders.config import EncoderConfig, PictureEncoder
from steadyhand.policies.encoders.steps import StepFeatures, step_readable
from steadyhand.policies.nets.recurrent import Carry, Cell, Recurrence
from steadyhand.policies.noise import Noise


@dataclass(frozen=True, kw_only=True)
class Recurrent(EncoderConfig):
    """LSTM or GRU over the observed steps: one token for each, which knows that step and those before.

    The state is zero before the first step that is not padding. robomimic trains on windows of 10 steps and
    resets the state every 10 steps when it drives: n_obs_steps=10, horizon=10, chunk_start=-9 and
    history="reset".

    Attributes:
        cell: Kind of layer (Hochreiter and Schmidhuber, 1997; Cho et al., 2014).
        hidden: Width of the state and of a token. robomimic: 400, with images 1000.
        num_layers: Layers.
        images: Reads the pictures; its features go into the first layer beside the vectors.
    """

    cell: Cell = "lstm"
    hidden: int = 400
    num_layers: int = 2
    images: PictureEncoder | None = None

    def __post_init__(self) -> None:
        for name, size in (("hidden", self.hidden), ("num_layers", self.num_layers)):
            if size < 1:
                raise ConfigError(f"Recurrent: {name} must be positive.", got=size, expected=">= 1")
        if self.images is not None:
            self.images.require_every_step(reader="Recurrent")

    def readable(self, observation: Mapping[str, FeatureSpec]) -> tuple[str, ...]:
        """Return the features that this encoder can read: images only if it has an encoder for them."""
        return step_readable(observation, self.images)

    @property
    def picture_size(self) -> Size | None:
        """(height, width) that the encoder of its pictures has them scaled down to."""
        return None if self.images is None else self.images.picture_size

    def require_trainable(self) -> None:
        """Raise ConfigError if the encoder of its pictures could not learn."""
        if self.images is not None:
            self.images.require_trainable()

    def build(self, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int) -> "RecurrentEncoder":
        """Return the encoder for these features."""
        return RecurrentEncoder(self, observation, n_obs_steps=n_obs_steps)


class RecurrentEncoder(StepEncoder):
    """See `Recurrent`."""

    position: Tensor
    inside: Tensor

    def __init__(
        self, config: Recurrent, observation: Mapping[str, FeatureSpec], *, n_obs_steps: int
    ) -> None:
        super().__init__()
        self.features = StepFeatures(
            observation, images=config.images, n_obs_steps=n_obs_steps, reader="Recurrent"
        )
        self.net = Recurrence(
            self.features.width, cell=config.cell, hidden=config.hidden, num_layers=config.num_layers
        )
        self.register_buffer("inside", torch.zeros(1, 1, dtype=torch.bool), persistent=False)
        self.register_buffer("position", source_grid(1, n_obs_steps), persistent=False)
        self.spec = ContextSpec(
            num_tokens=n_obs_steps,
            width=config.hidden,
            num_steps=n_obs_steps,
            state_width=self.features.vectors.width,
        )

    def forward(self, observation: Observation, is_pad: Bool[Tensor, "B O"], noise: Noise | None) -> Context:
        """Encode; tokens of padded steps are absent."""
        features, state = self.features(observation, is_pad, noise)
        return self.joined(self.net(features, is_pad), is_pad, state)

    def step(
        self, observation: Observation, carry: Carry | None
    ) -> tuple[Float[Tensor, "B 1 C"], Float[Tensor, "B V"] | None, Carry]:
        """Encode one step from the state after the one before."""
        features, state = self.features(observation, self.inside.expand(_rows(observation), 1), None)
        token, after = self.net.step(features, carry)
        return token, state, after

    def joined(
        self,
        tokens: Float[Tensor, "B O C"],
        is_pad: Bool[Tensor, "B O"],
        state: Float[Tensor, "B V"] | None,
    ) -> Context:
        """Return the context of one token a step."""
        return Context(tokens=tokens, is_pad=is_pad, position=self.position, state=state)

    def scan(
        self,
        observation: Observation,
        is_pad: Bool[Tensor, "B O"],
        carry: Carry | None = None,
        *,
        noise: Noise | None = None,
    ) -> tuple[Float[Tensor, "B O C"], Carry]:
        """Encode any number of steps, with the state handed in and out.

        A loop that keeps the state pays for one step where `forward` pays for the window.

        Args:
            observation: Feature name -> (B, O, ...), normalised.
            is_pad: (B, O) True where a step is to put the state back to zero.
            carry: What the last call returned; None begins at zero.
            noise: Source for augmentation in training.

        Returns:
            Tokens, and the state after the last step.
        """
        features, _ = self.features(observation, is_pad, noise)
        return self.net.scan(features, is_pad, carry)


def _rows(observation: Observation) -> int:
    return len(next(iter(observation.values())))
