"""What can be chosen about quadrotors. SI units throughout."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from steadyhand.core.settings import Count, Positive, Range
from steadyhand.envs.mechanics import MechanismConfig

if TYPE_CHECKING:
    from steadyhand.envs.quadrotor.env import Quadrotor
    from steadyhand.envs.quadrotor.planar import PlanarQuadrotor

Flight = Literal["hover", "circle", "gate"]


@dataclass(frozen=True, kw_only=True)
class PlanarQuadrotorConfig(MechanismConfig):
    """A quadrotor in a vertical plane that must fly to a point and hover there, with two rotors.

    Mass, arm and inertia are those of Drake's planar quadrotor (Tedrake, "Underactuated Robotics", ch. 3).

    Attributes:
        mass: Mass [kg].
        arm: Distance of each rotor from the centre [m].
        inertia: Moment of inertia about the centre [kg m^2].
        gravity: Acceleration of gravity [m/s^2].
        thrust_to_weight: Greatest thrust of both rotors together, as a multiple of the weight.
        room: The episode fails when the quadrotor is this far from the goal, to a side or up or down [m].
    """

    expert: ClassVar[str] = "IlqrExpert"
    mass: Positive = 0.486
    arm: Positive = 0.25
    inertia: Positive = 0.00383
    gravity: Positive = 9.81
    thrust_to_weight: Annotated[float, Range(gt=1)] = 2.25
    room: Annotated[float, Range(ge=0.5)] = 4.0
    substeps: Count = 1
    max_episode_steps: Count = 200

    def build(self, num_rows: int) -> "PlanarQuadrotor":
        """Return the env with `num_rows` copies."""
        from steadyhand.envs.quadrotor.planar import PlanarQuadrotor

        return PlanarQuadrotor(self, num_rows=num_rows)


@dataclass(frozen=True, kw_only=True)
class QuadrotorConfig(MechanismConfig):
    """A quadrotor in space, commanded by the thrusts of its four rotors.

    Mass, arm and inertia are about those of an AscTec Hummingbird (Mellinger, Michael and Kumar, 2012).

    Attributes:
        flight: "hover" flies to a point and stays; "circle" keeps to a point that goes round; "gate" flies
            through a round gate and hovers behind it.
        mass: Mass [kg].
        arm: Distance of each rotor from the centre [m]; rotors stand in an X.
        inertia: Moments of inertia about the body's axes [kg m^2].
        drag_arm: Torque of a rotor about its axis for each newton of its thrust [m].
        gravity: Acceleration of gravity [m/s^2].
        thrust_to_weight: Greatest thrust of all rotors together, as a multiple of the weight.
        circle_radius: Radius of the circle [m].
        circle_time: Time of one round [s].
        gate_radius: Radius of the gate [m]; passing its plane outside of it fails.
        room: The episode fails when the quadrotor is this far from the middle of the room [m].
    """

    expert: ClassVar[str] = "GeometricExpert"
    flight: Flight = "hover"
    mass: Positive = 0.5
    arm: Positive = 0.17
    inertia: tuple[Positive, Positive, Positive] = (0.0023, 0.0023, 0.004)
    drag_arm: Positive = 0.016
    gravity: Positive = 9.81
    thrust_to_weight: Annotated[float, Range(gt=1)] = 2.25
    circle_radius: Positive = 1.0
    circle_time: Annotated[float, Range(ge=0.5)] = 4.0
    gate_radius: Positive = 0.4
    room: Annotated[float, Range(ge=4)] = 6.0
    substeps: Count = 1
    max_episode_steps: Count = 250

    def build(self, num_rows: int) -> "Quadrotor":
        """Return the env with `num_rows` copies."""
        from steadyhand.envs.quadrotor.env import Quadrotor

        return Quadrotor(self, num_rows=num_rows)
