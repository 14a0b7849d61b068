"""The state of a model of Stable-Baselines3 that learns, as one file of arrays without a pickle."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from steadyhand.core.errors import ArtifactError
from steadyhand.core.strict import replacing

_HEADER = "steadyhand.learning"
_COUNTERS = ("num_timesteps", "_n_updates", "_n_calls", "_episode_num")
_STEPS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
_RUNNING = ("mean", "var", "count")


def store(model: Any, normalization: Any, path: Path) -> None:
    """Write weights, moments of the optimizers, the replay buffer and running statistics."""
    from safetensors.numpy import save_file

    arrays = {name: np.array(value) for name, value in _arrays(model, normalization)}
    counters = {name: int(getattr(model, name)) for name in _COUNTERS if hasattr(model, name)}
    with replacing(path) as temporary:
        save_file(arrays, temporary, {_HEADER: json.dumps(counters)})


def restore(model: Any, normalization: Any, path: Path) -> int:
    """Put a model into the state that was written, and return the steps in the env until then.

    What it draws from now on is another stream of random numbers than before.

    Raises:
        ArtifactError: The file is damaged, or of another model.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportUnknownVariableType]
            opened: Any = file
            counters = json.loads(opened.metadata()[_HEADER])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        _fill(model, normalization, arrays)
        for name, value in counters.items():
            setattr(model, name, value)
        model.set_random_seed((model.seed or 0) + model.num_timesteps)
    except Exception as error:
        raise ArtifactError(
            f"The state of this training, {path}, cannot be read.",
            got=f"{type(error).__name__}: {error}",
            hint="train again in another folder",
        ) from error
    return int(model.num_timesteps)


def _arrays(model: Any, normalization: Any) -> Iterator[tuple[str, Any]]:
    for name, part in model.get_parameters().items():
        if "param_groups" not in part:
            yield from ((f"net|{name}|{key}", value.numpy()) for key, value in part.items())
            continue
        for number, moments in part["state"].items():
            for key, value in moments.items():
                yield f"optimizer|{name}|{number}|{key}", np.asarray(value)
    if (entropy := getattr(model, "log_ent_coef", None)) is not None:
        yield "entropy", entropy.detach().numpy()
    if (buffer := getattr(model, "replay_buffer", None)) is not None:
        size = buffer.size()
        for name, array in _steps_of(buffer):
            yield f"buffer|{name}", array[:size]
        yield "place", np.array([buffer.pos, int(buffer.full)])
    if normalization is not None:
        for name, running in _statistics(normalization):
            for key in _RUNNING:
                yield f"running|{name}|{key}", np.asarray(getattr(running, key), dtype=np.float64)


def _fill(model: Any, normalization: Any, arrays: Mapping[str, np.ndarray]) -> None:
    import torch

    parts = model.get_parameters()
    for name, value in arrays.items():
        kind, *keys = name.split("|")
        if kind == "net":
            parts[keys[0]][keys[1]] = torch.from_numpy(value)
        elif kind == "optimizer":
            state = parts[keys[0]]["state"].setdefault(int(keys[1]), {})
            state[keys[2]] = torch.from_numpy(value)
    model.set_parameters(parts, exact_match=True)
    if "entropy" in arrays:
        model.log_ent_coef.data = torch.from_numpy(arrays["entropy"])
    if "place" in arrays:
        buffer = model.replay_buffer
        for name, array in _steps_of(buffer):
            kept = arrays[f"buffer|{name}"]
            array[: len(kept)] = kept
        buffer.pos, buffer.full = int(arrays["place"][0]), bool(arrays["place"][1])
    if normalization is not None:
        for name, running in _statistics(normalization):
            for key in _RUNNING:
                value = arrays[f"running|{name}|{key}"]
                setattr(running, key, value if value.ndim else float(value))


def _steps_of(buffer: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Return the arrays of a replay buffer, those of an observation of several entries each by its name."""
    for name in _STEPS:
        held = getattr(buffer, name)
        if isinstance(held, Mapping):
            for key in held:
                yield f"{name}/{key}", held[key]
        else:
            yield name, held


def _statistics(normalization: Any) -> Iterator[tuple[str, Any]]:
    yield "return", normalization.ret_rms
    seen = normalization.obs_rms
    if isinstance(seen, Mapping):
        for key in seen:
            yield f"observation/{key}", seen[key]
    else:
        yield "observation", seen
