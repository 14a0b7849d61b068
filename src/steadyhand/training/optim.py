"""The optimiser, its schedule and the average of the weights."""

import math
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from steadyhand.training.config import EmaConfig, TrainConfig


def adamw(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW, one fused kernel a step, over the parameters that are not frozen."""
    return torch.optim.AdamW(
        [parameter for parameter in module.parameters() if parameter.requires_grad],
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of gradient step `step`, counted from 0."""
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    match config.schedule:
        case "constant":
            return config.learning_rate * warmup
        case "cosine":
            rest = max(1, config.num_steps - config.warmup_steps)
            progress = min(1.0, max(0, step - config.warmup_steps) / rest)
            return config.learning_rate * warmup * 0.5 * (1.0 + math.cos(math.pi * progress))
        case _:
            assert_never(config.schedule)


class Ema:
    """A moving average of a module's parameters, updated by multi-tensor operations.

    Args:
        module: Its parameters are averaged; its buffers are not.
        config: How the decay grows.
    """

    def __init__(self, module: nn.Module, config: EmaConfig) -> None:
        self._config = config
        self._named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._parameters = list(self._named.values())
        self._average = [parameter.detach().clone() for parameter in self._parameters]

    def update(self, step: int) -> None:
        """Take in the parameters after gradient step `step`, counted from 0."""
        average = get_ema_multi_avg_fn(self._config.decay(step))
        average(self._average, [p.detach() for p in self._parameters], None)

    def swap(self) -> None:
        """Exchange average and parameters in place, without copying."""
        for index, parameter in enumerate(self._parameters):
            parameter.data, self._average[index] = self._average[index], parameter.data

    def state(self) -> dict[str, Tensor]:
        """Return the average by parameter name."""
        return dict(zip(self._named, self._average, strict=True))
