"""The encoder behind `Recurrent`."""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import Context, ContextSpec, Observation, StepEncoder
from steadyhand.policies.encoders.cameras import source_grid
from steadyhand.policies.encoders.recurrent import Recurrent
from steadyhand.policies.encoders.steps import StepFeatures
from steadyhand.policies.nets.recurrent import Carry, Recurrence
from steadyhand.policies.noise import Noise


class RecurrentEncoder(StepEncoder):
    """Encoder that `Recurrent` builds."""

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
        if n_obs_steps == 1:
            self.without_gradient = {"net.layers.weight_hh_*": "there is no earlier step to remember"}

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
