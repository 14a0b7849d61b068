"""A batch of planar quadrotors that must fly to a point and hover there."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from steadyhand.core.specs import STATE
from steadyhand.envs.mechanics import Described, Mechanism, chord
from steadyhand.envs.quadrotor.config import PlanarQuadrotorConfig
from steadyhand.envs.quadrotor.render import render_planar

SAID = Described(
    env_id="planar-quadrotor",
    states=("x", "z", "theta", "x_dot", "z_dot", "theta_dot"),
    angles=(2,),
    observed=(
        ("x", "m"),
        ("z", "m"),
        ("sin_theta", "1"),
        ("cos_theta", "1"),
        ("x_dot", "m/s"),
        ("z_dot", "m/s"),
        ("theta_dot", "rad/s"),
    ),
    inputs=(("left_thrust", "N"), ("right_thrust", "N")),
    task="Fly to the point and hover there.",
    success="within 0.1 m of the point for the last steps before the time limit",
    tolerance=0.1,
)


class PlanarQuadrotor(Mechanism[PlanarQuadrotorConfig]):
    """N planar quadrotors; see `PlanarQuadrotorConfig` for what can be chosen.

    The state is (x, z, theta, x', z', theta'): place right of and above the goal, tilt counter-clockwise, and
    their rates. A policy sees sine and cosine of the tilt instead of the tilt itself.

    Args:
        config: What was chosen.
        num_rows: Number of copies.
    """

    def __init__(self, config: PlanarQuadrotorConfig | None = None, *, num_rows: int) -> None:
        super().__init__(config or PlanarQuadrotorConfig(), SAID, num_rows=num_rows)

    def bounds(self) -> tuple[Float64[np.ndarray, " U"], Float64[np.ndarray, " U"]]:
        """Return the thrusts that each rotor has."""
        config = self.config
        most = 0.5 * config.thrust_to_weight * config.mass * config.gravity
        return np.zeros(2), np.full(2, most)

    def parameters(self) -> Mapping[str, Any]:
        """Return mass, arm, inertia and gravity."""
        config = self.config
        return {
            "mass": config.mass,
            "arm": config.arm,
            "inertia": config.inertia,
            "gravity": config.gravity,
        }

    def derivative(self, x: Any, u: Any, params: Mapping[str, Any], xp: Any) -> Any:
        """Return rates and accelerations."""
        lift = (u[..., 0] + u[..., 1]) / params["mass"]
        turning = (u[..., 1] - u[..., 0]) * params["arm"] / params["inertia"]
        side, up = -lift * xp.sin(x[..., 2]), lift * xp.cos(x[..., 2]) - params["gravity"]
        return xp.stack([x[..., 3], x[..., 4], x[..., 5], side, up, turning], -1)

    def running(self, x: Any, u: Any, xp: Any) -> Any:
        """Return the residuals of a step."""
        rest = 0.5 * self.config.mass * self.config.gravity
        off = [x[..., 0], x[..., 1], 0.3 * chord(x[..., 2], xp)]
        moving = [0.3 * x[..., 3], 0.3 * x[..., 4], 0.05 * x[..., 5]]
        return xp.stack([*off, *moving, *(0.05 * (u[..., i] - rest) for i in range(2))], -1)

    def terminal(self, x: Any, xp: Any) -> Any:
        """Return the residuals of a last state."""
        off = [10.0 * x[..., 0], 10.0 * x[..., 1], 5.0 * chord(x[..., 2], xp)]
        return xp.stack([*off, 3.0 * x[..., 3], 3.0 * x[..., 4], 0.5 * x[..., 5]], -1)

    def goal(self) -> tuple[Float64[np.ndarray, " S"], Float64[np.ndarray, " U"]]:
        """Return rest at the point, with half the weight on each rotor."""
        return np.zeros(6), np.full(2, 0.5 * self.config.mass * self.config.gravity)

    def drawn(self, random: np.random.Generator) -> Sequence[float]:
        """Return a place within two metres, tilted by up to a radian, moving."""
        most = self.config.start_scale * np.array([2.0, 2.0, 1.0, 1.0, 1.0, 1.0])
        return (most * random.uniform(-1.0, 1.0, 6)).tolist()

    def seen(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, "B O"]:
        """Return the state with sine and cosine for the tilt."""
        tilt = x[:, 2]
        return np.concatenate([x[:, :2], np.sin(tilt)[:, None], np.cos(tilt)[:, None], x[:, 3:]], axis=1)

    def x_of(self, observation: Mapping[str, np.ndarray]) -> Float64[np.ndarray, "B S"]:
        """Return the state, its tilt in [-pi, pi]."""
        seen = observation[STATE].astype(np.float64)
        tilt = np.arctan2(seen[:, 2], seen[:, 3])
        return np.concatenate([seen[:, :2], tilt[:, None], seen[:, 4:]], axis=1)

    def distance(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, " B"]:
        """Return the distance from the point [m]."""
        return np.hypot(x[:, 0], x[:, 1])

    def is_lost(self, x: Float64[np.ndarray, "B S"]) -> Bool[np.ndarray, " B"]:
        """Return whether quadrotors have left the room."""
        return np.abs(x[:, :2]).max(axis=1) > self.config.room

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return where the quadrotors are, right of and above the point [m]."""
        self._check_rows(rows)
        return self._x[rows, :2].astype(np.float32)

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the quadrotor from the front, with the thrusts."""
        _, most = self.bounds()
        shares = self._u[row] / most
        return render_planar(self.config, self._trails.of(row)[:, :3], shares, width=width, height=height)
