"""A batch of quadrotors in space that hover, circle, or fly through a gate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped, UInt8

from steadyhand.core.specs import STATE
from steadyhand.envs.mechanics import Described, Mechanism
from steadyhand.envs.quadrotor.config import QuadrotorConfig
from steadyhand.envs.quadrotor.dynamics import derivative, from_euler, quaternion_of, rotation
from steadyhand.envs.quadrotor.render import render_quadrotor

BEYOND = 1.5
"""How far behind the gate its flight ends [m]."""

NEAR_GATE = 0.5
"""Distance from the gate's plane within which being off its axis costs [m]."""

SEEN = (
    *((f"{axis}", "m") for axis in "xyz"),
    *((f"r{row}{column}", "1") for column in (1, 2) for row in (1, 2, 3)),
    *((f"{axis}_dot", "m/s") for axis in "xyz"),
    *((f"rate_{axis}", "rad/s") for axis in "xyz"),
)
STATES = (
    *("x", "y", "z", "qw", "qx", "qy", "qz"),
    *("x_dot", "y_dot", "z_dot", "rate_x", "rate_y", "rate_z"),
)
TASKS = {
    "hover": ("Fly to the point and hover there.", "within 0.15 m of the point for the last steps"),
    "circle": ("Keep to the point that goes round.", "within 0.15 m of the moving point for the last steps"),
    "gate": (
        "Fly through the gate and hover behind it.",
        "through it, and within 0.15 m for the last steps",
    ),
}


class Quadrotor(Mechanism[QuadrotorConfig]):
    """N quadrotors; see `QuadrotorConfig` for what can be chosen.

    The state is (place, quaternion, velocity, body rates), and for the circle the angle of the point that
    goes round. A policy sees place, the first two columns of the rotation from the body to the world,
    velocity and body rates, and for the circle sine and cosine of that angle. The gate stands in the plane
    x = 0 round the origin, and its flight ends at (1.5, 0, 0) m.

    Args:
        config: What was chosen.
        num_rows: Number of copies.
    """

    def __init__(self, config: QuadrotorConfig | None = None, *, num_rows: int) -> None:
        config = config or QuadrotorConfig()
        task, success = TASKS[config.flight]
        goes_round = config.flight == "circle"
        said = Described(
            env_id="quadrotor" if config.flight == "hover" else f"quadrotor-{config.flight}",
            states=(*STATES, *(("phase",) if goes_round else ())),
            angles=(13,) if goes_round else (),
            observed=(*SEEN, *((("sin_phase", "1"), ("cos_phase", "1")) if goes_round else ())),
            inputs=tuple(
                (f"{rotor}_thrust", "N") for rotor in ("front_left", "rear_left", "rear_right", "front_right")
            ),
            task=task,
            success=f"{success} before the time limit",
            tolerance=0.15,
        )
        super().__init__(config, said, num_rows=num_rows)

    def bounds(self) -> tuple[Float64[np.ndarray, " U"], Float64[np.ndarray, " U"]]:
        """Return the thrusts that each rotor has."""
        config = self.config
        return np.zeros(4), np.full(4, 0.25 * config.thrust_to_weight * config.mass * config.gravity)

    def parameters(self) -> Mapping[str, Any]:
        """Return mass, arms, inertia, gravity and how fast the point goes round."""
        config = self.config
        return {
            "mass": config.mass,
            "arm": config.arm,
            "drag_arm": config.drag_arm,
            "inertia": config.inertia,
            "gravity": config.gravity,
            "turn": 2.0 * np.pi / config.circle_time,
        }

    def derivative(self, x: Any, u: Any, params: Mapping[str, Any], xp: Any) -> Any:
        """Return x'; see `dynamics.derivative`."""
        body = derivative(x, u, params, xp)
        if self.config.flight != "circle":
            return body
        turn = xp.zeros_like(x[..., :1]) + params["turn"]
        return xp.concatenate([body, turn], -1)

    def tidied(self, x: Any, xp: Any) -> Any:
        """Return the state with a quaternion of length one."""
        turned = x[..., 3:7]
        turned = turned / xp.sqrt((turned * turned).sum(-1))[..., None]
        return xp.concatenate([x[..., :3], turned, x[..., 7:]], -1)

    def target(self, x: Any, xp: Any) -> tuple[Any, Any]:
        """Return where to be and how fast to move, (..., 3) each."""
        zero = xp.zeros_like(x[..., 0])
        if self.config.flight == "circle":
            radius, turn, phase = self.config.circle_radius, self.parameters()["turn"], x[..., 13]
            cosine, sine = radius * xp.cos(phase), radius * xp.sin(phase)
            return xp.stack([cosine, sine, zero], -1), xp.stack([-turn * sine, turn * cosine, zero], -1)
        ahead = BEYOND if self.config.flight == "gate" else 0.0
        return xp.stack([zero + ahead, zero, zero], -1), xp.stack([zero, zero, zero], -1)

    def running(self, x: Any, u: Any, xp: Any) -> Any:
        """Return the residuals of a step."""
        felt = [*self._off(x, xp, place=1.0, speed=0.3, tilt=0.5, rate=0.1)]
        rest = 0.25 * self.config.mass * self.config.gravity
        felt += [0.1 * (u[..., n] - rest) for n in range(4)]
        if self.config.flight == "gate":
            near = 10.0 * xp.exp(-((x[..., 0] / NEAR_GATE) ** 2))
            felt += [near * x[..., 1], near * x[..., 2]]
        return xp.stack(felt, -1)

    def terminal(self, x: Any, xp: Any) -> Any:
        """Return the residuals of a last state."""
        return xp.stack(self._off(x, xp, place=8.0, speed=3.0, tilt=4.0, rate=1.0), -1)

    def _off(self, x: Any, xp: Any, *, place: float, speed: float, tilt: float, rate: float) -> list[Any]:
        where, moving = self.target(x, xp)
        turned = rotation(x[..., 3:7], xp)
        off = [place * (x[..., n] - where[..., n]) for n in range(3)]
        off += [speed * (x[..., 7 + n] - moving[..., n]) for n in range(3)]
        # The body's z axis and the heading: zero when upright and facing along x.
        off += [tilt * turned[..., 0, 2], tilt * turned[..., 1, 2], tilt * turned[..., 1, 0]]
        return off + [rate * x[..., 10 + n] for n in range(3)]

    def goal(self) -> tuple[Float64[np.ndarray, " S"], Float64[np.ndarray, " U"]]:
        """Return rest at the target, with a quarter of the weight on each rotor."""
        x = np.zeros(len(self.said.states))
        x[3] = 1.0
        x[:3], x[7:10] = self.target(x, np)
        return x, np.full(4, 0.25 * self.config.mass * self.config.gravity)

    def drawn(self, random: np.random.Generator) -> Sequence[float]:
        """Return a place within 1.5 m, or 2 to 3 m before the gate, tilted by up to half a radian, moving."""
        scale = self.config.start_scale
        spread = random.uniform(-1.0, 1.0, 13) * scale
        place = 1.5 * spread[:3]
        if self.config.flight == "gate":
            place = np.array([-2.5 + 0.5 * spread[0], 1.5 * spread[1], spread[2]])
        turned = from_euler(0.5 * spread[3], 0.5 * spread[4], spread[5])
        body = np.concatenate([place, turned, spread[6:9], spread[9:12]])
        return [*body.tolist(), *([float(np.pi * spread[12])] if self.config.flight == "circle" else [])]

    def seen(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, "B O"]:
        """Return place, two columns of the rotation, velocity, rates and, for the circle, its angle."""
        turned = rotation(x[:, 3:7], np)
        parts = [x[:, :3], turned[:, :, 0], turned[:, :, 1], x[:, 7:13]]
        if self.config.flight == "circle":
            parts += [np.sin(x[:, 13:]), np.cos(x[:, 13:])]
        return np.concatenate(parts, axis=1)

    def x_of(self, observation: Mapping[str, np.ndarray]) -> Float64[np.ndarray, "B S"]:
        """Return the state, its quaternion with a first entry that is not negative."""
        seen = observation[STATE].astype(np.float64)
        ahead, left = seen[:, 3:6], seen[:, 6:9]
        turned = quaternion_of(np.stack([ahead, left, np.cross(ahead, left)], axis=-1))
        turned /= np.linalg.norm(turned, axis=1, keepdims=True)
        phase = np.arctan2(seen[:, 15:16], seen[:, 16:17])  # empty where nothing goes round
        return np.concatenate([seen[:, :3], turned, seen[:, 9:15], phase], axis=1)

    def distance(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, " B"]:
        """Return the distance from where to be [m]."""
        where, _ = self.target(x, np)
        return np.linalg.norm(x[:, :3] - where, axis=1)

    def is_lost(self, x: Float64[np.ndarray, "B S"]) -> Bool[np.ndarray, " B"]:
        """Return whether quadrotors have left the room."""
        return np.abs(x[:, :3]).max(axis=1) > self.config.room

    def _advance(
        self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]
    ) -> tuple[Float32[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        before = self._x[rows, :3].copy()
        reward, lost, done = super()._advance(actions, rows)
        if self.config.flight == "gate":
            lost = lost | self._missed(before, self._x[rows, :3])
        return reward, lost, done & ~lost

    def _missed(
        self, before: Float64[np.ndarray, "B 3"], after: Float64[np.ndarray, "B 3"]
    ) -> Bool[np.ndarray, " B"]:
        """Return whether the gate's plane was passed outside of the gate, either way."""
        passed = (before[:, 0] < 0.0) != (after[:, 0] < 0.0)
        share = before[:, 0] / np.where(passed, before[:, 0] - after[:, 0], 1.0)
        where = before[:, 1:] + share[:, None] * (after[:, 1:] - before[:, 1:])
        return passed & (np.linalg.norm(where, axis=1) > self.config.gate_radius)

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return where the quadrotors are, from above [m]."""
        self._check_rows(rows)
        return self._x[rows, :2].astype(np.float32)

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the room from a corner, with the quadrotor, its shadow and where it has been."""
        past = self._trails.of(row)
        where, _ = self.target(past[-1], np)
        shares = self._u[row] / self.bounds()[1]
        return render_quadrotor(self.config, past, where, shares, width=width, height=height)
