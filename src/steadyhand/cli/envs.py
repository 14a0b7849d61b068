"""`steadyhand envs`: what there is to drive."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse
from steadyhand.cli.flags import optional
from steadyhand.core.errors import ConfigError

if TYPE_CHECKING:
    from steadyhand.core.specs import FeatureSpec
    from steadyhand.envs.base import BatchEnv


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """List the built-in envs, or describe one: what it shows, what it takes, how long an episode is."""

    env: Annotated[tyro.conf.Positional[str], optional("[ENV]", default="list them")] = ""
    """Name of an env, or any Gymnasium id."""
    picture: Annotated[
        Path | None, optional("FILE.png", default="show it here, on a terminal with colours")
    ] = None
    """Write a picture of the env at a start to this file."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    chosen = parse(Arguments, arguments, verb="envs")
    from steadyhand.envs.catalogue import env_config

    if chosen.picture is not None:
        _require_drawable(chosen.env, chosen.picture)
    if not chosen.env:
        _list()
        return 0
    env = env_config(chosen.env).build(1)
    try:
        _describe(env)
        return _show(env, chosen.picture)
    finally:
        env.close()


def _list() -> None:
    """Print the envs that come along, and then those that run simulators of others."""
    from steadyhand.core.parts import chosen, spoken, summary
    from steadyhand.envs.catalogue import BUILT_IN, WORLDS
    from steadyhand.envs.config import EnvConfig
    from steadyhand.envs.worlds.config import WorldConfig
    from steadyhand.experts.config import ExpertConfig

    own: list[list[str]] = []
    others: list[list[str]] = []
    for name in (*BUILT_IN, *WORLDS):
        kind = chosen(EnvConfig, name)
        expert = spoken(ExpertConfig, kind.expert) if kind.expert else "-"
        if issubclass(kind, WorldConfig):
            others.append([name, expert, "yes" if kind.is_installed() else "no", summary(kind)])
        else:
            own.append([name, expert, summary(kind)])
    terminal.table(["env", "expert", "what it is"], own, left=3)
    terminal.say('\nSimulators of others, which `pip install "steadyhand[sim]"` installs:\n')
    terminal.table(["env", "expert", "installed", "what it is"], others, left=4)
    terminal.say(
        "\nAny Gymnasium id works as well, such as CartPole-v1. `steadyhand envs NAME` describes one."
    )


def _describe(env: "BatchEnv") -> None:
    spec = env.spec
    terminal.heading(spec.env_id)
    terminal.say(spec.task or "(no task text)")
    terminal.say(
        f"one step is {spec.control_dt:g} s; an episode lasts at most {spec.max_episode_steps} steps"
    )
    terminal.say(f"success: {spec.success.words}")
    terminal.say(f"action: {spec.action.bounds}\n")
    rows = [["action", *_row(spec.action)]]
    rows += [[name, *_row(feature)] for name, feature in spec.observation.items()]
    rows += [[f"{name} (experts only)", *_row(feature)] for name, feature in spec.privileged.items()]
    terminal.table(["feature", "shape", "dtype", "kind"], rows, left=4)


def _require_drawable(env: str, path: Path) -> None:
    """Refuse a picture of nothing, and a file that cannot be a picture, before anything is said."""
    if env and path.suffix == ".png" and path.parent.is_dir():
        return
    raise ConfigError(
        "A picture needs an env, and a .png file in a folder that there is.",
        got=f"env {env!r}, {path}",
        hint="such as steadyhand envs forks --picture forks.png",
    )


def _show(env: "BatchEnv", path: Path | None) -> int:
    """Show the first start of the test family; return 1 if it was asked for and cannot be drawn."""
    import numpy as np

    from steadyhand.core.errors import CapabilityError

    if path is None and not terminal.shows_pictures():
        return 0
    drawn = env
    try:
        drawn = env.filmed(1)
        drawn.reset(drawn.starts("test", 1), np.array([0]))
        picture = drawn.render(0, width=640, height=480)
    except CapabilityError as error:
        terminal.say(f"\nno picture: {error.what}")
        return int(path is not None)
    finally:
        if drawn is not env:
            drawn.close()
    if path is None:
        terminal.say()
        terminal.picture(picture)
        return 0
    from steadyhand.data.formats.png import encode_png

    path.write_bytes(encode_png(picture))
    terminal.say(f"\npicture: {path}")
    return 0


def _row(feature: "FeatureSpec") -> list[str]:
    kind = feature.describe() if feature.kind == "discrete" else feature.kind
    return [str(list(feature.shape)), feature.dtype, kind]
