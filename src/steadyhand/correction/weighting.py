"""What the steps of corrected drives are worth in training: IWR, Sirius, source mixtures, EIL's constraints.

Every scheme is a function from episodes to `Marks`; no loss, head or loop knows which one was chosen. A
weighted mean over all steps has the gradient that drawing sources by their shares has on average.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int64

from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import Part, located
from steadyhand.core.settings import NotNegative, Share
from steadyhand.correction.marks import Marks
from steadyhand.correction.segments import Segment, SegmentWindows, segment
from steadyhand.data.episode import Episode
from steadyhand.policies.kinds import BAD, EXPLICIT, GOOD

LEFT_OUT = -1
"""Group of steps that get no weight."""


class WeightingConfig(Part, ABC):
    """Settings of what the steps of corrected drives are worth in training.

    Attributes:
        judges: Whether its marks call steps good or bad, which takes a head that judges.
    """

    kind: ClassVar[str] = "weighting"
    ours: ClassVar[Mapping[str, str]] = located(
        __name__, "Unweighted", "InterventionWeighting", "Sirius", "SourceMixture", "EilMarks"
    )
    judges: ClassVar[bool] = False

    @abstractmethod
    def marks(self, episodes: Sequence[Episode]) -> Sequence[Marks] | None:
        """Return the weights and kinds of the steps of each episode; None if they keep their own weights."""


@dataclass(frozen=True, kw_only=True)
class Unweighted(WeightingConfig):
    """Every label counts once; unlabelled steps do not count (DAgger, HG-DAgger and most gated methods)."""

    def marks(self, episodes: Sequence[Episode]) -> Sequence[Marks] | None:
        """Return None: the steps keep their own weights."""
        del episodes
        return None


@dataclass(frozen=True, kw_only=True)
class InterventionWeighting(WeightingConfig):
    """IWR (Mandlekar et al., 2020, arXiv 2012.06733): interventions are `share` of what is trained on.

    Everything else is the rest, what the robot did by itself included: it is imitated, so that training on
    the corrections does not undo what worked.

    Attributes:
        share: Share of what is trained on that interventions make up, 0 to 1.
    """

    share: Share = 0.5

    def marks(self, episodes: Sequence[Episode]) -> Sequence[Marks] | None:
        """Return the weights."""
        groups = [episode.intervention.astype(np.int64) for episode in episodes]
        return by_group(episodes, groups, {0: 1.0 - self.share, 1: self.share})


@dataclass(frozen=True, kw_only=True)
class Sirius(WeightingConfig):
    """Sirius (Liu et al., 2023, arXiv 2211.08416): weights by demo, intervention, robot and pre-intervention.

    Interventions are `share` of what is trained on, demonstrations keep the share that they have, what the
    robot did before an intervention counts `before`, and the robot's other steps fill up the rest. Where
    demonstrations are more than the rest, they are all of it.

    Attributes:
        share: Share of what is trained on that interventions make up, 0 to 1.
        before: Share of what is trained on that the robot's steps just before interventions make up, 0 to 1.
        windows: How long before an intervention; the paper's is some 15 steps, at 20 Hz.
    """

    share: Share = 0.5
    before: Share = 0.0
    windows: SegmentWindows = field(default_factory=lambda: SegmentWindows(before=0.75, after=0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shares(self.share, self.before, 1.0 - self.share - self.before)

    def marks(self, episodes: Sequence[Episode]) -> Sequence[Marks] | None:
        """Return the weights."""
        robot, correction = int(Segment.ROBOT), int(Segment.CORRECTION)
        groups = [_merged(segment(episode, self.windows)) for episode in episodes]
        mass = _mass(episodes, groups)
        total = sum(mass.values())
        rest = 1.0 - self.share - self.before
        demo = min(rest, mass.get(int(Segment.DEMONSTRATION), 0.0) / max(total, 1e-12))
        shares = {
            int(Segment.DEMONSTRATION): demo,
            correction: self.share,
            int(Segment.BEFORE): self.before,
            robot: rest - demo,
        }
        return by_group(episodes, groups, shares)


@dataclass(frozen=True, kw_only=True)
class SourceMixture(WeightingConfig):
    """Fixed shares of earlier data, the last round's interventions, and the rest of its drives.

    80:10:10 is an industrial recipe of 2026; the robot's own steps are imitated.

    Attributes:
        previous: Share of all rounds but the last.
        interventions: Share of the last round's interventions.
        rest: Share of what else was recorded in the last round.
    """

    previous: NotNegative = 0.8
    interventions: NotNegative = 0.1
    rest: NotNegative = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shares(self.previous, self.interventions, self.rest)

    def marks(self, episodes: Sequence[Episode]) -> Sequence[Marks] | None:
        """Return the weights; before anything was corrected, all data are earlier data."""
        rounds = [
            episode.provenance.round for episode in episodes if episode.provenance.source == "correction"
        ]
        last = max(rounds, default=None)
        groups = [
            np.where(episode.intervention, 1, 2).astype(np.int64)
            if episode.provenance.source == "correction" and episode.provenance.round == last
            else np.zeros(len(episode), dtype=np.int64)
            for episode in episodes
        ]
        return by_group(episodes, groups, {0: self.previous, 1: self.interventions, 2: self.rest})


@dataclass(frozen=True, kw_only=True)
class EilMarks(WeightingConfig):
    """EIL's three kinds of constraint (Spencer et al., 2020), for heads that judge.

    What the robot did unhindered is GOOD, what it did before a takeover BAD, what somebody showed EXPLICIT.
    l = l1 + l2 + lambda lC, each a mean over its own kind: by `good`, `bad` and `explicit`, the shares of
    the three kinds. Good steps outnumber bad ones by 10 to 100. With `good` and `bad` 0 this is HG-DAgger.

    A step with a label is always EXPLICIT: its target is the label, not what the robot did.

    Attributes:
        windows: alpha_l and alpha_e. Sweep `before`: nothing else matters as much.
        reaction: What becomes of the first `after` seconds of a takeover: labels as all others, or left out.
        good: Weight of l1.
        bad: Weight of l2.
        explicit: lambda, weight of lC.
    """

    judges: ClassVar[bool] = True

    windows: SegmentWindows = field(default_factory=SegmentWindows)
    reaction: Literal["explicit", "ignored"] = "explicit"
    good: NotNegative = 1.0
    bad: NotNegative = 1.0
    explicit: NotNegative = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_shares(self.good, self.bad, self.explicit)

    def marks(self, episodes: Sequence[Episode]) -> Sequence[Marks] | None:
        """Return weights and kinds."""
        kinds = [self.kinds(episode) for episode in episodes]
        weights = by_group(episodes, kinds, {EXPLICIT: self.explicit, GOOD: self.good, BAD: self.bad})
        return [
            Marks(weight=one.weight, kind=np.where(kind == LEFT_OUT, EXPLICIT, kind))
            for one, kind in zip(weights, kinds, strict=True)
        ]

    def kinds(self, episode: Episode) -> Int64[np.ndarray, " T"]:
        """Return EXPLICIT, GOOD, BAD or LEFT_OUT for each step."""
        found = segment(episode, self.windows)
        kind = np.full(len(episode), LEFT_OUT, dtype=np.int64)
        kind[found == Segment.ROBOT] = GOOD
        kind[found == Segment.BEFORE] = BAD
        kind[episode.expert_action_valid] = EXPLICIT
        if self.reaction == "ignored":
            kind[found == Segment.REACTION] = LEFT_OUT
        return kind


def by_group(
    episodes: Sequence[Episode], groups: Sequence[Int64[np.ndarray, " _"]], shares: Mapping[int, float]
) -> list[Marks]:
    """Return weights that give each group its share of the total, each step within it by its own weight.

    Groups without steps leave their share to the others, in proportion. The total stays what it was. With
    one group that has a share, all weights stay what they were, to the last bit.

    Args:
        episodes: The data.
        groups: (T,) group of each step of each episode; groups that `shares` does not name are left out.
        shares: Group -> share; they need not add up to 1.
    """
    mass = {key: value for key, value in _mass(episodes, groups).items() if shares.get(key, 0.0) > 0 < value}
    total, asked = sum(mass.values()), sum(shares[key] for key in mass)
    factor = {key: shares[key] / asked * (total / value) for key, value in mass.items()}
    return [
        Marks(weight=(episode.weight * _looked_up(group, factor)).astype(np.float32))
        for episode, group in zip(episodes, groups, strict=True)
    ]


def _looked_up(group: np.ndarray, factor: Mapping[int, float]) -> np.ndarray:
    out = np.zeros(len(group))
    for key, value in factor.items():
        out[group == key] = value
    return out


def _mass(episodes: Sequence[Episode], groups: Sequence[np.ndarray]) -> dict[int, float]:
    """Return the summed weight of each group."""
    total: dict[int, float] = {}
    for episode, group in zip(episodes, groups, strict=True):
        for key in np.unique(group):
            own = float(episode.weight[group == key].sum(dtype=np.float64))
            total[int(key)] = total.get(int(key), 0.0) + own
    return total


def _merged(found: np.ndarray) -> np.ndarray:
    """Return Sirius' four classes: a takeover is one, and unknown steps are the robot's."""
    found = np.where(found == Segment.REACTION, Segment.CORRECTION, found)
    return np.where(found == Segment.UNKNOWN, Segment.ROBOT, found).astype(np.int64)


def _check_shares(*shares: float) -> None:
    if min(shares) < 0 or not 0 < sum(shares) < np.inf:
        raise ConfigError(
            "Shares are not negative, and one of them counts.", got=[round(share, 6) for share in shares]
        )
