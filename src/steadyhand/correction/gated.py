"""The gated family of DAgger as rounds: a gate decides who drives, marks say what is kept."""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from steadyhand.core.protocol import Controller
from steadyhand.core.settings import Range
from steadyhand.correction.contract import RoundsConfig, Stage
from steadyhand.correction.gate import Gated
from steadyhand.correction.gates import GateConfig, HumanGate
from steadyhand.correction.learner import Learner, NetLearner, net_learner
from steadyhand.correction.marks import Marks
from steadyhand.correction.mixture import BetaMixture
from steadyhand.correction.weighting import Unweighted, WeightingConfig
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv

Factor = Annotated[float, Range(ge=1)]


@dataclass(frozen=True, kw_only=True)
class GatedConfig(RoundsConfig, ABC):
    """The first round holds demonstrations; then the policy drives until the gate hands over.

    A gate or a weighting of your own makes a remedy of your own: derive it, with these as its defaults.

    Attributes:
        gate: The gate, which decides who drives.
        weighting: Training weight and kind of the steps of a drive.
        patience: A round ends after `patience` times as many env steps as labels, with the labels that there
            are: a gate may never ask.
        stretch: An episode is cut after `stretch` times the steps that it would have if every one were
            labelled; longer drives reach farther.
        end_after_intervention: End an episode with its first intervention (RaC; Hu et al., 2025, arXiv
            2509.07953: recover, correct, end). The robot never drives on from a state that it would not have
            reached by itself; the next start comes sooner, and a round needs more of them.
    """

    page: ClassVar[str] = "gates"

    gate: GateConfig = field(default_factory=HumanGate)
    weighting: WeightingConfig = field(default_factory=Unweighted)
    patience: Factor = 10.0
    stretch: Factor = 10.0
    end_after_intervention: bool = False

    @property
    def num_held_out(self) -> int:
        """Demonstrations that the gate's thresholds are set on."""
        return self.gate.demonstrations_kept_out()

    @property
    def in_tables(self) -> str:
        """The name in tables, with a gate or a weighting that is not its own."""
        own = type(self)()
        others = [
            type(mine).__name__
            for mine, usual in ((self.gate, own.gate), (self.weighting, own.weighting))
            if type(mine) is not type(usual)
        ]
        return " with ".join([super().in_tables, *others])

    def adapted(self, learner: NetLearner) -> NetLearner:
        """Return a learner whose head judges, where the weighting says what is good and what is bad."""
        return learner.judging() if self.weighting.judges else learner

    def check(
        self, env: BatchEnv, expert: Controller, learner: Learner, *, initial: Sequence[Episode] = ()
    ) -> None:
        """Refuse, too, a gate that cannot work with this env or learner, or a head that cannot judge."""
        super().check(env, expert, learner, initial=initial)
        if self.weighting.judges:
            self.adapted(net_learner(learner))
        self.gate.check(env, learner)

    def expert_share(self, round: int) -> float:
        """Return 1 in the first round; after it the gate decides, which counts as 0 here."""
        return 1.0 if round == 1 else 0.0

    def driver(self, stage: Stage) -> Controller:
        """Return the expert in the first round, then the gated policy."""
        if stage.policy is None:
            return BetaMixture(None, stage.expert, beta=1.0)
        return Gated(
            stage.policy,
            stage.expert,
            self.gate.build(stage),
            end_after_intervention=self.end_after_intervention,
        )

    def limits(self, stage: Stage) -> tuple[int, int | None]:
        """Return the longest episode and the longest round."""
        if stage.policy is None:
            return self.steps_per_episode, None
        return int(self.stretch * self.steps_per_episode), int(self.patience * self.labels_per_round)

    def marks(self, episodes: Sequence[Episode]) -> Sequence[Marks] | None:
        """Return what the steps are worth."""
        return self.weighting.marks(episodes)
