"""Trained actors as experts: the network that acts, without the algorithm that trained it, in one file.

The file is safetensors: the weights and biases of each layer, what the observation is normalised with, and
in its header, as JSON, how the layers belong together. Nothing in it is code.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor, nn

from steadyhand.core.codec import from_data
from steadyhand.core.errors import ArtifactError, SpecError
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.experts.base import Expert
from steadyhand.experts.network import CallableExpert

HEADER = "steadyhand.actor"
"""Under which name the header of the file says how the layers belong together."""

Activation = Literal["relu", "tanh", "elu", "leaky_relu", "silu", "gelu"]
Output = Literal["tanh", "mean", "argmax"]

_ACTIVATIONS: Mapping[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


@dataclass(frozen=True, kw_only=True)
class Input:
    """One part of what an actor reads.

    Attributes:
        name: Entry of the observation; empty if the observation has no entries.
        size: Number of values.
        classes: If it is a choice, among how many: it is read as that many zeros and a one. Otherwise 0.
    """

    name: str
    size: int
    classes: int = 0

    @property
    def width(self) -> int:
        """Numbers that the first layer gets of it."""
        return self.classes or self.size


@dataclass(frozen=True, kw_only=True)
class ActorForm:
    """How the layers of an actor belong together, and where it comes from.

    Attributes:
        inputs: What it reads, in this order.
        activation: Function between the layers.
        output: "tanh": the answer is tanh of the last layer, scaled to the bounds; "mean": it is the last
            layer, clipped to the bounds; "argmax": it is the number of the largest entry, counted from
            `start`.
        low: (A,) lower bounds of the action; empty for "argmax".
        high: (A,) upper bounds of the action; empty for "argmax".
        start: The first of the choices.
        clip: Bound of the normalised observation.
        epsilon: Added to the variance that the observation is normalised with.
        origin: Where it comes from, in words: algorithm, env, seed, steps.
    """

    inputs: tuple[Input, ...]
    activation: Activation
    output: Output
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    start: int = 0
    clip: float = math.inf
    epsilon: float = 1e-8
    origin: str = ""


class ActorNetwork(nn.Module):
    """The network of an actor.

    Args:
        form: How its layers belong together.
        arrays: W0, b0, W1, b1 ... ((out, in) and (out,)), and mean and var ((in,)) if it normalises.

    Raises:
        ArtifactError: The arrays do not fit each other.
    """

    def __init__(self, form: ActorForm, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.form = form
        count = sum(1 for name in arrays if name.startswith("W"))
        width = sum(one.width for one in form.inputs)
        if "mean" in arrays:
            self.register_buffer("mean", torch.from_numpy(arrays["mean"].astype(np.float64)))
            self.register_buffer("var", torch.from_numpy(arrays["var"].astype(np.float64)))
        layers: list[nn.Module] = []
        for place in range(count):
            weight, bias = arrays.get(f"W{place}"), arrays.get(f"b{place}")
            if weight is None or bias is None or weight.shape != (len(bias), width):
                raise ArtifactError(
                    "The layers of this actor do not fit each other.",
                    got=f"layer {place}: {None if weight is None else weight.shape}",
                    expected=f"W{place} of ({None if bias is None else len(bias)}, {width}), and b{place}",
                )
            layer = nn.Linear(width, len(bias))
            layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
            layers += [layer, _ACTIVATIONS[form.activation]()]
            width = len(bias)
        self.layers = nn.Sequential(*layers[:-1])
        self.num_outputs = width
        self.requires_grad_(requires_grad=False)

    def forward(self, read: Float32[Tensor, "B I"]) -> Float32[Tensor, "B O"]:
        """Return the last layer for what is read, one-hot where it is a choice."""
        if hasattr(self, "mean"):
            spread = torch.sqrt(self.get_buffer("var") + self.form.epsilon)
            read = ((read.double() - self.get_buffer("mean")) / spread).float()
            read = read.clip(-self.form.clip, self.form.clip)
        return self.layers(read)

    def answer(self, seen: Shaped[np.ndarray, "B ..."] | Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the action for each row of an observation, (B, A)."""
        parts = [seen if isinstance(seen, np.ndarray) else _entry(seen, one.name) for one in self.form.inputs]
        read = [_read(one, part) for one, part in zip(self.form.inputs, parts, strict=True)]
        with torch.no_grad():
            last = self(torch.from_numpy(np.concatenate(read, axis=1))).numpy()
        form = self.form
        if form.output == "argmax":
            return last.argmax(axis=1)[:, None] + form.start
        low, high = np.array(form.low, dtype=np.float32), np.array(form.high, dtype=np.float32)
        if form.output == "tanh":
            return low + np.float32(0.5) * (np.tanh(last) + 1) * (high - low)
        return np.clip(last, low, high)


def write_actor(path: Path, form: ActorForm, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an actor to a .safetensors file."""
    from safetensors.numpy import save_file

    header = json.dumps({**asdict(form), "clip": None if math.isinf(form.clip) else form.clip})
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, path, {HEADER: header})


def read_actor(path: Path) -> ActorNetwork | None:
    """Read an actor; None if the file is safetensors, but no actor.

    Raises:
        ArtifactError: The file is missing or unreadable, or its layers do not fit each other.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:  # pyright: ignore[reportUnknownVariableType]
            opened: Any = file
            header = (opened.metadata() or {}).get(HEADER)
            if header is None:
                return None
            arrays = {name: np.array(opened.get_tensor(name)) for name in opened.keys()}  # noqa: SIM118
            said = json.loads(header)
    except Exception as error:
        raise ArtifactError(f"{path} cannot be read as an actor.", got=str(error)) from error
    data = {**said, "clip": math.inf if said.get("clip") is None else said["clip"]}
    return ActorNetwork(from_data(data, ActorForm, source=f"The header of {path}"), arrays)


def actor_expert(network: ActorNetwork, *, action: FeatureSpec, feature: str | None, name: str) -> Expert:
    """Return an actor as an expert.

    Args:
        network: The actor.
        action: Spec of the env's action.
        feature: Which feature it reads; None if it reads several by name.
        name: What errors call it.

    Raises:
        SpecError: The actor acts otherwise than the env can take.
    """
    form = network.form
    is_choice = form.output == "argmax"
    sizes = (network.num_outputs, len(form.low) or network.num_outputs)
    fits = (
        action.num_classes == network.num_outputs and action.start == form.start
        if is_choice
        else action.num_classes is None and sizes == (action.size, action.size)
    )
    if not fits:
        raise SpecError(
            f"The action of {name} is not that of the env.",
            got=f"{network.num_outputs} {'choices' if is_choice else 'numbers'}",
            expected=action.describe() if action.num_classes else f"{action.size} numbers",
            hint="check that it was trained for this env",
        )
    return CallableExpert(network.answer, action=action, feature=feature, name=name)


def _entry(seen: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    for full in (name, f"observation.{name}") if name else (STATE,):
        if full in seen:
            return seen[full]
    raise SpecError("The actor needs a feature that the env does not offer.", got=name, available=list(seen))


def _read(one: Input, value: np.ndarray) -> np.ndarray:
    """Return a part as the first layer gets it."""
    value = value.reshape(len(value), -1)
    if value.shape[1] != one.size:
        raise SpecError(
            "The actor was trained on an observation of another size.",
            got=f"{value.shape[1]} numbers",
            expected=f"{one.size} numbers{f' of {one.name}' if one.name else ''}",
            hint="check the env, and the options that it is made with",
        )
    if one.classes:
        return np.eye(one.classes, dtype=np.float32)[value[:, 0].astype(np.int64)]
    return value.astype(np.float32)
