"""Which displaced views are taken, and how their labels are made."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import RowStreams
from steadyhand.core.settings import Count, NotNegative, Positive, Whole
from steadyhand.correction.learner import Learner
from steadyhand.correction.offline import OfflineRemedy
from steadyhand.correction.remedy import Task
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, ReturnRule
from steadyhand.policies.heads.config import HeadConfig

_CUT = 3.0
"""Normal displacements are drawn again as 3 deviations where they lie farther out."""

Offsets = Mapping[str, Float32[np.ndarray, "B V"]]


@dataclass(frozen=True, kw_only=True)
class ViewConfig(OfflineRemedy, ABC):
    """Settings of displaced views of demonstrations.

    Attributes:
        lookahead: Distance in which the label leads back [m].
        weight: Training weight of each view.
    """

    page: ClassVar[str] = "views"
    rule: ClassVar[ReturnRule]

    lookahead: Positive
    weight: NotNegative = 1.0

    @property
    @abstractmethod
    def per_step(self) -> int:
        """Views of each real one."""

    @abstractmethod
    def offsets(self, streams: RowStreams) -> Offsets:
        """Return the displacements of the views of B steps."""

    def label(
        self,
        env: BatchEnv,
        rows: Int64[np.ndarray, " B"],
        action: Shaped[np.ndarray, "B A"],
        offset: Mapping[str, np.ndarray],
    ) -> Shaped[np.ndarray, "B A"]:
        """Return what to do at displaced poses, of which `action` is done at the real ones.

        Raises:
            CapabilityError: The env does not know the way back.
        """
        return env.displaced_action(
            rows, action, view_offset=offset, lookahead=self.lookahead, rule=self.rule
        )

    @classmethod
    def why_not(cls, head: HeadConfig, *, is_discrete: bool) -> str | None:
        """Return why there is no displaced view of a class."""
        if is_discrete:
            return (
                "the label of a displaced view is the driver's arc, bent by the displacement: a function of "
                "an action that is a number. Classes have no geometry to bend"
            )
        return super().why_not(head, is_discrete=is_discrete)

    def check(
        self, env: BatchEnv, expert: Controller, learner: Learner, *, initial: Sequence[Episode] = ()
    ) -> None:
        """Refuse, too, an env that cannot displace its sensors or does not know the way back."""
        from steadyhand.correction.views import ViewCamera

        super().check(env, expert, learner, initial=initial)
        ViewCamera(env, expert, self)

    def collect(self, task: Task) -> list[Episode]:
        """Return demonstrations and, behind them, their displaced views."""
        return self.driven(task, task.expert, views=self)


@dataclass(frozen=True, kw_only=True)
class AlvinnViews(ViewConfig):
    """Views that are shifted and rotated uniformly, labelled by pure pursuit.

    Attributes:
        num_views: Number of views of each real picture.
        shift: Farthest displacement to either side [m]. ALVINN's 0.6 m on a road car, scaled to a 1/5 road.
        rotation: Largest turn to either side [rad]; about 6 degrees.
        lookahead: Distance at which displaced and real arc meet [m]; that of the controller that will drive.
    """

    name: ClassVar[str] = "alvinn-views"
    title: ClassVar[str] = "ALVINN's views"
    summary: ClassVar[str] = "14 shifted and turned views of each frame, relabelled by pure pursuit"
    example: ClassVar[str] = "--set method.num_views=7"
    seeds: ClassVar[str] = "alvinnviews"
    rule: ClassVar[ReturnRule] = "pursuit"

    num_views: Count = 14
    shift: NotNegative = 0.12
    rotation: NotNegative = 0.105
    lookahead: Positive = 0.6

    @property
    def per_step(self) -> int:
        """Views of each real one."""
        return self.num_views

    def offsets(self, streams: RowStreams) -> Offsets:
        """Draw the displacements."""
        drawn = 2.0 * streams.uniform(2, self.num_views) - 1.0
        return {"lateral": _single(self.shift * drawn[:, 0]), "heading": _single(self.rotation * drawn[:, 1])}


@dataclass(frozen=True, kw_only=True)
class SideCameras(ViewConfig):
    """A camera to the left and one to the right, and views from poses drawn at random.

    Attributes:
        offset: Distance of the side cameras from the middle [m].
        num_random: Number of further views of each real picture, from poses drawn at random.
        human_lateral_std: Deviation of the driver from the path [m]; see `spread_of`.
        human_heading_std: Deviation of the driver in heading [rad]; see `spread_of`.
        factor: Deviation of the random displacements, in multiples of the driver's; 2 in the paper.
        lookahead: Distance in which the label brings the car back to the driver's path and direction [m]: a
            time times the speed. The paper's two seconds at 2.5 m/s are 5 m; a 1/10 car behaves alike in a
            time shorter by sqrt(10), 0.63 s or 1.6 m.
        gain: None takes the label from geometry. A number is the constant correction that is common with the
            Udacity simulator: the first entry of the action is changed by `gain` towards the middle, 0.2 to
            0.25 there; random views in proportion to their shift. It is a gain to be tuned by driving.
    """

    name: ClassVar[str] = "side-cameras"
    title: ClassVar[str] = "side cameras"
    summary: ClassVar[str] = "views from the left and the right that return to the road in two seconds"
    example: ClassVar[str] = "--set method.num_random=0"
    seeds: ClassVar[str] = "sidecameras"
    rule: ClassVar[ReturnRule] = "return"

    offset: NotNegative = 0.12
    num_random: Whole = 2
    human_lateral_std: NotNegative = 0.02
    human_heading_std: NotNegative = 0.02
    factor: NotNegative = 2.0
    lookahead: Positive = 1.6
    gain: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gain is not None and not self.offset > 0:
            raise ConfigError("A constant correction needs an offset.", got=f"offset = {self.offset}")

    @property
    def per_step(self) -> int:
        """Views of each real one."""
        return 2 + self.num_random

    def offsets(self, streams: RowStreams) -> Offsets:
        """Return the side cameras' displacements and draw the others."""
        normal = np.clip(streams.normal(2, self.num_random), -_CUT, _CUT) * self.factor
        sides = np.tile([self.offset, -self.offset], (len(streams), 1))
        ahead = np.zeros_like(sides)
        return {
            "lateral": _single(np.concatenate([sides, self.human_lateral_std * normal[:, 0]], axis=1)),
            "heading": _single(np.concatenate([ahead, self.human_heading_std * normal[:, 1]], axis=1)),
        }

    def label(
        self,
        env: BatchEnv,
        rows: Int64[np.ndarray, " B"],
        action: Shaped[np.ndarray, "B A"],
        offset: Mapping[str, np.ndarray],
    ) -> Shaped[np.ndarray, "B A"]:
        """Return the way back, or the constant correction."""
        if self.gain is None:
            return super().label(env, rows, action, offset)
        label = action.copy()
        label[:, 0] -= np.float32(self.gain / self.offset) * offset["lateral"]
        spec = env.spec.action
        return label if spec.low is None else np.clip(label, spec.low, spec.high).astype(label.dtype)


def _single(values: np.ndarray) -> Float32[np.ndarray, "B V"]:
    return values.astype(np.float32)
