"""A batch of cart-poles that must be swung up and balanced in the middle of the rail."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from steadyhand.core.specs import STATE
from steadyhand.envs.cartpole.config import CartPoleConfig
from steadyhand.envs.cartpole.render import render_cartpole
from steadyhand.envs.mechanics import Described, Mechanism, chord, wrapped

NEAR_END = 0.75
"""Share of the rail beyond which costs keep a cart from its end."""

SAID = Described(
    env_id="cart-pole",
    states=("x", "theta", "x_dot", "theta_dot"),
    angles=(1,),
    observed=(
        ("x", "m"),
        ("sin_theta", "1"),
        ("cos_theta", "1"),
        ("x_dot", "m/s"),
        ("theta_dot", "rad/s"),
    ),
    inputs=(("force", "N"),),
    task="Swing the pole up and balance it in the middle of the rail.",
    success="pole within 0.2 rad of upright and cart within 0.5 m of the middle for the last steps",
    tolerance=0.2,
)


class CartPole(Mechanism[CartPoleConfig]):
    """N cart-poles; see `CartPoleConfig` for what can be chosen.

    The state is (x, theta, x', theta'): the cart's place, and the pole's angle from upright, clockwise. A
    policy sees sine and cosine of the angle instead of the angle itself.

    Args:
        config: What was chosen.
        num_rows: Number of copies.
    """

    def __init__(self, config: CartPoleConfig | None = None, *, num_rows: int) -> None:
        super().__init__(config or CartPoleConfig(), SAID, num_rows=num_rows)

    def bounds(self) -> tuple[Float64[np.ndarray, " U"], Float64[np.ndarray, " U"]]:
        """Return the forces that there are."""
        most = np.array([self.config.max_force])
        return -most, most

    def parameters(self) -> Mapping[str, Any]:
        """Return masses, length and gravity."""
        config = self.config
        return {
            "cart_mass": config.cart_mass,
            "pole_mass": config.pole_mass,
            "half_length": config.half_length,
            "gravity": config.gravity,
        }

    def derivative(self, x: Any, u: Any, params: Mapping[str, Any], xp: Any) -> Any:
        """Return rates and accelerations; Barto, Sutton and Anderson (1983), without friction."""
        m, half = params["pole_mass"], params["half_length"]
        total = params["cart_mass"] + m
        sine, cosine, rate = xp.sin(x[..., 1]), xp.cos(x[..., 1]), x[..., 3]
        pushed = (u[..., 0] + m * half * rate * rate * sine) / total
        turning = (params["gravity"] * sine - cosine * pushed) / (
            half * (4.0 / 3.0 - m * cosine * cosine / total)
        )
        return xp.stack([x[..., 2], rate, pushed - m * half * turning * cosine / total, turning], -1)

    def running(self, x: Any, u: Any, xp: Any) -> Any:
        """Return the residuals of a step."""
        away = xp.abs(x[..., 0]) - NEAR_END * self.config.rail
        off = [0.3 * x[..., 0], chord(x[..., 1], xp), 20.0 * 0.5 * (away + xp.abs(away))]
        return xp.stack([*off, 0.05 * x[..., 2], 0.1 * x[..., 3], 0.05 * u[..., 0]], -1)

    def terminal(self, x: Any, xp: Any) -> Any:
        """Return the residuals of a last state."""
        off = [5.0 * x[..., 0], 30.0 * chord(x[..., 1], xp)]
        return xp.stack([*off, 3.0 * x[..., 2], 5.0 * x[..., 3]], -1)

    def goal(self) -> tuple[Float64[np.ndarray, " S"], Float64[np.ndarray, " U"]]:
        """Return upright rest in the middle."""
        return np.zeros(4), np.zeros(1)

    def drawn(self, random: np.random.Generator) -> Sequence[float]:
        """Return a cart within half a metre of the middle, at up to half a metre a second, and any angle."""
        most = self.config.start_scale * np.array([0.5, np.pi, 0.5, 1.0])
        return (most * random.uniform(-1.0, 1.0, 4)).tolist()

    def seen(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, "B O"]:
        """Return the state with sine and cosine for the angle."""
        return np.stack([x[:, 0], np.sin(x[:, 1]), np.cos(x[:, 1]), x[:, 2], x[:, 3]], axis=1)

    def x_of(self, observation: Mapping[str, np.ndarray]) -> Float64[np.ndarray, "B S"]:
        """Return the state, its angle in [-pi, pi]."""
        place, sine, cosine, speed, rate = observation[STATE].astype(np.float64).T
        return np.stack([place, np.arctan2(sine, cosine), speed, rate], axis=1)

    def distance(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, " B"]:
        """Return the pole's angle from upright [rad], or 0.4 of the cart's way to the middle [m] if more."""
        return np.maximum(np.abs(wrapped(x[:, 1], np)), 0.4 * np.abs(x[:, 0]))

    def is_lost(self, x: Float64[np.ndarray, "B S"]) -> Bool[np.ndarray, " B"]:
        """Return whether carts are off the rail."""
        return np.abs(x[:, 0]) > self.config.rail

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return where the pole's tip is, right of the middle and above the rail [m]."""
        self._check_rows(rows)
        return self._tip(self._x[rows]).astype(np.float32)

    def _tip(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, "B 2"]:
        length = 2.0 * self.config.half_length
        return np.stack([x[:, 0] + length * np.sin(x[:, 1]), length * np.cos(x[:, 1])], axis=1)

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the cart from the front, with the force."""
        past = self._trails.of(row)
        share = float(self._u[row, 0] / self.config.max_force)
        return render_cartpole(
            self.config, past[:, 0], self._tip(past), force=share, width=width, height=height
        )
