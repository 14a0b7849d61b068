"""The chance that the policy fails from here."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Shaped
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError, DataError
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.noise import scoped
from steadyhand.policies.policy import Policy
from steadyhand.policies.scores.base import ActionScale, Score, Seen, descriptor
from steadyhand.policies.threads import use_threads


@dataclass(frozen=True, kw_only=True)
class RiskConfig:
    """Fit of the critics; constants of ThriftyDAgger's code (Hoque et al., 2021) but for the sizes.

    Deviation: hidden layers of 128 rather than 256 units, and fewer gradient steps.

    Attributes:
        discount: gamma for each step.
        num_steps: Gradient steps.
        batch_size: Transitions in a batch.
        positive_share: Of a batch, drawn among the steps that ended in success.
        learning_rate: Of Adam.
        polyak: What a target critic keeps of itself at an update.
        target_every: Gradient steps between updates of the targets.
        hidden: Layers of each critic.
    """

    discount: float = 0.9999
    num_steps: int = 1000
    batch_size: int = 50
    positive_share: float = 0.1
    learning_rate: float = 1e-3
    polyak: float = 0.995
    target_every: int = 2
    hidden: tuple[int, ...] = (128, 128)

    def __post_init__(self) -> None:
        for name in ("discount", "positive_share", "polyak"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} lies between 0 and 1.", got=getattr(self, name))
        for name in ("num_steps", "batch_size", "target_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be positive.", got=getattr(self, name), expected=">= 1")


@dataclass(frozen=True, kw_only=True, eq=False)
class Transitions:
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


def pairs(policy: Policy, scale: ActionScale, seen: Seen, action: np.ndarray) -> Float32[np.ndarray, "B D"]:
    """Return the description of windows and actions that critics read."""
    return np.concatenate([descriptor(policy, seen), scale(action).astype(np.float32)], axis=1)


def fit_critics(data: Transitions, *, config: RiskConfig, seed: int) -> Critics:
    """Fit Q(s, a) = E[gamma^(steps to success)] of the policy that chose `next_pair`.

    Each net regresses on r + gamma (1 - end) min of both targets at the next pair, with squares.

    Raises:
        DataError: There are no steps.
    """
    if len(data.pair) == 0:
        raise DataError("There are no steps to learn risk from.", hint="let the policy drive first")
    with scoped(seed):
        critics = Critics(data.pair.shape[1], hidden=config.hidden)
        targets = Critics(data.pair.shape[1], hidden=config.hidden)
    targets.load_state_dict(critics.state_dict())
    targets.requires_grad_(requires_grad=False)
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
        scale: Of actions.
    """

    def __init__(self, policy: Policy, critics: Critics, scale: ActionScale) -> None:
        self._policy, self._critics, self._scale = policy.eval(), critics.eval(), scale

    @torch.no_grad()
    def __call__(
        self, seen: Seen, action: Shaped[np.ndarray, "B A"], streams: RowStreams
    ) -> Float64[np.ndarray, " B"]:
        """Return the risk of the proposal."""
        del streams
        pair = torch.from_numpy(pairs(self._policy, self._scale, seen, action))
        return 1.0 - self._critics(pair).amin(1).double().numpy()
