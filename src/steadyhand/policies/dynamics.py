"""A learned residual dynamics model s' = s + f(s, a), with a limit on how steep f may be.

Three limits, after CCIL (Ke et al., 2024): none; a spectral norm for every layer; a penalty on sampled local
slopes. Inputs and outputs are normalised inside, and slopes are compared in those units on both sides.

Deviation: features are normalised by mean and standard deviation, as everywhere here; the released code
divides by the mean absolute deviation. Its sampled penalty compares a normalised residual with a raw state
and does not scale the perturbation, which limits nothing; ours is the quotient that the paper describes.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import assert_never

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from steadyhand.core.digests import Digest
from steadyhand.core.errors import DataError
from steadyhand.data.digests import DataDigest
from steadyhand.policies.dynamics_config import DynamicsConfig, SlopePenalty, Spectral, Unlimited
from steadyhand.policies.nets.mlp import activation_layer, mlp
from steadyhand.policies.nets.spectral import SpectralLinear
from steadyhand.policies.noise import Noise, scoped
from steadyhand.policies.normaliser import Affine
from steadyhand.policies.residual_map import ResidualMap
from steadyhand.policies.trainable import LossRows, Trainable

_TINY = 1e-12
_SLACK_WIDTH = 64
_SLACK_START = 4.0
"""Share of a transition that counts at first: sigmoid(4) = 0.98."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Transitions:
    """N executed steps, raw.

    Attributes:
        state: (N, S) states before the step.
        action: (N, A) what was executed, whether or not it was meant.
        next_state: (N, S) states after the step.
    """

    state: Float32[np.ndarray, "N S"]
    action: Float32[np.ndarray, "N A"]
    next_state: Float32[np.ndarray, "N S"]

    def __len__(self) -> int:
        return len(self.state)

    def rows(self, index: Int64[np.ndarray, " K"]) -> "Transitions":
        """Return some of the steps."""
        return Transitions(
            state=self.state[index], action=self.action[index], next_state=self.next_state[index]
        )


@dataclass(frozen=True, kw_only=True)
class TransitionBatch:
    """B executed steps as tensors, raw."""

    state: Float[Tensor, "B S"]
    action: Float[Tensor, "B A"]
    next_state: Float[Tensor, "B S"]

    def __len__(self) -> int:
        return len(self.state)


class TransitionSource:
    """What the training loop draws from.

    Args:
        transitions: The data.
        steps: Which of them may be drawn; all if None.

    Attributes:
        steps: (M,) those.
    """

    def __init__(self, transitions: Transitions, steps: Int64[np.ndarray, " M"] | None = None) -> None:
        if len(transitions) == 0:
            raise DataError(
                "There is no transition to learn from.",
                hint="a transition needs two states: episodes of one step need final_observation",
            )
        self.steps = np.arange(len(transitions)) if steps is None else steps
        self._transitions = transitions
        columns = (transitions.state, transitions.action, transitions.next_state)
        self._columns = [torch.from_numpy(np.ascontiguousarray(column)) for column in columns]

    def digest(self) -> DataDigest:
        """Return the digest of all that may be read."""
        data = self._transitions
        whole = Digest().array("state", data.state).array("action", data.action)
        whole.array("next_state", data.next_state).array("steps", self.steps)
        return {"episodes": 0, "steps": len(self.steps), "sha256": whole.hex()}

    def batch(self, steps: Int64[np.ndarray, " B"]) -> TransitionBatch:
        """Return the transitions of `steps`."""
        index = torch.from_numpy(steps)
        state, action, next_state = (column.index_select(0, index) for column in self._columns)
        return TransitionBatch(state=state, action=action, next_state=next_state)


class Dynamics(Trainable[TransitionBatch]):
    """The model; make one with `Dynamics.build`, then `fit_statistics`, then the training loop.

    Attributes:
        config: What it is made of.
        net: Normalised (state, action) -> normalised residual.
    """

    def __init__(self, config: DynamicsConfig, *, state_dim: int, action_dim: int) -> None:
        super().__init__()
        self.config = config
        self._state_dim = state_dim
        sizes = (state_dim + action_dim, *config.hidden, state_dim)
        self.net = _net(sizes, config)
        self.slack: nn.Module | None = None
        if config.slack is not None:
            self.slack = mlp((sizes[0], _SLACK_WIDTH, _SLACK_WIDTH, 1), activation="relu")
        self.state_affine = Affine("the state", (state_dim,), mode="z_score")
        self.action_affine = Affine("the action", (action_dim,), mode="z_score")
        self.residual_affine = Affine("the change of state", (state_dim,), mode="z_score", role="output")

    @classmethod
    def build(cls, config: DynamicsConfig, *, state_dim: int, action_dim: int, seed: int = 0) -> "Dynamics":
        """Return an untrained model with parameters drawn from `seed`."""
        with scoped(seed):
            return cls(config, state_dim=state_dim, action_dim=action_dim)

    def fit_statistics(self, transitions: Transitions) -> None:
        """Fit the normalisers; give only training steps."""
        residual = transitions.next_state.astype(np.float64) - transitions.state
        self.state_affine.fit(transitions.state)
        self.action_affine.fit(transitions.action)
        self.residual_affine.fit(residual)

    def forward(self, state: Float[Tensor, "B S"], action: Float[Tensor, "B A"]) -> Float[Tensor, "B S"]:
        """Return the next state, raw."""
        return state + self.residual_affine.inverse(self.net(self._inputs(state, action)))

    def loss_rows(self, batch: TransitionBatch, noise: Noise) -> LossRows:
        """Return the mean squared error of each normalised residual, and in training the limits' terms."""
        inputs = self._inputs(batch.state, batch.action)
        wanted = self.residual_affine(batch.next_state - batch.state)
        predicted = self.net(inputs)
        error = (predicted - wanted).square().mean(1)
        metrics = {"mse": error.detach()}
        loss = error
        if noise.augments and self.slack is not None and self.config.slack is not None:
            keep = (self.slack(inputs).squeeze(1) + _SLACK_START).sigmoid()
            loss = keep * error + (1.0 - keep) * self.config.slack
            metrics["keep"] = keep.detach()
        if noise.augments and isinstance(limit := self.config.lipschitz, SlopePenalty):
            slopes = self._slopes(inputs, predicted, limit, noise)
            loss = loss + limit.weight * (slopes - limit.limit).clamp(min=0.0).square().mean(1)
            metrics["slope"] = slopes.detach().amax(1)
        return LossRows(numerator=loss, denominator=torch.ones_like(loss), metrics=metrics)

    def snapshot(self) -> ResidualMap:
        """Return the model as plain numbers in raw units: what roots, slopes and constants are taken from."""
        was_training = self.training
        self.eval()
        with torch.no_grad():
            layers = [layer for layer in self.net if isinstance(layer, nn.Linear)]
            weights = [
                (layer.limited() if isinstance(layer, SpectralLinear) else layer.weight)
                .double()
                .cpu()
                .numpy()
                for layer in layers
            ]
            biases = [layer.bias.double().cpu().numpy() for layer in layers]
        self.train(was_training)
        state, action = _numbers(self.state_affine), _numbers(self.action_affine)
        residual = _numbers(self.residual_affine)
        offset, scale = (np.concatenate([state[i], action[i]]) for i in (0, 1))
        biases[0] = biases[0] - weights[0] @ (offset / scale)
        weights[0] = weights[0] / scale
        biases[-1] = biases[-1] * residual[1] + residual[0]
        weights[-1] = weights[-1] * residual[1][:, None]
        return ResidualMap(
            weights=tuple(weights),
            biases=tuple(biases),
            activation=self.config.activation,
            state_scale=state[1],
            action_scale=action[1],
            residual_scale=residual[1],
        )

    def _inputs(self, state: Tensor, action: Tensor) -> Tensor:
        return torch.cat([self.state_affine(state), self.action_affine(action)], dim=1)

    def _slopes(
        self, inputs: Tensor, still: Tensor, limit: SlopePenalty, noise: Noise
    ) -> Float[Tensor, "B K"]:
        """Return ||g(x + d) - g(x)|| / ||d|| for K perturbations of each datum, normalised on both sides."""

        def cut(shift: Tensor) -> Tensor:
            return shift * (limit.radius / shift.norm(dim=-1, keepdim=True).clamp(min=_TINY))

        num_rows, width = inputs.shape
        shift = cut(noise.normal(num_rows, limit.num_samples, width))
        for _ in range(limit.power_steps):
            shift = cut(self._steeper(inputs, still, shift))
        return self._rise(inputs, still, shift).norm(dim=-1) / limit.radius

    def _steeper(self, inputs: Tensor, still: Tensor, shift: Tensor) -> Tensor:
        """Return J^T (g(x + d) - g(x)), J taken at x + d: the direction of d after one power step."""
        with torch.enable_grad():
            probe = shift.detach().requires_grad_()
            rise = self._rise(inputs.detach(), still.detach(), probe)
            (turned,) = torch.autograd.grad(rise.square().sum(), probe)
        # Where the net is flat there is no steepest direction: the random one stays.
        flat = turned.norm(dim=-1, keepdim=True) < _TINY
        return torch.where(flat, shift, turned)

    def _rise(self, inputs: Tensor, still: Tensor, shift: Tensor) -> Float[Tensor, "B K S"]:
        moved = self.net((inputs[:, None] + shift).flatten(0, 1))
        return moved.unflatten(0, shift.shape[:2]) - still[:, None]


def _net(sizes: tuple[int, ...], config: DynamicsConfig) -> nn.Sequential:
    match config.lipschitz:
        case Spectral(per_layer=limit):
            layers: list[nn.Module] = []
            for width_in, width_out in pairwise(sizes):
                layers += [
                    SpectralLinear(width_in, width_out, limit=limit),
                    activation_layer(config.activation)(),
                ]
            return nn.Sequential(*layers[:-1])
        case Unlimited() | SlopePenalty():
            return mlp(sizes, activation=config.activation)
        case _:
            assert_never(config.lipschitz)


def _numbers(affine: Affine) -> tuple[np.ndarray, np.ndarray]:
    affine.log_volume()  # raises where there are no statistics
    return affine.offset.double().cpu().numpy(), affine.scale.double().cpu().numpy()
