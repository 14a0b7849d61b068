"""Trainings and rounds tell their metrics to whoever listens, and to trackers by their own packages."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from steadyhand.core.errors import ConfigError
from steadyhand.correction.burden import Burden
from steadyhand.correction.record import RoundRecord
from steadyhand.envs.forks.config import ForksConfig
from steadyhand.experts.config import ForksExpert
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.correct import correct
from steadyhand.recipes.logs import logging_to
from steadyhand.recipes.runs import CorrectRun
from steadyhand.training.config import TrainConfig

SETTINGS = TrainConfig(num_steps=7)


class Writer:
    """Stands in for a SummaryWriter and for a run of a tracker."""

    made: list["Writer"]

    def __init__(self, **options):
        self.options, self.scalars, self.logged, self.axes, self.ended = options, [], [], [], 0
        self.made.append(self)

    def add_scalar(self, tag, value, step):
        self.scalars.append((tag, value, step))

    def log(self, figures):
        self.logged.append(figures)

    def define_metric(self, name, *, step_metric):
        self.axes.append((name, step_metric))

    def close(self):
        self.ended += 1

    finish = close


@pytest.fixture
def arrays(tmp_path):
    """Six episodes of ten steps."""
    seen = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    ends = np.arange(10, 61, 10)
    np.savez(tmp_path / "own.npz", observation=seen, action=seen[:, :1], episode_ends=ends)


@pytest.fixture(params=["tensorboard", "wandb", "trackio"])
def tracker(request, monkeypatch):
    """Install a package that keeps what it is told; returns its name and its runs."""
    kind = type("Made", (Writer,), {"made": []})
    module = ModuleType(request.param)
    module.SummaryWriter = module.init = kind
    name = "torch.utils.tensorboard" if request.param == "tensorboard" else request.param
    monkeypatch.setitem(sys.modules, name, module)
    return request.param, kind.made


def test_what_is_told_arrives_under_its_source(tracker, tmp_path):
    name, made = tracker
    with logging_to(name, tmp_path / "run", SETTINGS) as tell:
        assert made == []  # a run that is refused leaves nothing
        tell(tmp_path / "run/dagger/round-02/training", 100, {"loss": 0.5})
        tell(tmp_path / "run/training", 5, {"loss": 0.25, "samples": 10})
        tell(tmp_path / "run/rounds", 2, {"validation_success": 1.0})
    (writer,) = made
    assert writer.ended == 1
    if name == "tensorboard":
        assert writer.options == {"log_dir": str(tmp_path / "run/tensorboard")}
        assert writer.scalars == [
            ("dagger/round-02/loss", 0.5, 100),
            ("training/loss", 0.25, 5),
            ("training/samples", 10, 5),
            ("rounds/validation_success", 1.0, 2),
        ]
        return
    assert writer.logged == [
        {"dagger/round-02/step": 100, "dagger/round-02/loss": 0.5},
        {"training/step": 5, "training/loss": 0.25, "training/samples": 10},
        {"rounds/step": 2, "rounds/validation_success": 1.0},
    ]
    assert (writer.options["project"], writer.options["name"]) == ("steadyhand", "run")
    assert writer.options["config"]["num_steps"] == 7
    assert ("dir" in writer.options) == (name == "wandb")
    axes = [(f"{source}/*", f"{source}/step") for source in ("dagger/round-02", "training", "rounds")]
    assert writer.axes == (axes if name == "wandb" else [])


def test_a_log_ends_also_where_the_run_is_interrupted(tracker, tmp_path):
    name, made = tracker

    def interrupted():
        with logging_to(name, tmp_path, SETTINGS) as tell:
            tell(tmp_path / "training", 1, {"loss": 0.5})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [writer.ended for writer in made] == [1]


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_package_that_is_missing_is_named_before_anything_is_done(cli, arrays, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard" if name == "tensorboard" else name, None)
    said = cli("train", "own.npz", "--out", "run", "--log", name)
    assert said.status == 2
    assert f"needs the package {name}" in said.err
    assert f"pip install {name}" in said.err
    assert not Path("run").exists()


def test_a_tracker_that_does_not_begin_says_why(tmp_path, monkeypatch):
    module = ModuleType("wandb")

    def init(**options):
        raise RuntimeError("no API key")

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    with logging_to("wandb", tmp_path, SETTINGS) as tell, pytest.raises(ConfigError, match="no API key"):
        tell(tmp_path / "training", 1, {"loss": 0.5})


def test_no_log_listens_to_nothing(tmp_path):
    with logging_to("none", tmp_path, SETTINGS) as tell:
        assert tell is None


def test_train_reports_the_lines_of_metrics_jsonl(cli, arrays, tracker):
    name, made = tracker
    assert cli("train", "own.npz", "--steps", 20, "--out", "run", "--log", name).status == 0
    lines = [json.loads(line) for line in Path("run/training/metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 10  # at each tenth
    (writer,) = made
    if name == "tensorboard":
        told = [(step, value) for tag, value, step in writer.scalars if tag == "training/loss"]
    else:
        told = [(figures["training/step"], figures["training/loss"]) for figures in writer.logged]
    assert told == [(line["step"], line["loss"]) for line in lines]


def test_correct_reports_every_fit_and_every_round(tmp_path):
    run = CorrectRun(
        env=ForksConfig(),
        expert=ForksExpert(),
        policy=PolicyConfig(encoder=StateMLP(hidden=(4,))),
        training=TrainConfig(num_steps=4, batch_size=4, log_every=2),
        evaluation_starts=2,
        num_videos=0,
        clone=False,
    )
    method = replace(run.method, rounds=2, labels_per_round=20, episodes_per_round=2, validation_starts=2)
    told: list[tuple[Path, int, dict[str, float]]] = []
    correct(
        replace(run, method=method),
        tmp_path,
        on_metrics=lambda where, step, figures: told.append((where.relative_to(tmp_path), step, figures)),
    )
    first, second = (Path(f"dagger/round-0{number}/training") for number in (1, 2))
    assert [(where, step) for where, step, _ in told] == [
        (first, 2),
        (first, 4),
        (Path("rounds"), 1),
        (second, 2),
        (second, 4),
        (Path("rounds"), 2),
    ]
    assert [figures["total_labels"] for where, _, figures in told if where == Path("rounds")] == [20, 40]
    assert all(figures["loss"] > 0 for where, _, figures in told if where != Path("rounds"))


def test_correct_reports_to_a_tracker(cli, tracker):
    name, made = tracker
    small = ("--labels", 40, "--rounds", 2, "--episodes", 2, "--steps", 4, "--starts", 2, "--videos", 0)
    words = ("correct", "dagger", "forks", *small, "--set", "method.validation_starts=2", "--log", name)
    assert cli(*words, "--out", "run").status == 0
    (writer,) = made
    if name == "tensorboard":
        sources = {tag.rpartition("/")[0] for tag, _, _ in writer.scalars}
    else:
        sources = {figure.rpartition("/")[0] for figures in writer.logged for figure in figures}
    assert sources == {"cloning", "dagger/round-01", "dagger/round-02", "rounds"}


def test_the_figures_of_a_round_are_the_numbers_that_there_are():
    record = RoundRecord(
        round=3,
        beta=0.0,
        labels=10,
        total_labels=30,
        online_loss=None,
        hindsight_loss=None,
        regret=None,
        train_loss=0.5,
        validation_success=None,
        validation_return=2.0,
        starts_failed=1,
        burden=Burden(labels=10, env_steps=40),
    )
    figures = record.figures
    assert figures["burden_env_steps"] == 40
    assert {"round", "burden", "online_loss", "validation_success"}.isdisjoint(figures)
    assert all(isinstance(value, int | float) for value in figures.values())
