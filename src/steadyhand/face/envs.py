"""Envs by name, by their settings, or as they are."""

from typing import Any

from steadyhand.core.errors import ConfigError
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.catalogue import env_config
from steadyhand.envs.config import EnvConfig
from steadyhand.face.asked import whole

NUM_ROWS = 32
"""Default number of copies of an env."""

Env = BatchEnv
"""Some copies of one task, stepped at once."""

Drivable = Env | EnvConfig | str
"""An env, or its name or settings as `make` takes them."""


def make(env: Any, *, num_rows: int = NUM_ROWS, **options: Any) -> BatchEnv:
    """Build an env: some copies of one task, stepped at once.

    Args:
        env: A built-in env ("car", "arm", "pendulum" ...; `steadyhand envs` lists them), any Gymnasium id
            ("CartPole-v1", "module:Name-v0"), the settings of an env, or a vector env of Gymnasium's
            (`gymnasium.make_vec`, `AsyncVectorEnv`), which has its own number of copies.
        num_rows: Number of copies.
        options: Fields of the env's settings, such as `max_episode_steps=200`; for a Gymnasium id also the
            keyword arguments that `gymnasium.make` passes on, and `vectorization_mode`.

    Raises:
        ConfigError: There is no such env or option.
    """
    num_rows = whole("num_rows", num_rows)
    if isinstance(env, str):
        return env_config(env, **options).build(num_rows)
    if not hasattr(env, "build"):
        from steadyhand.envs.vector import around

        return around(env, **options)
    if options:
        raise ConfigError(
            "The settings of an env leave no room for options.",
            got=", ".join(options),
            hint="change them with dataclasses.replace(settings, name=value)",
        )
    return env.build(num_rows)


def as_env(env: Drivable | object) -> BatchEnv:
    """Return an env as it is, or make the one that is named or described.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(env, BatchEnv):
        return env
    if isinstance(env, str | EnvConfig):
        return make(env)
    raise ConfigError(
        "This is no env.",
        got=type(env).__name__,
        expected="what steadyhand.make returns, a name, or the settings of an env",
        hint="steadyhand.make(env) takes Gymnasium's vector envs; your own derives from steadyhand.Env",
    )
