"""A batch of points that must pass a disc on one side or the other."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from steadyhand.core.seeding import generator
from steadyhand.envs.base import Family, Start
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.envs.forks.render import render_forks
from steadyhand.envs.forks.route import AMPLITUDE, bump
from steadyhand.envs.points import PointEnv, touches

LEFT, RIGHT = 0, 1

DEAD_BAND = 0.05
"""This close to the line y = 0 the side is open [m]."""

GOLDEN = 0.6180339887498949


class Forks(PointEnv):
    """N points; see `ForksConfig` for what can be chosen.

    The action is the velocity. An episode ends in failure when the point touches the disc, anywhere on its
    way, and in success when it passes the goal's x. The reward is the progress in x [m]. A mode is the side
    on which the point is, by the sign of y, and from the middle of the disc on the side on which it passed.

    Args:
        config: Settings of the env.
        num_rows: Number of points.
    """

    OPTIONS = ("y", "choice")
    INTENT_OPTION = "choice"

    def __init__(self, config: ForksConfig | None = None, *, num_rows: int) -> None:
        self.config = config or ForksConfig()
        super().__init__(self.config.spec(), num_rows=num_rows, num_memory=1)
        self._centre = np.array([[self.config.disc_x, 0.0]], dtype=np.float32)
        self._radius = np.array([self.config.radius], dtype=np.float32)

    def dynamics(self, x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
        """Return x + clip(u) * control_dt, (..., 2); `params` may override "control_dt" and "max_speed"."""
        limit = params.get("max_speed", self.config.max_speed)
        return x + xp.clip(u, -limit, limit) * params.get("control_dt", self.config.control_dt)

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the meadow from above: the tree, the finish, the start, and the path so far."""
        return render_forks(
            self.config, self.path(row), touched=bool(self._touched[row]), width=width, height=height
        )

    def error(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return the distance in y from the nearer of the demonstrator's two middle paths [m]."""
        place = self.position(rows)
        reference = np.float32(AMPLITUDE) * bump(place[:, 0] - np.float32(self.config.fork_x))
        return np.abs(np.abs(place[:, 1]) - reference)

    @property
    def num_modes(self) -> int:
        """Two: left and right."""
        return 2

    def mode(self, rows: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """Return 0 on the left of the disc, 1 on its right, -1 in between; see `BatchEnv.mode`."""
        place = self.position(rows)
        passed = self._memory[rows, 0]
        return np.where(passed >= 0, passed, _side(place[:, 1], DEAD_BAND))

    def _options(self, family: Family, count: int, seed: int) -> Sequence[dict[str, float]]:
        """Return "y", the offset to the left [m], and "choice", which only the demonstrator reads.

        The choice is a number in [0, 1): it goes left where that is below its `left_share`. The numbers are
        spread evenly (steps of the golden ratio from a random first one), so that among few demonstrations,
        too, the shares are those asked for, to about two episodes.
        """
        first = generator(seed, "forks", family, "choice").random()
        std = self.config.start_std
        offsets = [generator(seed, "forks", family, index).standard_normal() * std for index in range(count)]
        return [
            {"y": float(np.clip(offset, -3.0 * std, 3.0 * std)), "choice": (first + index * GOLDEN) % 1.0}
            for index, offset in enumerate(offsets)
        ]

    def _begin(self, start: Start) -> Sequence[float]:
        return 0.0, start.options.get("y", 0.0)

    def _place(self, values: Float32[np.ndarray, "B S"]) -> Float32[np.ndarray, "B 2"]:
        return values

    def _judge(
        self,
        here: Float32[np.ndarray, "B 2"],
        there: Float32[np.ndarray, "B 2"],
        memory: Int64[np.ndarray, "B M"],
    ) -> tuple[
        Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], Int64[np.ndarray, "B M"], Float32[np.ndarray, " B"]
    ]:
        touched = touches(here, there, self._centre, self._radius)[:, 0]
        arrived = there[:, 0] >= np.float32(self.config.goal_x)
        # The side counts where the middle of the disc is passed, and is open again once the point goes back.
        disc_x = np.float32(self.config.disc_x)
        before, after = here[:, 0] < disc_x, there[:, 0] >= disc_x
        progress = there[:, 0] - here[:, 0]
        share = np.where(before & after, (disc_x - here[:, 0]) / np.where(progress > 0, progress, 1.0), 0.0)
        crossing = _side(here[:, 1] + share * (there[:, 1] - here[:, 1]), 0.0)
        passed = np.where(after, np.where(before, crossing, memory[:, 0]), -1)
        return touched, arrived, passed[:, None], progress


def _side(y: Float32[np.ndarray, " B"], dead_band: float) -> Int64[np.ndarray, " B"]:
    side = np.where(y > 0, LEFT, RIGHT)
    return np.where(np.abs(y) > dead_band, side, -1)
