"""What a round starts from, what it may spend, and what is told of it."""

import json
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from line_learner import Gain, Line, Shown
from plane_env import Homing, Linear, Plane
from point_env import Halving, PointEnv
from steadyhand.core.errors import ConfigError
from steadyhand.core.specs import STATE
from steadyhand.correction.budget import Budget
from steadyhand.correction.burden import Burden
from steadyhand.correction.contract import Stage
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.dart import DartConfig
from steadyhand.correction.gated_remedies import HgDagger
from steadyhand.correction.mixture import FirstRoundOnly
from steadyhand.correction.record import RoundRecord, best_of
from steadyhand.correction.remedy import Task
from steadyhand.correction.rounds import round_starts, teach_in_rounds
from steadyhand.data.episode import demonstration

SMALL = {"rounds": 3, "labels_per_round": 8, "episodes_per_round": 2, "validation_starts": 2}


class Watched:
    """Keeps the stages of a run."""

    stages: ClassVar[list[Stage]] = []

    def driver(self, stage):
        self.stages.append(stage)
        return super().driver(stage)


@dataclass(frozen=True, kw_only=True)
class WatchedDagger(Watched, DaggerConfig):
    pass


@dataclass(frozen=True, kw_only=True)
class WatchedDart(Watched, DartConfig):
    pass


class Late(FirstRoundOnly):
    """The policy drives from the third round on."""

    def beta(self, round):
        return 1.0 if round < 3 else 0.0


class Sources(Line):
    """Notes where from each fit's episodes are."""

    memory = ("calls", "die_at", "sources")

    def __init__(self):
        super().__init__()
        self.sources = []

    def fit(self, episodes, **rest):
        self.sources.append([episode.provenance.source for episode in episodes])
        super().fit(episodes, **rest)


@pytest.fixture(autouse=True)
def no_stages():
    Watched.stages.clear()


def names(stages):
    return [None if stage.iterate is None else stage.iterate.name for stage in stages]


def test_the_last_iterate_is_there_from_the_round_on_in_which_it_drives(tmp_path):
    learner, config = Sources(), WatchedDagger(**SMALL, beta=Late())
    result = teach_in_rounds(PointEnv(2), Halving(), learner, config=config, folder=tmp_path, seed=0)
    stages = Watched.stages
    assert [stage.round for stage in stages] == [1, 2, 3]
    assert names(stages) == [None, None, "round-02"]
    assert [type(stage.policy) for stage in stages] == [type(None), type(None), Gain]
    assert [len(stage.training) for stage in stages] == [0, 2, 4]
    assert [stage.folder.parent.name for stage in stages] == ["round-01", "round-02", "round-03"]
    assert {(stage.num_rows, stage.family, len(stage.held_out)) for stage in stages} == {(2, "train", 0)}
    assert [record.beta for record in result.rounds] == [1.0, 1.0, 0.0]
    assert [record.online_loss is None for record in result.rounds] == [True, True, False]
    assert learner.sources[-1] == ["demonstration"] * 4 + ["correction"] * 2


def test_with_demonstrations_the_policy_drives_at_once(tmp_path):
    x = np.array([[0.5], [-0.25]], dtype=np.float32)
    initial = [demonstration({STATE: x}, -0.5 * x, control_dt=0.1)]
    config = WatchedDagger(**{**SMALL, "rounds": 2})
    teach_in_rounds(PointEnv(2), Halving(), Line(), config=config, folder=tmp_path, seed=0, initial=initial)
    assert [stage.round for stage in Watched.stages] == [2, 3]
    assert names(Watched.stages) == ["round-00", "round-01"]


def test_dart_reads_the_last_iterate_and_lets_nobody_but_the_expert_drive(tmp_path):
    env = Plane(2)
    config = WatchedDart(**{**SMALL, "labels_per_round": 16, "episodes_per_round": 4})
    result = teach_in_rounds(env, Homing(env), Linear(env), config=config, folder=tmp_path, seed=0)
    assert names(Watched.stages) == [None, "round-01", "round-02"]
    assert all(stage.policy is None for stage in Watched.stages)
    assert [record.online_loss for record in result.rounds] == [None] * 3


def test_every_new_round_is_told_of_and_none_twice(tmp_path):
    told = []

    def go():
        return teach_in_rounds(
            PointEnv(2),
            Halving(),
            Line(),
            config=DaggerConfig(**SMALL),
            folder=tmp_path,
            seed=0,
            on_round=lambda record, validation: told.append((record.round, len(validation.returns))),
        )

    go()
    assert told == [(1, 2), (2, 2), (3, 2)]
    again = go()
    assert len(told) == 3
    assert [folder.name for folder in again.folders] == ["round-01", "round-02", "round-03"]
    assert again.best_folder == again.folders[again.best - 1]
    assert again.burden.labels == 24


@pytest.mark.parametrize("is_told", [True, False])
def test_a_remedy_that_teaches_tells_of_its_rounds_and_returns_the_best(is_told, tmp_path):
    told = []
    task = Task(
        env=PointEnv(2),
        expert=Halving(),
        learner=Shown(),
        folder=tmp_path,
        seed=0,
        key="",
        on_round=told.append if is_told else None,
    )
    taught = DaggerConfig(**SMALL).teach(task)
    assert [record.round for record in told] == [1, 2, 3] * is_told
    assert (taught.labels, taught.trained_labels) == (24, 8 * taught.rounds.best)
    assert taught.folder == taught.fits[taught.rounds.best - 1]
    assert taught.name == "DAgger"


@dataclass(frozen=True, kw_only=True)
class Trying(DaggerConfig):
    """Lets the policy drive alone before each round."""

    def driver(self, stage):
        if stage.policy is not None:
            assert len(stage.drive(3, max_steps=4)) == 3
        return super().driver(stage)


def test_drives_of_the_policy_alone_cost_steps_and_are_nobodys_successes(tmp_path):
    env = PointEnv(2, max_episode_steps=4)
    result = teach_in_rounds(env, Halving(), Line(), config=Trying(**SMALL), folder=tmp_path, seed=0)
    own = Burden(labels=8, human_steps=8, env_steps=8, successes=2, episodes=2)
    assert result.rounds[0].burden == own
    assert result.rounds[1].burden == replace(own, human_steps=0, env_steps=8 + 3 * 4, episodes=2 + 3)


def test_a_stage_without_a_policy_has_nobody_to_drive(tmp_path):
    stage = stage_of(tmp_path)
    with pytest.raises(ConfigError, match="no policy to drive yet"):
        stage.drive(1, max_steps=2)


class HeldOut(DaggerConfig):
    """Keeps so many demonstrations from training."""

    kept: ClassVar[int] = 0

    @property
    def num_held_out(self):
        return self.kept


@pytest.mark.parametrize("kept", [1, 2])
def test_the_last_demonstrations_are_kept_from_training_and_count_as_labels(kept, tmp_path):
    """One row drives: 5 labels in steps of 2 make 3 episodes of the 4 that were planned."""
    config = type("Kept", (HeldOut,), {"kept": kept})(
        rounds=2, labels_per_round=5, episodes_per_round=4, validation_starts=2
    )
    learner = Line()
    result = teach_in_rounds(PointEnv(1), Halving(), learner, config=config, folder=tmp_path, seed=0)
    lengths = [2, 2, 1][: 3 - kept]
    sizes = [json.loads((folder / "line.json").read_text())["n"] for folder in result.folders]
    assert sizes == [sum(lengths), sum(lengths) + 5]
    assert result.trained_labels == sizes[result.best - 1]
    assert result.queries == 10


def test_a_first_round_that_has_fewer_drives_than_planned_may_leave_nothing_to_train_on(tmp_path):
    config = type("Kept", (HeldOut,), {"kept": 3})(rounds=1, labels_per_round=5, episodes_per_round=4)
    with pytest.raises(ConfigError, match="Nothing is left to train on"):
        teach_in_rounds(PointEnv(1), Halving(), Line(), config=config, folder=tmp_path, seed=0)


def test_starts_have_spares_for_every_label_and_are_other_ones_in_each_round():
    env, config = PointEnv(2), DaggerConfig(labels_per_round=8, episodes_per_round=3)
    starts = [round_starts(env, config, round=number, seed=4) for number in (1, 2)]
    assert [len(one) for one in starts] == [11, 11]
    assert starts[0] != starts[1]


def stage_of(folder, *, policy=None):
    return Stage(
        env=PointEnv(2),
        expert=Halving(),
        learner=Line(),
        round=1,
        seed=0,
        folder=folder,
        iterate=None,
        policy=policy,
        training=(),
        held_out=(),
        family="train",
        num_rows=2,
    )


def test_what_rounds_plan(tmp_path):
    """20 labels over 7 episodes: 3 steps each at most."""
    counts = {"rounds": 3, "labels_per_round": 20, "episodes_per_round": 7}
    alone, driven = stage_of(tmp_path), stage_of(tmp_path, policy=Gain(0.0))
    dagger = DaggerConfig(**counts, query_every=4)
    assert (dagger.num_labels, dagger.num_episodes, dagger.steps_per_episode) == (60, 21, 3)
    assert (dagger.num_held_out, dagger.reads_iterate) == (0, False)
    assert (dagger.limits(alone), dagger.limits(driven)) == ((3, None), (12, None))
    gated = HgDagger(**counts, stretch=2.5, patience=1.5)
    assert (gated.limits(alone), gated.limits(driven)) == ((3, None), (7, 30))
    assert [gated.expert_share(number) for number in (1, 2, 3)] == [1.0, 0.0, 0.0]
    dart = DartConfig(**counts)
    assert dart.limits(alone) == (3, None)
    assert [dart.expert_share(number) for number in (1, 2)] == [1.0, 1.0]


def test_a_budget_is_shared_by_the_rounds():
    budget = Budget(labels=60, rounds=3, episodes=4, query_every=2, validation_starts=9)
    assert DaggerConfig.from_budget(budget) == DaggerConfig(
        rounds=3, labels_per_round=20, episodes_per_round=4, query_every=2, validation_starts=9
    )
    human = replace(budget.human, miss_rate=0.5)
    gated = HgDagger.from_budget(replace(budget, human=human))
    assert (gated.labels_per_round, gated.gate.human) == (20, human)
    with pytest.raises(ConfigError, match="ask for 60 or 63 labels"):
        replace(budget, labels=61)
    with pytest.raises(ConfigError, match="fewer rounds"):
        replace(budget, labels=2)
    with pytest.raises(ConfigError, match="labels = 0"):
        replace(budget, labels=0)


@pytest.mark.parametrize(
    ("success", "returns", "best"),
    [
        ([0.2, 0.8, 0.5], [9.0, 1.0, 5.0], 1),
        ([None, 0.8, 0.5], [9.0, 1.0, 5.0], 0),  # not told of every round: the return alone compares
        ([0.5, 0.5, 0.0], [2.0, 1.0, 9.0], 0),
        ([0.5, 0.5, 0.0], [1.0, 1.0, 9.0], 1),  # alike in both: the later one
    ],
)
def test_the_best_round_has_the_highest_success_then_return(success, returns, best):
    assert best_of(success, returns) == best


def test_the_figures_of_a_round_are_those_that_there_are():
    record = RoundRecord(
        round=2,
        beta=0.0,
        labels=8,
        total_labels=16,
        online_loss=0.0,
        hindsight_loss=0.25,
        regret=None,
        train_loss=0.5,
        validation_success=None,
        validation_return=-3.0,
        starts_failed=0,
        burden=Burden(labels=8, episodes=2),
    )
    figures = record.figures
    assert {name: figures[name] for name in ("beta", "labels", "online_loss", "burden_episodes")} == {
        "beta": 0.0,
        "labels": 8,
        "online_loss": 0.0,
        "burden_episodes": 2,
    }
    assert not {"round", "burden", "regret", "validation_success"} & set(figures)
    assert len(figures) == 8 + 8
