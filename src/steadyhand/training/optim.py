"""The optimiser, its schedule and the average of the weights."""

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import assert_never

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from steadyhand.policies.shortcuts import takes_shortcuts
from steadyhand.training.adamw import AdamW
from steadyhand.training.config import EmaConfig, TrainConfig

Optimizer = AdamW | torch.optim.AdamW


def adamw(module: nn.Module, config: TrainConfig) -> Optimizer:
    """Return AdamW over the parameters that are not frozen: torch's own where no shortcuts are taken.

    Parameters with the same settings form one group, whose peak learning rate is its "base_lr"; where no
    setting tells parameters apart there is one group, in the module's order.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(_settings(module, name, config), []).append(parameter)
    described = [
        {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]
    if takes_shortcuts() or not described:
        return AdamW(described, betas=config.betas)
    return torch.optim.AdamW(described, betas=config.betas, fused=True)


def set_learning_rate(optimizer: Optimizer, config: TrainConfig, step: int) -> None:
    """Give every group the learning rate of gradient step `step`, counted from 0."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, step, peak=group["base_lr"])


def learning_rate(config: TrainConfig, step: int, *, peak: float | None = None) -> float:
    """Return the learning rate of gradient step `step`, counted from 0.

    Args:
        config: Schedule.
        step: Gradient step.
        peak: Learning rate between rise and fall; `config.learning_rate` if None.
    """
    peak = config.learning_rate if peak is None else peak
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    end = config.num_steps if config.fall_steps is None else config.fall_steps
    progress = min(1.0, max(0, step - config.warmup_steps) / max(1, end - config.warmup_steps))
    match config.schedule:
        case "constant":
            left = 1.0
        case "cosine":
            left = 0.5 * (1.0 + math.cos(math.pi * progress))
        case "linear":
            left = 1.0 - progress
        case _:
            assert_never(config.schedule)
    return peak * warmup * (config.final_share + (1.0 - config.final_share) * left)


def _settings(module: nn.Module, name: str, config: TrainConfig) -> tuple[float, float]:
    """Return (learning rate, weight decay) of a parameter."""
    rate, decay = config.learning_rate, config.weight_decay
    if name.split(".", 1)[0] == "encoder":
        rate = rate if config.encoder_learning_rate is None else config.encoder_learning_rate
        decay = decay if config.encoder_weight_decay is None else config.encoder_weight_decay
    if config.decay_exempt and not _multiplies(module, name):
        decay = 0.0
    return rate, decay


def _multiplies(module: nn.Module, name: str) -> bool:
    """Return whether a parameter is a weight that multiplies its input: of a linear, conv or recurrent layer.

    Everything else (biases, scales of norms, embeddings, position tables, learned queries) is added or
    looked up, and pulling it towards zero would only shift it.
    """
    owner, _, own = name.rpartition(".")
    layer = module.get_submodule(owner)
    parameter = module.get_parameter(name)
    return own.startswith("weight") and parameter.ndim > 1 and not isinstance(layer, nn.Embedding)


class Ema:
    """A moving average of a module's parameters, updated by multi-tensor operations.

    Args:
        module: Module whose parameters are averaged; its buffers are not.
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

    @contextmanager
    def swapped(self) -> Generator[None]:
        """Let the module hold the average while the block runs."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def moving(self) -> dict[str, Tensor]:
        """Return the parameters that are averaged, by name."""
        return {name: parameter.detach() for name, parameter in self._named.items()}

    @torch.no_grad()
    def resume(self, moving: Mapping[str, Tensor]) -> None:
        """Take the module's parameters as the average, and put `moving` in their place."""
        for (name, parameter), average in zip(self._named.items(), self._average, strict=True):
            average.copy_(parameter)
            parameter.copy_(moving[name])
