"""AdamW as one kernel call a step.

`torch.optim.AdamW(fused=True)` calls the same kernel and gives the same bits, but spends some 70 us a step
around it, a quarter of the step of a small policy, and its first instance imports torch's compiler, which
costs a process a second. Both count where a remedy trains a small network in every round.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError

_STEP = "_fused_adamw_"
"""The kernel that torch.optim calls too; it has no public name."""
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019, algorithm 2).

    Args:
        groups: Each with "params", "lr" and "weight_decay"; further entries are kept.
        betas: Decay of both moments.
        eps: Added to the root of the second moment.

    Attributes:
        param_groups: The groups; "lr" may be changed between steps.
    """

    def __init__(
        self, groups: Sequence[dict[str, Any]], *, betas: tuple[float, float], eps: float = 1e-8
    ) -> None:
        self.param_groups = list(groups)
        self._betas = betas
        self._eps = eps
        self._state: dict[nn.Parameter, tuple[Tensor, Tensor, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            fresh = torch.zeros((), dtype=torch.float32, device=parameters[0].device)
            state = [self._state.get(parameter) or self._begin(parameter, fresh) for parameter in parameters]
            steps, first, second = map(list, zip(*state, strict=True))
            for count in {id(count): count for count in steps}.values():
                count.add_(1.0)
            getattr(torch, _STEP)(
                parameters,
                [parameter.grad for parameter in parameters],
                first,
                second,
                [],
                steps,
                lr=group["lr"],
                beta1=self._betas[0],
                beta2=self._betas[1],
                weight_decay=group["weight_decay"],
                eps=self._eps,
                amsgrad=False,
                maximize=False,
            )

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return {"state": {number of the parameter: its step and moments}, "param_groups": ...}."""
        state: dict[int, dict[str, Tensor]] = {}
        for index, parameter in enumerate(self._parameters()):
            if parameter in self._state:
                count, *moments = self._state[parameter]  # parameters share counts; files may not
                state[index] = dict(zip(_MOMENTS, (count.clone(), *moments), strict=True))
        return {"state": state, "param_groups": self.param_groups}

    def load_state_dict(self, whole: dict[str, Any]) -> None:
        """Take back the steps and moments of `state_dict`; the groups stay as they are.

        Raises:
            ConfigError: A moment has another shape than its parameter.
        """
        parameters = self._parameters()
        self._state = {}
        for index, entry in whole["state"].items():
            count = torch.zeros((), dtype=torch.float32, device=parameters[index].device)
            for target, name in zip(self._begin(parameters[index], count), _MOMENTS, strict=True):
                if target.shape != entry[name].shape:
                    raise ConfigError(
                        "The state of the optimiser does not fit its parameters.",
                        got=tuple(entry[name].shape),
                        expected=tuple(target.shape),
                    )
                target.copy_(entry[name])

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def _begin(self, parameter: nn.Parameter, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Start the moments of a parameter; those that start together share one count of steps."""
        self._state[parameter] = count, torch.zeros_like(parameter), torch.zeros_like(parameter)
        return self._state[parameter]
