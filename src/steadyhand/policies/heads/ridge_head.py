"""The head behind `Ridge`."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.policies.contract import (
    ChunkSpec,
    Context,
    ContextSpec,
    Data,
    Fit,
    Head,
    Likelihood,
    Loss,
    Prefix,
    Target,
)
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.nets.normal import HALF_LOG_TWO_PI
from steadyhand.policies.noise import Noise

_MOST_FEATURES = 8192
"""The normal equations of one step take features^2 float64: half a gigabyte here."""


@dataclass(kw_only=True)
class _Sums:
    """Weighted sums over the data for each step: features x features, features x actions, and so on."""

    xx: Float64[Tensor, "H D D"]
    xy: Float64[Tensor, "H D A"]
    yy: Float64[Tensor, "H A A"]
    weight: Float64[Tensor, " H"]


class RidgeHead(Head):
    """Head that `Ridge` builds.

    Mode: W x + b. Sample: plus correlated Gaussian noise, each step on its own.
    """

    likelihood: Likelihood = "exact"
    closed_form = True
    weight: Tensor
    bias: Tensor
    scale_tril: Tensor

    def __init__(self, config: Ridge, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._config = config
        self._width = context.num_tokens * context.width
        if self._width > _MOST_FEATURES:
            raise ConfigError(
                "Ridge solves for all features at once.",
                got=f"{self._width} features",
                expected=f"at most {_MOST_FEATURES}",
                hint="use the Regression head, or an encoder with a smaller context",
            )
        horizon, dims = chunk.horizon, chunk.action_dim
        self.register_buffer("weight", torch.zeros(horizon, self._width, dims))
        self.register_buffer("bias", torch.zeros(horizon, dims))
        self.register_buffer("scale_tril", torch.eye(dims).repeat(horizon, 1, 1))

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return -log p of each step in nats; metric: the mean squared error of a row."""
        del noise
        mean = self._mean(context)
        error = (mean - target.actions).square().mean(-1).masked_fill(target.is_pad, 0.0)
        metrics = {"squared_error": error.sum(1) / (~target.is_pad).sum(1).clamp(min=1)}
        return Loss(value=-self._log_density(target.actions - mean), metrics=metrics)

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Draw every step from its Gaussian."""
        del prefix
        mean = self._mean(context)
        drawn = noise.normal(*mean.shape)
        return mean + torch.einsum("hij,bhj->bhi", self.scale_tril, drawn)

    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return log p of each chunk, exact."""
        density = self._log_density(target.actions - self._mean(context))
        return density.masked_fill(target.is_pad, 0.0).sum(1)

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Solve (X'PX + alpha I) W = X'PY for each step, P the weights, in float64 on the CPU."""
        del fit, noise
        sums = self._sums(data)
        penalty = torch.full((self._width + 1,), self._config.alpha, dtype=torch.float64)
        penalty[-1] = 0.0
        for step in range(self.chunk.horizon):
            if sums.weight[step] <= 0.0:
                continue
            xx, xy, yy = sums.xx[step], sums.xy[step], sums.yy[step]
            solution = _solve(xx + penalty.diag(), xy)
            cross = solution.T @ xy
            residual = (yy - cross - cross.T + solution.T @ xx @ solution) / sums.weight[step]
            self.weight[step] = solution[:-1]
            self.bias[step] = solution[-1]
            self.scale_tril[step] = _cholesky(residual, self._config.min_std)

    def _sums(self, data: Data) -> _Sums:
        horizon, width, dims = self.chunk.horizon, self._width + 1, self.chunk.action_dim
        sums = _Sums(
            xx=torch.zeros(horizon, width, width, dtype=torch.float64),
            xy=torch.zeros(horizon, width, dims, dtype=torch.float64),
            yy=torch.zeros(horizon, dims, dims, dtype=torch.float64),
            weight=torch.zeros(horizon, dtype=torch.float64),
        )
        for context, target in data():
            x = nn.functional.pad(context.flat(), (0, 1), value=1.0).cpu().double()
            y, weight = target.actions.cpu().double(), target.weight.cpu().double()
            weighted = y * weight[..., None]
            sums.xx += (x * weight[:, :1]).T @ x
            for step in range(1, horizon):  # most steps have the weight of the first: only the others count
                other = weight[:, step] - weight[:, 0]
                rows = other.nonzero()[:, 0]
                sums.xx[step] += (x[rows] * other[rows, None]).T @ x[rows]
            sums.xy += torch.einsum("bd,bha->hda", x, weighted)
            sums.yy += torch.einsum("bha,bhc->hac", weighted, y)
            sums.weight += weight.sum(0)
        return sums

    def _mean(self, context: Context) -> Float[Tensor, "B H A"]:
        return torch.einsum("bd,hda->bha", context.flat(), self.weight) + self.bias

    def _log_density(self, error: Float[Tensor, "B H A"]) -> Float[Tensor, "B H"]:
        score = torch.linalg.solve_triangular(self.scale_tril, error[..., None], upper=False)[..., 0]
        log_det = self.scale_tril.diagonal(dim1=1, dim2=2).log().sum(1)
        return -0.5 * score.square().sum(-1) - log_det - self.chunk.action_dim * HALF_LOG_TWO_PI


def _solve(matrix: Float64[Tensor, "D D"], right: Float64[Tensor, "D A"]) -> Float64[Tensor, "D A"]:
    """Solve a symmetric positive system; the smallest solution where it is singular."""
    factor, info = torch.linalg.cholesky_ex(matrix)
    if int(info) == 0:
        return torch.cholesky_solve(right, factor)
    return torch.linalg.lstsq(matrix, right, driver="gelsd").solution


def _cholesky(covariance: Float64[Tensor, "A A"], min_std: float) -> Float64[Tensor, "A A"]:
    """Return the lower factor of the covariance plus min_std^2 I; rounding below zero is cut off."""
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2.0)
    safe = vectors @ (values.clamp(min=0.0) + min_std**2).diag() @ vectors.T
    return torch.linalg.cholesky(safe)
