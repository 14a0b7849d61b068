"""The expert of linear systems: the linear-quadratic regulator."""

import numpy as np
from jaxtyping import Float64, Shaped

from steadyhand.core.errors import SpecError
from steadyhand.core.protocol import Observation
from steadyhand.core.specs import STATE
from steadyhand.envs.linear.config import LinearConfig
from steadyhand.experts.base import Expert
from steadyhand.experts.control.riccati import lqr_gain


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
