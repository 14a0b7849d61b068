"""How actions are written for the network: as they are, or relative to what the robot's state is."""

from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from steadyhand.core.errors import ConfigError, SpecError
from steadyhand.core.specs import FeatureSpec
from steadyhand.policies.choices import Representation


class ActionRepresentation:
    """A linear, invertible rewriting of a chunk, given the state at its first step.

    "relative": every action minus the state at the start of the chunk. "delta": every action minus the one
    before it, the first minus that state. Both map a chunk cut short to the same values cut short.

    Args:
        kind: Which.
        action: Spec of the action.
        state: Spec of the state feature that actions are relative to; None if "absolute".
        state_name: Name of the state feature, for messages.
        state_dims: For each action dimension the state dimension that it commands, -1 for one that stays
            absolute (a gripper). Empty pairs them in order, and then their numbers must agree.

    Raises:
        SpecError: The pairing makes no sense: discrete actions, rotations, other numbers or other units.
    """

    def __init__(
        self,
        kind: Representation,
        *,
        action: FeatureSpec,
        state: FeatureSpec | None,
        state_name: str,
        state_dims: tuple[int, ...] = (),
    ) -> None:
        self.kind: Representation = kind
        if kind == "absolute":
            return
        if state is None:
            raise ConfigError(
                f"{kind} actions need a state to be relative to.",
                got=f"no feature {state_name!r} among those that the policy reads",
                hint="set PolicyConfig.state_feature, or use absolute actions",
            )
        dims = state_dims or tuple(range(state.size))
        _check_pairing(kind, action=action, state=state, state_name=state_name, dims=dims)
        self._columns = torch.tensor([max(dim, 0) for dim in dims])
        self._moves = torch.tensor([float(dim >= 0) for dim in dims])

    def encode(
        self, actions: Float[Tensor, "B H A"], state: Float[Tensor, "B S"] | None
    ) -> Float[Tensor, "B H A"]:
        """Return the chunk as the network sees it, before normalisation."""
        match self.kind:
            case "absolute":
                return actions
            case "relative":
                return actions - self._reference(state)
            case "delta":
                before = torch.cat([self._reference(state), actions[:, :-1] * self._moved(actions)], 1)
                return actions - before
            case _:
                assert_never(self.kind)

    def decode(
        self, encoded: Float[Tensor, "B H A"], state: Float[Tensor, "B S"] | None
    ) -> Float[Tensor, "B H A"]:
        """Return the chunk in raw units."""
        match self.kind:
            case "absolute":
                return encoded
            case "relative":
                return encoded + self._reference(state)
            case "delta":
                moved = self._moved(encoded)
                return encoded.cumsum(1) * moved + encoded * (1.0 - moved) + self._reference(state)
            case _:
                assert_never(self.kind)

    def _moved(self, like: Tensor) -> Tensor:
        return self._moves.to(like.device)

    def _reference(self, state: Tensor | None) -> Tensor:
        if state is None:
            raise SpecError(f"{self.kind} actions need the state.", got="none")
        columns = self._columns.to(state.device)
        return (state.index_select(1, columns) * self._moved(state))[:, None]


def _check_pairing(
    kind: Representation, *, action: FeatureSpec, state: FeatureSpec, state_name: str, dims: tuple[int, ...]
) -> None:
    if action.kind != "continuous" or state.kind != "continuous" or len(state.shape) != 1:
        raise SpecError(
            f"{kind} actions need a continuous action and a continuous state vector.",
            got=f"{action.kind} action, {state.kind} {state_name} of shape {state.shape}",
            hint="use absolute actions",
        )
    if len(dims) != action.size or any(not -1 <= dim < state.size for dim in dims):
        raise SpecError(
            f"{kind} actions need one dimension of {state_name} for each of the action.",
            got=f"state dimensions {list(dims)} for an action of {action.size}",
            expected=f"{action.size} numbers from -1 to {state.size - 1}",
            hint="set PolicyConfig.state_dims; -1 keeps an action dimension absolute",
        )
    if action.units is None or state.units is None:
        return
    for index, dim in enumerate(dims):
        if dim >= 0 and action.units[index] != state.units[dim]:
            raise SpecError(
                f"Action dimension {index} and {state_name}[{dim}] differ in unit.",
                got=f"{action.units[index]!r} against {state.units[dim]!r}",
                hint="set PolicyConfig.state_dims, or use absolute actions",
            )
