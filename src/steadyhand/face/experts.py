"""Anything that knows what to do, as an expert of an env."""

from pathlib import Path
from typing import Any

from steadyhand.core.protocol import Controller
from steadyhand.face.envs import Drivable, as_env
from steadyhand.face.policy import Policy
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
            - a file of weights (.npz, .safetensors), the folder of a policy or of the run around it;
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
