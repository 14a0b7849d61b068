"""The contract of interactive remedies: what they decide about a round, and what they may read before it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive, short
from steadyhand.core.settings import Count, Range
from steadyhand.correction.collect import collect
from steadyhand.correction.learner import Learner
from steadyhand.correction.marks import Marks
from steadyhand.correction.remedy import Remedy, Task, TrainedPolicy
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Family

if TYPE_CHECKING:
    from steadyhand.correction.budget import Budget


@dataclass(frozen=True, kw_only=True)
class RoundsConfig(Remedy, ABC):
    """Settings that all interactive remedies share; what differs is who drives and what is kept.

    Attributes:
        rounds: Number of rounds N; there is one iterate for each.
        labels_per_round: Labels asked in each round, at most.
        episodes_per_round: Starts over which a round's labels are spread evenly.
        training: "refit" starts each iterate from fresh parameters; "fine_tune" from the last iterate's.
        family: Family of starts on which data is collected.
        validation_starts: Number of validation starts by which the returned iterate is chosen.
    """

    rounds: Count = 5
    labels_per_round: Annotated[Count, Range(ge="episodes_per_round")] = 200
    episodes_per_round: Count = 4
    training: Literal["refit", "fine_tune"] = "refit"
    family: Family = "train"
    validation_starts: Count = 32

    @classmethod
    def from_budget(cls, budget: "Budget") -> "RoundsConfig":
        """Return its settings with the labels shared evenly by the rounds."""
        return cls(
            rounds=budget.rounds,
            labels_per_round=budget.labels // budget.rounds,
            episodes_per_round=budget.episodes,
            validation_starts=budget.validation_starts,
        )

    @property
    def num_labels(self) -> int:
        """Labels asked in all rounds, at most."""
        return self.rounds * self.labels_per_round

    @property
    def num_episodes(self) -> int:
        """Planned episodes in all rounds."""
        return self.rounds * self.episodes_per_round

    @property
    def steps_per_episode(self) -> int:
        """Steps that an episode has if its labels are asked at every step."""
        return -(-self.labels_per_round // self.episodes_per_round)

    @property
    def num_held_out(self) -> int:
        """Demonstrations of the first round that no iterate is trained on: thresholds are set on them."""
        return 0

    @property
    def reads_iterate(self) -> bool:
        """Whether `driver` looks at the last iterate even where only the expert drives."""
        return False

    def check(
        self, env: BatchEnv, expert: Controller, learner: Learner, *, initial: Sequence[Episode] = ()
    ) -> None:
        """Refuse a first round without anybody to drive it, or one that leaves nothing to train on.

        Args:
            env: Env for collection.
            expert: The expert that will label.
            learner: The learner that will fit policies.
            initial: Demonstrations that stand for the first round.

        Raises:
            ConfigError: There is nothing to fit a first policy to, nothing to hold out, or nothing left.
            CapabilityError: Env or learner cannot do what the remedy asks of them.
        """
        del env, expert, learner
        share = self.expert_share(1)
        if share < 1.0 and not initial:
            raise ConfigError(
                "There is no policy to drive in the first round.",
                got=f"beta_1 = {share}",
                hint="give demonstrations, or a schedule with beta_1 = 1",
            )
        if not self.num_held_out:
            return
        branches = sum(episode.branch is not None for episode in initial)
        if branches:
            raise ConfigError(
                "This gate holds demonstrations back, but labels made from them would be trained on.",
                got=f"{branches} branches in `initial`",
                hint="give the demonstrations without their views or corrective labels, or use another gate",
            )
        planned = len(initial) or self.episodes_per_round
        if self.num_held_out >= planned:
            raise ConfigError(
                "Nothing is left to train on: all demonstrations of the first round are held out.",
                got=f"{planned} demonstrations, {self.num_held_out} held out",
                hint="ask for more episodes in a round",
            )

    @abstractmethod
    def expert_share(self, round: int) -> float:
        """Return the share of expert control in a round, counted from 1: 1 means demonstrations."""

    @abstractmethod
    def driver(self, stage: "Stage") -> Controller:
        """Return the controller that drives and labels in a round."""

    @abstractmethod
    def limits(self, stage: "Stage") -> tuple[int, int | None]:
        """Return the most steps of an episode, and of the round as a whole (None: no limit)."""

    def marks(self, episodes: Sequence[Episode]) -> Sequence[Marks] | None:
        """Return weight and kind of each step in training; None leaves their own weights."""
        del episodes
        return None

    def teach(self, task: Task) -> TrainedPolicy:
        """Teach in rounds, and return the iterate that was best on validation starts."""
        from steadyhand.correction.rounds import teach_in_rounds

        learner, told = self.adapted(task.learner), task.on_round
        result = teach_in_rounds(
            task.env,
            task.expert,
            learner,
            config=self,
            folder=task.folder,
            seed=task.seed,
            initial=task.initial,
            on_round=None if told is None else lambda record, _: told(record),
        )
        return TrainedPolicy(
            name=self.in_tables,
            folder=result.best_folder,
            labels=result.queries,
            trained_labels=result.trained_labels,
            learner=learner,
            burden=result.burden,
            fits=result.folders,
            rounds=result,
            note=f"round {result.best} of {self.rounds}, trained on {result.trained_labels} of "
            f"{result.queries} labels, chosen on validation starts",
        )


@dataclass(kw_only=True)
class Stage:
    """Everything that a remedy may read before a round.

    Attributes:
        env: The env.
        expert: The expert.
        learner: The learner.
        round: Number of the round, from 1.
        seed: Seed of the driver of this round.
        folder: Folder for what the round fits (ensemble members, classifiers).
        iterate: Folder of the policy that is to drive; None while only the expert drives.
        policy: The policy that is to drive, as a controller.
        training: Episodes that the iterate was trained on.
        held_out: Demonstrations that the iterate was not trained on.
        family: Family of starts on which data is collected.
        num_rows: Episodes that run at the same time.
        trials: What `drive` recorded in this round.
    """

    env: BatchEnv
    expert: Controller
    learner: Learner
    round: int
    seed: int
    folder: Path
    iterate: Path | None
    policy: Controller | None
    training: Sequence[Episode]
    held_out: Sequence[Episode]
    family: Family
    num_rows: int
    trials: list[Episode] = field(default_factory=list[Episode])

    def drive(self, num_episodes: int, *, max_steps: int) -> list[Episode]:
        """Let the iterate drive alone, unlabelled.

        The steps on which a gate's threshold is set must not be filtered by the gate. They count as env steps
        of the round.
        """
        if self.policy is None:
            raise ConfigError("There is no policy to drive yet.", got=f"round {self.round}")
        starts = self.env.starts(self.family, num_episodes, seed=short(derive(self.seed, "trial starts")))
        episodes = collect(
            self.env,
            self.policy,
            starts,
            source="rollout",
            seed=derive(self.seed, "trials"),
            max_steps=max_steps,
            round=self.round,
        )
        self.trials += episodes
        return episodes
