"""DAgger (Ross, Gordon and Bagnell, 2011): label the states that the learner itself visits.

for i = 1..N: roll out pi_i = beta_i pi* + (1 - beta_i) pi_hat_i; label every visited state with pi*;
aggregate; pi_hat_{i+1} = fit(all data). Every iterate is kept, and the best one by validation rollouts is
returned: the last one is often not the best, and its training loss says nothing about it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from steadyhand.core.codec import load, save
from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.correction.collect import collect
from steadyhand.correction.mixture import BetaSchedule, FirstRoundOnly, Granularity, Mixture
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Family, Start
from steadyhand.rollout.evaluate import Evaluation, evaluate


@runtime_checkable
class Learner(Protocol):
    """What DAgger needs of a policy class: it never sees networks, losses or optimisers."""

    def fit(self, episodes: Sequence[Episode], *, folder: Path, seed: int, warm_start: Path | None) -> None:
        """Train on the labels of `episodes` and leave the iterate in `folder`; resumes if half done."""
        ...

    def controller(self, folder: Path, *, num_rows: int) -> Controller:
        """Return the iterate in `folder` as a controller."""
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
class DaggerConfig:
    """Settings of the method.

    Attributes:
        rounds: Number of rounds N; there is one iterate for each.
        labels_per_round: Labels asked in each round.
        episodes_per_round: Starts over which a round's labels are spread evenly.
        beta: Share of expert control by round.
        mixture: Draw who drives at every "step", or once for each "trajectory".
        query_every: While the policy drives, ask the expert at every so many steps: the same labels then come
            from drives that are as many times longer, closer to where the policy really goes.
        training: "refit" starts each iterate from fresh parameters; "fine_tune" from the last iterate's.
        family: Family of starts on which data is collected.
        validation_starts: Number of validation starts by which the returned iterate is chosen.
    """

    rounds: int = 5
    labels_per_round: int = 200
    episodes_per_round: int = 4
    beta: BetaSchedule = field(default_factory=FirstRoundOnly)
    mixture: Granularity = "step"
    query_every: int = 1
    training: Literal["refit", "fine_tune"] = "refit"
    family: Family = "train"
    validation_starts: int = 32

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.labels_per_round < 1 or self.episodes_per_round < 1:
            raise ConfigError(
                "Rounds, labels and episodes must be positive.",
                got=f"{self.rounds}, {self.labels_per_round}, {self.episodes_per_round}",
            )
        if self.query_every < 1:
            raise ConfigError("query_every counts steps.", got=self.query_every, expected=">= 1")
        if self.labels_per_round < self.episodes_per_round:
            raise ConfigError(
                "There are fewer labels than episodes in a round.",
                got=f"{self.labels_per_round} labels, {self.episodes_per_round} episodes",
            )

    @property
    def num_labels(self) -> int:
        """Labels asked in all rounds."""
        return self.rounds * self.labels_per_round

    @property
    def num_episodes(self) -> int:
        """Planned episodes in all rounds."""
        return self.rounds * self.episodes_per_round


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


@dataclass(frozen=True, kw_only=True)
class DaggerResult:
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


def dagger(
    env: BatchEnv,
    expert: Controller,
    learner: Learner,
    *,
    config: DaggerConfig,
    folder: Path,
    seed: int,
    initial: Sequence[Episode] = (),
    on_round: Callable[[RoundRecord, Evaluation], None] | None = None,
) -> DaggerResult:
    """Run DAgger; call again with the same arguments to continue an interrupted run, bit for bit.

    Args:
        env: Env for collection and validation.
        expert: Labels every visited state, and drives with probability beta.
        learner: Fits policies; see `Learner`.
        config: Settings.
        folder: One folder for each round is kept here.
        seed: Seed of collection and training; each round derives its own.
        initial: Demonstrations; they count as labels and stand for the schedule's first round, so that with
            `FirstRoundOnly` the policy drives from round 1 on.
        on_round: Called after each round that was not already complete, with its validation rollouts.

    Raises:
        ConfigError: beta_1 < 1 and there are no demonstrations to fit a first policy to.
    """
    run = _Run(env, expert, learner, config, folder, seed, tuple(initial))
    for number in range(1, config.rounds + 1):
        validation = run.round(number)
        if on_round is not None and validation is not None:
            on_round(run.records[-1], validation)
    best = max(run.records, key=lambda r: (r.validation_success, r.validation_return, r.round)).round
    folders = tuple(run.folder_of(number) for number in range(1, config.rounds + 1))
    return DaggerResult(
        rounds=tuple(run.records),
        best=best,
        folders=folders,
        queries=run.records[-1].total_labels,
        validation_starts=config.validation_starts,
    )


def round_starts(env: BatchEnv, config: DaggerConfig, *, round: int, seed: int) -> tuple[Start, ...]:
    """Return the starts of a round: `episodes_per_round` first ones, then spares for episodes that fail."""
    count = config.episodes_per_round + config.labels_per_round
    return env.starts(config.family, count, seed=derive(seed, "starts", round) % 2**31)


@dataclass
class _Run:
    """One run in progress: what is fixed, and what the rounds have produced so far."""

    env: BatchEnv
    expert: Controller
    learner: Learner
    config: DaggerConfig
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
        self._fit(self._everything(), number, warm_start=warm_start)
        validation = self._validate(number)
        record = self._record(number, validation)
        save(done, record)
        self.records.append(record)
        return validation

    def _everything(self) -> list[Episode]:
        return [*self.initial, *(episode for group in self.collected for episode in group)]

    def _fit(self, episodes: Sequence[Episode], number: int, *, warm_start: Path | None = None) -> None:
        seed = derive(self.seed, "fit", number)
        self.learner.fit(episodes, folder=self.folder_of(number), seed=seed, warm_start=warm_start)

    def _beta(self, number: int) -> float:
        """Return the share of expert control; demonstrations stand for the schedule's first round."""
        return self.config.beta.beta(number + 1 if self.initial else number)

    def _collect(self, number: int) -> list[Episode]:
        config, beta = self.config, self._beta(number)
        policy = None
        if beta < 1.0:
            if number == 1 and not self.initial:
                raise ConfigError(
                    "There is no policy to drive in the first round.",
                    got=f"beta_1 = {beta}",
                    hint="give demonstrations, or a schedule with beta_1 = 1",
                )
            if number == 1:
                self._fit(self.initial, 0)
            policy = self.learner.controller(self.folder_of(number - 1), num_rows=self.env.num_rows)
        stretch = 1 if policy is None else config.query_every
        mixture = Mixture(
            policy, self.expert, beta=beta, granularity=config.mixture, query_every=config.query_every
        )
        return collect(
            self.env,
            mixture,
            round_starts(self.env, config, round=number, seed=self.seed),
            source="demonstration" if policy is None else "correction",
            seed=derive(self.seed, "collect", number),
            num_labels=config.labels_per_round,
            num_rows=config.episodes_per_round,
            max_steps=stretch * -(-config.labels_per_round // config.episodes_per_round),
            round=number,
        )

    def _validate(self, number: int) -> Evaluation:
        seed = derive(self.seed, "validation")
        starts = self.env.starts("validation", self.config.validation_starts, seed=seed % 2**31)
        controller = self.learner.controller(self.folder_of(number), num_rows=self.env.num_rows)
        return evaluate(self.env, controller, starts, name=f"round {number}", seed=seed)

    def _record(self, number: int, validation: Evaluation) -> RoundRecord:
        here, beta = self.folder_of(number), self._beta(number)
        online = None
        if beta < 1.0 and (number > 1 or self.initial):
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
            labels=sum(episode.num_labels for episode in self.collected[-1]),
            total_labels=sum(episode.num_labels for episode in everything),
            online_loss=online,
            hindsight_loss=hindsight,
            regret=regret,
            train_loss=self.learner.loss(here, everything),
            validation_success=float(validation.success.mean()),
            validation_return=float(validation.returns.mean()),
            starts_failed=sum(episode.success is False for episode in self.collected[-1]),
        )
