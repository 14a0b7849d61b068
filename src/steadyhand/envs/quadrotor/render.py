"""Pictures of quadrotors: the plane from the front, the room in perspective from a corner."""

from functools import lru_cache

import numpy as np
from jaxtyping import Float64, UInt8

from steadyhand.envs.quadrotor.config import PlanarQuadrotorConfig, QuadrotorConfig
from steadyhand.envs.quadrotor.dynamics import rotation
from steadyhand.envs.scene import PAPER, SHADOW, Canvas, PlaneMap, colour, mottled

SKY = colour(62, 84, 110)
GRID = colour(88, 112, 140)
GOAL = colour(126, 206, 138)
GATE = colour(250, 176, 74)
BODY = colour(226, 232, 240)
FRONT = colour(240, 104, 74)
TRAIL = colour(255, 224, 160)
THRUST = colour(120, 196, 255)

EYE = np.array([-4.6, -6.0, 3.4])
"""Where the room is seen from [m]."""


@lru_cache(maxsize=8)
def _plane(config: PlanarQuadrotorConfig, width: int, height: int) -> Canvas:
    """Return all that does not move in the plane."""
    edge = min(config.room, 3.0)
    plan = PlaneMap(low=(-edge, -edge), high=(edge, edge), width=width, height=height)
    canvas = mottled(plan, SKY, depth=3.0, patch=max(8, round(plan.length(1.0))))
    canvas.ring(0.0, 0.0, 0.1, width=0.03, paint=GOAL)
    canvas.disc(0.0, 0.0, 0.03, paint=GOAL)
    return canvas.kept()


def render_planar(
    config: PlanarQuadrotorConfig,
    poses: Float64[np.ndarray, "P 3"],
    thrusts: Float64[np.ndarray, " 2"],
    *,
    width: int,
    height: int,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the plane from the front.

    Args:
        config: The quadrotor.
        poses: Where it has been, oldest first: right of and above the goal [m], tilt [rad].
        thrusts: Thrusts of left and right rotor, as shares of the greatest.
        width: In pixels.
        height: In pixels.
    """
    canvas = _plane(config, width, height).copy()
    if len(poses) > 1:
        canvas.line(poses[:, :2], width=0.03, paint=TRAIL, alpha=(0.0, 0.8))
    place, tilt = poses[-1, :2], float(poses[-1, 2])
    along, up = np.array([np.cos(tilt), np.sin(tilt)]), np.array([-np.sin(tilt), np.cos(tilt)])
    ends = place + config.arm * np.array([-along, along])
    canvas.line(ends, width=0.06, paint=BODY)
    for end, thrust in zip(ends, thrusts, strict=True):
        hub = end + 0.08 * up
        canvas.line(np.stack([hub, hub + 0.6 * float(thrust) * up]), width=0.04, paint=THRUST)
        canvas.line(hub + 0.13 * np.array([-along, along]), width=0.03, paint=PAPER)
    canvas.disc(float(place[0]), float(place[1]), 0.06, paint=FRONT)
    return canvas.image()


class Perspective:
    """A pinhole camera at `EYE` that looks at the middle of the room.

    Args:
        width: In pixels.
        height: In pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        ahead = -EYE / np.linalg.norm(EYE)
        right = np.cross(ahead, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        self._axes = np.stack([right, np.cross(right, ahead), ahead])
        self.plan = PlaneMap(low=(-0.5, -0.42), high=(0.5, 0.42), width=width, height=height)

    def __call__(self, points: Float64[np.ndarray, "P 3"]) -> Float64[np.ndarray, "P 2"]:
        """Return where points of the room lie on a screen at distance one."""
        side, up, depth = self._axes @ (points - EYE).T
        return np.stack([side, up], axis=1) / np.maximum(depth, 0.2)[:, None]

    def nearness(self, point: Float64[np.ndarray, " 3"]) -> float:
        """Return how large a metre at a point is on the screen."""
        return 1.0 / max(0.2, float(self._axes[2] @ (point - EYE)))


@lru_cache(maxsize=8)
def _room(config: QuadrotorConfig, width: int, height: int) -> Canvas:
    """Return all that does not move in the room."""
    view = Perspective(width, height)
    canvas = mottled(view.plan, SKY, depth=2.5, patch=max(8, round(view.plan.length(0.1))))
    for place in np.linspace(-3.0, 3.0, 7):
        for ends in (((place, -3.0), (place, 3.0)), ((-3.0, place), (3.0, place))):
            floor = np.array([(x, y, -1.5) for x, y in ends])
            canvas.line(view(floor), width=0.0015, paint=GRID, at_least=1.0)
    angle = np.linspace(0.0, 2.0 * np.pi, 61)
    if config.flight == "gate":
        rim = config.gate_radius * np.stack([0.0 * angle, np.cos(angle), np.sin(angle)], axis=1)
        canvas.line(view(rim), width=0.009, paint=GATE)
        post = np.array([(0.0, 0.0, -config.gate_radius), (0.0, 0.0, -1.5)])
        canvas.line(view(post), width=0.006, paint=GATE)
    if config.flight == "circle":
        path = config.circle_radius * np.stack([np.cos(angle), np.sin(angle), 0.0 * angle], axis=1)
        canvas.line(view(path), width=0.003, paint=GOAL, alpha=(0.6, 0.6))
    return canvas.kept()


def render_quadrotor(
    config: QuadrotorConfig,
    past: Float64[np.ndarray, "P S"],
    target: Float64[np.ndarray, " 3"],
    thrusts: Float64[np.ndarray, " 4"],
    *,
    width: int,
    height: int,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the room.

    Args:
        config: The quadrotor.
        past: States, oldest first; the last one is where it is.
        target: Where to be [m].
        thrusts: Thrusts of the rotors, as shares of the greatest.
        width: In pixels.
        height: In pixels.
    """
    view, canvas = Perspective(width, height), _room(config, width, height).copy()
    place, turned = past[-1, :3], rotation(past[-1, 3:7], np)
    spot = view(target[None])[0]
    canvas.disc(float(spot[0]), float(spot[1]), 0.06 * view.nearness(target), paint=GOAL)
    ground = view(np.array([[place[0], place[1], -1.5]]))[0]
    canvas.shadow(float(ground[0]), float(ground[1]), 0.22 * view.nearness(place), alpha=0.4)
    drop = view(np.array([place, [place[0], place[1], -1.5]]))
    canvas.line(drop, width=0.0012, paint=SHADOW, at_least=1.0, alpha=(0.5, 0.5))
    if len(past) > 1:
        canvas.line(view(past[:, :3]), width=0.005, paint=TRAIL, alpha=(0.0, 0.8))
    side, near = config.arm / np.sqrt(2.0), view.nearness(place)
    arms = side * np.array([(1, 1, 0), (-1, 1, 0), (-1, -1, 0), (1, -1, 0)])
    rotors = place + arms @ turned.T
    up = turned[:, 2]
    for rotor, thrust, paint in zip(rotors, thrusts, (FRONT, BODY, BODY, FRONT), strict=True):
        canvas.line(view(np.stack([place, rotor])), width=0.035 * near, paint=paint)
        canvas.line(
            view(np.stack([rotor, rotor + 0.5 * float(thrust) * up])), width=0.02 * near, paint=THRUST
        )
        angle = np.linspace(0.0, 2.0 * np.pi, 25)
        blade = 0.11 * (np.cos(angle)[:, None] * turned[:, 0] + np.sin(angle)[:, None] * turned[:, 1])
        canvas.line(view(rotor + 0.04 * up + blade), width=0.012 * near, paint=PAPER, at_least=1.0)
    return canvas.image()
