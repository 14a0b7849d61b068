"""`steadyhand envs`: what there is to drive."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse
from steadyhand.cli.flags import optional


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """List the built-in envs, or describe one: what it shows, what it takes, how long an episode is."""

    env: Annotated[tyro.conf.Positional[str], optional("[ENV]", default="list them")] = ""
    """Name of an env, or any Gymnasium id."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    chosen = parse(Arguments, arguments, verb="envs")
    from steadyhand.envs.catalogue import BUILT_IN, env_config

    if not chosen.env:
        from steadyhand.core.parts import summary

        rows = [[name, summary(type(env_config(name)))] for name in BUILT_IN]
        terminal.table(["env", "what it is"], rows, left=2)
        terminal.say(
            "\nAny Gymnasium id works as well, such as CartPole-v1. `steadyhand envs NAME` describes one."
        )
        return 0
    env = env_config(chosen.env).build(1)
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
    env.close()
    return 0


def _row(feature: object) -> list[str]:
    from steadyhand.core.specs import FeatureSpec

    assert isinstance(feature, FeatureSpec)
    kind = feature.describe() if feature.kind == "discrete" else feature.kind
    return [str(list(feature.shape)), feature.dtype, kind]
