"""What can be chosen about the pendulum. SI units throughout."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from steadyhand.core.settings import Range
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.config import EnvConfig

if TYPE_CHECKING:
    from steadyhand.envs.pendulum.env import Pendulum

FLIP_ANGLES = (math.pi / 6.0, math.pi / 3.0)
"""Where the discontinuous variant reverses the motion [rad from hanging]."""

FLIP_WIDTH = 0.01
"""This close to one of them [rad]."""


@dataclass(frozen=True, kw_only=True)
class PendulumConfig(EnvConfig):
    """A pendulum to be swung up by a weak motor, smooth or with jumps, as in CCIL (Ke et al., ICLR 2024).

    l = 1, g = 9.81, dt = 0.02, torque within 3, 500 steps. The bob of 1 kg hangs on a rod without mass or
    friction. Against gravity's 9.81 N m the motor is too weak to lift it, so that it must be swung up.

    Deviation: where episodes begin is not in the paper's settings. They begin as Gymnasium's Pendulum-v1
    does: at any angle, turning at up to 1 rad/s.

    Attributes:
        discontinuous: A step that ends within `FLIP_WIDTH` of one of `FLIP_ANGLES` reverses the motion.
        max_torque: Bound of the action [N m].
        length: Length of the rod [m].
        gravity: Acceleration of gravity [m/s^2].
        start_angle: Greatest angle from hanging at the start, either way; starts are spread evenly [rad].
        start_speed: Greatest speed of rotation at the start, either way [rad/s].
        upright: Success asks for the bob to be this close to the top [rad], for the last `hold_time`.
        hold_time: Last part of the episode, at every step of which the bob must be `upright` [s].
        control_dt: Time between two actions [s].
        max_episode_steps: Steps after which an episode ends; it never ends before.
    """

    expert: ClassVar[str] = "SwingUpExpert"
    discontinuous: bool = False
    max_torque: Annotated[float, Range(ge=0.1, le=100, unit="N m")] = 3.0
    length: Annotated[float, Range(ge=0.1, le=10, unit="m")] = 1.0
    gravity: Annotated[float, Range(ge=0, le=100, unit="m/s^2")] = 9.81
    start_angle: Annotated[float, Range(ge=0, le=math.pi, unit="rad")] = math.pi
    start_speed: Annotated[float, Range(ge=0, le=10, unit="rad/s")] = 1.0
    upright: Annotated[float, Range(ge=0.01, le=math.pi, unit="rad")] = 0.2
    hold_time: Annotated[float, Range(ge=0, le=1000, unit="s")] = 1.0
    control_dt: Annotated[float, Range(ge=0.001, le=0.1, unit="s")] = 0.02
    max_episode_steps: Annotated[int, Range(ge=1, le=10**6)] = 500

    @property
    def hold_steps(self) -> int:
        """Last steps of an episode that must be upright, at least one."""
        return max(1, round(self.hold_time / self.control_dt))

    def spec(self) -> EnvSpec:
        """Return what the env offers."""
        names, units = ("sin_theta", "cos_theta", "theta_dot"), ("1", "1", "rad/s")
        torque = FeatureSpec(
            shape=(1,), names=("torque",), units=("N m",), low=(-self.max_torque,), high=(self.max_torque,)
        )
        return EnvSpec(
            env_id="pendulum",
            observation={STATE: FeatureSpec(shape=(3,), names=names, units=units)},
            action=torque,
            control_dt=self.control_dt,
            max_episode_steps=self.max_episode_steps,
            task="Swing the pendulum up and keep it upright.",
            success=SuccessRule(said="upright for the last steps before the time limit"),
        )

    def build(self, num_rows: int) -> "Pendulum":
        """Return the env with `num_rows` copies."""
        from steadyhand.envs.pendulum.env import Pendulum

        return Pendulum(self, num_rows=num_rows)
