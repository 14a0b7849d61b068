"""Settings of planners, of the regulator and of the geometric controller, without these themselves."""

from abc import ABC
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from steadyhand.core.settings import Count, NotNegative, Positive, Share
from steadyhand.experts.config import ExpertConfig, settings_of
from steadyhand.experts.control.ilqr import IlqrSettings
from steadyhand.experts.control.sampling import Cem, Mppi, PredictiveSampling, SamplingRule

if TYPE_CHECKING:
    from steadyhand.core.protocol import Controller
    from steadyhand.envs.base import BatchEnv
    from steadyhand.envs.two_link.config import ArmConfig
    from steadyhand.envs.two_link.dynamics import LinkParameters


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


@dataclass(frozen=True, kw_only=True)
class JointExpert(ExpertConfig, ABC):
    """Settings of an expert that brings the arm to a posture; see `experts.control.joints`.

    The motors must be strong enough to hold the arm on the way: --set env.max_torque=40.

    Attributes:
        target: Angles to go to [rad]: of the upper link from hanging, and of the lower one from it. Empty
            takes those of the env's goal.
        masses: Masses of the links that it believes in, upper first [kg]. Empty takes the env's own.
    """

    target: tuple[float, float] | None = None
    masses: tuple[Positive, Positive] | None = None

    def _arm(self, env: "BatchEnv") -> "tuple[ArmConfig, LinkParameters]":
        """Return the settings of the arm and the model that is believed in."""
        from steadyhand.envs.two_link.config import ArmConfig
        from steadyhand.envs.two_link.dynamics import LinkParameters

        config = settings_of(env, ArmConfig, type(self).__name__)
        model = LinkParameters(
            masses=self.masses or config.masses, lengths=config.lengths, gravity=config.gravity
        )
        return config, model


@dataclass(frozen=True, kw_only=True)
class ComputedTorqueExpert(JointExpert):
    """Moves the arm by computed torque: its model's inverse dynamics make every joint a damped spring.

    Attributes:
        stiffness: Acceleration for each radian off [1/s^2].
        damping: Acceleration for each radian a second [1/s].
    """

    stiffness: Positive = 16.0
    damping: NotNegative = 8.0

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.experts.control.joints import JointControl, computed_torque

        config, model = self._arm(env)
        torque = computed_torque(model, stiffness=self.stiffness, damping=self.damping)
        return JointControl(config, target=self.target, torque=torque)


@dataclass(frozen=True, kw_only=True)
class PdExpert(JointExpert):
    """Moves the arm by proportional and derivative control of each joint by itself.

    Attributes:
        stiffness: Torque of each joint for each radian off, shoulder first [N m].
        damping: Torque of each joint for each radian a second [N m s].
        held: Share of gravity's torque that it holds besides; 0 knows no model.
    """

    stiffness: tuple[Positive, Positive] = (60.0, 15.0)
    damping: tuple[NotNegative, NotNegative] = (14.0, 2.0)
    held: Share = 0.0

    def build(self, env: "BatchEnv") -> "Controller":
        """Return the expert for an env, or refuse one that it does not know."""
        from steadyhand.experts.control.joints import JointControl, pd

        config, model = self._arm(env)
        torque = pd(model, stiffness=self.stiffness, damping=self.damping, held=self.held)
        return JointControl(config, target=self.target, torque=torque)
