"""What can be chosen about Avoiding. SI units throughout."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from steadyhand.core.settings import Range
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.points import INTENT

if TYPE_CHECKING:
    from steadyhand.envs.avoiding.env import Avoiding


@dataclass(frozen=True, kw_only=True)
class AvoidingConfig(EnvConfig):
    """A finger over a table with six cylinders, in the geometry of D3IL's task of that name.

    Attributes:
        max_delta: Most that one action moves the desired position, in x and in y [m].
        lag: Time constant with which the finger follows its desired position [s].
        control_dt: Time between two actions [s].
        max_episode_steps: Steps after which an episode is truncated.
    """

    expert: ClassVar[str] = "AvoidingExpert"
    max_delta: Annotated[float, Range(ge=0.012, le=0.03, unit="m")] = 0.02
    lag: Annotated[float, Range(ge=0.001, le=0.2, unit="s")] = 0.05
    control_dt: Annotated[float, Range(ge=0.01, le=0.2, unit="s")] = 0.05
    max_episode_steps: Annotated[int, Range(ge=1, le=100_000)] = 250

    def spec(self) -> EnvSpec:
        """Return what the env offers."""
        names = ("desired_x", "desired_y", "x", "y")
        return EnvSpec(
            env_id="avoiding",
            observation={STATE: FeatureSpec(shape=(4,), names=names, units=("m",) * 4)},
            privileged={INTENT: FeatureSpec(shape=(1,), names=("route",), units=("1",))},
            action=FeatureSpec(
                shape=(2,),
                names=("dx", "dy"),
                units=("m", "m"),
                low=(-self.max_delta,) * 2,
                high=(self.max_delta,) * 2,
            ),
            control_dt=self.control_dt,
            max_episode_steps=self.max_episode_steps,
            task="Move past the cylinders to the far side without touching one.",
            success=SuccessRule(said="on the far side in time, without touching a cylinder"),
        )

    def build(self, num_rows: int) -> "Avoiding":
        """Return the env with `num_rows` copies."""
        from steadyhand.envs.avoiding.env import Avoiding

        return Avoiding(self, num_rows=num_rows)
