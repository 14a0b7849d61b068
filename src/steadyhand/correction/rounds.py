"""The rounds that all interactive remedies share: collect, aggregate, fit, validate, keep every iterate.

for i = 1..N: let somebody drive and label (what differs between remedies); aggregate; fit on everything.
Every iterate is kept, and the best one by validation rollouts is returned: the last one is often not the
best, and its training loss says nothing about it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from steadyhand.core.codec import load, save
from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.core.question import answering
from steadyhand.core.seeding import derive, short
from steadyhand.correction.burden import Burden
from steadyhand.correction.collect import collect
from steadyhand.correction.contract import RoundsConfig, Stage
from steadyhand.correction.learner import Learner
from steadyhand.correction.marks import plain
from steadyhand.correction.record import RoundRecord, best_of
from steadyhand.data.digests import episodes_digest
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.rollout.evaluate import Evaluation, evaluate


@dataclass(frozen=True, kw_only=True)
class RoundsResult:
    """Every iterate and which one is returned.

    Attributes:
        rounds: One record for each round.
        best: Number of the returned round: highest validation success, if it is told of every round, then
            return, then the later one.
        folders: Folder of each iterate, in order.
        queries: Labels asked in all, initial demonstrations included.
        trained_labels: Labels that the returned policy was trained on: not later rounds', nor those held out
            or left without weight.
        validation_starts: Starts by which the returned round was chosen.
    """

    rounds: tuple[RoundRecord, ...]
    best: int
    folders: tuple[Path, ...]
    queries: int
    trained_labels: int
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
        expert: The expert that labels and takes over.
        learner: Fits policies; see `Learner`.
        config: The remedy and its settings.
        folder: One folder for each round is kept here.
        seed: Seed of collection and training; each round derives its own.
        initial: Demonstrations; they count as labels and stand for the first round, so that the policy drives
            from round 1 on. Synthetic labels made from them (branches, behind all of them) are trained on
            too, and count for nothing.
        on_round: Called after each round that was not already complete, with its validation rollouts.

    Raises:
        ConfigError: The policy is to drive in round 1 and there is nothing to fit a first one to; or
            `initial` has branches and the gate holds demonstrations back; or `folder` holds the rounds of
            another question, or somebody else is working there.
    """
    config.check(env, expert, learner, initial=initial)
    question = {
        "method": config,
        "env": env,
        "expert": expert,
        "learner": learner,
        "seed": seed,
        "initial": episodes_digest(initial) if initial else None,
    }
    with answering(folder, "rounds", question, answers="round-*"):
        run = _Run(env, expert, learner, config, folder, seed, tuple(initial))
        for number in range(1, config.rounds + 1):
            validation = run.round(number)
            if on_round is not None and validation is not None:
                on_round(run.records[-1], validation)
        best = best_round(run.records)
        folders = tuple(run.folder_of(number) for number in range(1, config.rounds + 1))
        return RoundsResult(
            rounds=tuple(run.records),
            best=best,
            folders=folders,
            queries=run.records[-1].total_labels,
            trained_labels=run.trained_labels(best),
            validation_starts=config.validation_starts,
        )


def best_round(records: Sequence[RoundRecord]) -> int:
    """Return the round that is returned; see `RoundsResult.best`.

    Where success is not told of every round, the return alone compares all of them.
    """
    success = [record.validation_success for record in records]
    return records[best_of(success, [record.validation_return for record in records])].round


def round_starts(env: BatchEnv, config: RoundsConfig, *, round: int, seed: int) -> tuple[Start, ...]:
    """Return the starts of a round: `episodes_per_round` first ones, then spares for episodes that fail."""
    count = config.episodes_per_round + config.labels_per_round
    return env.starts(config.family, count, seed=short(derive(seed, "starts", round)))


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

    def _everything(self, number: int | None = None) -> list[Episode]:
        """Return the episodes of all rounds so far, or of the first `number`."""
        return [*self.initial, *(episode for group in self.collected[:number] for episode in group)]

    @property
    def _held_out(self) -> list[Episode]:
        """The last demonstrations, kept from training; they count as labels all the same."""
        demonstrations = [*self.initial] if self.initial else self.collected[0] if self.collected else []
        count = self.config.num_held_out
        if not count or not demonstrations:
            return []
        if count >= len(demonstrations):
            raise ConfigError(
                "Nothing is left to train on: all demonstrations of the first round are held out.",
                got=f"{len(demonstrations)} demonstrations, {count} held out",
                hint="ask for more episodes in a round",
            )
        return demonstrations[-count:]

    def _training(self, number: int | None = None) -> list[Episode]:
        held_out = {id(episode) for episode in self._held_out}
        return [episode for episode in self._everything(number) if id(episode) not in held_out]

    def trained_labels(self, number: int) -> int:
        """Return how many of the asked labels the iterate of a round was trained on."""
        episodes = self._training(number)
        marks = self.config.marks(episodes) or [plain(episode) for episode in episodes]
        return sum(
            int((episode.expert_action_valid & (one.weight > 0)).sum())
            for episode, one in zip(episodes, marks, strict=True)
            if episode.branch is None
        )

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
        trials = replace(Burden.of(stage.trials), successes=0)  # nobody watched: no success of the team
        save(self.folder_of(number) / "burden.json", Burden.of(episodes) + trials)
        return episodes

    def _validate(self, number: int) -> Evaluation:
        seed = derive(self.seed, "validation")
        starts = self.env.starts("validation", self.config.validation_starts, seed=short(seed))
        controller = self.learner.controller(self.folder_of(number), num_rows=self.env.num_rows)
        return evaluate(self.env, controller, starts, name=f"round {number}", seed=seed)

    def _record(self, number: int, validation: Evaluation) -> RoundRecord:
        here, beta = self.folder_of(number), self._share(number)
        online = None
        asked = Burden.of(self.collected[-1]).labels
        if beta < 1.0 and asked:
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
            total_labels=Burden.of(everything).labels,
            online_loss=online,
            hindsight_loss=hindsight,
            regret=regret,
            train_loss=self.learner.loss(here, self._training()),
            validation_success=None if validation.success is None else float(validation.success.mean()),
            validation_return=float(validation.returns.mean()),
            starts_failed=sum(episode.success is False for episode in self.collected[-1]),
            burden=load(here / "burden.json", Burden),
        )
