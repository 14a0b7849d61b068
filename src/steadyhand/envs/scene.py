"""Pictures of a plane from above, x to the right and y up: what the point envs draw with."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

from steadyhand.core.seeding import generator
from steadyhand.envs.paint import Picture, capsule, polyline, rounded_box

SHADOW = np.array((18, 24, 18), dtype=np.float32)
TOUCH = np.array((214, 40, 40), dtype=np.float32)
PAPER = np.array((252, 250, 244), dtype=np.float32)


def colour(red: int, green: int, blue: int) -> Float32[np.ndarray, " 3"]:
    """Return a colour to paint with."""
    return np.array((red, green, blue), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A map from the plane to pixels that shows at least a given rectangle, undistorted.

    Attributes:
        low: Lower left corner of the rectangle [m].
        high: Upper right corner [m].
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    width: int
    height: int

    @property
    def scale(self) -> float:
        """Metres a pixel."""
        across, up = self.high[0] - self.low[0], self.high[1] - self.low[1]
        return max(across / self.width, up / self.height)

    def pixels(self, points: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "P 2"]:
        """Return (column, line) of points of the plane."""
        middle = 0.5 * (np.array(self.low) + np.array(self.high))
        offset = (np.asarray(points, dtype=np.float64) - middle) / self.scale
        column = offset[:, 0] + 0.5 * (self.width - 1)
        return np.stack([column, 0.5 * (self.height - 1) - offset[:, 1]], axis=1)

    def pixel(self, x: float, y: float) -> Float[np.ndarray, " 2"]:
        """Return (column, line) of one point."""
        return self.pixels(np.array([[x, y]]))[0]

    def length(self, metres: float) -> float:
        """Return a length in pixels."""
        return metres / self.scale


def mottled(plan: Plan, base: np.ndarray, *, depth: float, patch: int = 24) -> Picture:
    """Return a ground of one colour with soft patches, the same in every picture of this size."""
    random = generator(0, "scene", plan.width, plan.height)
    shade = np.zeros((plan.height, plan.width), dtype=np.float32)
    for size, share in ((patch, 0.6), (max(2, patch // 4), 0.3)):
        rows, columns = -(-plan.height // size) + 2, -(-plan.width // size) + 2
        coarse = random.standard_normal((rows, columns), dtype=np.float32)
        shade += np.float32(share) * _stretched(coarse, plan.height, plan.width, size)
    shade += 0.1 * random.standard_normal(shade.shape, dtype=np.float32)
    return base + np.float32(depth) * shade[..., None] * np.array((0.8, 1.0, 0.6), dtype=np.float32)


def _stretched(coarse: np.ndarray, height: int, width: int, size: int) -> np.ndarray:
    """Interpolate a coarse grid, smoothly, `size` pixels from one node to the next."""
    for axis, count in ((0, height), (1, width)):
        place = np.arange(count, dtype=np.float32) / size
        node = place.astype(int)
        share = place - node
        share = share * share * (3.0 - 2.0 * share)
        share = share[:, None] if axis == 0 else share[None, :]
        coarse = coarse.take(node, axis) * (1.0 - share) + coarse.take(node + 1, axis) * share
    return coarse


def disc(picture: Picture, plan: Plan, x: float, y: float, radius: float, *, paint: np.ndarray) -> None:
    """Draw a filled circle; x, y and radius in metres."""
    spot = plan.pixel(x, y)
    capsule(picture, spot, spot, width=2.0 * plan.length(radius), colour=paint)


def shadow(picture: Picture, plan: Plan, x: float, y: float, radius: float, *, alpha: float) -> None:
    """Draw the soft shadow of something round that stands at x, y."""
    size = 2.0 * plan.length(radius)
    rounded_box(
        picture,
        plan.pixel(x + 0.25 * radius, y - 0.25 * radius),
        angle=0.0,
        size=(size, size),
        radius=0.5 * size,
        colour=SHADOW,
        alpha=alpha,
        softness=0.25 * size,
    )


def ring(
    picture: Picture, spot: np.ndarray, *, radius: float, width: float, paint: np.ndarray, alpha: float = 1.0
) -> None:
    """Draw a circle round a pixel; radius and width in pixels."""
    angle = np.linspace(0.0, 2.0 * np.pi, 49)
    points = spot + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if alpha == 1.0:
        polyline(picture, points, width=width, colour=paint)
        return
    layer = picture.copy()
    polyline(layer, points, width=width, colour=paint)
    picture += np.float32(alpha) * (layer - picture)


def cross(picture: Picture, spot: np.ndarray, *, radius: float, width: float) -> None:
    """Mark where something was touched."""
    for sign in (1.0, -1.0):
        arm = radius * np.array((0.7, 0.7 * sign))
        capsule(picture, spot - arm, spot + arm, width=2.0 * width, colour=PAPER)
    for sign in (1.0, -1.0):
        arm = radius * np.array((0.7, 0.7 * sign))
        capsule(picture, spot - arm, spot + arm, width=width, colour=TOUCH)


def finished(picture: Picture) -> UInt8[np.ndarray, "h w 3"]:
    """Return the picture as people and videos take it."""
    return np.clip(picture + 0.5, 0.0, 255.0).astype(np.uint8)
