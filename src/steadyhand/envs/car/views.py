"""Displaced views: where they are taken, and what to steer there.

The only thing that a label knows of the road is the arc that the given action drives: no map, no privileged
path.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from jaxtyping import Float32

from steadyhand.core.errors import SpecError
from steadyhand.envs.base import ReturnRule
from steadyhand.envs.car.atlas import OnRoad
from steadyhand.envs.car.config import CarParams

MAX_VIEW_OFFSET = 0.5
"""Farthest sideways displacement of a view [m]; the ground is drawn that far."""

_FARTHEST_TURN = float(np.sqrt(2.0))
"""A chord of sqrt(2) radii spans a quarter of a circle."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pose:
    """Where B cars or their displaced sensors are; heading in [-pi, pi]."""

    x: Float32[np.ndarray, " B"]
    y: Float32[np.ndarray, " B"]
    heading: Float32[np.ndarray, " B"]
    road: OnRoad


def displacement(
    view_offset: Mapping[str, Float32[np.ndarray, " B"]], *, num_rows: int
) -> tuple[Float32[np.ndarray, " B"], Float32[np.ndarray, " B"]]:
    """Return the displacement to the left [m] and in heading [rad]; what is not named is 0.

    Raises:
        SpecError: Another name, or too far.
    """
    unknown = set(view_offset) - {"lateral", "heading"}
    if unknown:
        raise SpecError("There is no such view offset.", got=unknown.pop(), available=("lateral", "heading"))
    none = np.zeros(num_rows, dtype=np.float32)
    lateral, heading = view_offset.get("lateral", none), view_offset.get("heading", none)
    if np.abs(lateral).max(initial=0.0) > MAX_VIEW_OFFSET:
        raise SpecError(
            "A view is displaced too far.",
            got=f"{np.abs(lateral).max():.3f} m",
            expected=f"at most {MAX_VIEW_OFFSET} m",
        )
    return lateral, heading


def displaced_steering(
    steering: Float32[np.ndarray, " B"],
    *,
    body: CarParams,
    view_offset: Mapping[str, Float32[np.ndarray, " B"]],
    lookahead: float,
    rule: ReturnRule,
) -> Float32[np.ndarray, " B"]:
    """Return the steering command of a displaced car.

    With kappa the curvature of the arc that `steering` drives, d the displacement to the left and h the one
    in heading:

    "pursuit" (Pomerleau, 1991): the arc passes through (x, y) at the distance `lookahead` l, with
    y = kappa l^2 / 2. The displaced car sees that point at (x', y'), and the arc to it has curvature
    2 y' / (x'^2 + y'^2). The given arc is followed for a quarter of a circle at most.

    "return" (Bojarski et al., 2016): the cubic over the path that begins at offset d and slope h and ends
    `lookahead` S later at offset 0 and slope 0 begins with the curvature kappa - 6 d / S^2 - 4 h / S.

    Args:
        steering: (B,) command in [-1, 1] at the present pose.
        body: The car.
        view_offset: "lateral" [m] and "heading" [rad], left positive.
        lookahead: Distance ahead [m].
        rule: Which of the two rules above transforms the command.

    Returns:
        (B,) command, clipped to [-1, 1].
    """
    if not lookahead > 0:
        raise SpecError("The look-ahead must be positive.", got=lookahead, expected="> 0 [m]")
    lateral, heading = displacement(view_offset, num_rows=len(steering))
    curvature = np.tan(steering.astype(np.float64) * body.max_steering) / body.wheelbase
    match rule:
        case "pursuit":
            reach = np.minimum(lookahead, _FARTHEST_TURN / np.maximum(np.abs(curvature), 1e-9))
            y = 0.5 * curvature * reach**2
            x = np.sqrt(reach**2 - y**2)
            cos, sin = np.cos(heading), np.sin(heading)
            across = cos * (y - lateral) - sin * x
            wanted = 2.0 * across / np.maximum(x**2 + (y - lateral) ** 2, 1e-9)
        case "return":
            wanted = curvature - 6.0 * lateral / lookahead**2 - 4.0 * heading / lookahead
        case _:
            assert_never(rule)
    command = np.arctan(body.wheelbase * wanted) / body.max_steering
    return np.clip(command, -1.0, 1.0).astype(np.float32)
