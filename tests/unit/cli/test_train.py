"""`steadyhand train`: what it says before and after, how it stops, goes on and starts from another run."""

import json
import re
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from steadyhand.core.codec import load
from steadyhand.core.lock import working_in
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.data.episode import demonstration
from steadyhand.data.formats.arrays import ArrayDataset
from steadyhand.data.store import EpisodeStore
from steadyhand.face.progress import progress
from steadyhand.policies.artifact import load_policy
from steadyhand.recipes.train_run import TrainRun

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
    refused = cli(*words, "--steps", 40, "--out", "run")
    assert refused.status == 2
    assert "with fewer steps" in refused.err
    assert "add --resume to make it longer" in refused.err
    assert cli(*words, "--steps", 40, "--out", "run", "--resume").status == 0
    assert cli(*words, "--steps", 40, "--out", "whole", "--set", "training.warmup_steps=2").status == 0
    assert weights("run/policy") == weights("whole/policy")
    assert load(Path("run/run.json"), TrainRun).training.num_steps == 40
    assert result("run")["steps"] == 40


def test_a_rate_that_nobody_told_is_said_to_be_assumed(cli, arrays):
    told, untold = ("--control-dt", 0.05), ()
    for words in (("data", "info"), ("data", "check"), ("train",)):
        out = ("--steps", 2, "--out") if words == ("train",) else ()
        for rate in (told, untold):
            name = "-".join((*words, *map(str, rate)))
            said = cli(*words, "own.npz", *rate, *out, *([name] if out else []))
            assert said.status == 0
            assert ("nobody tells its rate, so 20 Hz is assumed" in said.out) == (rate == untold)


def test_a_longer_run_on_other_data_is_refused_and_leaves_the_run_as_it_was(cli, arrays):
    words = (*TRAIN, "--set", "training.schedule=constant")
    assert cli(*words, "--steps", 20, "--out", "run").status == 0
    before, asked = weights("run/policy"), Path("run/run.json").read_text()
    whole = dict(np.load("own.npz"))
    np.savez("own.npz", **{**whole, "action": -whole["action"]})
    assert cli(*words, "--steps", 40, "--out", "run", "--resume").status == 2
    assert Path("run/run.json").read_text() == asked
    assert weights("run/policy") == before
    np.savez("own.npz", **whole)
    assert cli(*words, "--steps", 20, "--out", "run", "--resume").status == 0


def test_a_longer_run_is_refused_where_the_learning_rate_fell(cli, arrays):
    assert cli(*TRAIN, "--steps", 20, "--out", "run").status == 0
    before = weights("run/policy")
    for resume in ((), ("--resume",)):
        said = cli(*TRAIN, "--steps", 40, "--out", "run", *resume)
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
    assert json.loads(Path("run/provenance.json").read_text())["used"] == used


def test_another_run_is_refused_before_the_data_are_read_and_a_held_folder_too(cli, arrays, monkeypatch):
    words = (*TRAIN, "--steps", 5, "--out", "run")
    assert cli(*words).status == 0

    def unread(*_: object, **__: object) -> None:
        raise AssertionError("pictures would be decoded here")

    monkeypatch.setattr(ArrayDataset, "frames", unread)
    other = cli(*words, "--seed", 1, "--resume")
    assert other.status == 2
    assert "seed: 0 there, 1 asked for" in other.err
    assert "--resume" in cli(*words).err
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with working_in(Path("run")):
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(60)
        said = cli(*TRAIN, "--out", "run", "--resume", "--steps", 9)
    finally:
        done.set()
        thread.join()
    assert said.status == 2
    assert "Somebody is working in run" in said.err
    assert load(Path("run/run.json"), TrainRun).training.num_steps == 5


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


def test_discrete_actions_get_a_table_of_right_answers(cli, arrays):
    """The class says whether the first number is positive, which it is in two steps of three."""
    generator = np.random.default_rng(0)
    state = generator.normal(0.5, 1.0, size=(600, 3)).astype(np.float32)
    action = (state[:, 0] > 0).astype(np.int64)
    np.savez("own.npz", observation=state, action=action, episode_ends=np.arange(20, 601, 20))
    said = cli(*TRAIN, "--classes", "0..1", "--steps", 300, "--learning-rate", 0.003, "--out", "run")
    assert said.status == 0
    found = {one["name"]: one for one in result("run")["held_out_accuracies"]}
    assert list(found) == ["policy", "repeat last command", "most frequent class", "nearest neighbour"]
    assert found["policy"]["accuracy"] > 0.9
    assert 0.5 < found["most frequent class"]["accuracy"] < 0.9
    assert found["most frequent class"]["by_class"] == 0.5
    assert found["nearest neighbour"]["accuracy"] > found["repeat last command"]["accuracy"]
    for name, one in found.items():
        assert f"{100 * one['accuracy']:.1f} %" in next(
            x for x in said.out.splitlines() if x.startswith(name)
        )
    assert not [line for line in said.out.splitlines() if "is better than the policy" in line]


@pytest.mark.parametrize("is_discrete", [False, True])
def test_an_answer_without_learning_that_is_better_is_said_at_the_end(cli, arrays, is_discrete):
    """Actions that stay for ten steps, and a state of noise: repeating the last command is better."""
    generator = np.random.default_rng(0)
    state = generator.normal(size=(400, 3)).astype(np.float32)
    held = np.repeat(generator.integers(0, 3, size=40), 10)
    action = held if is_discrete else (held[:, None] - 1.0 + 1e-3 * state[:, :1]).astype(np.float32)
    np.savez("own.npz", observation=state, action=action, episode_ends=np.arange(20, 401, 20))
    classes = ("--classes", "0..2") if is_discrete else ()
    said = cli(*TRAIN, *classes, "--steps", 20, "--out", "run")
    assert said.status == 0
    ending = said.out[said.out.index("policy: ") :]
    assert 'warning: "repeat last command" is better than the policy' in ending
    assert any("repeat last command" in line for line in result("run")["warnings"])


def test_the_page_of_a_run_holds_its_numbers_and_opens_offline(cli, arrays):
    words = (*TRAIN, "--steps", 200, "--learning-rate", 0.02, "--horizon", 2)
    said = cli(*words, "--out", "run")
    page = Path("run/report.html").read_text()
    assert str(Path("run/report.html").resolve()) in said.out
    assert "</html>" in page
    assert not re.search(r"(src|href)=.?https?:", page)
    found = result("run")
    for one in found["held_out_errors"]:
        assert f">{one['name']}<" in page
        assert f"{one['mean']:.4g}" in page
    assert f"step {found['best_step']}" in page
    assert "sees observation.state (4)" in page
    assert "has risen by" in page
    assert "steadyhand train own.npz" in page


def test_what_to_beware_of_in_the_data_is_said_before_training(cli, tmp_path):
    generator = np.random.default_rng(0)
    state = generator.normal(size=(60, 3)).astype(np.float32)
    state[:, 1] = 1e-6 * state[:, 1]
    np.savez("own.npz", observation=state, action=state[:, :1], episode_ends=np.arange(20, 61, 20))
    said = cli(*TRAIN, "--steps", 3, "--out", "run")
    before = said.out[: said.out.index("3 steps in")]
    assert "note: observation.state[1] hardly moves" in before
    assert "hardly moves" in Path("run/report.html").read_text()


def test_several_tasks_are_said_to_be_untold(cli, tmp_path):
    tasks = ("open the drawer", "close the drawer")
    with EpisodeStore.create(
        tmp_path / "two",
        observation={STATE: FeatureSpec(shape=(2,))},
        action=FeatureSpec(shape=(1,)),
        control_dt=0.1,
    ) as store:
        for number in range(4):
            values = np.random.default_rng(number).normal(size=(10, 3)).astype(np.float32)
            episode = demonstration(
                {STATE: values[:, :2]}, values[:, 2:], control_dt=0.1, task=tasks[number % 2]
            )
            store.append(episode)
        store.compact()
    said = cli("train", "two", "--steps", 3, "--out", "run")
    assert said.status == 0
    line = next(line for line in said.out.splitlines() if line.startswith("note: there are 2 tasks"))
    assert "the policy is not told which one" in line
    assert all(f'"{task}" (20 steps)' in line for task in tasks)


def test_off_a_terminal_long_work_says_every_tenth_once_a_second_at_most(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr("steadyhand.face.progress.time.monotonic", lambda: now)
    with progress("driving") as start:
        tick = start("DAgger")
        for done in range(1, 101):
            now += 0.5
            tick(done, 100, "loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "driving DAgger: 10 of 100, loss 1, 45 s left"
    assert lines[-1] == "driving DAgger: 100 of 100, loss 1"
    with progress("driving") as start:
        tick = start("")
        for done in range(1, 101):
            now += 0.009
            tick(done, 100)
    assert capsys.readouterr().err == "", "short work says nothing"
