"""Config of an env that Gymnasium makes."""

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Count, Positive
from steadyhand.core.success import SuccessRule, success_rule
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.known_success import known_success

if TYPE_CHECKING:
    from steadyhand.envs.adapted import AdaptedEnv

VectorizationMode = Literal["loop", "sync", "async", "vector_entry_point"]


@dataclass(frozen=True, kw_only=True)
class GymnasiumConfig(EnvConfig):
    """Any env that `gymnasium.make` knows.

    Attributes:
        env_id: Gymnasium id, such as "Pendulum-v1".
        max_episode_steps: Steps after which an episode is truncated; None takes the registered limit.
        control_dt: Time between two actions [s]; None asks the env for its `dt`, then for "render_fps".
        success: When an episode counts as a success: "auto" takes the rule of a known id, and of any other
            what its info says, if it says anything; or a rule, such as "last" or "return>=200".
        rename: Name of an observation -> its name here, such as {"observation.state": "observation.history"}:
            the word history says that numbers on two axes are no picture.
        vectorization_mode: How the copies are run: "loop" steps those that are alive one after the other;
            "sync", "async" (a process a row, for slow envs on many cores) and "vector_entry_point" ask
            `gymnasium.make_vec`. The episodes of the first three are the same.
        kwargs: Keyword arguments of the env: JSON scalars only.
    """

    cheap_rows: ClassVar[int] = 1

    env_id: str
    max_episode_steps: Count | None = None
    control_dt: Positive | None = None
    success: str = "auto"
    rename: dict[str, str] = field(default_factory=dict[str, str])
    vectorization_mode: VectorizationMode = "loop"
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in self.kwargs.items():
            if not isinstance(value, str | int | float | bool | None):
                raise ConfigError(
                    f"The env option {name!r} cannot be written as JSON.",
                    got=type(value).__name__,
                    expected="str, int, float, bool or None",
                    hint="build the env yourself and give GymnasiumEnv a factory",
                )
        for new in self.rename.values():
            if not re.fullmatch(r"observation(\.[\w-]+)+", new):
                raise ConfigError(
                    "An observation cannot have this name.", got=new, expected="observation.NAME"
                )
        self.success_rule()

    def judged_by(self, success: str) -> "GymnasiumConfig":
        """Return the settings of the same env with this rule of success; see `core.success`."""
        return replace(self, success=success)

    def success_rule(self) -> SuccessRule:
        """Return the rule that `success` stands for.

        Raises:
            ConfigError: There is no such rule.
        """
        if self.success == "auto":
            return known_success(self.env_id, self.kwargs)
        return success_rule(self.success)

    def build(self, num_rows: int) -> "AdaptedEnv":
        """Return the env with `num_rows` copies."""
        if self.vectorization_mode == "loop":
            from steadyhand.envs.adapter import GymnasiumEnv

            return GymnasiumEnv(self, num_rows=num_rows)
        from steadyhand.envs.vector import made_vector

        return made_vector(self, num_rows=num_rows)
