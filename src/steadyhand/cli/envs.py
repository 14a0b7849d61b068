"""`steadyhand envs`: what there is to drive."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse
from steadyhand.cli.flags import optional

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
    from steadyhand.envs.catalogue import BUILT_IN, env_config

    if not chosen.env:
        from steadyhand.core.parts import spoken, summary
        from steadyhand.experts.config import ExpertConfig

        rows: list[list[str]] = []
        for name in BUILT_IN:
            kind = type(env_config(name))
            rows.append([name, spoken(ExpertConfig, kind.expert) if kind.expert else "-", summary(kind)])
        terminal.table(["env", "expert", "what it is"], rows, left=3)
        terminal.say(
            "\nAny Gymnasium id works as well, such as CartPole-v1. `steadyhand envs NAME` describes one."
        )
        return 0
    env = env_config(chosen.env).build(1)
    try:
        _describe(env)
        _show(env, chosen.picture)
    finally:
        env.close()
    return 0


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


def _show(env: "BatchEnv", path: Path | None) -> None:
    """Show the first start of the test family, if the env can be drawn."""
    import numpy as np

    from steadyhand.core.errors import CapabilityError

    if path is None and not terminal.has_colours():
        return
    try:
        filmed = env.filmed(1)
        filmed.reset(filmed.starts("test", 1), np.array([0]))
        picture = filmed.render(0, width=640, height=480)
        if filmed is not env:
            filmed.close()
    except CapabilityError as error:
        terminal.say(f"\nno picture: {error.what}")
        return
    if path is None:
        terminal.say()
        terminal.picture(picture)
        return
    from PIL import Image

    Image.fromarray(picture).save(path)
    terminal.say(f"\npicture: {path}")


def _row(feature: "FeatureSpec") -> list[str]:
    kind = feature.describe() if feature.kind == "discrete" else feature.kind
    return [str(list(feature.shape)), feature.dtype, kind]
