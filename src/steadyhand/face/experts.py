"""Anything that knows what to do, as an expert of an env."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.envs.catalogue import env_config
from steadyhand.envs.config import EnvConfig
from steadyhand.face.asked import seed_of, whole
from steadyhand.face.envs import Drivable, as_env
from steadyhand.face.folders import Folder
from steadyhand.face.policy import Policy
from steadyhand.face.progress import progress
from steadyhand.face.voice import voice
from steadyhand.policies.policy import PolicyModule as Network
from steadyhand.recipes.experts import controller_of, expert_from_text
from steadyhand.rollout.labelled import Labelled


def expert(who: Any, env: Drivable, *, feature: str = "", batched: bool | None = None) -> Controller:
    """Return an expert: a controller that demonstrates, labels states and takes over.

    Args:
        who: One of

            - a name: "auto" (the expert that comes along with the env), "pure-pursuit", "scripted", or the
              settings of one, such as `sh.experts.PurePursuitExpert(lookahead=0.8)`;
            - a function of one observation or of a batch, which one call of it tells; or where to find it:
              "my_experts:balance";
            - a model of Stable-Baselines3, or a torch module that takes a batch;
            - a file of weights (.npz, .safetensors), the folder of a trained expert, of a policy or of the
              run around it;
            - a file that a model of Stable-Baselines3 was saved to (.zip), which needs the extra `rl` and is
              unpickled: take only files that you trust;
            - a policy, or any other controller, whose action becomes the label.
        env: The env that it is to act in.
        feature: Which feature a function or a module reads, such as "state"; by default the only one that
            the env shows; a function of several gets a dictionary of all of them by name.
        batched: Whether a function takes a batch; None finds out by calling it once.

    Raises:
        CapabilityError: There is no such expert, or it does not know this env.
        SpecError: It does not fit the env.
    """
    built = as_env(env)
    match who:
        case Policy():
            return Labelled(who.controller(built, n_action_steps=1))
        case Network():
            return Labelled(Policy(who).controller(built, n_action_steps=1))
        case str() | Path():
            settings: Any = getattr(built, "config", None)  # only envs with settings bring an expert
            return expert_from_text(str(who), settings).build(built)
        case _:
            return controller_of(who, built, feature=feature, batched=batched)


def train_expert(
    env: Drivable,
    *,
    algorithm: str | None = None,
    steps: int | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    quiet: bool = False,
    **options: Any,
) -> Controller:
    """Train an expert by reinforcement learning, through Stable-Baselines3 (extra `rl`).

    The actor of the best return from validation starts is returned; a run in `out` that was stopped goes on.

    Args:
        env: The env, by name, as its settings, or one that was made from settings.
        algorithm: "SAC", "TD3", "PPO", "A2C", "DDPG" or "DQN"; None takes what the zoo tuned first.
        steps: Steps in the env; None takes the zoo's number.
        out: Folder of the run, an expert by its path afterwards; None makes a temporary one.
        seed: Seed of everything random.
        quiet: Show no progress, and do not print what came of it.
        options: Arguments of the algorithm's class that differ from the zoo's, such as `learning_rate=1e-3`.

    Raises:
        CapabilityError: Stable-Baselines3 is not installed, or the env cannot be learnt so.
        ConfigError: There is no such algorithm or option, or `out` holds another run.
    """
    from steadyhand.recipes.reinforce import expert_run
    from steadyhand.recipes.reinforce import train_expert as train
    from steadyhand.recipes.zoo import algorithm_named

    config: Any = env_config(env) if isinstance(env, str) else getattr(env, "config", env)
    if not isinstance(config, EnvConfig):
        raise ConfigError(
            "Experts are trained in copies of an env, which its settings make.",
            got=type(env).__name__,
            expected="a name, settings, or an env that was made from settings",
        )
    folder, say = Folder(out), voice(quiet=quiet)
    chosen = None if algorithm is None else algorithm_named(algorithm)
    run = expert_run(config, algorithm=chosen, seed=seed_of(seed))
    run = replace(run, steps=whole("steps", steps or run.steps), options={**run.options, **options})
    with progress("training", quiet=quiet) as bar:
        outcome = train(run, folder.path, on_step=bar(run.algorithm))
    say(f"{run.algorithm}, best after {outcome.best_steps} steps: {outcome.test}")
    return expert(outcome.actor, env)
