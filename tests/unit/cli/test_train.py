"""`steadyhand train`: what it says before and after, how it stops, goes on and starts from another run."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from steadyhand.cli import terminal
from steadyhand.core.codec import load
from steadyhand.policies.artifact import load_policy
from steadyhand.recipes.runs import TrainRun

TRAIN = ("train", "own.npz", "--control-dt", 0.02, "--batch-size", 8)


@pytest.fixture
def arrays(tmp_path: Path) -> None:
    """Six episodes of 20 steps: a state of four numbers, a picture, and two actions that follow the state."""
    generator = np.random.default_rng(0)
    state = generator.normal(size=(120, 4)).astype(np.float32)
    action = np.tanh(state[:, :2] + 0.1 * generator.normal(size=(120, 2))).astype(np.float32)
    ends = np.arange(20, 121, 20)
    np.savez(tmp_path / "own.npz", observation=state, action=action, episode_ends=ends)


def weights(folder: str) -> bytes:
    return (Path(folder) / "weights.safetensors").read_bytes()


def result(folder: str) -> dict:
    return json.loads((Path(folder) / "result.json").read_text())


def test_one_line_before_training_says_what_is_seen_and_with_what(cli, arrays):
    said = cli(*TRAIN, "--steps", 5, "--out", "run", "--horizon", 3)
    assert said.status == 0
    line = said.out.splitlines()[0]
    assert line.startswith(
        "sees observation.state (4); leaves out nothing; StateMLP -> Regression, horizon 3, "
    )
    assert line.endswith("parameters, on cpu")


def test_the_last_line_says_when_the_held_out_loss_has_risen_and_where_the_best_is(cli, arrays):
    words = (*TRAIN, "--steps", 200, "--learning-rate", 0.02)
    said = cli(*words, "--out", "run")
    found = result("run")
    assert found["validation_loss"] > found["best_validation_loss"]
    last = said.out.splitlines()[-1]
    assert f"lowest at step {found['best_step']} ({found['best_validation_loss']:.4g})" in last
    assert "has risen" in last
    assert Path("run/training/best/policy.json").is_file()
    assert str(Path("run/training/best")) in last
    said = cli(*words, "--out", "best", "--keep", "best")
    assert result("best")["kept_step"] == found["best_step"]
    assert weights("best/policy") == weights("run/training/best")
    assert f"those of step {found['best_step']}" in said.out.splitlines()[-1]


def test_a_checkpoint_is_evaluated_like_a_policy(cli, arrays):
    generator = np.random.default_rng(0)
    state = generator.normal(size=(120, 4)).astype(np.float32)
    ends = np.arange(20, 121, 20)
    np.savez("poles.npz", observation=state, action=(state[:, 2] > 0).astype(np.int64), episode_ends=ends)
    words = (
        "train",
        "poles.npz",
        "--control-dt",
        0.02,
        "--batch-size",
        8,
        "--steps",
        20,
        "--classes",
        "0..1",
    )
    assert cli(*words, "--out", "run").status == 0
    state_folder = "run/training/state/step-00000018"
    said = cli("eval", "run", state_folder, "--env", "CartPole-v1", "--starts", 2, "--out", "report")
    assert said.status == 0
    assert "step-00000018" in said.out


def test_a_longer_run_continues_where_the_schedule_allows_it(cli, arrays):
    words = (*TRAIN, "--set", "training.schedule=constant")
    assert cli(*words, "--steps", 20, "--out", "run").status == 0
    assert cli(*words, "--steps", 40, "--out", "run", "--resume").status == 0
    assert cli(*words, "--steps", 40, "--out", "whole", "--set", "training.warmup_steps=2").status == 0
    assert weights("run/policy") == weights("whole/policy")
    assert load(Path("run/run.json"), TrainRun).training.num_steps == 40
    assert result("run")["steps"] == 40


def test_a_longer_run_is_refused_where_the_learning_rate_fell(cli, arrays):
    assert cli(*TRAIN, "--steps", 20, "--out", "run").status == 0
    before = weights("run/policy")
    said = cli(*TRAIN, "--steps", 40, "--out", "run", "--resume")
    assert said.status == 2
    assert "cannot be made longer" in said.err
    assert "--from run" in said.err
    assert weights("run/policy") == before
    assert load(Path("run/run.json"), TrainRun).training.num_steps == 20


def test_training_starts_from_another_run(cli, arrays):
    assert cli(*TRAIN, "--steps", 30, "--out", "first", "--horizon", 2).status == 0
    still = ("--learning-rate", 1e-12, "--set", "training.weight_decay=0")
    words = ("train", "own.npz", "--control-dt", 0.02, "--steps", 3, "--from", "first", *still)
    assert cli(*words, "--out", "second").status == 0
    first, second = load_policy(Path("first/policy")), load_policy(Path("second/policy"))
    assert second.config == first.config
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        np.testing.assert_allclose(two.detach(), one.detach(), atol=1e-9)
    run = load(Path("second/run.json"), TrainRun)
    assert run.start == Path("first")
    assert run.training.batch_size == 8, "the training of the first run, where nothing else is said"
    said = cli(*words, "--out", "third", "--head", "Gaussian")
    assert said.status == 2
    assert "--head" in said.err
    assert not Path("third").exists()


def test_what_is_computed_with_is_said_afterwards(cli, arrays):
    words = ("--precision", "bf16", "--accumulate", 2, "--threads", 2, "--device", "auto")
    assert cli(*TRAIN, "--steps", 5, "--out", "run", *words).status == 0
    used = result("run")["used"]
    assert (used["precision"], used["batch_parts"], used["threads"]) == ("bf16", 2, 2)
    assert used["device"].startswith(("cpu", "cuda", "mps"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_saves_first_and_says_where(process, arrays, tmp_path, number, status):
    words = (*TRAIN, "--steps", 2000, "--out", "run")
    lines = tmp_path / "run" / "training" / "metrics.jsonl"
    running = process(*words, slow=0.01)
    left, said = running.interrupt_when(lambda: lines.exists() and lines.stat().st_size > 0, number=number)
    assert left == status
    assert "Traceback" not in said
    states = list((tmp_path / "run" / "training" / "state").glob("step-*"))
    assert len(states) == 1, "no checkpoint was due but that of the signal"
    assert states[0].name.removeprefix("step-").lstrip("0") in said
    assert load_policy(states[0]).config.horizon == 1


def test_off_a_terminal_long_work_says_every_tenth_once_a_second_at_most(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    with terminal.progress("driving", enabled=False) as start:
        tick = start("DAgger")
        for done in range(1, 101):
            now += 0.5
            tick(done, 100, "loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "driving DAgger: 10 of 100, loss 1, 45 s left"
    assert lines[-1] == "driving DAgger: 100 of 100, loss 1"
    with terminal.progress("driving", enabled=False) as start:
        tick = start("")
        for done in range(1, 101):
            now += 0.009
            tick(done, 100)
    assert capsys.readouterr().err == "", "short work says nothing"
