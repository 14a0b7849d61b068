"""The rounds that all interactive remedies share: collect, aggregate, fit, validate, keep every iterate.

for i = 1..N: let somebody drive and label (what differs between remedies); aggregate; fit on everything.
Every iterate is kept, and the best one by validation rollouts is returned: the last one is often not the
best, and its training loss says nothing about it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from steadyhand.core.codec import load, save
from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.correction.burden import Burden
from steadyhand.correction.collect import collect
from steadyhand.correction.marks import Marks
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Family, Start
from steadyhand.rollout.evaluate import Evaluation, evaluate


@runtime_checkable
class Learner(Protocol):
    """What a remedy needs of a policy class: it never sees networks, losses or optimisers."""

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


@dataclass(frozen=True, kw_only=True)
class RoundsConfig(ABC):
    """Settings that all interactive remedies share; what differs is who drives and what is kept.

    Attributes:
        rounds: Number of rounds N; there is one iterate for each.
        labels_per_round: Labels asked in each round, at most.
        episodes_per_round: Starts over which a round's labels are spread evenly.
        training: "refit" starts each iterate from fresh parameters; "fine_tune" from the last iterate's.
        family: Family of starts on which data is collected.
        validation_starts: Number of validation starts by which the returned iterate is chosen.
    """

    rounds: int = 5
    labels_per_round: int = 200
    episodes_per_round: int = 4
    training: Literal["refit", "fine_tune"] = "refit"
    family: Family = "train"
    validation_starts: int = 32

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.labels_per_round < 1 or self.episodes_per_round < 1:
            raise ConfigError(
                "Rounds, labels and episodes must be positive.",
                got=f"{self.rounds}, {self.labels_per_round}, {self.episodes_per_round}",
            )
        if self.labels_per_round < self.episodes_per_round:
            raise ConfigError(
                "There are fewer labels than episodes in a round.",
                got=f"{self.labels_per_round} labels, {self.episodes_per_round} episodes",
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

    @abstractmethod
    def expert_share(self, round: int) -> float:
        """Return the share of expert control in a round, counted from 1: 1 means demonstrations."""

    @abstractmethod
    def driver(self, stage: "Stage") -> Controller:
        """Return who drives in a round, and who labels."""

    @abstractmethod
    def limits(self, stage: "Stage") -> tuple[int, int | None]:
        """Return after how many steps an episode of a round is cut, and the round as a whole."""

    def marks(self, episodes: Sequence[Episode]) -> Sequence[Marks] | None:
        """Return what the steps are worth in training; None for their own weights."""
        del episodes
        return None


@dataclass(kw_only=True)
class Stage:
    """Everything that a remedy may look at before a round.

    Attributes:
        env: The env.
        expert: The expert.
        learner: The learner.
        round: Number of the round, from 1.
        seed: Of this round's driver.
        folder: Where the round may keep what it fits (ensemble members, classifiers).
        iterate: Folder of the policy that is to drive; None while only the expert drives.
        policy: The same as a controller.
        training: Episodes that the iterate was trained on.
        held_out: Demonstrations that it was not trained on.
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

        What a gate's threshold is set on must not be filtered by the gate. The steps count as env steps of
        the round.
        """
        if self.policy is None:
            raise ConfigError("There is no policy to drive yet.", got=f"round {self.round}")
        starts = self.env.starts(self.family, num_episodes, seed=derive(self.seed, "trial starts") % 2**31)
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


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """What one round did; written when the round is complete.

    Attributes:
        round: Number of the round, from 1.
        beta: Share of expert control while its data was collected.
        labels: Labels asked in this round.
        total_labels: Labels asked so far, initial demonstrations included.
        online_loss: Loss of the iterate that drove, on the data it collected, before it was trained on them;
            None in a round in which only the expert drove.
        hindsight_loss: Mean loss of this round's iterate on the data of all rounds that have an online loss.
        regret: Mean online loss so far minus `hindsight_loss`; it should fall towards 0.
        train_loss: Loss of this round's iterate on everything it was trained on.
        validation_success: Share of validation episodes that succeeded.
        validation_return: Their mean return.
        starts_failed: Episodes of this round's collection that ended in failure.
        burden: What collecting this round cost, trials of the policy alone included.
    """

    round: int
    beta: float
    labels: int
    total_labels: int
    online_loss: float | None
    hindsight_loss: float | None
    regret: float | None
    train_loss: float
    validation_success: float
    validation_return: float
    starts_failed: int
    burden: Burden = field(default_factory=Burden)


@dataclass(frozen=True, kw_only=True)
class RoundsResult:
    """Every iterate and which one is returned.

    Attributes:
        rounds: One record for each round.
        best: Number of the returned round: highest validation success, then return, then the later one.
        folders: Folder of each iterate, in order.
        queries: Labels asked in all, initial demonstrations included.
        validation_starts: Starts by which the returned round was chosen.
    """

    rounds: tuple[RoundRecord, ...]
    best: int
    folders: tuple[Path, ...]
    queries: int
    validation_starts: int

    @property
    def best_folder(self) -> Path:
        """Folder of the returned iterate."""
        return self.folders[self.best - 1]

    @property
    def burden(self) -> Burden:
        """What all rounds cost together."""
        return sum((record.burden for record in self.rounds), start=Burden())


def teach_in_rounds(
    env: BatchEnv,
    expert: Controller,
    learner: Learner,
    *,
    config: RoundsConfig,
    folder: Path,
    seed: int,
    initial: Sequence[Episode] = (),
    on_round: Callable[[RoundRecord, Evaluation], None] | None = None,
) -> RoundsResult:
    """Run the rounds of a remedy; call again with the same arguments to continue it, bit for bit.

    Args:
        env: Env for collection and validation.
        expert: Who labels, and takes over.
        learner: Fits policies; see `Learner`.
        config: The remedy and its settings.
        folder: One folder for each round is kept here.
        seed: Seed of collection and training; each round derives its own.
        initial: Demonstrations; they count as labels and stand for the first round, so that the policy drives
            from round 1 on.
        on_round: Called after each round that was not already complete, with its validation rollouts.

    Raises:
        ConfigError: The policy is to drive in round 1 and there is nothing to fit a first one to.
    """
    run = _Run(env, expert, learner, config, folder, seed, tuple(initial))
    for number in range(1, config.rounds + 1):
        validation = run.round(number)
        if on_round is not None and validation is not None:
            on_round(run.records[-1], validation)
    best = max(run.records, key=lambda r: (r.validation_success, r.validation_return, r.round)).round
    folders = tuple(run.folder_of(number) for number in range(1, config.rounds + 1))
    return RoundsResult(
        rounds=tuple(run.records),
        best=best,
        folders=folders,
        queries=run.records[-1].total_labels,
        validation_starts=config.validation_starts,
    )


def round_starts(env: BatchEnv, config: RoundsConfig, *, round: int, seed: int) -> tuple[Start, ...]:
    """Return the starts of a round: `episodes_per_round` first ones, then spares for episodes that fail."""
    count = config.episodes_per_round + config.labels_per_round
    return env.starts(config.family, count, seed=derive(seed, "starts", round) % 2**31)


@dataclass
class _Run:
    """One run in progress: what is fixed, and what the rounds have produced so far."""

    env: BatchEnv
    expert: Controller
    learner: Learner
    config: RoundsConfig
    folder: Path
    seed: int
    initial: tuple[Episode, ...]
    records: list[RoundRecord] = field(default_factory=list[RoundRecord])
    collected: list[list[Episode]] = field(default_factory=list[list[Episode]])

    def folder_of(self, number: int) -> Path:
        return self.folder / f"round-{number:02d}"

    def round(self, number: int) -> Evaluation | None:
        """Do what is left of a round; None if it was complete."""
        here = self.folder_of(number)
        episodes = self.learner.read(here / "episodes")
        if episodes is None:
            episodes = self._collect(number)
            self.learner.write(episodes, here / "episodes")
        self.collected.append(episodes)
        done = here / "record.json"
        if done.is_file():
            self.records.append(load(done, RoundRecord))
            return None
        warm_start = (
            self.folder_of(number - 1) if number > 1 and self.config.training == "fine_tune" else None
        )
        self._fit(number, warm_start=warm_start)
        validation = self._validate(number)
        record = self._record(number, validation)
        save(done, record)
        self.records.append(record)
        return validation

    def _everything(self) -> list[Episode]:
        return [*self.initial, *(episode for group in self.collected for episode in group)]

    @property
    def _held_out(self) -> list[Episode]:
        """The last demonstrations, kept from training; they count as labels all the same."""
        demonstrations = [*self.initial] if self.initial else self.collected[0] if self.collected else []
        count = self.config.num_held_out
        if count and count >= len(demonstrations) > 0:
            raise ConfigError(
                "Nothing is left to train on: all demonstrations of the first round are held out.",
                got=f"{len(demonstrations)} demonstrations, {count} held out",
                hint="ask for more episodes in a round",
            )
        return demonstrations[len(demonstrations) - count :] if count else []

    def _training(self) -> list[Episode]:
        held_out = {id(episode) for episode in self._held_out}
        return [episode for episode in self._everything() if id(episode) not in held_out]

    def _fit(self, number: int, *, warm_start: Path | None = None) -> None:
        episodes = self._training()
        marks = self.config.marks(episodes)
        extra = {} if marks is None else {"marks": marks}
        self.learner.fit(
            episodes,
            folder=self.folder_of(number),
            seed=derive(self.seed, "fit", number),
            warm_start=warm_start,
            **extra,
        )

    def _share(self, number: int) -> float:
        """Return the share of expert control; demonstrations stand for the first round."""
        return self.config.expert_share(number + 1 if self.initial else number)

    def _collect(self, number: int) -> list[Episode]:
        config, share = self.config, self._share(number)
        iterate = policy = None
        if share < 1.0 or (config.reads_iterate and (number > 1 or self.initial)):
            if number == 1 and not self.initial:
                raise ConfigError(
                    "There is no policy to drive in the first round.",
                    got=f"beta_1 = {share}",
                    hint="give demonstrations, or a schedule with beta_1 = 1",
                )
            if number == 1:
                self._fit(0)
            iterate = self.folder_of(number - 1)
            if share < 1.0:
                policy = self.learner.controller(iterate, num_rows=self.env.num_rows)
        stage = Stage(
            env=self.env,
            expert=self.expert,
            learner=self.learner,
            round=number + 1 if self.initial else number,
            seed=derive(self.seed, "driver", number),
            folder=self.folder_of(number) / "driver",
            iterate=iterate,
            policy=policy,
            training=self._training(),
            held_out=self._held_out,
            family=config.family,
            num_rows=config.episodes_per_round,
        )
        driver = config.driver(stage)
        max_steps, max_env_steps = config.limits(stage)
        episodes = collect(
            self.env,
            driver,
            round_starts(self.env, config, round=number, seed=self.seed),
            source="demonstration" if policy is None else "correction",
            seed=derive(self.seed, "collect", number),
            num_labels=config.labels_per_round,
            num_rows=config.episodes_per_round,
            max_steps=max_steps,
            max_env_steps=max_env_steps,
            round=number,
        )
        self.folder_of(number).mkdir(parents=True, exist_ok=True)
        save(self.folder_of(number) / "burden.json", Burden.of(episodes) + Burden.of(stage.trials))
        return episodes

    def _validate(self, number: int) -> Evaluation:
        seed = derive(self.seed, "validation")
        starts = self.env.starts("validation", self.config.validation_starts, seed=seed % 2**31)
        controller = self.learner.controller(self.folder_of(number), num_rows=self.env.num_rows)
        return evaluate(self.env, controller, starts, name=f"round {number}", seed=seed)

    def _record(self, number: int, validation: Evaluation) -> RoundRecord:
        here, beta = self.folder_of(number), self._share(number)
        online = None
        asked = sum(episode.num_labels for episode in self.collected[-1])
        if beta < 1.0 and (number > 1 or self.initial) and asked:
            online = self.learner.loss(self.folder_of(number - 1), self.collected[-1])
        losses = [*(record.online_loss for record in self.records), online]
        scored = [
            (group, loss) for group, loss in zip(self.collected, losses, strict=True) if loss is not None
        ]
        hindsight = regret = None
        if scored:
            hindsight = sum(self.learner.loss(here, group) for group, _ in scored) / len(scored)
            regret = sum(loss for _, loss in scored) / len(scored) - hindsight
        everything = self._everything()
        return RoundRecord(
            round=number,
            beta=beta,
            labels=asked,
            total_labels=sum(episode.num_labels for episode in everything),
            online_loss=online,
            hindsight_loss=hindsight,
            regret=regret,
            train_loss=self.learner.loss(here, self._training()),
            validation_success=float(validation.success.mean()),
            validation_return=float(validation.returns.mean()),
            starts_failed=sum(episode.success is False for episode in self.collected[-1]),
            burden=load(here / "burden.json", Burden),
        )
