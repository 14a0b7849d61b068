"""What can be chosen about every world: what it shows, how large its pictures are, how long an episode is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.settings import Count, Range
from steadyhand.envs.config import EnvConfig

if TYPE_CHECKING:
    from steadyhand.envs.worlds.env import WorldEnv
    from steadyhand.envs.worlds.world import World

Quality = Literal["fast", "full"]
"""How a picture is drawn: "fast" without shadows, reflections and multisampling, tens of times sooner."""


@dataclass(frozen=True, kw_only=True)
class WorldConfig(EnvConfig, ABC):
    """Settings of an env that runs somebody else's simulator; a subclass adds its own fields.

    Attributes:
        observation: What it shows: names of senses, such as "state", and of cameras.
        picture_height: Height of a camera's picture [pixels].
        picture_width: Width of a camera's picture [pixels].
        quality: How pictures are drawn; a policy must see what it was trained on.
        max_episode_steps: Steps after which an episode is truncated; None takes the world's own limit.
    """

    chooses: ClassVar[bool] = True
    cheap_rows: ClassVar[int] = 16
    package: ClassVar[str]
    """Name by which Python imports the simulator."""
    extra: ClassVar[str] = "sim"
    """Extra of steadyhand that installs it."""
    step_limit: ClassVar[int]
    """Steps after which an episode is truncated if nothing else is said."""

    observation: Annotated[tuple[str, ...], Range(ge=1)] = ("state",)
    picture_height: Annotated[int, Range(ge=16, le=1024, unit="pixels")] = 96
    picture_width: Annotated[int, Range(ge=16, le=1024, unit="pixels")] = 96
    quality: Quality = "fast"
    max_episode_steps: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.observation)) < len(self.observation):
            raise ConfigError("An env shows a sense twice.", got=self.observation)

    @classmethod
    def is_installed(cls) -> bool:
        """Whether its simulator can be imported."""
        return find_spec(cls.package) is not None

    @abstractmethod
    def world(self) -> "World":
        """Return one copy; its simulator is installed."""

    def showing(self, names: Sequence[str]) -> "WorldConfig":
        """Return the settings of the same env that shows only these senses and cameras, or their features."""
        short = (name.removeprefix("observation.").removeprefix("images.") for name in names)
        return replace(self, observation=tuple(dict.fromkeys(short)))

    def build(self, num_rows: int) -> "WorldEnv":
        """Return the env with `num_rows` copies.

        Raises:
            CapabilityError: The simulator is not installed.
            ConfigError: The world has no such sense or camera.
        """
        if not self.is_installed():
            raise CapabilityError(
                f"{type(self).__name__} needs the package {self.package}, which is not installed.",
                hint=f'pip install "steadyhand[{self.extra}]"',
            )
        from steadyhand.envs.worlds.env import WorldEnv

        return WorldEnv(self, num_rows=num_rows)
