"""What a policy is given, checked against what it was made for."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from steadyhand.core.errors import SpecError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.frames import Frames
from steadyhand.data.pictures import resized
from steadyhand.policies.encoders.config import as_encoded
from steadyhand.policies.spec import PolicySpec


class Reader:
    """Turns raw observation windows into tensors that the encoder can read.

    Args:
        observation: Feature name -> spec.
        num_steps: Number O of observed steps.
        size: (height, width) that pictures are scaled down to; None leaves them as they are.
    """

    def __init__(
        self, observation: Mapping[str, FeatureSpec], *, num_steps: int, size: tuple[int, int] | None
    ) -> None:
        self._observation = observation
        self._encoded = as_encoded(observation, size)
        self._num_steps = num_steps
        self._size = size

    def scaled(self, name: str, value: Any) -> Any:
        """Return (B, O, ...) pictures of the camera's size as the encoder reads them, and all else as it is.

        What is cached for training goes through the same function, so that both give the same bits.
        """
        feature = self._observation[name]
        if self._size is None or feature.kind != "image" or tuple(value.shape[2:]) != tuple(feature.shape):
            return value
        if isinstance(value, Tensor):
            return torch.from_numpy(resized(value.cpu().numpy(), self._size)).to(value.device)
        return resized(value, self._size)

    def window(
        self, window: Mapping[str, Any], is_pad: Any | None, *, device: torch.device
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return windows as tensors, and which of their steps are padding (None: nowhere).

        Raises:
            SpecError: A feature is missing or has the wrong shape.
        """
        missing = [name for name in self._observation if name not in window]
        if missing:
            raise SpecError(
                "The observation lacks a feature that the policy reads.",
                got=missing[0],
                available=window,
            )
        observation: dict[str, Tensor] = {}
        for name, feature in self._observation.items():
            value = torch.as_tensor(self.scaled(name, window[name]), device=device)
            if value.shape[1:] != (self._num_steps, *self._encoded[name].shape):
                raise SpecError(
                    f"{name} has the wrong shape.",
                    got=tuple(value.shape),
                    expected=f"(B, {', '.join(map(str, (self._num_steps, *feature.shape)))})",
                )
            observation[name] = value
        if is_pad is not None:
            return observation, torch.as_tensor(is_pad, device=device)
        num_rows = len(next(iter(observation.values())))
        return observation, torch.zeros(num_rows, self._num_steps, dtype=torch.bool, device=device)


def check_frames(spec: PolicySpec, frames: Frames) -> None:
    """Raise SpecError if the data's features are not those of the policy."""
    offered = {**frames.observation_spec, "action": frames.action_spec}
    for name, feature in {**spec.observation, "action": spec.action}.items():
        if name not in offered:
            raise SpecError("The data lack a feature that the policy reads.", got=name, available=offered)
        found = offered[name]
        if not found.agrees_with(feature):
            raise SpecError(
                f"{name} differs between data and policy.",
                got=found.describe(),
                expected=feature.describe(),
            )
