"""Linear layers whose spectral norm is kept below a constant."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

_TINY = 1e-12


class SpectralLinear(nn.Linear):
    """A linear layer with ||W||_2 <= limit: W is used as W min(1, limit / ||W||_2).

    This is CCIL's projection W / max(||W||, c) c (Ke et al., 2024): a layer that is already gentle stays as
    it is, unlike in Miyato et al. (2018), where every layer has norm 1 exactly.

    While training, ||W|| is followed by one step of power iteration a call, as in Miyato et al., and may be
    too small by a little; in evaluation it is exact, from a singular value decomposition at every call.

    Args:
        width_in: Inputs.
        width_out: Outputs.
        limit: Largest spectral norm.
    """

    direction: Tensor

    def __init__(self, width_in: int, width_out: int, *, limit: float) -> None:
        super().__init__(width_in, width_out)
        self.limit = limit
        start = torch.randn(width_in)
        self.register_buffer("direction", start / start.norm())

    def forward(self, input: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        """Apply the layer with its norm limited."""
        return nn.functional.linear(input, self.limited(), self.bias)

    def limited(self) -> Float[Tensor, "o i"]:
        """Return the weight that is in force."""
        norm = self._followed() if self.training else spectral_norm(self.weight)
        return self.weight * (self.limit / norm.clamp(min=self.limit))

    def _followed(self) -> Float[Tensor, ""]:
        """Take one power step and return ||W v||, through which the gradient flows while v is held fixed."""
        with torch.no_grad():
            image = self.weight @ self.direction
            back = self.weight.T @ (image / image.norm().clamp(min=_TINY))
            # Out of place: where a loss calls the net twice, the first call still needs its own v.
            self.direction = back / back.norm().clamp(min=_TINY)
        return (self.weight @ self.direction).norm()


def spectral_norm(matrix: Float[Tensor, "o i"]) -> Float[Tensor, ""]:
    """Return the largest singular value, worked out in double precision."""
    return torch.linalg.matrix_norm(matrix.double(), 2).to(matrix.dtype)
