"""Finding envs by name."""

from dataclasses import fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.core.modules import imported, module_name
from steadyhand.core.parts import UnknownPart, chosen, is_part, spoken
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.gymnasium_config import GymnasiumConfig

if TYPE_CHECKING:
    from steadyhand.envs.base import BatchEnv

WORLDS: tuple[str, ...] = tuple(
    spoken(EnvConfig, name) for name, where in EnvConfig.ours.items() if ".envs.worlds." in where
)
"""Names of the envs that run simulators of others, which an extra installs."""

BUILT_IN: tuple[str, ...] = tuple(
    word
    for word in (spoken(EnvConfig, name) for name in EnvConfig.ours if name != GymnasiumConfig.__name__)
    if word not in WORLDS
)
"""Names of the envs that come along and need nothing else."""


GYMNASIUM_SETTINGS = ("max_episode_steps", "control_dt", "success", "rename", "vectorization_mode")
"""Settings of ours that are given beside the keyword arguments of a Gymnasium env."""


def make(env_id: str, *, num_rows: int, **options: Any) -> "BatchEnv":
    """Build a batched env by name.

    Args:
        env_id: An env that comes along (`BUILT_IN` and `WORLDS` name them: "car", "metaworld" ...), one of
            your own ("module:Class", or the name of an entry point), or any Gymnasium id ("CartPole-v1",
            "module:Name-v0").
        num_rows: Number of copies.
        options: Fields of the env's settings. For a Gymnasium id `max_episode_steps`, `control_dt`,
            `success`, `vectorization_mode` ("async" runs the copies in processes), and the keyword arguments
            that `gymnasium.make` passes to the env.

    Raises:
        ConfigError: There is no such env or option.
    """
    return env_config(env_id, **options).build(num_rows)


_SETTINGS = "`steadyhand parts env NAME` shows the settings of an env, and which values they take"


def env_config(env_id: str, **options: Any) -> EnvConfig:
    """Return the settings of an env by name; see `make`."""
    module, separator, name = env_id.partition(":")
    if separator:
        env_id = f"{module_name(module)}:{name}"
    kind = _part(env_id)
    if kind is not None:
        return _configured(kind, env_id, options)
    settings = {name: options.pop(name) for name in GYMNASIUM_SETTINGS if name in options}
    known = _gymnasium_ids()
    if ":" not in env_id and env_id not in known:
        # A missing prefix, such as "Reacher-v5" for "mujoco/Reacher-v5", is as likely as a typing error.
        close = get_close_matches(env_id, [*BUILT_IN, *WORLDS, *known], n=3, cutoff=0.5)
        raise ConfigError(
            "There is no such env.",
            got=env_id,
            available=[*dict.fromkeys([*BUILT_IN, *WORLDS, *close]), f"and {len(known)} Gymnasium ids"],
            hint=f"did you mean {close[0]!r}?" if close else "install the package that registers it",
        )
    data = {"env_id": env_id, "kwargs": options, **settings}
    return from_data(data, GymnasiumConfig, source=f"The options of env {env_id!r}", hint=_SETTINGS)


def _part(env_id: str) -> type[EnvConfig] | None:
    """Return the settings that a name stands for; None if it can only be an id of Gymnasium's."""
    module, separator, name = env_id.partition(":")
    if separator and not is_part(named := getattr(imported(module), name, None), EnvConfig):
        if named is None or name in _gymnasium_ids():
            return None
        _refuse_unregistered(named, module)
    try:
        found = chosen(EnvConfig, env_id)
    except UnknownPart:
        return None
    return None if found is GymnasiumConfig else found


def _refuse_unregistered(named: object, module: str) -> None:
    """Raise ConfigError if it is the class of a Gymnasium env, which is made by its id alone."""
    import gymnasium

    if isinstance(named, type) and issubclass(named, gymnasium.Env):
        name = named.__name__
        raise ConfigError(
            f"{name} is the class of a Gymnasium env; such an env is named by an id.",
            got=f"{module}:{name}",
            expected=f"{module}:{name}-v0, once {module} registers it",
            hint=f'write gymnasium.register("{name}-v0", entry_point="{module}:{name}", '
            f"max_episode_steps=200) below the class in {module}, and name it {module}:{name}-v0",
        )


def _configured(kind: type[EnvConfig], env_id: str, options: dict[str, Any]) -> EnvConfig:
    names = [field.name for field in fields(kind)]  # pyright: ignore[reportArgumentType]  parts are dataclasses
    for name in options:
        if name not in names:
            raise ConfigError(f"The env {env_id!r} has no such option.", got=name, available=names)
    data = {name: to_data(value) for name, value in options.items()}
    return from_data(data, kind, source=f"The options of env {env_id!r}", hint=_SETTINGS)


def _gymnasium_ids() -> list[str]:
    import gymnasium

    return sorted(gymnasium.registry)
