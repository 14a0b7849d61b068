"""Settings of planners, of the regulator and of the geometric controller, without these themselves."""

from abc import ABC
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from steadyhand.core.settings import Count, NotNegative, Positive
from steadyhand.experts.config import ExpertConfig, settings_of
from steadyhand.experts.control.ilqr import IlqrSettings
from steadyhand.experts.control.sampling import Cem, Mppi, PredictiveSampling, SamplingRule

if TYPE_CHECKING:
    from steadyhand.core.protocol import Controller
    from steadyhand.envs.base import BatchEnv


@dataclass(frozen=True, kw_only=True)
class IlqrExpert(ExpertConfig):
    """Plans by iLQR with bounded inputs wherever a row is, and follows the plan by its feedback.

    It serves every env that says its task as a problem of optimal control: arm, acrobot, cart-pole,
    planar-quadrotor ...

    Attributes:
        horizon: Length of a plan [s].
        attempts: How often a plan is begun, from other noise, until it reaches the goal.
        noise: Deviation of the inputs that a search begins with, as a share of half their range.
        trust: Largest difference of an entry of the state from its plan at which feedback is still trusted.
        search: How long each search goes on.
    """

    horizon: Positive = 3.0
    attempts: Count = 4
    noise: Positive = 0.3
    trust: Positive = 0.5
    search: IlqrSettings = field(default_factory=IlqrSettings)

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that says no problem."""
        from steadyhand.experts.control.planners import IlqrPlanner

        return IlqrPlanner(
            env,
            horizon=max(2, round(self.horizon / env.problem().control_dt)),
            attempts=self.attempts,
            settings=self.search,
            noise=self.noise,
            trust=self.trust,
        )


@dataclass(frozen=True, kw_only=True)
class SamplingExpert(ExpertConfig, ABC):
    """Settings of an expert that plans anew at every step, by rolling out samples.

    Attributes:
        horizon: How far it looks ahead [s].
        rule: How a plan follows from rollouts.
    """

    horizon: Positive = 1.0
    rule: SamplingRule

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that says no problem."""
        from steadyhand.experts.control.planners import SamplingPlanner

        horizon = max(2, round(self.horizon / env.problem().control_dt))
        return SamplingPlanner(env, self.rule, horizon=horizon)


@dataclass(frozen=True, kw_only=True)
class MppiExpert(SamplingExpert):
    """Plans at every step by model-predictive path integral control (Williams et al., 2017).

    Attributes:
        rule: Samples, noise and temperature.
    """

    rule: Mppi = field(default_factory=Mppi)


@dataclass(frozen=True, kw_only=True)
class CemExpert(SamplingExpert):
    """Plans at every step by the cross-entropy method.

    Attributes:
        rule: Samples, elites and rounds.
    """

    rule: Cem = field(default_factory=Cem)


@dataclass(frozen=True, kw_only=True)
class PredictiveSamplingExpert(SamplingExpert):
    """Plans at every step by keeping the best of a few sampled plans (Howell et al., 2022).

    Attributes:
        rule: Samples and noise.
    """

    rule: PredictiveSampling = field(default_factory=PredictiveSampling)


@dataclass(frozen=True, kw_only=True)
class RegulatorExpert(ExpertConfig):
    """Plays the linear-quadratic regulator of an env linearised at its goal: it holds, and does not swing up.

    Attributes:
        state_cost: Weight of each entry of the state's difference from the goal; the env's own if empty.
        input_cost: Weight of each input; the env's own if empty.
    """

    state_cost: tuple[NotNegative, ...] = ()
    input_cost: tuple[Positive, ...] = ()

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that says no problem."""
        from steadyhand.experts.control.planners import Regulator

        return Regulator(env, state_cost=self.state_cost, input_cost=self.input_cost)


@dataclass(frozen=True, kw_only=True)
class GeometricExpert(ExpertConfig):
    """Flies the env quadrotor by geometric tracking control; see `experts.control.flight`.

    Attributes:
        place_gain: Acceleration for each metre off [1/s^2].
        speed_gain: Acceleration for each metre a second off [1/s].
        turn_gain: Angular acceleration for each radian off [1/s^2].
        rate_gain: Angular acceleration for each radian a second [1/s].
    """

    place_gain: Positive = 6.0
    speed_gain: Positive = 4.0
    turn_gain: Positive = 300.0
    rate_gain: Positive = 32.0

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.envs.quadrotor.config import QuadrotorConfig
        from steadyhand.experts.control.flight import GeometricController

        return GeometricController(
            settings_of(env, QuadrotorConfig, "The geometric controller"),
            place_gain=self.place_gain,
            speed_gain=self.speed_gain,
            turn_gain=self.turn_gain,
            rate_gain=self.rate_gain,
        )
