"""Which displaced views are taken, and how their labels are made."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from steadyhand.core.errors import ConfigError
from steadyhand.core.seeding import RowStreams
from steadyhand.envs.base import ReturnRule

_CUT = 3.0
"""Normal displacements are drawn again as 3 deviations where they lie farther out."""

Offsets = Mapping[str, Float32[np.ndarray, "B V"]]


@dataclass(frozen=True, kw_only=True)
class AlvinnViews:
    """Views that are shifted and rotated uniformly, labelled by pure pursuit.

    Attributes:
        num_views: For each real one.
        shift: Farthest displacement to either side [m]. ALVINN's 0.6 m on a road car, scaled to a 1/5 road.
        rotation: Largest turn to either side [rad]; about 6 degrees.
        lookahead: Distance at which displaced and real arc meet [m]; that of the controller that will drive.
        weight: Training weight of each view.
    """

    num_views: int = 14
    shift: float = 0.12
    rotation: float = 0.105
    lookahead: float = 0.6
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check(num_views=self.num_views, shift=self.shift, rotation=self.rotation, weight=self.weight)

    @property
    def rule(self) -> ReturnRule:
        """How a displaced view leads back."""
        return "pursuit"

    def offsets(self, streams: RowStreams) -> Offsets:
        """Draw the displacements."""
        drawn = 2.0 * streams.uniform(2, self.num_views) - 1.0
        return {"lateral": _single(self.shift * drawn[:, 0]), "heading": _single(self.rotation * drawn[:, 1])}


@dataclass(frozen=True, kw_only=True)
class SideCameras:
    """A camera to the left and one to the right, and views from poses drawn at random.

    Attributes:
        offset: Of the side cameras from the middle [m].
        num_random: Further views for each real one.
        human_lateral_std: Deviation of the driver from the path [m]; see `spread_of`.
        human_heading_std: In heading [rad].
        factor: The random displacements have so many times the driver's deviation; 2 is the paper's.
        lookahead: Distance in which the label brings the car back to the driver's path and direction [m]: a
            time times the speed. The paper's two seconds at 2.5 m/s are 5 m; a 1/10 car behaves alike in a
            time shorter by sqrt(10), 0.63 s or 1.6 m.
        gain: None takes the label from geometry. A number is the constant correction that is common with the
            Udacity simulator: the first entry of the action is changed by `gain` towards the middle, 0.2 to
            0.25 there; random views in proportion to their shift. It is a gain to be tuned by driving.
        weight: Training weight of each view.
    """

    offset: float = 0.12
    num_random: int = 2
    human_lateral_std: float = 0.02
    human_heading_std: float = 0.02
    factor: float = 2.0
    lookahead: float = 1.6
    gain: float | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        _check(
            offset=self.offset,
            human_lateral_std=self.human_lateral_std,
            human_heading_std=self.human_heading_std,
            factor=self.factor,
            weight=self.weight,
        )
        if self.num_random < 0 or (self.gain is not None and not self.offset > 0):
            raise ConfigError("Side cameras need an offset, and views are counted.", got=self)

    @property
    def num_views(self) -> int:
        """For each real one."""
        return 2 + self.num_random

    @property
    def rule(self) -> ReturnRule:
        """How a displaced view leads back."""
        return "return"

    def offsets(self, streams: RowStreams) -> Offsets:
        """Return the side cameras' displacements and draw the others."""
        normal = np.clip(streams.normal(2, self.num_random), -_CUT, _CUT) * self.factor
        sides = np.tile([self.offset, -self.offset], (len(streams), 1))
        ahead = np.zeros_like(sides)
        return {
            "lateral": _single(np.concatenate([sides, self.human_lateral_std * normal[:, 0]], axis=1)),
            "heading": _single(np.concatenate([ahead, self.human_heading_std * normal[:, 1]], axis=1)),
        }


ViewConfig = AlvinnViews | SideCameras


def _single(values: np.ndarray) -> Float32[np.ndarray, "B V"]:
    return values.astype(np.float32)


def _check(**values: float | int) -> None:
    for name, value in values.items():
        if not 0 <= value < np.inf or (name == "num_views" and value < 1):
            raise ConfigError(f"{name} must not be negative.", got=value)
