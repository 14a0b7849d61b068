"""The head behind `GaussianHill`."""

from typing import assert_never

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from steadyhand.policies.contract import (
    ChunkSpec,
    Context,
    ContextSpec,
    Data,
    Fit,
    Head,
    Loss,
    Prefix,
    Target,
)
from steadyhand.policies.heads.action_range import ActionRange
from steadyhand.policies.heads.hill import GaussianHill
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.noise import Noise

_FINE = 8
"""Templates for each unit; a parabola through the logarithms of three of them does the rest."""


class GaussianHillHead(Head):
    """Head that `GaussianHill` builds.

    Answers with the hill that fits best: one of several, never their mean.
    """

    places: Tensor
    templates: Tensor

    def __init__(self, config: GaussianHill, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._config = config
        self.range = ActionRange(chunk)
        num_outputs = chunk.horizon * chunk.action_dim * config.num_units
        sizes = (context.num_tokens * context.width, *config.hidden, num_outputs)
        self.net = mlp(sizes, activation=config.activation)
        places = torch.linspace(0.0, 1.0, _FINE * (config.num_units - 1) + 1)
        templates = self.hill(places).double()
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("templates", templates / templates.norm(dim=1, keepdim=True), persistent=False)

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the error of each step, the mean over its units and dimensions."""
        del noise
        units = self._raw(context)
        hill = self.hill(self.range.to_unit(target.actions).clamp(0.0, 1.0))
        match self._config.error:
            case "mse":
                value = (units.sigmoid() - hill).square().mean((2, 3))
            case "cross_entropy":
                share = hill / hill.sum(-1, keepdim=True)
                value = -(share * F.log_softmax(units, -1)).sum(-1).mean(-1)
            case _:
                assert_never(self._config.error)
        return Loss(value=value)

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Return the decoded hills; there is nothing to draw."""
        del noise, prefix
        return self.decode(self.units(context))

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Find the range of the training actions, where they are not normalised to [-1, 1]."""
        del fit, noise
        self.range.find(data)

    def units(self, context: Context) -> Float[Tensor, "B H A K"]:
        """Return the activations, in [0, 1]. Two peaks mean two ways that were both demonstrated."""
        units = self._raw(context)
        return units.sigmoid() if self._config.error == "mse" else units.softmax(-1)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Refuse labels outside the range that its units divide."""
        self.range.require_inside(low, high, head="GaussianHill")
        return False

    def hill(self, place: Float[Tensor, "*B"]) -> Float[Tensor, "*B K"]:
        """Return the hill around each place in the range, 0 to 1."""
        last = self._config.num_units - 1
        unit = torch.arange(last + 1, dtype=torch.float32, device=place.device)
        return torch.exp(-(unit - last * place[..., None]).square() / self._config.spread)

    def decode(self, units: Float[Tensor, "B H A K"]) -> Float[Tensor, "B H A"]:
        """Return where a hill of this width and free height fits the units best, by least squares.

        The best height at a centre d is <u, h_d> / |h_d|^2, and leaves |u|^2 - (<u, h_d> / |h_d|)^2; so the
        best d is where the correlation with the template of length 1 is largest. For a hill that is a
        Gaussian of d, whose logarithm is a parabola. Not the centre of mass: it lies between two hills, and
        is pulled inwards where a hill is cut off at the end of the range.
        """
        score = (units.double() @ self.templates.T).clamp(min=1e-12).log()
        middle = score.argmax(-1, keepdim=True).clamp(1, len(self.places) - 2)
        before, here, after = (score.gather(-1, middle + shift)[..., 0] for shift in (-1, 0, 1))
        bend = (2.0 * here - before - after).clamp(min=1e-12)
        shift = 0.5 * (after - before) / bend
        place = self.places[middle[..., 0]] + shift.float() * self.places[1]
        return self.range.from_unit(place.clamp(0.0, 1.0))

    def _raw(self, context: Context) -> Float[Tensor, "B H A K"]:
        shape = (self.chunk.horizon, self.chunk.action_dim, self._config.num_units)
        return self.net(context.flat()).unflatten(1, shape)
