"""What teaching costs the person who teaches, counted from what was recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from steadyhand.core.protocol import Actor
from steadyhand.data.episode import Episode


@dataclass(frozen=True, kw_only=True)
class Burden:
    """Costs of collecting some episodes.

    Attributes:
        labels: Steps at which the expert was asked.
        human_steps: Steps at which the expert drove, by taking over or in demonstrations.
        switches: Changes of control from policy to expert and back, within episodes.
        interventions: Times that the expert took over.
        env_steps: Steps of the env.
        violations: Episodes that ended in failure by the env's rules (off the road, fallen). Episodes whose
            success nothing tells are neither violations nor successes.
        successes: Episodes that ended in success, drives of the policy alone left out.
        episodes: Episodes.
    """

    labels: int = 0
    human_steps: int = 0
    switches: int = 0
    interventions: int = 0
    env_steps: int = 0
    violations: int = 0
    successes: int = 0
    episodes: int = 0

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> "Burden":
        """Count what `episodes` cost; synthetic one-step branches cost nothing."""
        real = [episode for episode in episodes if episode.branch is None]
        driven = [(episode.actor != Actor.POLICY).astype(np.int8) for episode in real]
        taken = [np.diff(episode.intervention.astype(np.int8), prepend=0) > 0 for episode in real]
        return cls(
            labels=sum(episode.num_labels for episode in real),
            human_steps=sum(int(part.sum()) for part in driven),
            switches=sum(int((np.diff(part) != 0).sum()) for part in driven),
            interventions=sum(int(part.sum()) for part in taken),
            env_steps=sum(len(episode) for episode in real),
            violations=sum(episode.terminated and episode.success is False for episode in real),
            successes=sum(episode.success is True for episode in real),
            episodes=len(real),
        )

    def __add__(self, other: "Burden") -> "Burden":
        """Return the sum of both."""
        names = [field.name for field in fields(self)]
        return Burden(**{name: getattr(self, name) + getattr(other, name) for name in names})
