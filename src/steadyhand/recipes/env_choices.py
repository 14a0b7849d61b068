"""Envs by the short names of the command line."""

from collections.abc import Sequence

from steadyhand.envs.catalogue import env_config
from steadyhand.envs.config import EnvConfig


def env_from_text(text: str, *, observation: Sequence[str] = (), success: str = "auto") -> EnvConfig:
    """Read an env from the command line.

    Args:
        text: "car", "forks", "avoiding" or a Gymnasium id.
        observation: What it shows, for an env with a choice: senses of the car ("lidar"), or the features
            that they fill ("observation.environment_state"); empty takes the env's default.
        success: When an episode counts as a success, for a Gymnasium id; see `core.success`.

    Raises:
        ConfigError: There is no such env, sense or rule, or the env has no choice.
    """
    config = env_config(text)
    if observation:
        config = config.showing(observation)
    return config if success == "auto" else config.judged_by(success)


def env_that_shows(
    text: str, observation: Sequence[str], *, success: str = "auto"
) -> tuple[EnvConfig, tuple[str, ...]]:
    """Read an env, and the features that policies are to see of it.

    An env with a choice, such as the car, shows what is named, and policies see what they can read of it.
    Every other env shows all that it has, and policies see of it what is named. `success` is as in
    `env_from_text`.

    Raises:
        ConfigError: There is no such env or sense.
    """
    config = env_from_text(text, success=success)
    if config.chooses and observation:
        return config.showing(observation), ()
    return config, () if config.chooses else tuple(observation)
