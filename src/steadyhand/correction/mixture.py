"""The DAgger mixture: sometimes the expert drives, otherwise the policy; the label is always the expert's."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int64

from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import Part, located
from steadyhand.core.protocol import (
    Controller,
    Decision,
    Observation,
    PerRow,
    Switch,
)
from steadyhand.core.seeding import RowStreams
from steadyhand.core.settings import Count, Rate
from steadyhand.correction.gate import Asking

_UNDRAWN = -1
Granularity = Literal["step", "trajectory"]


class BetaSchedule(Part, ABC):
    """Settings of how much the expert still drives in each round of DAgger."""

    kind: ClassVar[str] = "schedule"
    ours: ClassVar[Mapping[str, str]] = located(__name__, "FirstRoundOnly", "ExponentialDecay", "LinearDecay")

    @abstractmethod
    def beta(self, round: int) -> float:
        """Return the share of expert control in a round, counted from 1; in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class FirstRoundOnly(BetaSchedule):
    """beta_i = 1 for i = 1 and 0 after: no parameter; Ross et al. (2011), section 3, beta_i = I(i = 1)."""

    def beta(self, round: int) -> float:
        """Return the share of expert control in a round, counted from 1."""
        return 1.0 if round == 1 else 0.0


@dataclass(frozen=True, kw_only=True)
class ExponentialDecay(BetaSchedule):
    """beta_i = p^(i - 1); Ross et al. (2011), section 3.

    Attributes:
        p: Decay; with 1 the policy would never drive.
    """

    p: Rate = 0.5

    def beta(self, round: int) -> float:
        """Return the share of expert control in a round, counted from 1."""
        return self.p ** (round - 1)


@dataclass(frozen=True, kw_only=True)
class LinearDecay(BetaSchedule):
    """beta falls linearly from 1 in round 1 to 0 in round `rounds` + 1.

    Attributes:
        rounds: Number of rounds with expert control.
    """

    rounds: Count = 5

    def beta(self, round: int) -> float:
        """Return the share of expert control in a round, counted from 1."""
        return max(0.0, 1.0 - (round - 1) / self.rounds)


class BetaMixture(Switch):
    """pi_i = beta_i pi* + (1 - beta_i) pi_hat_i; Ross, Gordon and Bagnell (2011), algorithm 3.1.

    Args:
        policy: The learner; may be None when beta is 1.
        expert: The expert, whose answer is the label, whoever drives.
        beta: Probability that the expert drives.
        granularity: Draw who drives at every "step" (as in the paper) or once for each "trajectory".
        query_every: Ask the expert at every so many steps of an episode while the policy drives; a budget of
            labels then reaches farther along it. Steps between have no valid label. The paper: 1.
    """

    def __init__(
        self,
        policy: Controller | None,
        expert: Controller,
        *,
        beta: float,
        granularity: Granularity = "step",
        query_every: int = 1,
    ) -> None:
        if not 0.0 <= beta <= 1.0:
            raise ConfigError("beta is a probability.", got=beta, expected="0 to 1")
        if policy is None and beta < 1.0:
            raise ConfigError("Without a policy the expert must always drive.", got=beta, expected="beta = 1")
        super().__init__(policy=policy, expert=expert)
        self._policy, self._expert = policy, expert
        self._beta, self._granularity = beta, granularity
        if query_every < 1:
            raise ConfigError("query_every counts steps.", got=query_every, expected=">= 1")
        self._query_every = query_every
        self._by_expert, self._held, self._time = PerRow(_UNDRAWN), PerRow(fresh=False), PerRow(0)

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Ask both, execute one, label with the expert's answer.

        Where the expert drove the step before, the policy plans afresh: what it had planned is out of date.
        """
        if self._policy is None:
            return self._expert.act(observation, privileged, rows, generator.fork("expert"))
        if (held := self._held[rows]).any():
            self._policy.replan(rows[held])
        answer = self._policy.act(observation, privileged, rows, generator.fork("learner"))
        self._held[rows] = by_expert = self._who(rows, generator)
        expert = Asking(self._expert, observation, privileged, rows, generator.fork("expert"))
        expert.label(np.flatnonzero(by_expert | self._due(rows)))
        action, actor = answer.action.copy(), answer.actor.copy()
        valid = np.zeros(len(rows), dtype=bool)
        label = action
        if expert.asked.any():
            reply = expert.reply
            action[by_expert], actor[by_expert] = reply.action[by_expert], reply.actor[by_expert]
            valid = expert.asked & reply.label_valid
            label = action.copy()
            label[valid] = reply.label[valid]
        return Decision(
            action=action,
            label=label,
            label_valid=valid,
            actor=actor,
            intervention=np.zeros(len(rows), dtype=bool),
        )

    def _driver(self, rows: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        return np.zeros_like(rows) if self._policy is None else self._held[rows].astype(np.int64)

    def _due(self, rows: np.ndarray) -> np.ndarray:
        due = self._time[rows] % self._query_every == 0
        self._time[rows] += 1
        return due

    def _who(self, rows: np.ndarray, generator: RowStreams) -> np.ndarray:
        coin = generator.fork("mixture").uniform() < self._beta
        if self._granularity == "step":
            return coin
        drawn = self._by_expert[rows]
        self._by_expert[rows] = np.where(drawn == _UNDRAWN, coin, drawn)
        return self._by_expert[rows].astype(bool)
