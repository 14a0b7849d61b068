"""Multilayer perceptrons."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import assert_never

from torch import Tensor, nn

from steadyhand.policies.choices import Activation
from steadyhand.policies.shortcuts import call


def activation_layer(name: Activation) -> Callable[[], nn.Module]:
    """Return the class of an activation by its name."""
    match name:
        case "relu":
            return nn.ReLU
        case "tanh":
            return nn.Tanh
        case "gelu":
            return nn.GELU
        case "silu":
            return nn.SiLU
        case _:
            assert_never(name)


class MLP(nn.Sequential):
    """Layers in a row, as `nn.Sequential`, each called by the shortest way; see `policies.shortcuts`."""

    def forward(self, input: Tensor) -> Tensor:
        """Send (..., D) through all layers."""
        for layer in self._modules.values():
            assert layer is not None
            input = call(layer, input)
        return input


def mlp(sizes: Sequence[int], *, activation: Activation, activate_last: bool = False) -> MLP:
    """Return linear layers between `sizes` (input, hidden..., output) with activations in between.

    Args:
        sizes: At least the input and the output width.
        activation: Non-linearity after each layer but the last.
        activate_last: Apply it after the last layer too, as a trunk does.
    """
    layer = activation_layer(activation)
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(sizes):
        layers += [nn.Linear(width_in, width_out), layer()]
    return MLP(*(layers if activate_last else layers[:-1]))
