"""A remedy: the labels of more and shorter drives."""

from dataclasses import dataclass, replace
from typing import ClassVar

from steadyhand.correction.budget import Budget
from steadyhand.correction.offline import OfflineRemedy
from steadyhand.correction.remedy import Task
from steadyhand.data.episode import Episode


@dataclass(frozen=True, kw_only=True)
class ManyStarts(OfflineRemedy):
    """Demonstrations from many starts.

    Attributes:
        factor: How many times as many drives as cloning has.
    """

    name: ClassVar[str] = "many-starts"
    title: ClassVar[str] = "many starts"
    summary: ClassVar[str] = "let the expert begin more often"

    factor: int = 2

    @classmethod
    def from_budget(cls, budget: Budget) -> OfflineRemedy:
        """Return cloning's budget."""
        return replace(super().from_budget(budget), factor=2)

    def collect(self, task: Task) -> list[Episode]:
        """Return the demonstrations."""
        more = replace(self, num_episodes=min(self.num_labels, self.factor * self.num_episodes))
        return more.driven(task, task.expert)
