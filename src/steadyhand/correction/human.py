"""A simulated human who watches a robot and takes over when it looks dangerous to them.

Gated methods are made for people; this stands in for one, so that they can be tested and compared without.
They see what a person would: states that were and actions that were executed, late by their reaction delay;
never the proposal of this step, the policy's doubts, or the future.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Shaped

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Actor, PerRow
from steadyhand.core.settings import NotNegative, Positive, PositiveShare, Settings, Share
from steadyhand.core.specs import FeatureSpec
from steadyhand.correction.contract import Stage
from steadyhand.correction.gate import Gate, GateConfig, GateInput
from steadyhand.correction.learner import Learner
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv

_ROAD = ("privileged.lateral", "privileged.heading_error", "privileged.speed")


class Meter(ABC):
    """Tells how dangerous a step looked, after it was executed."""

    @abstractmethod
    def risk(self, inputs: GateInput, action: Shaped[np.ndarray, "B A"]) -> Float[np.ndarray, " B"]:
        """Return the risk of a step that is over."""


@dataclass(frozen=True, kw_only=True)
class Discrepancy(Settings):
    """Risk for any env: how far the robot's actions are from what the human would have done, of late.

    The root mean square over the action's dimensions of |a - a_human| / range, smoothed over time; 1 is the
    action's whole range, and 0 or 1 for discrete actions. While the human drives it falls to 0, so that
    `min_hold` and the smoothing alone say for how long. A task that has several right answers looks
    dangerous to them wherever the robot chooses another one than theirs.

    The defaults were chosen on train starts of the car. At 0.1 the human takes half of the steps from a
    driver who pulls to one side and never leaves the road; at 0.2 and a delay of 0.15 s 10 of 32 drives are
    lost by one who steers 0.4 of what it takes, at 0.15 none.

    Attributes:
        threshold: Risk at which the human takes over with probability 1/2.
        sigma: Spread of that threshold from one look to the next.
        smoothing: Time constant of the smoothing [s]; one odd action alarms nobody.
    """

    threshold: Positive = 0.15
    sigma: NotNegative = 0.02
    smoothing: NotNegative = 0.25

    def meter(self, stage: Stage) -> Meter:
        """Return the meter for an env."""
        action = stage.env.spec.action
        return _DiscrepancyMeter(_action_range(action, stage.training), action)


@dataclass(frozen=True, kw_only=True)
class RoadEdge(Settings):
    """Risk for the car: where it would be across the road after `horizon`, if it went straight on.

    max(|y|, |y + v sin(psi) horizon|) / (road width / 2), with lateral offset y, heading error psi and speed
    v: 1 at the edge of the road, and also when the edge is `horizon` away.

    The defaults were chosen on train starts. Pure pursuit reaches 0.33 at most; of 16 drives by a driver who
    steers 0.4 of what it takes, and who alone always leaves the road, the human loses none at a delay of
    0.1 s, 1 at 0.2 s and 13 at 0.3 s.

    Attributes:
        threshold: Risk at which the human takes over with probability 1/2.
        sigma: Spread of that threshold from one look to the next.
        horizon: How far the human looks ahead [s].
        smoothing: Time constant of the smoothing [s].
        road_width: Edge to edge [m]; that of the env if None.
    """

    threshold: Positive = 0.6
    sigma: NotNegative = 0.05
    horizon: NotNegative = 0.6
    smoothing: NotNegative = 0.0
    road_width: Positive | None = None

    def half_width(self, env: BatchEnv) -> float:
        """Return the distance from the middle of the road to its edge [m].

        Raises:
            CapabilityError: The env does not say where a car is on the road, or how wide it is.
        """
        missing = [name for name in _ROAD if name not in env.spec.privileged]
        if missing:
            raise CapabilityError(
                "RoadEdge needs to know where the car is on the road.",
                got=list(env.spec.privileged),
                expected=", ".join(_ROAD),
                hint="use Discrepancy, which works with any env",
            )
        if self.road_width is not None:
            return 0.5 * self.road_width
        try:
            return 0.5 * env.road_width
        except CapabilityError as error:
            hint = "give road_width, or use Discrepancy, which works with any env"
            raise CapabilityError(error.what, hint=hint) from error

    def meter(self, stage: Stage) -> Meter:
        """Return the meter for the car; see `half_width`."""
        return _RoadMeter(self.half_width(stage.env), self.horizon)


RiskConfig = Discrepancy | RoadEdge


@dataclass(frozen=True, kw_only=True)
class SimulatedHuman(Settings):
    """How a human watches, takes over and hands over. All times are in seconds, whatever the control step.

    At each look they take over with probability Phi((risk - threshold) / sigma), of the risk as it was
    `reaction_delay` ago (a probit, as in MILE; Korkmaz and Biyik, 2025, arXiv 2502.13519). They drive until
    the risk that they perceive has stayed below `release * threshold` for `calm`, but at least `min_hold`.

    Deviation: MILE draws at every step, which makes the human more nervous at a higher control rate; here
    they look once every `judging_period`. MILE's human knows the robot by a mental model; here they see its
    acts.

    Attributes:
        risk: What alarms the human.
        reaction_delay: Time between what happens and what the human can do about it [s]; one control step at
            least. The car is small and fast: its 0.2 s are 0.6 s on a road ten times as large (Froude).
        miss_rate: Probability that the human does not notice a danger at all, until it is over.
        judging_period: Time between two looks [s]; one control step at least.
        release: Share of the threshold below which all is calm, above 0 and at most 1.
        calm: How long it has to be calm before the human hands over [s].
        min_hold: Shortest time that the human drives [s].
    """

    risk: RiskConfig = field(default_factory=Discrepancy)
    reaction_delay: NotNegative = 0.2
    miss_rate: Share = 0.0
    judging_period: NotNegative = 0.1
    release: PositiveShare = 0.5
    calm: NotNegative = 0.5
    min_hold: NotNegative = 1.0


@dataclass(frozen=True, kw_only=True)
class HumanGate(GateConfig):
    """HG-DAgger's gate (Kelly et al., 2019): the human takes over and hands over as they see fit.

    Attributes:
        human: The simulated human who watches.
    """

    human: SimulatedHuman = field(default_factory=SimulatedHuman)

    def build(self, stage: Stage) -> Gate:
        """Return the gate for a round."""
        return HumanWatch(self.human, self.human.risk.meter(stage), control_dt=stage.env.spec.control_dt)

    def check(self, env: BatchEnv, learner: Learner) -> None:
        """Refuse an env without a road to a person who watches its edge."""
        del learner
        if isinstance(self.human.risk, RoadEdge):
            self.human.risk.half_width(env)


class HumanWatch(Gate):
    """Gate of a human who watches as `SimulatedHuman` says.

    Args:
        human: How the human watches.
        meter: What alarms the human.
        control_dt: Control step [s].
    """

    actor = Actor.HUMAN

    def __init__(self, human: SimulatedHuman, meter: Meter, *, control_dt: float) -> None:
        self._human, self._meter = human, meter
        self._lag = max(1, round(human.reaction_delay / control_dt))
        self._period = max(1, round(human.judging_period / control_dt))
        self._calm = round(human.calm / control_dt)
        self._min_hold = round(human.min_hold / control_dt)
        smoothing = human.risk.smoothing
        self._keep = float(np.exp(-control_dt / smoothing)) if smoothing > 0 else 0.0
        self._seen, self._level = PerRow(np.full(self._lag, -np.inf)), PerRow(0.0)  # nothing was seen yet
        self._time, self._hold, self._calm_for = PerRow(0), PerRow(0), PerRow(0)
        self._blind = PerRow(fresh=False)

    def takes_over(self, inputs: GateInput) -> Bool[np.ndarray, " B"]:
        """Look, and decide for the rows whose turn it is."""
        rows, held, human = inputs.rows, inputs.held, self._human
        risk = self._seen[rows][:, 0]
        is_calm = risk < human.release * human.risk.threshold
        self._calm_for[rows] = np.where(is_calm, self._calm_for[rows] + 1, 0)
        self._hold[rows] = np.where(held, self._hold[rows] + 1, 0)
        looks = self._time[rows] % self._period == 0
        self._time[rows] += 1
        alarm = ~held & looks & self._alarms(risk, inputs)
        misses = alarm & (inputs.generator.fork("misses").uniform() < human.miss_rate)
        self._blind[rows] = (self._blind[rows] & ~is_calm) | misses
        keeps = held & ~((self._hold[rows] >= self._min_hold) & (self._calm_for[rows] >= self._calm))
        return keeps | (alarm & ~self._blind[rows])

    def _alarms(self, risk: np.ndarray, inputs: GateInput) -> np.ndarray:
        """Draw with P = Phi((risk - threshold) / sigma): whether the risk exceeds a threshold with noise."""
        settings = self._human.risk
        noise = inputs.generator.fork("threshold").normal(1)[:, 0]
        return risk > settings.threshold + settings.sigma * noise

    def executed(self, inputs: GateInput, action: Shaped[np.ndarray, "B A"]) -> None:
        """Remember how dangerous the step was; it will be seen `reaction_delay` later."""
        rows = inputs.rows
        now = self._meter.risk(inputs, action)
        self._level[rows] = level = self._keep * self._level[rows] + (1.0 - self._keep) * now
        self._seen[rows] = np.column_stack([self._seen[rows][:, 1:], level])


class _DiscrepancyMeter(Meter):
    """Root mean square of the difference over the range; for discrete actions whether they differ.

    Beyond the action's bounds all actions are the same: the env clips them.
    """

    def __init__(self, span: Float[np.ndarray, " A"] | None, spec: FeatureSpec) -> None:
        self._span, self._spec = span, spec

    def risk(self, inputs: GateInput, action: Shaped[np.ndarray, "B A"]) -> Float[np.ndarray, " B"]:
        own = inputs.expert.peek()
        if self._span is None:
            return (action != own).any(1).astype(np.float64)
        difference = self._spec.clipped(action) - self._spec.clipped(own)
        return np.sqrt(np.square(difference / self._span).mean(1))


class _RoadMeter(Meter):
    """Predicted distance from the middle of the road over half its width."""

    def __init__(self, half_width: float, horizon: float) -> None:
        self._half_width, self._horizon = half_width, horizon

    def risk(self, inputs: GateInput, action: Shaped[np.ndarray, "B A"]) -> Float[np.ndarray, " B"]:
        del action
        lateral, heading, speed = (inputs.privileged[name][:, 0].astype(np.float64) for name in _ROAD)
        ahead = lateral + speed * np.sin(heading) * self._horizon
        return np.maximum(np.abs(lateral), np.abs(ahead)) / self._half_width


def _action_range(spec: FeatureSpec, episodes: Sequence[Episode]) -> Float[np.ndarray, " A"] | None:
    """Return high - low: the spec's where it has bounds, else that of the labels; None for discrete."""
    if spec.kind == "discrete":
        return None
    labels = np.concatenate([episode.expert_action[episode.expert_action_valid] for episode in episodes])
    low, high = labels.min(0).astype(np.float64), labels.max(0).astype(np.float64)
    if spec.low is not None:
        low = np.where(np.isfinite(spec.low), spec.low, low)
    if spec.high is not None:
        high = np.where(np.isfinite(spec.high), spec.high, high)
    return np.maximum(high - low, np.finfo(np.float32).tiny)
