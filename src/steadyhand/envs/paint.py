"""Anti-aliased shapes on float pictures, by signed distance: coverage = clip(1/2 - distance in pixels)."""

import numpy as np
from jaxtyping import Float32

Picture = Float32[np.ndarray, "h w 3"]
Box = tuple[slice, slice]


def _window(picture: Picture, points: np.ndarray, margin: float) -> tuple[Box, np.ndarray, np.ndarray] | None:
    """Return the part of the picture around (P, 2) points (column, line), and its pixel coordinates."""
    height, width = picture.shape[:2]
    low = np.floor(points.min(axis=0) - margin).astype(int)
    high = np.ceil(points.max(axis=0) + margin).astype(int) + 1
    left, top = max(low[0], 0), max(low[1], 0)
    right, bottom = min(high[0], width), min(high[1], height)
    if right <= left or bottom <= top:
        return None
    columns = np.arange(left, right, dtype=np.float32)[None, :]
    lines = np.arange(top, bottom, dtype=np.float32)[:, None]
    return (slice(top, bottom), slice(left, right)), columns, lines


def _blend(picture: Picture, box: Box, colour: np.ndarray, coverage: np.ndarray) -> None:
    part = picture[box]
    part += (colour - part) * coverage[..., None]


def capsule(
    picture: Picture,
    start: np.ndarray,
    end: np.ndarray,
    *,
    width: float,
    colour: np.ndarray,
    alpha: float = 1.0,
) -> None:
    """Draw a thick line with round ends between two pixels (column, line)."""
    window = _window(picture, np.stack([start, end]), 0.5 * width + 1.0)
    if window is None:
        return
    box, columns, lines = window
    along = end - start
    x, y = columns - np.float32(start[0]), lines - np.float32(start[1])
    length = float(along @ along)
    t = np.clip((x * along[0] + y * along[1]) / max(length, 1e-9), 0.0, 1.0)
    distance = np.hypot(x - t * along[0], y - t * along[1]) - 0.5 * width
    _blend(picture, box, colour, alpha * np.clip(0.5 - distance, 0.0, 1.0))


def rounded_box(
    picture: Picture,
    centre: np.ndarray,
    *,
    angle: float,
    size: tuple[float, float],
    radius: float,
    colour: np.ndarray,
    alpha: float = 1.0,
    softness: float = 1.0,
) -> None:
    """Draw a rounded rectangle.

    Args:
        picture: Drawn on, in place.
        centre: (column, line).
        angle: Angle of the long axis, from the column axis towards smaller lines [rad].
        size: Length along that axis, and across it, in pixels.
        radius: Radius of the corners, in pixels.
        colour: (3,).
        alpha: Opacity.
        softness: Width of the edge in pixels; above 1 it makes a shadow.
    """
    window = _window(picture, centre[None], 0.5 * float(np.hypot(*size)) + softness + 1.0)
    if window is None:
        return
    box, columns, lines = window
    x, y = columns - np.float32(centre[0]), np.float32(centre[1]) - lines
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    over = np.abs(x * cos + y * sin) - (0.5 * size[0] - radius)
    across = np.abs(y * cos - x * sin) - (0.5 * size[1] - radius)
    outside = np.hypot(np.maximum(over, 0.0), np.maximum(across, 0.0))
    distance = outside + np.minimum(np.maximum(over, across), 0.0) - radius
    _blend(picture, box, colour, alpha * np.clip(0.5 - distance / softness, 0.0, 1.0))


def polyline(
    picture: Picture,
    points: np.ndarray,
    *,
    width: float,
    colour: np.ndarray,
    alpha: tuple[float, float] = (1.0, 1.0),
) -> None:
    """Draw a line through (P, 2) pixels; the opacity runs from the first to the second alpha."""
    opacity = np.linspace(alpha[0], alpha[1], max(len(points) - 1, 1))
    for start, end, alpha_here in zip(points[:-1], points[1:], opacity.tolist(), strict=True):
        capsule(picture, start, end, width=width, colour=colour, alpha=alpha_here)


def paste(picture: Picture, small: np.ndarray, *, left: int, top: int, frame: np.ndarray) -> None:
    """Lay a (h, w, 3) picture on another one, in a thin frame with a soft shadow."""
    height, width = small.shape[:2]
    centre = np.array((left + 0.5 * (width - 1), top + 0.5 * (height - 1)), dtype=np.float32)
    size = (width + 6.0, height + 6.0)
    shadow = np.zeros(3, dtype=np.float32)
    rounded_box(picture, centre, angle=0.0, size=size, radius=5.0, colour=shadow, alpha=0.45, softness=10.0)
    rounded_box(picture, centre, angle=0.0, size=size, radius=4.0, colour=frame)
    picture[top : top + height, left : left + width] = small
