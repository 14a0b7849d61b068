"""What an env's settings are: the base class of all of them, ours and yours."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from steadyhand.core.parts import Part, located

if TYPE_CHECKING:
    from steadyhand.envs.base import BatchEnv

_HERE = "steadyhand.envs"


class EnvConfig(Part, ABC):
    """Settings of an env: a frozen dataclass whose first sentence says what there is to do.

    Attributes:
        expert: Name of the expert that comes along, as `core.parts.chosen` finds it; empty if none does.
    """

    kind: ClassVar[str] = "env"
    ours: ClassVar[Mapping[str, str]] = (
        located(f"{_HERE}.car.config", "CarConfig")
        | located(f"{_HERE}.forks.config", "ForksConfig")
        | located(f"{_HERE}.avoiding.config", "AvoidingConfig")
        | located(f"{_HERE}.pendulum.config", "PendulumConfig")
        | located(f"{_HERE}.tabular.config", "TabularConfig")
        | located(f"{_HERE}.linear.config", "LinearConfig")
        | located(f"{_HERE}.gymnasium_config", "GymnasiumConfig")
    )
    expert: ClassVar[str] = ""

    @abstractmethod
    def build(self, num_rows: int) -> "BatchEnv":
        """Return the env with `num_rows` copies."""
