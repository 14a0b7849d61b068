"""Models of Stable-Baselines3 as experts: as an object, or from the file that one was saved to.

SB3 saves pickles, which can run any code when they are read. A file is therefore read in a process of its
own, which writes the actor alone, as safetensors; this process reads only that. Still: convert only files
that you trust.
"""

import json
import math
import subprocess
import sys
import tempfile
import zipfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from steadyhand.core.errors import ArtifactError, CapabilityError
from steadyhand.core.strict import require_file
from steadyhand.envs.base import BatchEnv
from steadyhand.experts.actor import (
    Activation,
    ActorForm,
    ActorNetwork,
    Input,
    Output,
    read_actor,
    write_actor,
)
from steadyhand.experts.function import function_expert
from steadyhand.experts.network import CallableExpert

_PACKAGE = "stable_baselines3"
_BY_MODULE = {"sac": "SAC", "td3": "TD3", "dqn": "DQN"}
"""Where a policy class lies -> the algorithm; those in `common` are PPO's and A2C's, which predict alike."""
_ACTIVATIONS: dict[str, Activation] = {
    "ReLU": "relu",
    "Tanh": "tanh",
    "ELU": "elu",
    "LeakyReLU": "leaky_relu",
    "SiLU": "silu",
    "GELU": "gelu",
}


def model_expert(model: Any, env: BatchEnv, *, feature: str = "") -> CallableExpert:
    """Return a model with SB3's `predict` as an expert, which answers with its mode.

    Args:
        model: Anything whose `predict(observation, deterministic=True)` returns (action, state).
        env: The env that it is to act in.
        feature: Which feature it reads; see `function_expert`.

    Raises:
        SpecError: It does not fit the env.
    """

    def predict(observation: Any) -> Any:
        return model.predict(observation, deterministic=True)[0]

    predict.__name__ = type(model).__name__
    return function_expert(predict, env, feature=feature)


def converted(path: Path, *, normalization: Path | None = None) -> ActorNetwork:
    """Return the actor of a model that SB3 saved; see `convert`."""
    with tempfile.TemporaryDirectory(prefix="steadyhand-") as folder:
        out = Path(folder) / "actor.safetensors"
        convert(path, out, normalization=normalization)
        actor = read_actor(out)
    if actor is None:
        raise ArtifactError(f"The conversion of {path} left no actor.", got=str(out))
    return actor


def convert(path: Path, out: Path, *, normalization: Path | None = None) -> None:
    """Write the actor of a model that SB3 saved to a .safetensors file, by another process.

    SB3 unpickles what is in the file, which can run any code: convert only files that you trust.

    Args:
        path: The .zip file that `model.save` wrote.
        out: Where the actor is to be; an older file there is replaced once the new one is whole.
        normalization: The file that `VecNormalize.save` wrote, if the model was trained on normalised
            observations; the model's own file does not tell.

    Raises:
        CapabilityError: SB3 is not installed.
        ArtifactError: It is no such file, or its actor is none of the kinds that can be converted.
    """
    require_file(path, error=ArtifactError)
    if normalization is not None:
        require_file(normalization, error=ArtifactError)
    name = _algorithm(path)
    if find_spec(_PACKAGE) is None:
        raise CapabilityError(
            "Stable-Baselines3 is not installed.",
            got=f"{path}, a model of {name}",
            hint='pip install "steadyhand[rl]"',
        )
    whole = out.with_name(f".{out.name}.part")
    files = [str(path.resolve()), str(whole.resolve()), str(normalization.resolve()) if normalization else ""]
    child = subprocess.run(
        [sys.executable, "-m", __name__, name, *files], capture_output=True, text=True, check=False
    )
    if child.returncode != 0:
        whole.unlink(missing_ok=True)
        said = child.stderr.strip().splitlines()
        raise ArtifactError(
            f"The actor of {path} cannot be taken out of it.",
            got=said[-1] if said else f"status {child.returncode}",
            expected=f"a model of {name} with ordinary layers, readable by the installed {_PACKAGE}",
            hint="load the model yourself, and give the object as the expert (steadyhand.expert(model, env))",
        )
    whole.replace(out)


def exported(model: Any, *, normalization: Any = None) -> tuple[ActorForm, dict[str, np.ndarray]]:
    """Return the actor of a model: how its layers belong together, and its arrays.

    Args:
        model: A model of PPO, A2C, SAC, TD3, DDPG or DQN.
        normalization: The `VecNormalize` that it was trained with.

    Raises:
        ArtifactError: It has layers of other kinds, such as convolutions.
    """
    policy, kind = model.policy, type(model).__name__
    space = model.action_space
    is_choice = type(space).__name__ == "Discrete"
    if not is_choice and type(space).__name__ != "Box":
        raise ArtifactError("An actor with such an action cannot be converted.", got=space)
    output: Output = "argmax" if is_choice else "tanh"
    match kind:
        case "SAC":
            stages, extractor = [policy.actor.latent_pi, policy.actor.mu], policy.actor
        case "TD3" | "DDPG":
            stages, extractor = [policy.actor.mu], policy.actor
        case "DQN":
            stages, extractor = [policy.q_net.q_net], policy.q_net
        case _:
            stages, extractor = [policy.mlp_extractor.policy_net, policy.action_net], policy
            if not is_choice and not policy.squash_output:
                output = "mean"
    layers = [layer for stage in stages for layer in _flat(stage)]
    if output == "tanh" and type(layers[-1]).__name__ == "Tanh":
        layers = layers[:-1]
    form = ActorForm(
        inputs=_inputs(model.observation_space, extractor),
        activation=_activation(layers),
        output=output,
        low=() if is_choice else tuple(map(float, space.low.ravel())),
        high=() if is_choice else tuple(map(float, space.high.ravel())),
        start=int(space.start) if is_choice else 0,
        clip=math.inf if normalization is None else float(normalization.clip_obs),
        epsilon=1e-8 if normalization is None else float(normalization.epsilon),
        origin=f"{kind} of Stable-Baselines3, {model.num_timesteps} steps",
    )
    arrays: dict[str, np.ndarray] = {}
    for place, layer in enumerate(one for one in layers if type(one).__name__ == "Linear"):
        arrays[f"W{place}"] = layer.weight.detach().numpy().copy()
        arrays[f"b{place}"] = layer.bias.detach().numpy().copy()
    if normalization is not None and normalization.norm_obs:
        statistics = normalization.obs_rms
        if isinstance(statistics, dict):
            statistics = [statistics[one.name] for one in form.inputs]
            arrays["mean"] = np.concatenate([one.mean.ravel() for one in statistics])
            arrays["var"] = np.concatenate([one.var.ravel() for one in statistics])
        else:
            arrays["mean"], arrays["var"] = statistics.mean.ravel(), statistics.var.ravel()
    return form, arrays


def _flat(stage: Any) -> list[Any]:
    return (
        [layer for part in stage for layer in _flat(part)]
        if type(stage).__name__ == "Sequential"
        else [stage]
    )


def _activation(layers: list[Any]) -> Activation:
    """Return the activation between the layers, which must be linear ones."""
    kinds = [type(layer).__name__ for layer in layers]
    between = set(kinds[1::2]) or {"ReLU"}
    is_plain = set(kinds[::2]) == {"Linear"} and len(kinds) % 2 == 1
    if not is_plain or len(between) > 1 or not between <= set(_ACTIVATIONS):
        raise ArtifactError(
            "Only linear layers with one kind of activation between them can be converted.",
            got=", ".join(kinds),
            available=[*_ACTIVATIONS],
        )
    return _ACTIVATIONS[between.pop()]


def _inputs(space: Any, extractor: Any) -> tuple[Input, ...]:
    """Return what an actor reads of an observation space."""
    kind = type(extractor.features_extractor).__name__
    if kind not in ("FlattenExtractor", "CombinedExtractor"):
        raise ArtifactError("An actor that reads through such a network cannot be converted.", got=kind)
    entries = dict(space.spaces) if type(space).__name__ == "Dict" else {"": space}
    return tuple(_input(name, entry) for name, entry in entries.items())


def _input(name: str, space: Any) -> Input:
    kind = type(space).__name__
    if kind == "Discrete":
        return Input(name=name, size=1, classes=int(space.n))
    if kind == "MultiBinary" or (kind == "Box" and np.dtype(space.dtype).kind == "f"):
        return Input(name=name, size=int(np.prod(space.shape)))
    raise ArtifactError(
        "An actor that reads such an observation cannot be converted.", got=f"{name}: {space}"
    )


def _algorithm(path: Path) -> str:
    """Return the class of the model, as the JSON in the file says it; nothing is unpickled for that."""
    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
        module = str(data["policy_class"]["__module__"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{path} is no model of Stable-Baselines3.",
            got=f"{type(error).__name__}: {error}",
            expected="a file that model.save(...) wrote",
        ) from error
    part = module.removeprefix(f"{_PACKAGE}.").partition(".")[0]
    if part == "common":
        return "PPO" if "clip_range" in data else "A2C"
    if part not in _BY_MODULE:
        raise ArtifactError(
            f"{path} holds a model of an algorithm that is not known here.",
            got=module,
            available=["A2C", "PPO", *_BY_MODULE.values()],
            hint="load the model yourself, and give the object",
        )
    return _BY_MODULE[part]


def _main(name: str, path: str, out: str, normalization: str) -> None:
    """Convert a file in this process, which reads its pickles."""
    package = import_module(_PACKAGE)
    model = getattr(package, name).load(path, device="cpu")
    wrapper = None
    if normalization:
        kind = import_module(f"{_PACKAGE}.common.vec_env").VecNormalize
        spaces = {"observation_space": model.observation_space, "action_space": model.action_space}
        wrapper = kind.load(normalization, SimpleNamespace(num_envs=1, render_mode=None, **spaces))
    form, arrays = exported(model, normalization=wrapper)
    write_actor(Path(out), form, arrays)


if __name__ == "__main__":
    _main(*sys.argv[1:])
