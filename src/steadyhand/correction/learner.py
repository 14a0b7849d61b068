"""The contract between remedies and whatever they train."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Controller
from steadyhand.correction.marks import Marks
from steadyhand.data.episode import Episode
from steadyhand.data.frames import Frames

if TYPE_CHECKING:
    from steadyhand.policies.policy import PolicyModule
    from steadyhand.policies.spec import PolicyConfig, PolicySpec


@runtime_checkable
class Learner(Protocol):
    """Fits policies for a remedy, which never sees networks, losses or optimisers."""

    def fit(
        self,
        episodes: Sequence[Episode],
        *,
        folder: Path,
        seed: int,
        warm_start: Path | None,
        marks: Sequence[Marks] | None = None,
    ) -> None:
        """Train on the labels of `episodes` and leave the iterate in `folder`; resumes if half done.

        `marks`, one for each episode, replace the weights of the steps; remedies that need none give none.
        """
        ...

    def controller(self, folder: Path, *, num_rows: int) -> Controller:
        """Return the iterate in `folder` as a controller."""
        ...

    def answers(self, folder: Path, episodes: Sequence[Episode]) -> list[np.ndarray]:
        """Return the iterate's mode at every recorded observation, (T, A) for each episode."""
        ...

    def loss(self, folder: Path, episodes: Sequence[Episode]) -> float:
        """Return the mean training loss of the iterate in `folder` on the labels of `episodes`."""
        ...

    def write(self, episodes: Sequence[Episode], folder: Path) -> None:
        """Store `episodes` in `folder`, all or nothing."""
        ...

    def read(self, folder: Path) -> list[Episode] | None:
        """Return the episodes in `folder`, or None if they were not stored completely."""
        ...


@runtime_checkable
class NetLearner(Learner, Protocol):
    """A learner whose iterates are policies: what some remedies look into, or change."""

    @property
    def policy_config(self) -> "PolicyConfig":
        """What its policies are made of."""
        ...

    @property
    def policy_spec(self) -> "PolicySpec":
        """What its policies are made for."""
        ...

    def policy(self, folder: Path) -> "PolicyModule":
        """Return the policy in `folder`."""
        ...

    def frames(self, episodes: Sequence[Episode]) -> Frames:
        """Lay the episodes end to end, with the features that the policy sees."""
        ...

    def with_input_noise(self, sigma: float) -> "NetLearner":
        """Return a learner whose policies see disturbed inputs while they are trained."""
        ...

    def judging(self) -> "NetLearner":
        """Return a learner whose head also learns from steps that were judged good or bad."""
        ...


def net_learner(learner: Learner) -> NetLearner:
    """Return a learner whose policies can be looked into.

    Raises:
        CapabilityError: This one shows none.
    """
    if not isinstance(learner, NetLearner):
        raise CapabilityError(
            "A gate by scores looks into the policy, which this learner does not show.",
            got=type(learner).__name__,
            expected="a learner with policy(folder) and frames(episodes), such as PolicyLearner",
            hint="use HumanGate",
        )
    return learner
