"""Controllers of joints for the arm: computed torque, which inverts a model, and PD, which needs none.

Spong, Hutchinson and Vidyasagar, "Robot Modeling and Control", chapters 6 and 8. With e = q - q* computed
torque plays M (-k e - d q') + C q' - tau_g, so that the arm of its model moves as e'' = -k e - d e'. PD plays
-k e - d q', and may hold a share of gravity. What they leave at rest: PD without gravity k e = tau_g(q), and
computed torque with masses that are wrong M k e = tau_g(q) - the model's tau_g(q).
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64

from steadyhand.core.protocol import Observation
from steadyhand.envs.mechanics import wrapped
from steadyhand.envs.two_link.config import ArmConfig
from steadyhand.envs.two_link.dynamics import LinkParameters, gravity_torque, inverse_dynamics
from steadyhand.envs.two_link.env import TwoLink
from steadyhand.experts.base import Expert

Torque = Callable[[Float64[np.ndarray, "B 4"], Float64[np.ndarray, "B 2"]], Float64[np.ndarray, "B 2"]]
"""(x, e) -> torques at both joints [N m]."""


class JointControl(Expert):
    """Brings the arm to a posture and holds it there, from what a policy sees.

    Args:
        config: The arms.
        target: Angles to go to [rad]; those of the env's goal if empty.
        torque: What to play at a state x that is e from the target.
    """

    sees_privileged = False

    def __init__(self, config: ArmConfig, *, target: tuple[float, float] | None, torque: Torque) -> None:
        super().__init__()
        self._env = TwoLink(config, num_rows=1)
        self._target = np.array(self._env.goal()[0][:2] if target is None else target)
        self._torque = torque

    def action(self, observation: Observation, privileged: Observation) -> Float32[np.ndarray, "B 2"]:
        """Return the torques of each row, within what the motors have; see `Expert.action`."""
        del privileged
        x = self._env.x_of(observation)
        low, high = self._env.bounds()
        torque = self._torque(x, wrapped(x[:, :2] - self._target, np))
        return np.clip(torque, low, high).astype(np.float32)


def computed_torque(links: LinkParameters, *, stiffness: float, damping: float) -> Torque:
    """Return computed torque by a model.

    Args:
        links: The model.
        stiffness: k, acceleration for each radian off [1/s^2].
        damping: d, acceleration for each radian a second [1/s].
    """

    def torque(x: Float64[np.ndarray, "B 4"], off: Float64[np.ndarray, "B 2"]) -> Float64[np.ndarray, "B 2"]:
        return inverse_dynamics(x, -stiffness * off - damping * x[:, 2:], links, np)

    return torque


def pd(
    links: LinkParameters, *, stiffness: tuple[float, float], damping: tuple[float, float], held: float
) -> Torque:
    """Return proportional and derivative control of each joint by itself.

    Args:
        links: The model whose gravity is held.
        stiffness: k, torque for each radian off [N m].
        damping: d, torque for each radian a second [N m s].
        held: Share of gravity's torque that is held.
    """
    k, d = np.array(stiffness), np.array(damping)

    def torque(x: Float64[np.ndarray, "B 4"], off: Float64[np.ndarray, "B 2"]) -> Float64[np.ndarray, "B 2"]:
        return -k * off - d * x[:, 2:] - held * gravity_torque(x[:, :2], links, np)

    return torque
