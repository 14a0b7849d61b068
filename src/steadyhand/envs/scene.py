"""Pictures of a plane from above, x to the right and y up: the canvas that the envs draw on, in metres."""

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
class PlaneMap:
    """A map from the plane to pixels that shows at least a given rectangle, undistorted.

    Attributes:
        low: Lower left corner of the rectangle [m].
        high: Upper right corner [m].
        width: Width of the picture, in pixels.
        height: Height of the picture, in pixels.
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

    def pixels(self, points: Float[np.ndarray, "*P 2"]) -> Float[np.ndarray, "*P 2"]:
        """Return (column, line) of points of the plane."""
        middle = 0.5 * (np.array(self.low) + np.array(self.high))
        offset = (np.asarray(points, dtype=np.float64) - middle) / self.scale
        column = offset[..., 0] + 0.5 * (self.width - 1)
        return np.stack([column, 0.5 * (self.height - 1) - offset[..., 1]], axis=-1)

    def pixel(self, x: float, y: float) -> Float[np.ndarray, " 2"]:
        """Return (column, line) of one point."""
        return self.pixels(np.array([[x, y]]))[0]

    def length(self, metres: float) -> float:
        """Return a length in pixels."""
        return metres / self.scale


def mottled(plan: PlaneMap, base: np.ndarray, *, depth: float, patch: int) -> "Canvas":
    """Return a canvas of one colour with soft patches, the same in every picture of this size."""
    random = generator(0, "scene", plan.width, plan.height)
    shade = np.zeros((plan.height, plan.width), dtype=np.float32)
    for size, share in ((patch, 0.6), (max(2, patch // 4), 0.3)):
        rows, columns = -(-plan.height // size) + 2, -(-plan.width // size) + 2
        coarse = random.standard_normal((rows, columns), dtype=np.float32)
        shade += np.float32(share) * _stretched(coarse, plan.height, plan.width, size)
    shade += 0.1 * random.standard_normal(shade.shape, dtype=np.float32)
    patches = np.float32(depth) * shade[..., None] * np.array((0.8, 1.0, 0.6), dtype=np.float32)
    return Canvas(plan, base + patches)


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


class Canvas:
    """A picture that is painted on in metres; what is thinner than some pixels is as thick as these.

    Args:
        plan: Where the plane lies in the picture.
        picture: What is painted on, in place.
    """

    def __init__(self, plan: PlaneMap, picture: Picture) -> None:
        self.plan = plan
        self.picture = picture

    @classmethod
    def of(cls, plan: PlaneMap, paint: np.ndarray) -> "Canvas":
        """Return a canvas of one colour."""
        picture = np.empty((plan.height, plan.width, 3), dtype=np.float32)
        picture[:] = paint
        return cls(plan, picture)

    def kept(self) -> "Canvas":
        """Return this canvas, which can only be copied from now on: all that does not move."""
        self.picture.setflags(write=False)
        return self

    def copy(self) -> "Canvas":
        """Return a canvas with the same on it."""
        return Canvas(self.plan, self.picture.copy())

    def image(self) -> UInt8[np.ndarray, "h w 3"]:
        """Return the picture as people and videos take it."""
        return finished(self.picture)

    def line(
        self,
        points: Float[np.ndarray, "P 2"],
        *,
        width: float,
        paint: np.ndarray,
        at_least: float = 2.0,
        alpha: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """Draw a line; the opacity runs from the first to the second alpha."""
        thick = max(at_least, self.plan.length(width))
        polyline(self.picture, self.plan.pixels(points), width=thick, colour=paint, alpha=alpha)

    def disc(self, x: float, y: float, radius: float, *, paint: np.ndarray) -> None:
        """Draw a filled circle."""
        spot = self.plan.pixel(x, y)
        capsule(self.picture, spot, spot, width=2.0 * self.plan.length(radius), colour=paint)

    def ring(
        self, x: float, y: float, radius: float, *, width: float, paint: np.ndarray, at_least: float = 1.0
    ) -> None:
        """Draw a circle."""
        angle = np.linspace(0.0, 2.0 * np.pi, 49)
        circle = self.plan.length(radius) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        thick = max(at_least, self.plan.length(width))
        polyline(self.picture, self.plan.pixel(x, y) + circle, width=thick, colour=paint)

    def square(self, x: float, y: float, edge: float, *, corner: float, paint: np.ndarray) -> None:
        """Draw a square with round corners, whose radius is a share of the edge."""
        size = self.plan.length(edge)
        spot = self.plan.pixel(x, y)
        rounded_box(self.picture, spot, angle=0.0, size=(size, size), radius=corner * size, colour=paint)

    def shadow(self, x: float, y: float, radius: float, *, alpha: float) -> None:
        """Draw the soft shadow of something round that stands at x, y."""
        size = 2.0 * self.plan.length(radius)
        rounded_box(
            self.picture,
            self.plan.pixel(x + 0.25 * radius, y - 0.25 * radius),
            angle=0.0,
            size=(size, size),
            radius=0.5 * size,
            colour=SHADOW,
            alpha=alpha,
            softness=0.25 * size,
        )

    def cross(self, x: float, y: float, radius: float, *, width: float) -> None:
        """Mark where something was touched."""
        spot, reach = self.plan.pixel(x, y), self.plan.length(radius)
        thick = max(2.0, self.plan.length(width))
        for times, paint in ((2.0, PAPER), (1.0, TOUCH)):
            for sign in (1.0, -1.0):
                arm = reach * np.array((0.7, 0.7 * sign))
                capsule(self.picture, spot - arm, spot + arm, width=times * thick, colour=paint)


def finished(picture: Picture) -> UInt8[np.ndarray, "h w 3"]:
    """Return a picture as people and videos take it."""
    return np.clip(picture + 0.5, 0.0, 255.0).astype(np.uint8)
