"""What can be chosen about the fork. SI units throughout."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from steadyhand.core.settings import Count, Range
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.points import INTENT

if TYPE_CHECKING:
    from steadyhand.envs.forks.env import Forks

LATE_BY = 1.0
"""How much farther away disc and goal are in the late variant [m]."""


@dataclass(frozen=True, kw_only=True)
class ForksConfig(EnvConfig):
    """A point, a disc on the straight way to the goal, and two ways round it that are equally good.

    Attributes:
        late: Begin with a straight stretch of 1 m that both ways share, so that the choice comes late.
        start_std: Spread of starts to the left and right [m]; 0 starts everyone at the origin.
        max_speed: Bound of either component of the action [m/s].
        radius: Radius of the disc [m].
        control_dt: Time between two actions [s].
        max_episode_steps: Steps after which an episode is truncated; None takes those of 4.8 s, or of
            7.2 s if `late`.
    """

    expert: ClassVar[str] = "ForksExpert"
    late: bool = False
    start_std: Annotated[float, Range(ge=0, le=0.2, unit="m")] = 0.0
    max_speed: Annotated[float, Range(ge=0.7, le=10, unit="m/s")] = 1.5
    radius: Annotated[float, Range(ge=0.05, le=0.3, unit="m")] = 0.25
    control_dt: Annotated[float, Range(ge=0.01, le=0.2, unit="s")] = 0.1
    max_episode_steps: Count | None = None

    @property
    def fork_x(self) -> float:
        """Where the two ways part [m]."""
        return LATE_BY if self.late else 0.0

    @property
    def disc_x(self) -> float:
        """Where the middle of the disc is, on the line y = 0 [m]."""
        return self.fork_x + 1.0

    @property
    def goal_x(self) -> float:
        """How far the point must come [m]."""
        return self.fork_x + 2.0

    @property
    def step_limit(self) -> int:
        """Steps after which an episode is truncated."""
        return self.max_episode_steps or round((7.2 if self.late else 4.8) / self.control_dt)

    def spec(self) -> EnvSpec:
        """Return what the env offers."""
        place = FeatureSpec(shape=(2,), names=("x", "y"), units=("m", "m"))
        velocity = FeatureSpec(
            shape=(2,),
            names=("vx", "vy"),
            units=("m/s", "m/s"),
            low=(-self.max_speed,) * 2,
            high=(self.max_speed,) * 2,
        )
        return EnvSpec(
            env_id="forks",
            observation={STATE: place},
            privileged={INTENT: FeatureSpec(shape=(1,), names=("choice",), units=("1",))},
            action=velocity,
            control_dt=self.control_dt,
            max_episode_steps=self.step_limit,
            task="Pass the tree on either side and reach the finish line.",
            success=SuccessRule(said="past the finish line in time, without touching the tree"),
        )

    def build(self, num_rows: int) -> "Forks":
        """Return the env with `num_rows` copies."""
        from steadyhand.envs.forks.env import Forks

        return Forks(self, num_rows=num_rows)
