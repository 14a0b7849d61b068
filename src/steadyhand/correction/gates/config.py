"""The gates as configurations. What each score is: `policies.scores`; how each decides: `gates.rules`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from jaxtyping import Float64

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.settings import Count, OpenShare, Range
from steadyhand.correction.contract import Stage
from steadyhand.correction.gate import Gate, GateConfig
from steadyhand.correction.learner import Learner, net_learner
from steadyhand.envs.base import BatchEnv
from steadyhand.policies.risk_config import RiskConfig
from steadyhand.training.config import TrainConfig

if TYPE_CHECKING:
    from steadyhand.correction.gates.fitter import GateFitter
    from steadyhand.policies.scores import Score

Calibration = Literal["held_out", "drives"]
Members = Annotated[int, Range(ge=2)]
"""Policies of an ensemble: one alone cannot disagree."""
CLASSIFIER = TrainConfig(num_steps=500, batch_size=64)


class PolicyGate(GateConfig, ABC):
    """Settings of a gate that looks into the policy."""

    def check(self, env: BatchEnv, learner: Learner) -> None:
        """Refuse a learner that does not show its policies."""
        del env
        net_learner(learner)

    def build(self, stage: Stage) -> Gate:
        """Return the gate for a round."""
        from steadyhand.correction.gates.fitter import GateFitter

        return self.fitted(GateFitter(stage))

    @abstractmethod
    def fitted(self, fitter: "GateFitter") -> Gate:
        """Return the gate, with thresholds and scores that are made of what a round offers."""


@dataclass(frozen=True, kw_only=True)
class DrivenGate(PolicyGate, ABC):
    """Settings of a gate whose scores are judged by drives of the policy alone, in each round.

    Attributes:
        num_held_out: Demonstrations of the first round that no policy is trained on. They set the limits on
            the discrepancy, and count as labels all the same.
        drives: Number of drives of the policy alone in each round, which cost env steps and no labels.
    """

    num_held_out: Count = 1
    drives: Count = 4

    def demonstrations_kept_out(self) -> int:
        """Return how many demonstrations the thresholds are set on."""
        return self.num_held_out


@dataclass(frozen=True, kw_only=True)
class QuantileGate(PolicyGate, ABC):
    """Settings of a gate with one score, against a quantile of it.

    Attributes:
        level: Level of the quantile of the score, 0 to 1.
        calibration: Where the quantile is taken: on "held_out" demonstrations, or on "drives" of the policy
            alone, of which 1 - level is then a budget.
        held_out: Demonstrations of the first round that no policy is trained on, if they are the calibration.
        drives: Drives of the policy alone in each round, if they are the calibration.
    """

    level: OpenShare = 0.95
    calibration: Calibration = "held_out"
    held_out: Count = 1
    drives: Count = 4

    def demonstrations_kept_out(self) -> int:
        """Return how many demonstrations the threshold is set on."""
        return self.held_out if self.calibration == "held_out" else 0

    def values(self, fitter: "GateFitter", score: "Score") -> Float64[np.ndarray, " N"]:
        """Return the score at the steps on which the quantile is taken."""
        if self.calibration == "held_out":
            return fitter.on_held_out(score)
        return fitter.on_drives(score, self.drives)


@dataclass(frozen=True, kw_only=True)
class SafeGate(DrivenGate):
    """SafeDAgger (Zhang and Cho, 2016): the expert drives while a classifier calls the policy unsafe.

    Deviation: tau is a quantile of the held-out discrepancy, for which the paper's .0025 is the value on one
    simulator; and the threshold on the classifier's probability is a quantile on drives, not 1/2.

    Attributes:
        unsafe: Share of held-out steps whose discrepancy counts as unsafe: sets tau. About the share of the
            published setting.
        share: Share of the steps of a drive of the policy alone at which the expert would drive, 0 to 1.
        classifier: Training of the classifier; its seed is replaced.
    """

    unsafe: OpenShare = 0.2
    share: OpenShare = 0.2
    classifier: TrainConfig = CLASSIFIER

    def fitted(self, fitter: "GateFitter") -> Gate:
        """Return the gate for a round."""
        from steadyhand.correction.gates.rules import Above
        from steadyhand.policies.scores import PredictedDiscrepancy

        score = PredictedDiscrepancy(fitter.classifier(fitter.tau(self.unsafe), self.classifier))
        return Above(fitter.watch(score=score), threshold=fitter.limit(score, self.drives, self.share))


@dataclass(frozen=True, kw_only=True)
class EnsembleGate(DrivenGate):
    """EnsembleDAgger (Menda et al., 2019): the policy acts where it agrees with the expert and with itself.

    The expert is asked at every step, so every step is a label, whoever drives: a budget of labels reaches no
    farther than in DAgger, and the gate buys safety while training.

    Attributes:
        share: Share of the held-out steps whose discrepancy lies above tau, and of the steps of ungated
            drives whose doubt lies above chi, 0 to 1.
        members: Number of policies of the ensemble, each fitted from scratch in each round.
    """

    share: OpenShare = 0.1
    members: Members = 5

    def fitted(self, fitter: "GateFitter") -> Gate:
        """Return the gate for a round."""
        from steadyhand.correction.gates.rules import Disagreeing
        from steadyhand.policies.scores import Doubt

        score = Doubt(fitter.members(self.members), fitter.scale, measure="norm")
        chi = fitter.limit(score, self.drives, self.share)
        tau = fitter.held_out_discrepancy(1.0 - self.share)
        return Disagreeing(fitter.watch(doubt=score), fitter.scale, tau=tau, chi=chi)


@dataclass(frozen=True, kw_only=True)
class LazyGate(DrivenGate):
    """LazyDAgger (Hoque et al., 2021): SafeDAgger with hysteresis, for fewer changes of control.

    In as in `SafeGate`; out only where the true discrepancy is small, which the expert's own driving tells.
    Deviation: the way out is a quantile of the held-out discrepancy, where the paper takes a quarter of tau,
    below which a learner's discrepancy may never fall; and no noise is put on the expert's actions, which is
    the default of its code.

    Attributes:
        unsafe: Share of held-out steps whose discrepancy counts as unsafe, 0 to 1; it sets tau.
        share: Share of the steps of a drive of the policy alone at which the expert would take over, 0 to 1.
        back: Share of held-out steps whose discrepancy is small enough to hand back.
        classifier: Training of the classifier; its seed is replaced.
    """

    unsafe: OpenShare = 0.2
    share: OpenShare = 0.2
    back: OpenShare = 0.5
    classifier: TrainConfig = CLASSIFIER

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.back > 1.0 - self.unsafe:
            raise ConfigError(
                "The way out must be the stricter one.",
                got=f"back = {self.back}, unsafe = {self.unsafe}",
                expected="back <= 1 - unsafe",
            )

    def fitted(self, fitter: "GateFitter") -> Gate:
        """Return the gate for a round."""
        from steadyhand.correction.gates.rules import Hysteresis
        from steadyhand.policies.scores import PredictedDiscrepancy

        tau = fitter.tau(self.unsafe)
        leave = min(tau, fitter.held_out_discrepancy(self.back))
        score = PredictedDiscrepancy(fitter.classifier(tau, self.classifier))
        enter = fitter.limit(score, self.drives, self.share)
        return Hysteresis(fitter.watch(score=score), fitter.scale, enter={"score": enter}, leave=leave)


@dataclass(frozen=True, kw_only=True)
class ThriftyGate(DrivenGate):
    """ThriftyDAgger (Hoque et al., 2021): the expert takes over where it is new or risky, within a budget.

    In: novelty above delta or risk above beta, both at one quantile such that together they cover `share` of
    the steps of ungated drives (`joint_thresholds`). Out: discrepancy at most its held-out mean, and risk at
    most its median on the drives.

    Deviation: the published rules stand each at its own (1 - share) quantile, which spends up to twice the
    budget, and are refitted on steps that the gate let through. The mean discrepancy is that of held-out
    demonstrations; on training data an overfitted policy's is 0, and control would never go back. The
    published budget of .01 needs hundreds of steps behind its quantile: give `drives` enough.

    Attributes:
        share: Share of the steps of a drive of the policy alone at which the expert would take over, 0 to 1.
        members: Number of policies of the ensemble, each fitted from scratch in each round.
        drives: Number of drives of the policy alone, on which delta and beta are set and the critics are
            fitted.
        risk: How the critics are fitted.
    """

    share: OpenShare = 0.01
    drives: Count = 10
    members: Members = 5
    risk: RiskConfig = field(default_factory=RiskConfig)

    def check(self, env: BatchEnv, learner: Learner) -> None:
        """Refuse, too, an env in which nothing tells success: risk is its chance."""
        super().check(env, learner)
        if not env.spec.success.is_told:
            raise CapabilityError(
                "Risk is the chance of success, and nothing tells success in this env.",
                got=env.spec.env_id,
                hint="say when it succeeds (on the command line --success), or use another gate",
            )

    def fitted(self, fitter: "GateFitter") -> Gate:
        """Return the gate for a round."""
        from steadyhand.correction.gates.calibration import joint_thresholds
        from steadyhand.correction.gates.rules import Hysteresis
        from steadyhand.policies.scores import Doubt, Risk

        novelty = Doubt(fitter.members(self.members), fitter.scale, measure="mean")
        risk = Risk(fitter.policy, fitter.critics(self.drives, self.risk), fitter.scale)
        new, risky = fitter.on_drives(novelty, self.drives), fitter.on_drives(risk, self.drives)
        delta, beta = joint_thresholds(new, risky, self.share)
        return Hysteresis(
            fitter.watch(novelty=novelty, risk=risk),
            fitter.scale,
            enter={"novelty": delta, "risk": beta},
            leave=float(fitter.discrepancy(fitter.held_out).mean()),
            calm={"risk": float(np.median(risky))},
        )


@dataclass(frozen=True, kw_only=True)
class LossGate(QuantileGate):
    """Diff-DAgger (Lee and Kuo, 2024): the expert takes over while the policy's own loss is high.

    Works with every head whose loss of its own answer says something of the state; see
    `policies.scores.OwnLoss`. In and out after `patience` steps in a row on the other side of one threshold.

    Deviation: the quantile is taken on demonstrations that were not trained on, at the policy's own answers,
    where the paper takes it on the training data; on those the loss of a net that has learnt them by heart is
    lower than anywhere else.

    Attributes:
        patience: Number of steps in a row above, or below, the threshold.
        draws: Number of noises, or of answers, behind one figure.
    """

    level: OpenShare = 0.99
    patience: Count = 3
    draws: Count = 16

    def check(self, env: BatchEnv, learner: Learner) -> None:
        """Refuse, too, a head whose loss of its own answer says nothing of the state."""
        from steadyhand.policies.scores import require_telling

        del env
        require_telling(net_learner(learner).policy_config.head)

    def fitted(self, fitter: "GateFitter") -> Gate:
        """Return the gate for a round."""
        from steadyhand.correction.gates.calibration import threshold_at
        from steadyhand.correction.gates.rules import Patient
        from steadyhand.policies.scores import OwnLoss

        score = OwnLoss(fitter.policy, num_draws=self.draws)
        threshold = threshold_at(self.values(fitter, score), self.level)
        return Patient(fitter.watch(score=score), threshold=threshold, patience=self.patience)


@dataclass(frozen=True, kw_only=True)
class NearestGate(QuantileGate):
    """CRSAIL (2025): the expert drives while the state is far from everything that was demonstrated.

    Distance to the K-th nearest training step, against a conformal quantile of the same distance at held-out
    demonstrations. Deviation: the paper asks for labels there; here the expert drives as well, as behind all
    gates, unless `asks_only`.

    Attributes:
        level: Level of the conformal quantile, 0 to 1; the paper takes .9 to .95.
        num_neighbours: Number K of the neighbour whose distance counts.
        asks_only: Whether the expert only labels those states while the policy drives on.
    """

    num_neighbours: Count = 5
    asks_only: bool = False

    def fitted(self, fitter: "GateFitter") -> Gate:
        """Return the gate for a round."""
        from steadyhand.correction.gates.calibration import conformal_threshold
        from steadyhand.correction.gates.rules import Above
        from steadyhand.policies.scores import Neighbour

        score = Neighbour(fitter.policy, fitter.bank(), num_neighbours=self.num_neighbours)
        threshold = conformal_threshold(self.values(fitter, score), self.level)
        return Above(fitter.watch(score=score), threshold=threshold, asks_only=self.asks_only)
