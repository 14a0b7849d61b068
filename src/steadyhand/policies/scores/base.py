"""How doubtful a state is to a policy: one number for each row, higher is worse.

A score says nothing of what to do about it. Gates (`correction.gates`) compare it with a quantile of the same
score on steps that no gate has filtered; nothing here has a threshold.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Shaped
from torch import Tensor

from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.stats import distance_scale
from steadyhand.policies.noise import Noise, RowNoise
from steadyhand.policies.policy import PolicyModule


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """Observation windows as a policy reads them, raw.

    Attributes:
        observation: Feature name -> (B, O, *feature shape), the current step last.
        is_pad: (B, O) True where a step lies before the episode's start; None means nowhere.
    """

    observation: Mapping[str, Shaped[np.ndarray, "B O ..."]]
    is_pad: Bool[np.ndarray, "B O"] | None = None

    def __len__(self) -> int:
        return len(next(iter(self.observation.values())))

    def __getitem__(self, places: slice) -> "Seen":
        return Seen(
            observation={name: value[places] for name, value in self.observation.items()},
            is_pad=None if self.is_pad is None else self.is_pad[places],
        )

    @classmethod
    def joined(cls, parts: list["Seen"]) -> "Seen":
        """Return the windows of all parts, one after the other."""
        names = parts[0].observation
        pads = [
            np.zeros((len(part), next(iter(part.observation.values())).shape[1]), dtype=bool)
            if part.is_pad is None
            else part.is_pad
            for part in parts
        ]
        return cls(
            observation={name: np.concatenate([part.observation[name] for part in parts]) for name in names},
            is_pad=np.concatenate(pads),
        )


class Score(ABC):
    """A number for each row: how little the policy is to be trusted there.

    A row's value depends on its own window, action and stream alone, so that batches may be cut at will (to
    the rounding of matrix products).
    """

    @abstractmethod
    def __call__(
        self, seen: Seen, action: Shaped[np.ndarray, "B A"], streams: RowStreams
    ) -> Float64[np.ndarray, " B"]:
        """Return the scores.

        Args:
            seen: B windows.
            action: What the policy proposes, raw units.
            streams: One for each row, for scores that draw; they are forked, not advanced.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class ActionScale:
    """Actions as vectors in which a distance of 1 means the same for every dimension.

    A bounded continuous dimension is divided by half its range, an unbounded one by its spread in the data.
    A discrete action becomes 1/sqrt(2) at its class, so that two different ones are 1 apart.

    Attributes:
        scale: (A,) of a continuous action; empty for a discrete one.
        num_classes: Number of classes of a discrete action; None for a continuous one.
        start: Lowest class of a discrete action.
        action: Spec of the action, for `discrepancy`; None where it has no bounds.
    """

    scale: Float64[np.ndarray, " A"]
    num_classes: int | None
    start: int = 0
    action: FeatureSpec | None = None

    @classmethod
    def of(cls, spec: FeatureSpec, actions: Shaped[np.ndarray, "N A"]) -> "ActionScale":
        """Return the scale of an env's actions; `actions` are the data's, for dimensions without bounds."""
        if spec.num_classes is not None:
            return cls(scale=np.zeros(0), num_classes=spec.num_classes, start=spec.start)
        scale = distance_scale(actions, spec, name="action")
        if spec.low is not None and spec.high is not None:
            half = 0.5 * (np.array(spec.high) - np.array(spec.low))
            scale = np.where(np.isfinite(half) & (half > 0), half, scale)
        return cls(scale=scale, num_classes=None, action=spec)

    def __call__(self, action: Shaped[np.ndarray, "B A"]) -> Float64[np.ndarray, "B E"]:
        """Return the actions as vectors."""
        if self.num_classes is None:
            return action / self.scale
        return np.eye(self.num_classes)[action[:, 0] - self.start] / np.sqrt(2.0)

    def discrepancy(
        self, one: Shaped[np.ndarray, "B A"], other: Shaped[np.ndarray, "B A"]
    ) -> Float64[np.ndarray, " B"]:
        """Return |one - other|^2 in these units: for discrete actions 1 where they differ, else 0.

        Beyond the action's bounds all actions are the same: the env clips them.
        """
        if self.action is not None:
            one, other = self.action.clipped(one), self.action.clipped(other)
        return np.square(self(one) - self(other)).sum(axis=1)


def driving_noise(policy: PolicyModule, streams: RowStreams) -> Noise | None:
    """Return what the policy is driven with: noise if its class drives with samples, None for its mode."""
    return RowNoise(streams, device=policy.device) if policy.head.draws else None


def proposals(policy: PolicyModule, seen: Seen, streams: RowStreams) -> Shaped[np.ndarray, "B A"]:
    """Return the action that the policy would execute now, clipped to nothing."""
    chunk = policy.predict_chunk(seen.observation, seen.is_pad, noise=driving_noise(policy, streams))
    return chunk[:, 0].cpu().numpy()


def tensors(policy: PolicyModule, seen: Seen) -> tuple[dict[str, Tensor], Tensor]:
    """Return the windows as tensors on the policy's device, and their padding."""
    observation = {
        name: torch.as_tensor(seen.observation[name], device=policy.device) for name in policy.features
    }
    if seen.is_pad is not None:
        return observation, torch.as_tensor(seen.is_pad, device=policy.device)
    shape = (len(seen), policy.config.n_obs_steps)
    return observation, torch.zeros(shape, dtype=torch.bool, device=policy.device)


@torch.no_grad()
def descriptor(policy: PolicyModule, seen: Seen) -> Float32[np.ndarray, "B D"]:
    """Return a vector for each window: the normalised features, or the encoder's tokens if there are images.

    In vectors a distance needs no net, and novel directions that the encoder has learnt to ignore still
    count. In pixels it would mean nothing.
    """
    observation, is_pad = tensors(policy, seen)
    if any(feature.kind == "image" for feature in policy.spec.observation.values()):
        return policy.encode(observation, is_pad, None).flat().cpu().numpy()
    normalised = policy.normalised(observation, is_pad)
    return torch.cat([value.float().flatten(1) for value in normalised.values()], dim=1).cpu().numpy()
