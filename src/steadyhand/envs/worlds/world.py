"""One copy of a simulator that others wrote: what it must tell, so that `WorldEnv` can run many of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, UInt8

from steadyhand.core.specs import FeatureSpec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.base import Start


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is true of every copy of a world.

    Attributes:
        env_id: Name of the env, as errors and data sets call it.
        senses: Name of a sense -> its numbers, which become the feature "observation.NAME".
        cameras: Names of the cameras, which become features "observation.images.NAME"; the first one also
            draws the pictures for people.
        privileged: Feature "privileged.NAME" -> numbers that only experts see.
        action: What a step takes; what lies out of its bounds is clipped before a world sees it.
        control_dt: Time between two actions [s].
        success: When an episode counts as a success, in words.
        task: What is to be done, in words.
    """

    env_id: str
    senses: Mapping[str, FeatureSpec]
    cameras: tuple[str, ...] = ()
    privileged: Mapping[str, FeatureSpec] = field(default_factory=dict[str, FeatureSpec])
    action: FeatureSpec
    control_dt: float
    success: SuccessRule
    task: str = ""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one step of a world brought.

    Attributes:
        reward: What the step earned.
        terminated: Whether the task ended by its own rules.
        success: Whether the task counts as done if the episode ends here.
    """

    reward: float
    terminated: bool
    success: bool


class World(ABC):
    """One copy of a simulator.

    It never resets itself, draws only what it is asked to draw, and what it does hangs on its start and the
    actions alone: two copies that are reset to the same start and given the same actions are the same, bit
    for bit, whatever either did before.
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """What a start may name."""

    facts: Facts

    @abstractmethod
    def reset(self, start: Start) -> None:
        """Begin anew; the seed of the start decides everything that its options leave open."""

    @abstractmethod
    def step(self, action: Float32[np.ndarray, " A"]) -> Turn:
        """Advance by `facts.control_dt`; the action lies within its bounds."""

    @abstractmethod
    def numbers(self) -> Mapping[str, np.ndarray]:
        """Return all numbers of the present state: sense -> value, and "privileged.NAME" -> value."""

    def draw(self, camera: str, *, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
        """Return the picture of a camera; only worlds that name cameras are asked."""
        raise NotImplementedError

    def instruction(self) -> str:
        """Return what this episode is to do, in words."""
        return self.facts.task

    def snapshot(self) -> Mapping[str, np.ndarray] | None:
        """Return the whole state, so that `put_back` continues bit for bit; None if a world cannot."""
        return None

    def put_back(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a snapshot, of this copy or another one."""
        raise NotImplementedError

    def fault(self) -> str:
        """Return what went wrong in the last step though it raised nothing, in a sentence; or nothing."""
        return ""

    def close(self) -> None:  # noqa: B027  optional
        """Free what the copy holds."""
