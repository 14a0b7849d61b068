"""LSTM and GRU over windows that may begin with padding."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from steadyhand.policies.choices import Cell

Carry = tuple[Float[Tensor, "L B C"], ...]
"""State between two steps, one entry for each of L layers: (h, c) of an LSTM, (h,) of a GRU."""


class Recurrence(nn.Module):
    """A stack of recurrent layers whose state is zero until a window's first step that is not padding.

    Args:
        width_in: Width of a step.
        cell: Kind of layer.
        hidden: C, width of the state.
        num_layers: Number L of stacked layers.
    """

    def __init__(self, width_in: int, *, cell: Cell, hidden: int, num_layers: int) -> None:
        super().__init__()
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.layers = kind(width_in, hidden, num_layers=num_layers, batch_first=True)
        self.layers.register_state_dict_post_hook(separate)

    def forward(self, x: Float[Tensor, "B O D"], is_pad: Bool[Tensor, "B O"]) -> Float[Tensor, "B O C"]:
        """Return the top layer's output at each step, zero at padded ones, which lie in front."""
        if x.shape[1] == 1:
            return self.layers(x)[0].masked_fill(is_pad[..., None], 0.0)
        # Padding is turned to the back, where it comes too late to change anything: one call, no masking.
        forth, back = turns(is_pad)
        return turned(self.layers(turned(x, forth))[0], back).masked_fill(is_pad[..., None], 0.0)

    def step(self, x: Float[Tensor, "B 1 D"], carry: Carry | None) -> tuple[Float[Tensor, "B 1 C"], Carry]:
        """Go on by one step from `carry` (None: zero)."""
        output, after = self.layers(x, self._packed(carry))
        return output, after if isinstance(after, tuple) else (after,)

    def scan(
        self, x: Float[Tensor, "B O D"], is_pad: Bool[Tensor, "B O"], carry: Carry | None = None
    ) -> tuple[Float[Tensor, "B O C"], Carry]:
        """Go on from `carry` (None: zero), step by step; a padded step puts the state back to zero."""
        outputs: list[Tensor] = []
        state = carry
        for step, pad in zip(x.unbind(1), is_pad.unbind(1), strict=True):
            output, parts = self.step(step[:, None], state)
            state = tuple(part.masked_fill(pad[:, None], 0.0) for part in parts)
            outputs.append(output.masked_fill(pad[:, None, None], 0.0))
        assert state is not None, "a window has at least one step"
        return torch.cat(outputs, dim=1), state

    def _packed(self, carry: Carry | None) -> Any:
        return carry if carry is None or isinstance(self.layers, nn.LSTM) else carry[0]


def turns(is_pad: Bool[Tensor, "B O"]) -> tuple[Int64[Tensor, "B O"], Int64[Tensor, "B O"]]:
    """Return the order of steps that moves padding from front to back, and the order that undoes it."""
    num_steps = is_pad.shape[1]
    steps = torch.arange(num_steps, device=is_pad.device)
    first = is_pad.sum(1, keepdim=True)
    return (steps + first) % num_steps, (steps - first) % num_steps


def turned(x: Float[Tensor, "B O D"], order: Int64[Tensor, "B O"]) -> Float[Tensor, "B O D"]:
    """Return the steps of each row in the order given for it."""
    return x.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))


def separate(module: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    """Give each weight in a state dict memory of its own: on a GPU, cuDNN keeps them all in one block."""
    del metadata
    for name, _ in module.named_parameters():
        value = state[prefix + name]
        if not isinstance(value, nn.Parameter):  # with keep_vars, the caller wants the parameters themselves
            state[prefix + name] = value.clone()
