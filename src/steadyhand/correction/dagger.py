"""DAgger (Ross, Gordon and Bagnell, 2011): label the states that the learner itself visits.

for i = 1..N: roll out pi_i = beta_i pi* + (1 - beta_i) pi_hat_i; label every visited state with pi*;
aggregate; pi_hat_{i+1} = fit(all data). The rounds themselves are those of `correction.rounds`.
"""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from steadyhand.core.protocol import Controller
from steadyhand.core.settings import Count
from steadyhand.correction.budget import Budget
from steadyhand.correction.contract import RoundsConfig, Stage
from steadyhand.correction.mixture import (
    BetaMixture,
    BetaSchedule,
    ExponentialDecay,
    FirstRoundOnly,
    Granularity,
)


@dataclass(frozen=True, kw_only=True)
class MixedRounds(RoundsConfig, ABC):
    """Settings of DAgger in all its schedules; see `RoundsConfig` for the others.

    Attributes:
        beta: Share of expert control by round.
        mixture: Draw who drives at every "step", or once for each "trajectory".
        query_every: While the policy drives, ask the expert at every so many steps: the same labels then come
            from drives that are as many times longer, closer to where the policy really goes.
    """

    page: ClassVar[str] = "dagger"
    shortcuts: ClassVar[Mapping[str, str]] = {"query-every": "query_every", "training": "training"}

    beta: BetaSchedule = field(default_factory=FirstRoundOnly)
    mixture: Granularity = "step"
    query_every: Count = 1

    @classmethod
    def from_budget(cls, budget: Budget) -> RoundsConfig:
        """Return its settings with the labels shared evenly by the rounds, and spread over their drives."""
        return replace(super().from_budget(budget), query_every=budget.query_every)

    def expert_share(self, round: int) -> float:
        """Return beta_i."""
        return self.beta.beta(round)

    def driver(self, stage: Stage) -> Controller:
        """Return the mixture of expert and iterate."""
        return BetaMixture(
            stage.policy,
            stage.expert,
            beta=self.expert_share(stage.round),
            granularity=self.mixture,
            query_every=self.query_every,
        )

    def limits(self, stage: Stage) -> tuple[int, int | None]:
        """Return the length of an episode: `query_every` times as long while the policy drives."""
        stretch = 1 if stage.policy is None else self.query_every
        return stretch * self.steps_per_episode, None


@dataclass(frozen=True, kw_only=True)
class DaggerConfig(MixedRounds):
    """DAgger (Ross, Gordon and Bagnell, 2011): the policy drives from the second round on."""

    name: ClassVar[str] = "dagger"
    title: ClassVar[str] = "DAgger"
    summary: ClassVar[str] = "let the policy drive, let the expert label every state that it visits"
    example: ClassVar[str] = "--set method.beta.type=ExponentialDecay"


@dataclass(frozen=True, kw_only=True)
class DaggerBeta(MixedRounds):
    """DAgger whose expert still drives half, a quarter, ... of the steps."""

    name: ClassVar[str] = "dagger-beta"
    title: ClassVar[str] = "DAgger, beta = .5^(i-1)"
    summary: ClassVar[str] = (
        "the expert labels every state, and still drives half, a quarter, ... of the steps"
    )
    example: ClassVar[str] = "--set method.beta.p=0.7"

    beta: BetaSchedule = field(default_factory=lambda: ExponentialDecay(p=0.5))
