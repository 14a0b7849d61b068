"""What an env's settings are: the base class of all of them, ours and yours."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import Part, located

if TYPE_CHECKING:
    from steadyhand.envs.base import BatchEnv

_HERE = "steadyhand.envs"


class EnvConfig(Part, ABC):
    """Settings of an env: a frozen dataclass whose first sentence says what there is to do.

    Attributes:
        expert: Name of the expert that comes along, as `core.parts.chosen` finds it; empty if none does.
        chooses: Whether its settings choose what it shows; see `showing`.
        cheap_rows: Default number of copies in a trial.
    """

    kind: ClassVar[str] = "env"
    ours: ClassVar[Mapping[str, str]] = (
        located(f"{_HERE}.car.config", "CarConfig")
        | located(f"{_HERE}.forks.config", "ForksConfig")
        | located(f"{_HERE}.avoiding.config", "AvoidingConfig")
        | located(f"{_HERE}.pendulum.config", "PendulumConfig")
        | located(f"{_HERE}.tabular.config", "TabularConfig")
        | located(f"{_HERE}.linear.config", "LinearConfig")
        | located(f"{_HERE}.two_link.config", "ArmConfig", "AcrobotConfig")
        | located(f"{_HERE}.cartpole.config", "CartPoleConfig")
        | located(f"{_HERE}.quadrotor.config", "PlanarQuadrotorConfig", "QuadrotorConfig")
        | located(f"{_HERE}.tabletop.config", "TabletopConfig")
        | located(f"{_HERE}.worlds.metaworld", "MetaworldConfig")
        | located(f"{_HERE}.worlds.fetch", "FetchConfig")
        | located(f"{_HERE}.worlds.locomotion", "LocomotionConfig")
        | located(f"{_HERE}.worlds.aloha", "AlohaConfig")
        | located(f"{_HERE}.gymnasium_config", "GymnasiumConfig")
    )
    expert: ClassVar[str] = ""
    chooses: ClassVar[bool] = False
    cheap_rows: ClassVar[int] = 64

    @abstractmethod
    def build(self, num_rows: int) -> "BatchEnv":
        """Return the env with `num_rows` copies."""

    def showing(self, names: Sequence[str]) -> "EnvConfig":
        """Return the settings of the same env that shows only what is named, senses or features.

        Raises:
            ConfigError: It has no such sense, or no choice.
        """
        raise ConfigError(
            f"{type(self).__name__} has no choice of what it shows.",
            got=f"--observation {' '.join(names)}",
            hint="leave --observation out",
        )

    def judged_by(self, success: str) -> "EnvConfig":
        """Return the settings of the same env with this rule of success; see `core.success`.

        Raises:
            ConfigError: There is no such rule, or the env tells success itself.
        """
        raise ConfigError(
            f"{type(self).__name__} tells success itself.",
            got=f"--success {success}",
            hint="leave --success out",
        )
