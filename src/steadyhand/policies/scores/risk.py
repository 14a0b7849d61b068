"""The chance that the policy fails from here."""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Shaped
from torch import Tensor, nn

from steadyhand.core.errors import DataError
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.noise import scoped
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.risk_config import RiskConfig
from steadyhand.policies.scores.base import ActionScale, Score, Seen, descriptor
from steadyhand.policies.threads import use_threads


@dataclass(frozen=True, kw_only=True, eq=False)
class RiskTransitions:
    """N steps with what the policy under judgement would do next.

    Attributes:
        pair: (N, D) description of state and action.
        next_pair: (N, D) the same of the next state and the policy's own action there; 0 where `ends`.
        success: (N,) whether the step ended the episode in success: the reward.
        ends: (N,) whether the episode ended with the step.
    """

    pair: Float32[np.ndarray, "N D"]
    next_pair: Float32[np.ndarray, "N D"]
    success: Bool[np.ndarray, " N"]
    ends: Bool[np.ndarray, " N"]


class Critics(nn.Module):
    """Two nets that estimate the discounted chance of success; the lower one counts."""

    def __init__(self, width: int, *, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.nets = nn.ModuleList(mlp((width, *hidden, 1), activation="relu") for _ in range(2))

    def forward(self, pair: Tensor) -> Tensor:
        """Return both estimates, (B, 2) in (0, 1)."""
        return torch.cat([net(pair) for net in self.nets], dim=1).sigmoid()


def pairs(
    policy: PolicyModule, scale: ActionScale, seen: Seen, action: np.ndarray
) -> Float32[np.ndarray, "B D"]:
    """Return the description of windows and actions that critics read."""
    return np.concatenate([descriptor(policy, seen), scale(action).astype(np.float32)], axis=1)


def fit_critics(data: RiskTransitions, *, config: RiskConfig, seed: int) -> Critics:
    """Fit Q(s, a) = E[gamma^(steps to success)] of the policy that chose `next_pair`.

    Each net regresses on r + gamma (1 - end) min of both targets at the next pair, with squares.

    Raises:
        DataError: There are no steps.
    """
    if len(data.pair) == 0:
        raise DataError("There are no steps to learn risk from.", hint="let the policy drive first")
    with scoped(seed):
        critics = Critics(data.pair.shape[1], hidden=config.hidden)
    targets = deepcopy(critics)
    optimiser = torch.optim.Adam(critics.parameters(), lr=config.learning_rate)
    random = np.random.default_rng(seed)
    positive = np.flatnonzero(data.success)
    num_positive = round(config.positive_share * config.batch_size) if len(positive) else 0
    pair, next_pair = torch.from_numpy(data.pair), torch.from_numpy(data.next_pair)
    reward = torch.from_numpy(data.success.astype(np.float32))
    goes_on = torch.from_numpy((~data.ends).astype(np.float32))
    with use_threads(1):
        for step in range(config.num_steps):
            anywhere = random.integers(0, len(pair), config.batch_size - num_positive)
            drawn = (
                positive[random.integers(0, len(positive), num_positive)] if num_positive else anywhere[:0]
            )
            rows = torch.from_numpy(np.concatenate([anywhere, drawn]))
            with torch.no_grad():
                ahead = targets(next_pair[rows]).amin(1)
            backup = reward[rows] + config.discount * goes_on[rows] * ahead
            loss = (critics(pair[rows]) - backup[:, None]).square().mean(0).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if (step + 1) % config.target_every == 0:
                _follow(targets, critics, keep=config.polyak)
    return critics.eval()


@torch.no_grad()
def _follow(targets: nn.Module, critics: nn.Module, *, keep: float) -> None:
    for old, new in zip(targets.parameters(), critics.parameters(), strict=True):
        old.lerp_(new, 1.0 - keep)


class Risk(Score):
    """1 - min(Q_1, Q_2)(s, a): how likely the policy fails from here (ThriftyDAgger: Hoque et al., 2021).

    Q estimates the discounted probability that the policy, left alone, reaches success.

    Args:
        policy: Whose normaliser, and encoder, describe a window.
        critics: Fitted to what that policy does.
        scale: Scale in which actions become vectors.
    """

    def __init__(self, policy: PolicyModule, critics: Critics, scale: ActionScale) -> None:
        self._policy, self._critics, self._scale = policy.eval(), critics.eval(), scale

    @torch.no_grad()
    def __call__(
        self, seen: Seen, action: Shaped[np.ndarray, "B A"], streams: RowStreams
    ) -> Float64[np.ndarray, " B"]:
        """Return the risk of the proposal."""
        del streams
        pair = torch.from_numpy(pairs(self._policy, self._scale, seen, action))
        return 1.0 - self._critics(pair).amin(1).double().numpy()
