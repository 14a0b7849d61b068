"""Swing-up: pump energy until the pendulum passes near its upright balance, then hold it there.

Energy shaping (Astrom and Furuta, Automatica 36, 2000): torque along the motion while the energy is below
that of upright rest, against it while it is above. Near the top a linear-quadratic regulator takes over,
wherever the torque's bound lets it win.
"""

import numpy as np
from jaxtyping import Float32, Float64

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Observation
from steadyhand.core.specs import STATE
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.experts.base import Expert

SLOWEST = 0.02
"""Pump as if it moved at least this fast [rad/s]: at rest it would never begin."""


class SwingUp(Expert):
    """Swings the env pendulum up and balances it, from what a policy sees.

    Near the top, with f the angle from it, f'' = (g / l) sin f + torque / l^2. To first order the fast
    coordinate z = f + f' sqrt(l / g) grows on its own, and can be stopped if and only if
    |z| < max_torque / (g l): that is where the regulator is used, with a margin. It minimises the env's own
    cost.

    Args:
        config: The pendulum.
        gain: Torque for each unit of energy missing and of speed [s/J N m].
        margin: Share of the region that can be held in which the regulator is used.
    """

    def __init__(
        self, config: PendulumConfig | None = None, *, gain: float = 1.0, margin: float = 0.9
    ) -> None:
        super().__init__()
        self.config = config or PendulumConfig()
        self._gain = gain
        self._reach = margin * self.config.max_torque / (self.config.gravity * self.config.length)
        self._fast = np.sqrt(self.config.length / self.config.gravity)
        self._regulator = balance_gain(self.config)

    def action(self, observation: Observation, privileged: Observation) -> Float32[np.ndarray, "B A"]:
        """Return the torque of every row; see `Expert.action`.

        Raises:
            CapabilityError: The observation is not the pendulum's.
        """
        del privileged
        seen = observation.get(STATE)
        if seen is None or seen.shape[1:] != (3,):
            raise CapabilityError(
                "The swing-up expert needs (sin theta, cos theta, theta_dot).",
                got=sorted(observation),
                hint="use it with the env 'pendulum'",
            )
        config = self.config
        sin, cos, rate = (column.astype(np.float64) for column in seen.T)
        from_top = np.arctan2(-sin, -cos)
        inertia = config.length**2
        missing = config.gravity * config.length * (1.0 + cos) - 0.5 * inertia * rate**2
        moving = np.where(rate < 0.0, -1.0, 1.0) * np.maximum(np.abs(rate), SLOWEST)
        pump = self._gain * missing * moving
        hold = -(self._regulator[0] * from_top + self._regulator[1] * rate)
        near = (np.abs(from_top + self._fast * rate) < self._reach) & (np.abs(from_top) < 1.0)
        torque = np.where(near, hold, pump)
        return np.clip(torque, -config.max_torque, config.max_torque)[:, None].astype(np.float32)


def balance_gain(config: PendulumConfig) -> Float64[np.ndarray, " 2"]:
    """Return the gains k of torque = -k (angle from the top, rate), by iterating Riccati's equation.

    The linear system at the top is discretised exactly for a torque that is held; the cost of a step is
    (1/2) (angle^2 + rate^2 + torque^2).
    """
    pull, dt = config.gravity / config.length, config.control_dt
    w = np.sqrt(pull)
    ch, sh = np.cosh(w * dt), np.sinh(w * dt)
    a = np.array([[ch, sh / w], [w * sh, ch]])
    b = np.array([[(ch - 1.0) / pull], [sh / w]]) / config.length**2
    cost = value = 0.5 * np.eye(2)
    gain = np.zeros((1, 2))
    for _ in range(5000):
        gain = np.linalg.solve(0.5 + b.T @ value @ b, b.T @ value @ a)
        value = cost + a.T @ value @ (a - b @ gain)
    return gain[0]
