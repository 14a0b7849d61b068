"""Pure pursuit: steer along the arc that meets the path one look-ahead distance away."""

import numpy as np
from jaxtyping import Float32

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.protocol import Observation
from steadyhand.envs.car import CarConfig
from steadyhand.experts.base import Expert


class PurePursuit(Expert):
    """Follows the centre line of the car env from privileged features alone.

    Coulter, "Implementation of the Pure Pursuit Path Tracking Algorithm", CMU-RI-TR-92-01: the arc through
    the goal point (x, y) in the car's frame has curvature 2 y / (x^2 + y^2). The goal point is the first one
    on the path at the look-ahead distance, found by linear interpolation.

    Args:
        config: The car that is driven; it tells wheelbase, steering limit and what an action is.
        lookahead: Look-ahead distance at rest [m].
        lookahead_time: How much the distance grows with speed [s].
    """

    def __init__(
        self, config: CarConfig | None = None, *, lookahead: float = 0.6, lookahead_time: float = 0.0
    ) -> None:
        if not (lookahead > 0 and lookahead_time >= 0):
            raise SpecError(
                "The look-ahead must be positive.",
                got=(lookahead, lookahead_time),
                expected="> 0 [m], >= 0 [s]",
            )
        super().__init__()
        self.config = config or CarConfig()
        self.lookahead = lookahead
        self.lookahead_time = lookahead_time

    def action(self, observation: Observation, privileged: Observation) -> Float32[np.ndarray, "B A"]:
        """Steer every row; see `Expert.action`.

        Raises:
            CapabilityError: The env shows no path to experts.
        """
        del observation
        if "privileged.path" not in privileged or "privileged.speed" not in privileged:
            raise CapabilityError(
                "Pure pursuit needs the path ahead and the speed.",
                got=sorted(privileged),
                expected="privileged.path and privileged.speed",
                hint="use it with the env 'car'",
            )
        return self._action(privileged["privileged.path"], privileged["privileged.speed"][:, 0])

    def _action(
        self, path: Float32[np.ndarray, "B P 2"], speed: Float32[np.ndarray, " B"]
    ) -> Float32[np.ndarray, "B A"]:
        body = self.config.params
        goal = goal_point(path, (self.lookahead + self.lookahead_time * speed).astype(np.float32))
        curvature = 2.0 * goal[:, 1] / np.maximum((goal * goal).sum(axis=1), 1e-6)
        steering = np.clip(np.arctan(body.wheelbase * curvature) / body.max_steering, -1.0, 1.0)
        columns = [steering]
        if self.config.action == "steering_speed":
            columns.append(np.full_like(steering, 2.0 * self.config.speed / body.max_speed - 1.0))
        return np.stack(columns, axis=1).astype(np.float32)


def goal_point(
    path: Float32[np.ndarray, "B P 2"], lookahead: Float32[np.ndarray, " B"]
) -> Float32[np.ndarray, "B 2"]:
    """Return where the path first comes to lie `lookahead` away from the origin.

    Args:
        path: (B, P, 2) points ahead in the car's frame [m].
        lookahead: (B,) distance [m].

    Returns:
        (B, 2) the goal [m]; the nearer end of the path where it does not reach that distance.
    """
    distance = np.hypot(path[..., 0], path[..., 1])
    beyond = distance >= lookahead[:, None]
    after = np.where(beyond.any(axis=1), beyond.argmax(axis=1), path.shape[1] - 1)
    before = np.maximum(after - 1, 0)
    row = np.arange(len(path))
    low, high = distance[row, before], distance[row, after]
    share = (lookahead - low) / np.maximum(high - low, 1e-6)
    t = np.clip(share, 0.0, 1.0)[:, None]
    return (1.0 - t) * path[row, before] + t * path[row, after]
