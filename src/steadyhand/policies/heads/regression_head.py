"""The head behind `Regression`."""

from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Loss, Prefix, Target
from steadyhand.policies.heads.checks import fold_into
from steadyhand.policies.heads.regression import Error, Regression
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.noise import Noise


class RegressionHead(Head):
    """Head that `Regression` builds."""

    def __init__(self, config: Regression, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._error: Error = config.error
        sizes = (context.num_tokens * context.width, *config.hidden, chunk.horizon * chunk.action_dim)
        self.net = mlp(sizes, activation=config.activation)

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the error of each step, averaged over the action's dimensions."""
        del noise
        error = self._predict(context) - target.actions
        match self._error:
            case "mse":
                return Loss(value=torch.linalg.vecdot(error, error) / self.chunk.action_dim)
            case "l1":
                return Loss(value=error.abs().mean(-1))
            case _:
                assert_never(self._error)

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Return the one answer."""
        del noise, prefix
        return self._predict(context)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Take the change of scale into the last layer, exactly; where nothing is bounded, go on."""
        if self.chunk.is_bounded:
            last = self.net[-1]
            assert isinstance(last, nn.Linear)
            fold_into(last, low, high)
        return self.chunk.is_bounded

    def _predict(self, context: Context) -> Tensor:
        return self.net(context.flat()).view(-1, self.chunk.horizon, self.chunk.action_dim)
