"""A batch of two-link arms or acrobots that must be raised upright."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from steadyhand.core.specs import STATE
from steadyhand.envs.mechanics import Described, Mechanism, chord, wrapped
from steadyhand.envs.two_link.config import TwoLinkConfig
from steadyhand.envs.two_link.dynamics import LinkParameters, acceleration
from steadyhand.envs.two_link.render import render_links

SEEN = (
    ("sin_q1", "1"),
    ("cos_q1", "1"),
    ("sin_q2", "1"),
    ("cos_q2", "1"),
    ("q1_dot", "rad/s"),
    ("q2_dot", "rad/s"),
)
DONE = "both links within 0.2 rad of upright for the last steps before the time limit"


class TwoLink(Mechanism[TwoLinkConfig]):
    """N pairs of links; see `ArmConfig` and `AcrobotConfig` for what can be chosen.

    The state is (q_1, q_2, q_1', q_2'): the upper link's angle from hanging, the lower one's from the upper
    one, and their rates. A policy sees sines and cosines of the angles, and the rates.

    Args:
        config: What was chosen.
        num_rows: Number of copies.
    """

    def __init__(self, config: TwoLinkConfig, *, num_rows: int) -> None:
        motors = ("shoulder", "elbow") if config.has_shoulder else ("elbow",)
        said = Described(
            env_id="arm" if config.has_shoulder else "acrobot",
            states=("q1", "q2", "q1_dot", "q2_dot"),
            angles=(0, 1),
            observed=SEEN,
            inputs=tuple((motor, "N m") for motor in motors),
            task="Raise both links upright and hold them there.",
            success=DONE,
            tolerance=0.2,
        )
        super().__init__(config, said, num_rows=num_rows)

    def bounds(self) -> tuple[Float64[np.ndarray, " U"], Float64[np.ndarray, " U"]]:
        """Return the torques that each motor has."""
        most = np.full(1 + self.config.has_shoulder, self.config.max_torque)
        return -most, most

    def parameters(self) -> Mapping[str, Any]:
        """Return masses, lengths and gravity."""
        config = self.config
        return {"masses": config.masses, "lengths": config.lengths, "gravity": config.gravity}

    def derivative(self, x: Any, u: Any, params: Mapping[str, Any], xp: Any) -> Any:
        """Return rates and accelerations."""
        torque = u if self.config.has_shoulder else xp.stack([0.0 * u[..., 0], u[..., 0]], -1)
        turning = acceleration(x, torque, LinkParameters.of(params), xp)
        return xp.concatenate([x[..., 2:], turning], -1)

    def running(self, x: Any, u: Any, xp: Any) -> Any:
        """Return the residuals of a step."""
        off = [0.3 * chord(x[..., 0] - np.pi, xp), 0.3 * chord(x[..., 1], xp)]
        moving = [0.05 * x[..., 2], 0.05 * x[..., 3]]
        return xp.stack([*off, *moving, *(0.02 * u[..., i] for i in range(u.shape[-1]))], -1)

    def terminal(self, x: Any, xp: Any) -> Any:
        """Return the residuals of a last state."""
        off = [20.0 * chord(x[..., 0] - np.pi, xp), 20.0 * chord(x[..., 1], xp)]
        return xp.stack([*off, 4.0 * x[..., 2], 4.0 * x[..., 3]], -1)

    def goal(self) -> tuple[Float64[np.ndarray, " S"], Float64[np.ndarray, " U"]]:
        """Return upright rest, which takes no torque."""
        return np.array([np.pi, 0.0, 0.0, 0.0]), np.zeros(1 + self.config.has_shoulder)

    def drawn(self, random: np.random.Generator) -> Sequence[float]:
        """Return any posture of the arm; one near hanging of the acrobot."""
        angle, rate = (np.pi, 1.0) if self.config.has_shoulder else (0.5, 0.5)
        return (
            self.config.start_scale * np.array([angle, angle, rate, rate]) * random.uniform(-1, 1, 4)
        ).tolist()

    def seen(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, "B O"]:
        """Return sines, cosines and rates."""
        q1, q2, rate_1, rate_2 = x.T
        return np.stack([np.sin(q1), np.cos(q1), np.sin(q2), np.cos(q2), rate_1, rate_2], axis=1)

    def x_of(self, observation: Mapping[str, np.ndarray]) -> Float64[np.ndarray, "B S"]:
        """Return angles in [-pi, pi], and rates."""
        sin_1, cos_1, sin_2, cos_2, rate_1, rate_2 = observation[STATE].astype(np.float64).T
        return np.stack([np.arctan2(sin_1, cos_1), np.arctan2(sin_2, cos_2), rate_1, rate_2], axis=1)

    def distance(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, " B"]:
        """Return the larger angle of the two links from upright [rad]."""
        upper = np.abs(wrapped(x[:, 0] - np.pi, np))
        return np.maximum(upper, np.abs(wrapped(x[:, 0] + x[:, 1] - np.pi, np)))

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return where the tip is, right of and above the hinge [m]."""
        self._check_rows(rows)
        return self.joints(self._x[rows])[:, 2].astype(np.float32)

    def joints(self, x: Float64[np.ndarray, "... S"]) -> Float64[np.ndarray, "... 3 2"]:
        """Return where hinge, elbow and tip are, right of and above the hinge [m]."""
        first, second = x[..., 0], x[..., 0] + x[..., 1]
        elbow = self.config.lengths[0] * np.stack([np.sin(first), -np.cos(first)], -1)
        tip = elbow + self.config.lengths[1] * np.stack([np.sin(second), -np.cos(second)], -1)
        return np.stack([np.zeros_like(elbow), elbow, tip], -2)

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the links from the front, with the torques."""
        torque = self._u[row] / self.config.max_torque
        shares = torque if self.config.has_shoulder else np.concatenate([[0.0], torque])
        return render_links(self.joints(self._trails.of(row)), torques=shares, width=width, height=height)
