"""Anything that maps an observation to an action as an expert: a function, a module, a file of weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from steadyhand.core.errors import ArtifactError, SpecError, SteadyhandError
from steadyhand.core.protocol import Decision, Observation
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.core.strict import require_file
from steadyhand.experts.base import Expert


class CallableExpert(Expert):
    """Wraps a function of a batch.

    Args:
        function: (B, ...) of the feature -> (B, A); a (B,) answer is taken as A = 1.
        action: Spec of the env's action; answers are cast to its dtype. The label is the answer as it is
            meant; what is executed is clipped to the bounds.
        feature: Which feature the function reads; looked up in observation, then in privileged. None gives
            it a dictionary of all of them.
        name: What errors call it; the function's own name if empty.
    """

    def __init__(
        self,
        function: Callable[[Any], Shaped[np.ndarray, "B ..."]],
        *,
        action: FeatureSpec,
        feature: str | None = STATE,
        name: str = "",
    ) -> None:
        super().__init__()
        self._function = function
        self._name: str = name or getattr(function, "__name__", type(function).__name__)
        self._spec = action
        self._feature = feature

    def __repr__(self) -> str:
        seen = self._feature or "all features, by name"
        return f"<{self._name} of {seen}, an expert: asked {self.num_queries} times>"

    def action(self, observation: Observation, privileged: Observation) -> Shaped[np.ndarray, "B A"]:
        """Ask the function and check its answer; it may lie outside the action's bounds.

        Raises:
            SpecError: The env lacks the feature, the function raises, or the answer has another shape, is no
                real number or no class.
        """
        features = {**privileged, **observation}
        if self._feature is not None and self._feature not in features:
            raise SpecError(
                "The expert needs a feature that the env does not offer.",
                got=self._feature,
                available=[*observation, *privileged],
            )
        num_rows = len(next(iter(features.values())))
        # Asked about copies, which the function may change as it likes: what was seen is stored.
        if self._feature is None:
            seen = {name: value.copy() for name, value in features.items()}
            words = f"of {', '.join(features)}"
        else:
            seen = features[self._feature].copy()
            words = f"of {self._feature} {seen.shape}"
        answer = self._answer(seen, f"{num_rows} rows {words}")
        answer = answer[:, None] if answer.ndim == 1 else answer
        expected = (num_rows, *self._spec.shape)
        if answer.shape != expected:
            raise SpecError(
                "The expert's answer has the wrong shape.",
                got=answer.shape,
                expected=expected,
                hint="the function is called with a whole batch and must answer for each row",
            )
        if self._spec.num_classes is not None and not (answer == np.rint(answer)).all():
            raise SpecError(
                "The expert's answer is no choice.",
                got=answer[(answer != np.rint(answer)).any(axis=1)][0].tolist(),
                expected=self._spec.describe(),
                hint="answer with the number of the action, such as an argmax",
            )
        return answer.astype(self._spec.dtype)

    def _answer(self, seen: np.ndarray | dict[str, np.ndarray], words: str) -> np.ndarray:
        try:
            answer = np.asarray(self._function(seen))
        except (SteadyhandError, MemoryError, RecursionError):
            raise
        except Exception as error:
            raise SpecError(
                f"The expert {self._name} broke.",
                got=f"{type(error).__name__}: {error}",
                expected=f"an action for each of {words}",
                hint="correct it; from Python, the error's __cause__ shows the line",
            ) from error
        if answer.dtype.kind not in "biuf":
            raise SpecError(
                f"The answer of the expert {self._name} is no real number.",
                got=f"{answer.dtype} {answer.shape}: {answer.reshape(-1)[:1].tolist()}",
                expected=self._spec.describe(),
                hint="answer with an array of real numbers, a row for each row that was asked about",
            )
        return answer

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Execute the answer within the action's bounds, and label with it as it is meant."""
        meant = super().act(observation, privileged, rows, generator)
        return replace(meant, action=self._spec.clipped(meant.action))


class ModuleExpert(CallableExpert):
    """Wraps a torch module of one batched feature; it is run without gradients.

    Args:
        module: (B, ...) float32 -> (B, A).
        action: Spec of the env's action.
        feature: Which feature the module reads.
    """

    def __init__(self, module: nn.Module, *, action: FeatureSpec, feature: str = STATE) -> None:
        def ask(value: np.ndarray) -> np.ndarray:
            try:
                with torch.no_grad():
                    return module(torch.from_numpy(np.ascontiguousarray(value))).numpy()
            except (RuntimeError, ValueError) as error:
                raise SpecError(
                    f"The expert network cannot read {feature}.",
                    got=f"{value.dtype} {value.shape}: {error}",
                    hint="check that it was trained for this env and this feature",
                ) from error

        super().__init__(ask, action=action, feature=feature)
        self._name = type(module).__name__


class WeightsNetwork(nn.Module):
    """A tanh network with a whitened input, read from a file of arrays.

    h = (o - mean) / (std + 1e-6), then h = tanh(h W_i + b_i) for each hidden layer, then a = h W_out + b_out.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        mean = arrays["obs_mean"].reshape(1, -1)
        variance = np.maximum(0.0, arrays["obs_meansq"].reshape(1, -1) - mean**2)
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(np.sqrt(variance) + 1e-6))
        count = sum(1 for name in arrays if name.startswith("W") and name[1:].isdigit())
        names = [str(number) for number in range(count)] + ["_out"]
        self.weights = nn.ParameterList([_frozen(arrays[f"W{name}"]) for name in names])
        self.biases = nn.ParameterList([_frozen(arrays[f"b{name}"].reshape(1, -1)) for name in names])
        self.requires_grad_(requires_grad=False)

    def forward(self, observation: Float[Tensor, "B O"]) -> Float[Tensor, "B A"]:
        """Return the actions, in float64 as the file's weights are, cast to float32."""
        hidden = (observation.double() - self.get_buffer("mean")) / self.get_buffer("scale")
        layers = list(zip(self.weights, self.biases, strict=True))
        for weight, bias in layers[:-1]:
            hidden = torch.tanh(hidden @ weight + bias)
        weight, bias = layers[-1]
        return (hidden @ weight + bias).float()


def network_of(path: Path, *, action: FeatureSpec, feature: str = STATE) -> Expert:
    """Read an expert from a file of weights.

    Args:
        path: A .npz or .safetensors file with W0, b0, ..., W_out, b_out, obs_mean and obs_meansq.
        action: Spec of the env's action.
        feature: Which feature the network reads.

    Raises:
        ArtifactError: The file is missing, unreadable, or lacks an array.
    """
    arrays = _read_arrays(path)
    needed = {"W_out", "b_out", "obs_mean", "obs_meansq"}
    if not needed <= set(arrays):
        raise ArtifactError(
            f"{path} is not a file of network weights.",
            got=sorted(arrays),
            expected=f"{sorted(needed)} and W0, b0, ...",
        )
    return ModuleExpert(WeightsNetwork(arrays), action=action, feature=feature)


def _frozen(array: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(array.astype(np.float64)), requires_grad=False)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    require_file(path, error=ArtifactError)
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        loaded: Any = np.load(path, allow_pickle=False)
        return {name: loaded[name] for name in loaded.files}
    except Exception as error:
        raise ArtifactError(
            f"{path} cannot be read as weights.",
            got=str(error),
            expected=".npz without pickles or .safetensors",
        ) from error
