"""Vector features of an observation side by side, discrete ones as one-hot codes."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.contract import Observation
from steadyhand.policies.encoders.config import is_vector


class Vectors:
    """Concatenates every feature that is not an image, in the order of the spec.

    Args:
        observation: Feature name -> spec; images are left out.
    """

    def __init__(self, observation: Mapping[str, FeatureSpec]) -> None:
        self._specs = {name: spec for name, spec in observation.items() if is_vector(spec)}
        self.width = sum(spec.num_classes or spec.size for spec in self._specs.values())

    def __call__(self, observation: Observation) -> Float[Tensor, "B O D"]:
        """Return (B, O, width)."""
        parts = [self._one(observation[name], spec) for name, spec in self._specs.items()]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    @staticmethod
    def _one(value: Tensor, spec: FeatureSpec) -> Tensor:
        if spec.num_classes is not None:
            return F.one_hot(value[..., 0] - spec.start, spec.num_classes).float()
        return value.flatten(2)
