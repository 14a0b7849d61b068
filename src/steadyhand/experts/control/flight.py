"""The geometric tracking controller of a quadrotor, on SE(3): Lee, Leok and McClamroch (CDC 2010).

The thrust follows the body's z axis towards the force that the place asks for, and torques turn the body to
where that axis must point. It flies a gate by aiming at a point that runs ahead on the gate's axis.

Deviation: the wanted attitude is taken as resting (its rate and acceleration as zero).
"""

from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from steadyhand.core.protocol import Observation
from steadyhand.envs.quadrotor.config import QuadrotorConfig
from steadyhand.envs.quadrotor.dynamics import mixer, rotation
from steadyhand.envs.quadrotor.env import BEYOND, Quadrotor
from steadyhand.experts.base import Expert

LEAD = 1.1
"""How far ahead on the gate's axis it aims once it is near the axis [m]."""


class GeometricController(Expert):
    """Flies the env quadrotor, from what a policy sees.

    Args:
        config: The quadrotors.
        place_gain: Acceleration for each metre off [1/s^2].
        speed_gain: Acceleration for each metre a second off [1/s].
        turn_gain: Angular acceleration for each radian off [1/s^2].
        rate_gain: Angular acceleration for each radian a second [1/s].
    """

    sees_privileged = False

    def __init__(
        self,
        config: QuadrotorConfig,
        *,
        place_gain: float = 6.0,
        speed_gain: float = 4.0,
        turn_gain: float = 300.0,
        rate_gain: float = 32.0,
    ) -> None:
        super().__init__()
        self._env = Quadrotor(config, num_rows=1)
        self._place_gain, self._speed_gain = place_gain, speed_gain
        self._turn_gain, self._rate_gain = turn_gain, rate_gain
        self._inertia = np.array(config.inertia)
        self._to_rotors = np.linalg.inv(mixer(config.arm, config.drag_arm))

    def action(self, observation: Observation, privileged: Observation) -> Float32[np.ndarray, "B 4"]:
        """Return the thrusts of each row; see `Expert.action`."""
        del privileged
        config, x = self._env.config, self._env.x_of(observation)
        turned, rates = rotation(x[:, 3:7], np), x[:, 10:13]
        where, moving, turning = self._reference(x)
        wish = turning - self._place_gain * (x[:, :3] - where) - self._speed_gain * (x[:, 7:10] - moving)
        wish[:, 2] += config.gravity
        wish = _within(wish, config.gravity)
        thrust = config.mass * (wish * turned[:, :, 2]).sum(axis=1)
        attitude = _facing(wish)
        off = 0.5 * (_turned(attitude) @ turned - _turned(turned) @ attitude)
        error = np.stack([off[:, 2, 1], off[:, 0, 2], off[:, 1, 0]], axis=1)
        gyroscopic = np.cross(rates, self._inertia * rates)
        torque = self._inertia * (-self._turn_gain * error - self._rate_gain * rates) + gyroscopic
        asked = np.concatenate([thrust[:, None], torque], axis=1)
        low, high = self._env.bounds()
        return np.clip((asked[:, None, :] * self._to_rotors).sum(-1), low, high).astype(np.float32)

    def _reference(self, x: Float64[np.ndarray, "B S"]) -> tuple[Any, Any, Any]:
        """Return where to be, how fast, and the acceleration that this takes."""
        where, moving = self._env.target(x, np)
        turning = np.zeros_like(where)
        if self._env.config.flight == "circle":
            turning = -((2.0 * np.pi / self._env.config.circle_time) ** 2) * where
        if self._env.config.flight == "gate":
            where = self._through(x, where)
        return where, moving, turning

    def _through(self, x: np.ndarray, end: np.ndarray) -> np.ndarray:
        """Return a point ahead on the gate's axis, that waits before the gate while the row is off it."""
        off_axis = np.linalg.norm(x[:, 1:3], axis=1)
        ahead = np.minimum(x[:, 0] + LEAD, BEYOND)
        waits = (x[:, 0] < 0.0) & (off_axis > 0.4 * self._env.config.gate_radius)
        ahead = np.where(waits, np.minimum(ahead, -0.6), ahead)
        return np.stack([ahead, end[:, 1], end[:, 2]], axis=1)


def _turned(matrix: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrix, -1, -2)


def _within(wish: Float64[np.ndarray, "B 3"], gravity: float) -> Float64[np.ndarray, "B 3"]:
    """Return accelerations that point up and lean by 45 degrees at most, so that there is lift left."""
    up = np.maximum(wish[:, 2], 0.3 * gravity)
    side = np.linalg.norm(wish[:, :2], axis=1)
    share = np.minimum(1.0, up / np.maximum(side, 1e-9))
    return np.concatenate([share[:, None] * wish[:, :2], up[:, None]], axis=1)


def _facing(wish: Float64[np.ndarray, "B 3"]) -> Float64[np.ndarray, "B 3 3"]:
    """Return the attitude whose z axis is along `wish` and that faces along x."""
    up = wish / np.linalg.norm(wish, axis=1, keepdims=True)
    left = np.cross(up, np.array([1.0, 0.0, 0.0]))
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    return np.stack([np.cross(left, up), left, up], axis=-1)
