"""Whole batches of training windows, gathered with one index operation for each column."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Int64, Shaped
from torch import Tensor

from steadyhand.core.errors import DataError
from steadyhand.data.digests import DataDigest, frames_digest
from steadyhand.data.frames import Frames, Windower, WindowSpec

_SINGLE = (0,)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B training windows in raw units. The step at offset 0 is itself never padding.

    Attributes:
        observation: Feature name -> (B, O, *feature shape).
        obs_is_pad: (B, O) True where a step lies outside the episode.
        actions: (B, H, A) training targets.
        action_is_pad: (B, H) True where a step lies outside the episode.
        weight: (B, H) training weight; 0 where no expert was asked.
        kind: (B, H) EXPLICIT, GOOD or BAD; None means EXPLICIT everywhere.
    """

    observation: Mapping[str, Shaped[Tensor, "B O ..."]]
    obs_is_pad: Bool[Tensor, "B O"]
    actions: Shaped[Tensor, "B H A"]
    action_is_pad: Bool[Tensor, "B H"]
    weight: Float32[Tensor, "B H"]
    kind: Int[Tensor, "B H"] | None = None

    def __len__(self) -> int:
        return len(self.actions)

    def rows(self, index: Int64[Tensor, " K"]) -> "Batch":
        """Return some of the windows, in the order of `index`."""
        return Batch(
            observation={name: value[index] for name, value in self.observation.items()},
            obs_is_pad=self.obs_is_pad[index],
            actions=self.actions[index],
            action_is_pad=self.action_is_pad[index],
            weight=self.weight[index],
            kind=None if self.kind is None else self.kind[index],
        )


class WindowSource:
    """Cuts batches of windows out of frames.

    Columns become tensors once, without a copy. Read-only columns (memory-mapped images) stay arrays, of
    which only the rows of a batch are read.

    Args:
        frames: The data.
        window: Which steps make one example, as in `Policy.window`.
        steps: Steps that may be drawn, such as `frames.steps_of(train_episodes)`; all if None. Steps of
            weight 0 (no expert was asked) are left out: nothing could be learnt from them.
        features: Observation features to read; all if None.
        kind: (N,) EXPLICIT, GOOD or BAD for each step of `frames`.
        device: Where the batches are wanted; columns are moved there as a whole.

    Attributes:
        frames: The data.
        steps: (M,) the steps that a sampler may draw.
    """

    def __init__(
        self,
        frames: Frames,
        window: WindowSpec,
        *,
        steps: Int64[np.ndarray, " M"] | None = None,
        features: tuple[str, ...] | None = None,
        kind: Int64[np.ndarray, " N"] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        chosen = np.arange(len(frames)) if steps is None else steps
        self.steps = chosen[frames.weight[chosen] > 0]
        if len(self.steps) == 0:
            raise DataError(
                "No step can be trained on.",
                got=f"{len(chosen)} steps, all of weight 0",
                hint="weight is 0 where no expert was asked; relabel the episodes or record demonstrations",
            )
        self.window = window
        self.device = torch.device(device)
        names = tuple(frames.observation) if features is None else features
        self._observation = {name: _Column(frames.observation[name], self.device) for name in names}
        self._actions = _Column(frames.expert_action, self.device)
        self.frames, self._names, self._kinds = frames, names, kind
        self._frame_weight = frames.weight
        self._weight = _Column(frames.weight, self.device)
        self._weighs_alike = bool((frames.weight == 1.0).all())
        self._kind = None if kind is None else _Column(kind, self.device)
        self._windower = Windower(frames, window)
        self._is_single = window.obs_offsets == window.action_offsets == _SINGLE
        self._no_pad = torch.tensor([], dtype=torch.bool, device=self.device)
        self._ones = torch.tensor([], device=self.device)
        self._digest: DataDigest | None = None

    def digest(self) -> DataDigest:
        """Return the digest of all that may be read: a resumed run must find the same."""
        if self._digest is None:
            self._digest = frames_digest(
                self.frames, features=self._names, steps=self.steps, kind=self._kinds
            )
        return self._digest

    def weight_of(self, steps: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return the training weights of steps."""
        return self._frame_weight[steps]

    def batch(self, steps: Int64[np.ndarray, " B"]) -> Batch:
        """Return the windows around `steps`, which need not be among `self.steps`."""
        if self._is_single:
            index = _Index(steps, self.device)
            if len(self._no_pad) != len(steps):
                self._no_pad = self._no_pad.new_zeros(1, 1).expand(len(steps), 1)
            return self._gather(index, self._no_pad, index, self._no_pad)
        cut = self._windower(steps)
        return self._gather(
            _Index(cut.obs_index, self.device),
            torch.from_numpy(cut.obs_is_pad).to(self.device),
            _Index(cut.action_index, self.device),
            torch.from_numpy(cut.action_is_pad).to(self.device),
        )

    def _gather(self, observed: "_Index", obs_is_pad: Tensor, acted: "_Index", is_pad: Tensor) -> Batch:
        return Batch(
            observation={name: column.take(observed) for name, column in self._observation.items()},
            obs_is_pad=obs_is_pad,
            actions=self._actions.take(acted),
            action_is_pad=is_pad,
            weight=self._one_weight(is_pad) if self._weighs_alike else self._weight.take(acted),
            kind=None if self._kind is None else self._kind.take(acted),
        )

    def _one_weight(self, is_pad: Tensor) -> Tensor:
        if self._ones.shape != is_pad.shape:
            self._ones = self._ones.new_ones(1, 1).expand(is_pad.shape)
        return self._ones


class _Index:
    """(B, T) indices, or (B,) where T is 1, flat, both as an array and as a tensor."""

    def __init__(self, index: np.ndarray, device: torch.device) -> None:
        self.shape = None if index.ndim == 1 else index.shape
        self.array = index.ravel()
        self.tensor = torch.from_numpy(self.array).to(device)


class _Column:
    """(N, ...) values that rows are taken from."""

    def __init__(self, values: np.ndarray, device: torch.device) -> None:
        self._device = device
        self._shape = values.shape[1:]
        self._array = None if values.flags.writeable else values[:, None]
        self._tensor = torch.from_numpy(values).to(device)[:, None] if values.flags.writeable else None

    def take(self, index: _Index) -> Tensor:
        """Return (B, T, ...): `index_select` is several times faster than indexing with brackets."""
        if self._tensor is not None:
            rows = self._tensor.index_select(0, index.tensor)
        else:
            assert self._array is not None
            rows = torch.from_numpy(self._array[index.array]).to(self._device)
        return rows if index.shape is None else rows.view(*index.shape, *self._shape)
