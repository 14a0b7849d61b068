"""`steadyhand runs` and `steadyhand show`: what every kind of run leaves is listed with its result."""

import contextlib
import json
import os
import shutil
from dataclasses import fields

import pytest

import steadyhand as sh
from steadyhand.cli.main import main
from steadyhand.core.lock import working_in
from steadyhand.recipes.bench import BenchRun
from steadyhand.recipes.listing import KINDS, runs_below, summary_of
from steadyhand.recipes.reinforce import ExpertRun
from steadyhand.recipes.runs import CorrectRun, EvalRun, RecordRun
from steadyhand.recipes.tour import TourRun
from steadyhand.recipes.train_run import TrainRun

SHORT = ("--set", "env.max_episode_steps=20")
RECORD = ("record", "car", "--observation", "state", "--episodes", "3", *SHORT, "--out", "demos")
TRAIN = ("train", "demos", "--steps", "10", "--out", "runs/clone")
EVAL = ("eval", "runs/clone", "--env", "car", "--starts", "4", "--videos", "0", *SHORT, "--out", "runs/eval")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a folder with a recording, a training and an evaluation."""
    folder = tmp_path_factory.mktemp("made")
    with contextlib.chdir(folder):
        for words in (RECORD, TRAIN, EVAL):
            assert main(list(words)) == 0
    return folder


@pytest.fixture
def runs(cli, made, tmp_path):
    """Return the command line, in a copy of that folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return cli


def test_every_kind_of_run_is_told_by_a_field_that_no_other_has():
    kinds = {
        "record": RecordRun, "train": TrainRun, "eval": EvalRun, "correct": CorrectRun, "bench": BenchRun,
        "tour": TourRun, "expert": ExpertRun,
    }  # fmt: skip
    assert set(KINDS.values()) == set(kinds)
    for field, verb in KINDS.items():
        assert [name for name, run in kinds.items() if field in {one.name for one in fields(run)}] == [verb]


def test_runs_lists_kind_env_policy_state_and_result(runs, tmp_path):
    listed = {one.folder.name: one for one in runs_below(tmp_path)}
    assert {name: (one.kind, one.state, one.about) for name, one in listed.items()} == {
        "demos": ("record", "finished", "car"),
        "clone": ("train", "finished", "demos"),
        "eval": ("eval", "finished", "car"),
    }
    assert listed["demos"].result == "3 episodes, 60 steps"
    assert listed["clone"].policy == "StateMLP + Regression"
    losses = json.loads((tmp_path / "runs/clone/result.json").read_text())
    assert listed["clone"].result == (
        f"loss {losses['train_loss']:.4g}, held-out {losses['validation_loss']:.4g}"
    )
    (clone,) = (
        one
        for one in json.loads((tmp_path / "runs/eval/report.json").read_text())["results"]
        if one["kind"] == "policy"
    )
    assert listed["eval"].result == f"clone {sum(clone['successes'])}/4"
    said = runs("runs", ".").out
    for one in listed.values():
        assert one.result in said
    assert "3 episodes" not in runs("runs").out, "the default is the folder runs"


def test_the_latest_run_comes_first(runs, tmp_path):
    os.utime(tmp_path / "demos" / "run.json", (2e9, 2e9))
    assert next(iter(runs_below(tmp_path))).folder.name == "demos"


def test_a_run_that_is_not_done_is_interrupted_and_one_that_is_held_is_running(runs, tmp_path):
    clone, evaluation = tmp_path / "runs" / "clone", tmp_path / "runs" / "eval"
    (evaluation / "report.json").unlink()
    (evaluation / "report.html").unlink()
    assert summary_of(evaluation).state == "interrupted"
    with working_in(evaluation):
        assert summary_of(evaluation).state == "running"
    assert summary_of(evaluation).state == "interrupted"
    longer = json.loads((clone / "run.json").read_text())
    longer["training"]["num_steps"] = 20
    (clone / "run.json").write_text(json.dumps(longer))
    assert summary_of(clone).state == "interrupted", "ten of twenty steps are done"
    assert runs("show", "runs/eval", "--open").status == 2


def test_show_prints_the_results_the_command_and_the_report_and_opens_it(runs, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda place: opened.append(place) or True)
    said = runs("show", "runs/eval").out
    assert "clone" in said
    assert "/4" in said
    assert "command: " in said
    assert not opened
    page = tmp_path / "runs" / "eval" / "report.html"
    assert f"report: {page}" in said
    assert runs("show", "runs/eval", "--open").status == 0
    assert opened == [page.as_uri()]
    assert "held-out" in runs("show", "runs/clone").out
    assert "3 episodes, 60 steps" in runs("show", "demos").out


def test_show_of_a_folder_around_runs_names_one(runs):
    said = runs("show", "runs")
    assert said.status == 2
    assert "did you mean 'runs/eval'?" in said.err


def test_what_python_made_is_listed_too(cli, tmp_path):
    env = sh.make("linear", num_rows=2, max_episode_steps=20)
    expert = sh.expert("lqr", env)
    demos = sh.record(env, expert, episodes=4, out=tmp_path / "demos", quiet=True)
    clone = sh.train(demos, steps=5, out=tmp_path / "clone", quiet=True)
    sh.compare([clone], env=env, starts=2, out=tmp_path / "compared")
    listed = {one.folder.name: one for one in runs_below(tmp_path)}
    assert {name: (one.kind, one.state) for name, one in listed.items()} == {
        "demos": ("record", "finished"),
        "clone": ("train", "finished"),
        "compared": ("compare", "finished"),
    }
    assert "clone" in listed["compared"].result


def test_files_that_cannot_be_read_are_named_and_hide_no_other_run(runs, tmp_path):
    (tmp_path / "runs" / "eval" / "report.json").write_text('{"results": [')
    (tmp_path / "runs" / "clone" / "result.json").write_text("{}")
    (tmp_path / "runs" / "empty").mkdir()
    (tmp_path / "runs" / "empty" / "run.json").write_text("{}")
    listed = {one.folder.name: one for one in runs_below(tmp_path)}
    assert listed["eval"].state == "unreadable"
    assert "report.json" in listed["eval"].result
    assert "does not describe a run" in listed["empty"].result
    assert listed["demos"].state == "finished"


def test_show_reads_what_is_whole_beside_what_is_not(runs, tmp_path):
    for held in ("[]", '{"command": ["a", 3], "warnings": 3}', '{"command": 3, "warnings": [3]}'):
        (tmp_path / "runs" / "clone" / "provenance.json").write_text(held)
        said = runs("show", "runs/clone")
        assert said.status == 0
        assert "held-out" in said.out
    (tmp_path / "runs" / "clone" / "result.json").write_text("[]")
    said = runs("show", "runs/clone")
    assert said.status == 0
    assert "unreadable" in said.out
