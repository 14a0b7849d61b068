"""Finding envs by name, and the closed union of env configs that run.json stores."""

from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.envs.avoiding.config import AvoidingConfig
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.envs.linear.config import LinearConfig
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.envs.tabular.config import TabularConfig

BuiltInConfig = CarConfig | ForksConfig | AvoidingConfig | PendulumConfig | TabularConfig | LinearConfig
"""Envs that come along."""

EnvConfig = BuiltInConfig | GymnasiumConfig
"""Every kind of env; each has `build(num_rows)`."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A built-in env.

    Attributes:
        env_id: Name for `make`.
        summary: One line about it.
        config: Class of its config.
    """

    env_id: str
    summary: str
    config: type[BuiltInConfig]


BUILT_IN: tuple[Entry, ...] = (
    Entry(
        env_id="car",
        summary="a 1/10-scale race car on closed tracks: steer by camera, lidar or state",
        config=CarConfig,
    ),
    Entry(
        env_id="forks",
        summary="a point that must pass a tree on the left or on the right: two modes",
        config=ForksConfig,
    ),
    Entry(
        env_id="avoiding",
        summary="a finger between six cylinders, as in D3IL: 24 modes",
        config=AvoidingConfig,
    ),
    Entry(
        env_id="pendulum",
        summary="a pendulum to be swung up by a weak motor, as in CCIL: smooth or with jumps",
        config=PendulumConfig,
    ),
    Entry(
        env_id="tabular",
        summary="small MDPs with exact costs: the 5 x 5 grid, cliffs, a tree, the tight example",
        config=TabularConfig,
    ),
    Entry(
        env_id="linear",
        summary="a linear system that runs away without feedback, and its twin that does not",
        config=LinearConfig,
    ),
)


def make(env_id: str, *, num_rows: int, **options: Any) -> BatchEnv:
    """Build a batched env by name.

    Args:
        env_id: A built-in env ("car", "forks", "avoiding", "pendulum", "tabular", "linear") or any Gymnasium
            id ("CartPole-v1", "module:Name-v0").
        num_rows: Number of copies.
        options: Fields of the built-in env's config. For a Gymnasium id `max_episode_steps`, and the
            keyword arguments that `gymnasium.make` passes to the env.

    Raises:
        ConfigError: There is no such env or option.
    """
    return env_config(env_id, **options).build(num_rows)


def env_config(env_id: str, **options: Any) -> EnvConfig:
    """Return the config of an env by name; see `make`."""
    for entry in BUILT_IN:
        if env_id == entry.env_id:
            return _configure(entry, options)
    limit = options.pop("max_episode_steps", None)
    known = _gymnasium_ids()
    if ":" not in env_id and env_id not in known:
        built_in = [entry.env_id for entry in BUILT_IN]
        # A missing prefix, such as "Reacher-v5" for "mujoco/Reacher-v5", is as likely as a typing error.
        close = get_close_matches(env_id, [*built_in, *known], n=3, cutoff=0.5)
        raise ConfigError(
            "There is no such env.",
            got=env_id,
            available=[*dict.fromkeys([*built_in, *close]), f"and {len(known)} Gymnasium ids"],
            hint=f"did you mean {close[0]!r}?" if close else "install the package that registers it",
        )
    return GymnasiumConfig(env_id=env_id, max_episode_steps=limit, kwargs=options)


def _configure(entry: Entry, options: dict[str, Any]) -> BuiltInConfig:
    names = [field.name for field in fields(entry.config)]
    for name in options:
        if name not in names:
            raise ConfigError(f"The env {entry.env_id!r} has no such option.", got=name, available=names)
    data = {name: to_data(value) for name, value in options.items()}
    return from_data(data, entry.config, source=f"the options of env {entry.env_id!r}")


def _gymnasium_ids() -> list[str]:
    import gymnasium

    return sorted(gymnasium.registry)
