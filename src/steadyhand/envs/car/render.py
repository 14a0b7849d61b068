"""A picture of a car on its track: the ground from above, the trail, the car, and what its camera sees."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, UInt8

from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.car.surface import Raster, picture_raster
from steadyhand.envs.car.track import load_track
from steadyhand.envs.paint import capsule, paste, polyline, rounded_box
from steadyhand.envs.scene import colour, finished

TRAIL = colour(92, 200, 250)
BODY = colour(222, 52, 58)
STRIPE = colour(250, 246, 238)
GLASS = colour(38, 44, 56)
TYRE = colour(26, 26, 30)
SHADOW = colour(12, 18, 12)
FRAME = colour(245, 244, 240)
PANEL = colour(30, 36, 34)

CAR_WIDTH = 0.2
OVERHANG = 0.06
VISIBLE = 3.0
"""How much ground the shorter side of the picture shows [m]."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A map from pixels to the ground.

    Attributes:
        x: Ground position of the middle of the picture [m].
        y: Ground position of the middle of the picture along the second axis [m].
        up: Heading that points up in the picture [rad].
        scale: Metres a pixel.
        width: Width of the picture, in pixels.
        height: Height of the picture, in pixels.
    """

    x: float
    y: float
    up: float
    scale: float
    width: int
    height: int

    def ground(self) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
        """Return the ground position of each pixel [m]."""
        right = (np.arange(self.width, dtype=np.float32) - 0.5 * (self.width - 1)) * np.float32(self.scale)
        ahead = (0.5 * (self.height - 1) - np.arange(self.height, dtype=np.float32)) * np.float32(self.scale)
        cos, sin = np.float32(np.cos(self.up)), np.float32(np.sin(self.up))
        x = (np.float32(self.x) + ahead * cos)[:, None] + (right * sin)[None, :]
        y = (np.float32(self.y) + ahead * sin)[:, None] - (right * cos)[None, :]
        return x, y

    def pixels(self, points: Float[np.ndarray, "P 2"]) -> Float[np.ndarray, "P 2"]:
        """Return (column, line) of ground points."""
        east, north = points[:, 0] - self.x, points[:, 1] - self.y
        cos, sin = np.cos(self.up), np.sin(self.up)
        ahead, right = east * cos + north * sin, east * sin - north * cos
        column = right / self.scale + 0.5 * (self.width - 1)
        return np.stack([column, 0.5 * (self.height - 1) - ahead / self.scale], axis=1)


def draw_ground(view: View, texture: Raster) -> Float32[np.ndarray, "h w 3"]:
    """Return the ground, read at the nearest cell of an RGBA texture, repeated beyond its border."""
    x, y = view.ground()
    lines, columns = texture.cells.shape
    x -= np.float32(texture.origin[0] - 0.5 * texture.cell)
    y -= np.float32(texture.origin[1] - 0.5 * texture.cell)
    x *= np.float32(1.0 / texture.cell)
    y *= np.float32(1.0 / texture.cell)
    np.clip(x, 0.0, columns - 1.0, out=x)
    np.clip(y, 0.0, lines - 1.0, out=y)
    index = y.astype(np.int32)
    index *= columns
    index += x.astype(np.int32)
    cells = texture.cells.ravel().take(index, mode="clip")
    return cells.view(np.uint8).reshape(*index.shape, 4)[..., :3].astype(np.float32)


def draw_car(
    picture: Float32[np.ndarray, "h w 3"], view: View, *, pose: np.ndarray, steering: float, wheelbase: float
) -> None:
    """Draw the car from above, in place; `pose` is x, y, heading of the rear axle."""
    x, y, heading = (float(value) for value in pose)
    angle = heading - view.up + 0.5 * np.pi
    pixel = 1.0 / view.scale
    axle = np.array((np.cos(heading), np.sin(heading)))
    side = np.array((-axle[1], axle[0]))

    def box(
        ahead: float,
        left: float,
        length: float,
        width: float,
        *,
        colour: np.ndarray,
        turn: float = 0.0,
        **more: float,
    ) -> None:
        spot = np.array((x, y)) + ahead * axle + left * side
        rounded_box(
            picture,
            view.pixels(spot[None])[0],
            angle=angle + turn,
            size=(length * pixel, width * pixel),
            radius=more.pop("corner", 0.3) * width * pixel,
            colour=colour,
            **more,
        )

    middle = 0.5 * wheelbase
    length = wheelbase + 2.0 * OVERHANG
    box(
        middle - 0.015,
        -0.015,
        length + 0.02,
        CAR_WIDTH + 0.02,
        colour=SHADOW,
        alpha=0.5,
        softness=0.06 * pixel,
    )
    for left in (-0.5, 0.5):
        box(0.0, left * (CAR_WIDTH - 0.02), 0.09, 0.045, colour=TYRE)
        box(wheelbase, left * (CAR_WIDTH - 0.02), 0.09, 0.045, colour=TYRE, turn=steering)
    box(middle, 0.0, length, CAR_WIDTH - 0.045, colour=BODY, corner=0.35)
    box(middle, 0.0, length - 0.02, 0.035, colour=STRIPE, corner=0.2)
    box(middle - 0.035, 0.0, 0.15, 0.115, colour=GLASS, corner=0.35)
    box(-OVERHANG + 0.015, 0.0, 0.03, CAR_WIDTH - 0.005, colour=BODY * np.float32(0.7))


@lru_cache(maxsize=32)
def _map(number: int, size: int) -> tuple[Float32[np.ndarray, "h w 3"], View]:
    """Return a small map of a whole track, and its view."""
    track = load_track(number)
    points = track.at(np.arange(0.0, track.length + 0.1, 0.1))
    low, high = points.min(axis=0), points.max(axis=0)
    scale = float((high - low).max()) / (size - 24)
    centre = 0.5 * (low + high)
    shape = np.ceil((high - low) / scale).astype(int) + 24
    view = View(
        x=float(centre[0]),
        y=float(centre[1]),
        up=0.5 * np.pi,
        scale=scale,
        width=int(shape[0]),
        height=int(shape[1]),
    )
    picture = np.broadcast_to(PANEL, (view.height, view.width, 3)).astype(np.float32)
    polyline(picture, view.pixels(points), width=6.0, colour=colour(96, 102, 104))
    polyline(picture, view.pixels(points), width=1.5, colour=colour(220, 222, 216))
    return picture, view


def render_car(
    config: CarConfig,
    *,
    track: int,
    pose: Float32[np.ndarray, " 3"],
    steering: float,
    trail: Float[np.ndarray, "P 2"],
    seen: UInt8[np.ndarray, "h w c"],
    width: int,
    height: int,
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the picture: the road ahead points up, the camera is top left, the map is bottom right.

    Args:
        config: The car.
        track: Number of its track.
        pose: x [m], y [m], heading [rad] of the rear axle.
        steering: Steering angle [rad].
        trail: Where the rear axle was, oldest first [m].
        seen: What the camera sees.
        width: Width of the picture, in pixels.
        height: Height of the picture, in pixels.
    """
    scale = VISIBLE / min(width, height)
    ahead = 0.22 * height * scale
    heading = float(pose[2])
    view = View(
        x=float(pose[0]) + ahead * np.cos(heading),
        y=float(pose[1]) + ahead * np.sin(heading),
        up=heading,
        scale=scale,
        width=width,
        height=height,
    )
    picture = draw_ground(view, picture_raster(track, config.road_width))
    if len(trail) > 1:
        polyline(picture, view.pixels(trail), width=0.03 / scale, colour=TRAIL, alpha=(0.0, 0.75))
    draw_car(picture, view, pose=pose, steering=steering, wheelbase=config.params.wheelbase)
    _inset_camera(picture, seen)
    _inset_map(picture, track, pose)
    return finished(picture)


def _inset_camera(picture: np.ndarray, seen: np.ndarray) -> None:
    room = 0.3 * min(picture.shape[:2])
    zoom = max(1, round(room / max(seen.shape[:2])))
    small = np.repeat(np.repeat(seen, zoom, axis=0), zoom, axis=1)
    if small.shape[0] < picture.shape[0] - 28 and small.shape[1] < picture.shape[1] - 28:
        paste(picture, np.broadcast_to(small, (*small.shape[:2], 3)), left=14, top=14, frame=FRAME)


def _inset_map(picture: np.ndarray, track: int, pose: np.ndarray) -> None:
    size = round(0.3 * min(picture.shape[:2]))
    if size < 60:
        return
    small, view = _map(track, size)
    small = small.copy()
    spot = view.pixels(np.asarray(pose[:2], dtype=np.float64)[None])[0]
    capsule(small, spot, spot, width=9.0, colour=FRAME)
    capsule(small, spot, spot, width=6.0, colour=BODY)
    paste(
        picture,
        small,
        left=picture.shape[1] - small.shape[1] - 14,
        top=picture.shape[0] - small.shape[0] - 14,
        frame=PANEL,
    )
