"""A trained dynamics model as plain numbers: next state = state + residual(state, action), with derivatives.

Everything is in raw units and double precision, the normalisation and the limits on the layers folded into
the weights: root finding and quoted constants need both. Letters: N rows, S state, A action.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from jaxtyping import Float, Float64

from steadyhand.policies.choices import Activation

ROWS_AT_ONCE = 512
"""Jacobians of so many rows are worked out together: beyond that the memory costs more than it saves."""


@dataclass(frozen=True, kw_only=True)
class EndToEnd:
    """Lipschitz constants of a whole net, products of the exact norms of its layers: no slope exceeds them.

    Attributes:
        normalised: Constant of the net itself, from normalised (state, action) to normalised residual.
        state: Constant of the residual with respect to the state, raw units, Euclidean norms.
        both: Constant of the residual with respect to (state, action), raw units.
        step: Constant of the next state with respect to the state: 1 + `state`.
    """

    normalised: float
    state: float
    both: float
    step: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ResidualMap:
    """f(s, a) in s' = s + f(s, a), as a multilayer perceptron in raw units.

    Attributes:
        weights: One (out, in) matrix a layer; the first reads (state, action).
        biases: One (out,) vector a layer.
        activation: Between layers; both have slopes of at most 1.
        state_scale: (S,) spread of the state in the training data.
        action_scale: (A,) spread of the action.
        residual_scale: (S,) spread of the residual.
    """

    weights: tuple[Float64[np.ndarray, "_ _"], ...]
    biases: tuple[Float64[np.ndarray, "_"], ...]
    activation: Activation
    state_scale: Float64[np.ndarray, " S"]
    action_scale: Float64[np.ndarray, " A"]
    residual_scale: Float64[np.ndarray, " S"]

    def residual(
        self, state: Float[np.ndarray, "N S"], action: Float[np.ndarray, "N A"]
    ) -> Float64[np.ndarray, "N S"]:
        """Return f(s, a) in raw units."""
        hidden = np.concatenate([state, action], axis=1).astype(np.float64)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden, _ = self._activate(hidden @ weight.T + bias)
        return hidden @ self.weights[-1].T + self.biases[-1]

    def step(
        self, state: Float[np.ndarray, "N S"], action: Float[np.ndarray, "N A"]
    ) -> Float64[np.ndarray, "N S"]:
        """Return the next state."""
        return state + self.residual(state, action)

    def jacobian(
        self, state: Float[np.ndarray, "N S"], action: Float[np.ndarray, "N A"]
    ) -> Float64[np.ndarray, "N S S"]:
        """Return df / ds in raw units; at a kink of a ReLU one of its two slopes."""
        return self.both_jacobians(state, action)[..., : len(self.state_scale)]

    def both_jacobians(
        self, state: Float[np.ndarray, "N S"], action: Float[np.ndarray, "N A"]
    ) -> Float64[np.ndarray, "N S SA"]:
        """Return df / d(s, a) in raw units."""
        inputs = np.concatenate([state, action], axis=1).astype(np.float64)
        parts = [
            self._jacobian(inputs[first : first + ROWS_AT_ONCE])
            for first in range(0, max(len(inputs), 1), ROWS_AT_ONCE)
        ]
        return np.concatenate(parts)

    def local_lipschitz(
        self,
        state: Float[np.ndarray, "N S"],
        action: Float[np.ndarray, "N A"],
        *,
        of: Literal["state", "both"] = "state",
        units: Literal["raw", "normalised"] = "raw",
    ) -> Float64[np.ndarray, " N"]:
        """Return L(s, a): the spectral norm of the Jacobian of f.

        Args:
            state: (N, S) raw.
            action: (N, A) raw.
            of: With respect to the state, or to state and action together.
            units: "normalised" measures states and residuals by the state's spread, actions by theirs.
        """
        slopes = self.both_jacobians(state, action)
        if units == "normalised":
            scale = np.concatenate([self.state_scale, self.action_scale])
            slopes = slopes * scale / self.state_scale[:, None]
        if of == "state":
            slopes = slopes[..., : len(self.state_scale)]
        return np.linalg.norm(slopes, 2, axis=(1, 2))

    def end_to_end(self) -> EndToEnd:
        """Return the end-to-end Lipschitz constants."""
        size = len(self.state_scale)
        inputs = np.concatenate([self.state_scale, self.action_scale])
        return EndToEnd(
            normalised=self._product(inputs, self.residual_scale, np.arange(len(inputs))),
            state=(state := self._product(None, None, np.arange(size))),
            both=self._product(None, None, np.arange(len(inputs))),
            step=1.0 + state,
        )

    def _product(self, inputs: np.ndarray | None, outputs: np.ndarray | None, columns: np.ndarray) -> float:
        layers = list(self.weights)
        if inputs is not None:
            layers[0] = layers[0] * inputs
        layers[0] = layers[0][:, columns]
        if outputs is not None:
            layers[-1] = layers[-1] / outputs[:, None]
        return float(np.prod([np.linalg.norm(layer, 2) for layer in layers]))

    def _jacobian(self, inputs: Float64[np.ndarray, "N SA"]) -> Float64[np.ndarray, "N S SA"]:
        hidden, slopes = inputs, None
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden, slope = self._activate(hidden @ weight.T + bias)
            through = (
                np.broadcast_to(weight, (len(inputs), *weight.shape)) if slopes is None else weight @ slopes
            )
            slopes = slope[:, :, None] * through
        last = self.weights[-1]
        return np.broadcast_to(last, (len(inputs), *last.shape)) if slopes is None else last @ slopes

    def _activate(self, x: Float64[np.ndarray, "N h"]) -> tuple[np.ndarray, np.ndarray]:
        match self.activation:
            case "relu":
                return np.maximum(x, 0.0), (x > 0.0).astype(np.float64)
            case "tanh":
                y = np.tanh(x)
                return y, 1.0 - y * y
            case "gelu" | "silu":
                raise AssertionError("DynamicsConfig allows activations with slopes of at most 1")
            case _:
                assert_never(self.activation)
