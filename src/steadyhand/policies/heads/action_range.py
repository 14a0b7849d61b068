"""The range that discretised actions span."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.policies.contract import ChunkSpec, Data
from steadyhand.policies.heads.checks import refuse_to_widen
from steadyhand.policies.heads.drawing import gather_chunks

_CONSTANT = 1e-6
"""A dimension that spans less than this is constant, and gets a range of one to either side."""


class ActionRange(nn.Module):
    """[-1, 1] where actions are normalised to it, else the range of the training data, found once."""

    low: Tensor
    high: Tensor
    is_found: Tensor

    def __init__(self, chunk: ChunkSpec) -> None:
        super().__init__()
        self.register_buffer("low", torch.full((chunk.action_dim,), -1.0))
        self.register_buffer("high", torch.full((chunk.action_dim,), 1.0))
        self.register_buffer("is_found", torch.tensor(chunk.is_bounded))

    def find(self, data: Data) -> None:
        """Take the range of the steps that have a weight, unless it is known already."""
        if bool(self.is_found):
            return
        chunks, valid = gather_chunks(data)
        low, high = chunks[valid].amin(0), chunks[valid].amax(0)
        is_constant = high - low < _CONSTANT
        self.low.copy_(torch.where(is_constant, low - 1.0, low))
        self.high.copy_(torch.where(is_constant, high + 1.0, high))
        self.is_found.fill_(True)  # noqa: FBT003

    def require_inside(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"], *, head: str) -> None:
        """Raise CapabilityError if actions from `low` to `high` leave the range by a hundredth of it."""
        slack = 0.01 * self.width
        if bool(self.is_found) and bool(((low < self.low - slack) | (high > self.high + slack)).any()):
            raise refuse_to_widen(head=head, why="its classes are tied to that range")

    @property
    def width(self) -> Float[Tensor, " A"]:
        """High minus low."""
        return self.high - self.low

    def to_unit(self, actions: Float[Tensor, "... A"]) -> Float[Tensor, "... A"]:
        """Return where actions lie in the range: 0 at its low end, 1 at its high end."""
        return (actions - self.low) / self.width

    def from_unit(self, place: Float[Tensor, "... A"]) -> Float[Tensor, "... A"]:
        """Return the action at a place."""
        return self.low + place * self.width
