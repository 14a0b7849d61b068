"""Settings of corrective labels; see `correction.ccil`."""

from abc import ABC
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.core.settings import Count, NotNegative, Positive, PositiveShare, Rate, Settings
from steadyhand.correction.learner import Learner, NetLearner, net_learner
from steadyhand.correction.offline import OfflineRemedy
from steadyhand.correction.remedy import Task
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv
from steadyhand.policies.dynamics_config import DynamicsConfig
from steadyhand.training.config import TrainConfig

Label = Literal["explicit", "implicit", "disturbed"]
Units = Literal["normalised", "raw"]


@dataclass(frozen=True, kw_only=True)
class Quantile(Settings):
    """Keep the labels whose score is at most a quantile of all scores.

    Attributes:
        share: The quantile, and so the share of the found labels that is kept.
        score: The distance d from the expert's state, or L(s, a) d with L the local slope there: what
            bounds the error of a BackTrack label, up to the model's error there. For "disturbed" labels d
            includes the disturbance, but L still is the slope in the state alone: a ranking, no bound.
    """

    share: PositiveShare = 0.8
    score: Literal["lipschitz_distance", "distance"] = "lipschitz_distance"


@dataclass(frozen=True, kw_only=True)
class Radius(Settings):
    """Keep the labels nearer to the expert's state than `distance` (the rule of the first release)."""

    distance: Positive = 1.0


@dataclass(frozen=True, kw_only=True)
class KeepAll:
    """Keep every label that was found."""


Rejection = Quantile | Radius | KeepAll


@dataclass(frozen=True, kw_only=True)
class CorrectiveLabels(OfflineRemedy, ABC):
    """Settings of the method; published ones for each task stand in docs/methods/ccil.md.

    Attributes:
        features: Observation features that make the state; empty takes all vectors. It must be Markov.
        dynamics: The model's net, and the limit on its slope.
        training: How the model is trained. Its seed is combined with that of the call.
        holdout: Share of transitions left out of the model's training, for the error that is reported. At
            least one is left out if this is positive and there are two.
        label: "explicit" BackTrack: s = s*_t - f(s*_t, a*_t). "implicit" BackTrack: s + f(s, a*_t) = s*_t.
            "disturbed" (DisturbedAction): a = a*_t + N(0, delta^2), s = s*_{t+1} - f(s*_{t+1}, a), as in the
            released code; the paper writes the equation s + f(s, a) = s*_{t+1} instead.
        labels_per_step: Draws for each step; more than 1 only for "disturbed".
        delta: Standard deviation of the disturbance.
        rejection: Which labels are kept.
        units: Units of `delta`, distances and slopes: "normalised" by standard deviations, or "raw" as in the
            released code.
        tolerance: Largest error of a root, in standard deviations of the state; 1e-4 in the released code.
        max_iterations: Newton steps at most, for each label.
        weight: Training weight of a label. 1 / labels_per_step lets the labels of a step weigh as much as the
            step itself ("balanced" in the released code).
    """

    page: ClassVar[str] = "ccil"
    seeds: ClassVar[str] = "ccilconfig"

    features: tuple[str, ...] = ()
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    training: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            num_steps=2000,
            batch_size=512,
            learning_rate=1e-3,
            weight_decay=1e-5,
            schedule="constant",
            warmup_steps=0,
            log_every=1000,
        )
    )
    holdout: Rate = 0.1
    label: Label = "explicit"
    labels_per_step: Count = 1
    delta: NotNegative = 1e-4
    rejection: Rejection = field(default_factory=Quantile)
    units: Units = "normalised"
    tolerance: Positive = 1e-6
    max_iterations: Count = 50
    weight: Positive = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label != "disturbed" and self.labels_per_step > 1:
            raise ConfigError(
                "BackTrack gives one label a step: more of them would be copies.",
                got=f"label = {self.label!r}, labels_per_step = {self.labels_per_step}",
                hint="use weight to make labels count more, or label='disturbed'",
            )

    def check(
        self, env: BatchEnv, expert: Controller, learner: Learner, *, initial: Sequence[Episode] = ()
    ) -> None:
        """Refuse, too, what corrective labels mean nothing for, or cannot be trained on."""
        from steadyhand.correction.ccil import require_all_seen, require_meaning

        super().check(env, expert, learner, initial=initial)
        spec = net_learner(learner).policy_spec
        require_meaning(spec, self)
        require_all_seen(spec, self)

    def synthetic(self, episodes: Sequence[Episode], task: Task, learner: NetLearner) -> Sequence[Episode]:
        """Return the corrective labels."""
        from steadyhand.correction.ccil import corrective_labels

        seed = derive(task.seed, "ccil", task.key)
        return corrective_labels(episodes, learner.policy_spec, self, seed=seed)[0]


@dataclass(frozen=True, kw_only=True)
class CcilConfig(CorrectiveLabels):
    """CCIL with labels that need no solver; see `CorrectiveLabels`."""

    name: ClassVar[str] = "ccil"
    title: ClassVar[str] = "CCIL"
    summary: ClassVar[str] = "corrective labels from learnt, locally Lipschitz dynamics"
    example: ClassVar[str] = "--observation state --set method.rejection.share=0.5"


@dataclass(frozen=True, kw_only=True)
class CcilImplicit(CorrectiveLabels):
    """CCIL with labels that are roots of the model."""

    name: ClassVar[str] = "ccil-implicit"
    title: ClassVar[str] = "CCIL, implicit"
    summary: ClassVar[str] = (
        "corrective labels from learnt dynamics as CCIL's, found by solving the model backwards"
    )
    example: ClassVar[str] = "--observation state --set method.rejection.type=KeepAll"

    label: Label = "implicit"
