"""What can be chosen about two links. SI units throughout."""

from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steadyhand.core.settings import Count, NotNegative, Positive
from steadyhand.envs.mechanics import MechanismConfig

if TYPE_CHECKING:
    from steadyhand.envs.two_link.env import TwoLink


@dataclass(frozen=True, kw_only=True)
class TwoLinkConfig(MechanismConfig, ABC):
    """Two uniform rods that hang from a hinge, one from the other.

    Attributes:
        masses: Masses of the links, upper first [kg].
        lengths: Lengths of the links [m].
        gravity: Acceleration of gravity [m/s^2].
        max_torque: Bound of each motor's torque [N m].
    """

    has_shoulder: ClassVar[bool] = True
    masses: tuple[Positive, Positive] = (1.0, 1.0)
    lengths: tuple[Positive, Positive] = (1.0, 1.0)
    gravity: NotNegative = 9.81
    max_torque: Positive = 10.0

    def build(self, num_rows: int) -> "TwoLink":
        """Return the env with `num_rows` copies."""
        from steadyhand.envs.two_link.env import TwoLink

        return TwoLink(self, num_rows=num_rows)


@dataclass(frozen=True, kw_only=True)
class ArmConfig(TwoLinkConfig):
    """A two-link arm to be raised upright, from any posture, by a motor at each joint.

    Starts lie at any pair of angles and turn at up to 1 rad/s. Held straight out the arm's weight pulls with
    19.6 N m at the shoulder, twice what its motor has: it must swing.
    """

    expert: ClassVar[str] = "IlqrExpert"


@dataclass(frozen=True, kw_only=True)
class AcrobotConfig(TwoLinkConfig):
    """The acrobot to be swung up and balanced by one motor, at the elbow (Spong, 1995).

    Starts lie near hanging: up to 0.5 rad from it at each joint, turning at up to 0.5 rad/s.
    """

    expert: ClassVar[str] = "IlqrExpert"
    has_shoulder: ClassVar[bool] = False
    max_torque: Positive = 20.0
    max_episode_steps: Count = 400
