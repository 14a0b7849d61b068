"""AdamW as one kernel call a step.

`torch.optim.AdamW(fused=True)` calls the same kernel and gives the same bits, but spends some 70 us a step
around it, a quarter of the step of a small policy, and its first instance imports torch's compiler, which
costs a process a second. Both count where a remedy trains a small network in every round.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_not
from typing import Any

import torch
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError

_STEP = "_fused_adamw_"
"""The kernel that torch.optim calls too; it has no public name."""
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """What the kernel takes in each step in which the same parameters move.

    Attributes:
        parameters: Parameters that move.
        first: Their first moments.
        second: Their second moments.
        steps: Their counts of steps; some are the same tensor.
        counts: The counts that differ.
    """

    parameters: list[nn.Parameter]
    first: list[Tensor]
    second: list[Tensor]
    steps: list[Tensor]
    counts: list[Tensor]


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
        self._plans: dict[int, _Plan] = {}
        self._kernel = getattr(torch, _STEP)

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for index, group in enumerate(self.param_groups):
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not moved:
                continue
            plan = self._plans.get(index)
            if plan is None or len(plan.parameters) != len(moved) or any(map(is_not, plan.parameters, moved)):
                plan = self._plans[index] = self._plan(moved)
            for count in plan.counts:
                count.add_(1.0)
            self._kernel(
                moved,
                [parameter.grad for parameter in moved],
                plan.first,
                plan.second,
                [],
                plan.steps,
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
        self._state, self._plans = {}, {}
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

    def _plan(self, parameters: list[nn.Parameter]) -> "_Plan":
        """Lay out the state of those that move; what they shared with others that rest is shared no more."""
        fresh = torch.zeros((), dtype=torch.float32, device=parameters[0].device)
        state = [self._state.get(parameter) or self._begin(parameter, fresh) for parameter in parameters]
        own = {id(count): count.clone() for count, _, _ in state}
        steps = [own[id(count)] for count, _, _ in state]
        first, second = [one for _, one, _ in state], [two for _, _, two in state]
        self._state.update(zip(parameters, zip(steps, first, second, strict=True), strict=True))
        counts = list(own.values())
        return _Plan(parameters=parameters, first=first, second=second, steps=steps, counts=counts)

    def _begin(self, parameter: nn.Parameter, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Start the moments of a parameter; those that start together share one count of steps."""
        self._state[parameter] = count, torch.zeros_like(parameter), torch.zeros_like(parameter)
        return self._state[parameter]
