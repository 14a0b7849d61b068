"""The expert of linear systems: the linear-quadratic regulator."""

import numpy as np
from jaxtyping import Float64, Shaped

from steadyhand.core.errors import SpecError
from steadyhand.core.protocol import Observation
from steadyhand.core.specs import STATE
from steadyhand.envs.linear.config import LinearConfig
from steadyhand.experts.base import Expert


def lqr_gain(
    a: Float64[np.ndarray, "S S"],
    b: Float64[np.ndarray, "S U"],
    *,
    state_cost: Float64[np.ndarray, "S S"],
    input_cost: Float64[np.ndarray, "U U"],
    tolerance: float = 1e-13,
    max_iterations: int = 100_000,
) -> Float64[np.ndarray, "U S"]:
    """Return K of the best feedback u = K x for the cost sum x'Qx + u'Ru without a horizon.

    Iterates Riccati's equation, P <- Q + A'P(A + BK) with K = -(R + B'PB)^-1 B'PA, from P = Q until P rests.

    Args:
        a: (S, S) A.
        b: (S, U) B.
        state_cost: (S, S) Q, not negative.
        input_cost: (U, U) R, positive.
        tolerance: Largest change of P that counts as rest, relative to P's largest entry.
        max_iterations: Iterations after which it gives up.

    Raises:
        SpecError: P does not come to rest: no feedback stabilises the system.
    """
    cost = state_cost
    for _ in range(max_iterations):
        gain = -np.linalg.solve(input_cost + b.T @ cost @ b, b.T @ cost @ a)
        new = state_cost + a.T @ cost @ (a + b @ gain)
        new = (new + new.T) / 2.0
        change, size = np.abs(new - cost).max(), np.abs(new).max()
        cost = new
        if change <= tolerance * size:
            return gain
        if not size < 1e150:
            break
    raise SpecError(
        "Riccati's iteration did not come to rest.",
        got=f"spectral radius of A: {spectral_radius(a):.4g}",
        hint="the input must reach every direction in which the system is unstable",
    )


def spectral_radius(matrix: Float64[np.ndarray, "S S"]) -> float:
    """Return the size of the largest eigenvalue: the factor by which x' = M x grows a step in the end."""
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def slow_direction(closed_loop: Float64[np.ndarray, "S S"]) -> Float64[np.ndarray, " S"]:
    """Return the unit eigenvector of the largest eigenvalue: the line on which the states come home last.

    Raises:
        SpecError: That eigenvalue is complex; there is no such line.
    """
    eigenvalues, vectors = np.linalg.eig(closed_loop)
    largest = int(np.abs(eigenvalues).argmax())
    if abs(eigenvalues[largest].imag) > 0.0:
        raise SpecError("The slowest motion turns: no line is kept.", got=eigenvalues[largest])
    vector = np.real(vectors[:, largest])
    return vector / np.linalg.norm(vector) * np.sign(vector[np.abs(vector).argmax()])


class LinearFeedback(Expert):
    """Plays u = K x.

    Args:
        gain: (U, S) K.
    """

    sees_privileged = False

    def __init__(self, gain: Float64[np.ndarray, "U S"]) -> None:
        super().__init__()
        self.gain = gain

    def action(self, observation: Observation, privileged: Observation) -> Shaped[np.ndarray, "B U"]:
        """Return (B, U) float32 actions."""
        del privileged
        state = observation[STATE].astype(np.float64)
        # Entry by entry, so that a row does not depend on how many there are.
        return (state[:, None, :] * self.gain).sum(axis=-1).astype(np.float32)


def regulator(config: LinearConfig) -> LinearFeedback:
    """Return the linear-quadratic regulator of the env linear."""
    gain = lqr_gain(config.a, config.b, state_cost=config.state_cost, input_cost=config.input_cost)
    return LinearFeedback(gain)
