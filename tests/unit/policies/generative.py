"""Nets with known answers, and noise with known values, for heads that sample in steps."""

import numpy as np
import torch
from torch import Tensor

from steadyhand.core.seeding import RowStreams
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Target
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.schedule import squared_cosine
from steadyhand.policies.nets.denoiser import Condition, Denoiser
from steadyhand.policies.noise import GeneratorNoise, Noise, RowNoise, scoped

CONTEXT = ContextSpec(num_tokens=1, width=1)


class Fixed(Noise):
    """Gives the same value for every normal draw."""

    def __init__(self, value: float) -> None:
        self.value = value

    def normal(self, *shape: int) -> Tensor:
        return torch.full(shape, self.value)

    def uniform(self, *shape: int) -> Tensor:
        return torch.full(shape, 0.5)


def diffusion_factors(time: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and noise at a time of a diffusion with 100 steps."""
    alpha_bar = squared_cosine(100)[time.round().long()].float()
    return alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt()


def flow_factors(time: Tensor) -> tuple[Tensor, Tensor]:
    return time / 100.0, 1.0 - time / 100.0


class Oracle(Denoiser):
    """The best denoiser of a mixture of K round Gaussians, in closed form; counts how often it is asked."""

    def __init__(self, means: Tensor, std: float, *, answer: str, weights: Tensor | None = None) -> None:
        super().__init__()
        self.means, self.std, self.answer = means, std, answer  # means (K, H, A)
        self.weights = torch.full((len(means),), 1.0 / len(means)) if weights is None else weights
        self.num_conditions = self.num_calls = 0

    def condition(self, context: Context, noise: Noise | None = None) -> Condition:
        self.num_conditions += 1
        return (context.tokens,)

    def embed_times(self, time: Tensor) -> Tensor:
        return time[:, None]

    def forward(
        self, x: Tensor, embedding: Tensor, condition: Condition, noise: Noise | None = None
    ) -> Tensor:
        self.num_calls += 1
        assert len(condition[0]) == len(x)
        factors = flow_factors if self.answer in ("velocity", "flow sample") else diffusion_factors
        signal, sigma = (part[:, None, None] for part in factors(embedding[:, 0]))
        variance = signal**2 * self.std**2 + sigma**2
        gap = x[:, None] - signal[:, None] * self.means
        score = -0.5 * gap.square().sum((2, 3)) / variance[:, 0] + self.weights.log()
        share = score.softmax(1)[..., None, None]
        gap = (share * gap).sum(1)
        data = (share * self.means).sum(1) + signal * self.std**2 / variance * gap
        eps = sigma / variance * gap
        return {"velocity": data - eps, "epsilon": eps, "sample": data, "flow sample": data}[self.answer]


def head_with(config: HeadConfig, net: Denoiser, *, horizon: int = 1, is_bounded: bool = False) -> Head:
    """Build a head and give it another net."""
    head = build(config, horizon=horizon, is_bounded=is_bounded)
    head.net = net
    return head


def build(config: HeadConfig, *, horizon: int = 1, action_dim: int = 1, is_bounded: bool = False) -> Head:
    with scoped(0):
        return config.build(CONTEXT, ChunkSpec(horizon=horizon, action_dim=action_dim, is_bounded=is_bounded))


def context(rows: int) -> Context:
    return Context(tokens=torch.zeros(rows, 1, 1))


def target(actions: Tensor) -> Target:
    rows, horizon = actions.shape[:2]
    return Target(
        actions=actions,
        is_pad=torch.zeros(rows, horizon, dtype=torch.bool),
        weight=torch.ones(rows, horizon),
    )


def row_noise(rows: int, *, only: int | None = None, seed: int = 3) -> RowNoise:
    streams = RowStreams.from_seed(seed, rows)
    return RowNoise(streams if only is None else streams.take(np.array([only])))


def train(head: Head, data: Tensor, *, num_steps: int, batch_size: int = 256, seed: int = 0) -> None:
    """Train on (N, H, A) chunks without context; Adam, cosine."""
    noise = GeneratorNoise.seeded(seed)
    optimizer = torch.optim.Adam(head.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    empty = context(batch_size)
    for _ in range(num_steps):
        rows = (noise.uniform(batch_size) * len(data)).long()
        loss = head.loss(empty, target(data[rows]), noise).value.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
