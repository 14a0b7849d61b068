"""Each verb at toy size: what it leaves behind, what it prints, and that a run.json makes the run again."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from steadyhand.core.codec import load
from steadyhand.core.errors import ConfigError
from steadyhand.data.dataset import open_dataset
from steadyhand.envs.car.config import CarConfig
from steadyhand.recipes.runs import CorrectRun, EvalRun, RecordRun
from steadyhand.recipes.train_run import TrainRun

SMALL = (
    "--set",
    "env.num_tracks=1",
    "--set",
    "env.num_held_out_tracks=1",
    "--set",
    "env.max_episode_steps=20",
)
RECORD = ("record", "car", "--observation", "state", "--labels", 40, *SMALL)
TRAIN = ("train", "--steps", 12, "--batch-size", 8)
CORRECT = ("--steps", 12, "--batch-size", 8, "--starts", 2, *SMALL)


@pytest.fixture
def demos(cli) -> str:
    """A recording of four episodes of ten steps."""
    assert cli(*RECORD, "--out", "demos").status == 0
    return "demos"


@pytest.fixture
def clone(cli, demos) -> str:
    """The run folder of a clone of it."""
    assert cli(*TRAIN, demos, "--out", "clone").status == 0
    return "clone"


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def weights(folder: Path | str) -> bytes:
    return (Path(folder) / "policy" / "weights.safetensors").read_bytes()


def check_report(folder: Path, out: str, *, names: list[str], starts: int) -> None:
    """Require that report.json holds the numbers that were printed."""
    report = json.loads((folder / "report.json").read_text())
    assert [one["name"] for one in report["results"]] == names
    for one in report["results"]:
        assert len(one["successes"]) == starts
        row = next(line.split() for line in out.splitlines() if re.match(rf"{one['name']} +\d", line))
        words = len(one["name"].split())
        assert row[words] == f"{sum(one['successes'])}/{starts}"
        assert row[words + 5] == f"{np.mean(one['returns']):.1f}"
        if one["cost"]["labels"] is not None:
            assert str(one["cost"]["labels"]) in row
    assert report["verdict"] in out
    page = (folder / "report.html").read_text()
    assert "</html>" in page
    assert not re.search(r"(src|href)=.?https?:", page), "the page opens offline"


@pytest.mark.parametrize(
    ("senses", "features"),
    [
        (["state"], ["observation.state"]),
        (["lidar", "state"], ["observation.environment_state", "observation.state"]),
        (["observation.images.front"], ["observation.images.front"]),
    ],
)
def test_record_stores_the_senses_asked_for(cli, senses, features):
    said = cli("record", "car", "--labels", 8, "--out", "demos", *SMALL, "--observation", *senses)
    assert said.status == 0
    assert "4 episodes, 8 steps, 8 labels" in said.out
    dataset = open_dataset(Path("demos"))
    assert list(dataset.observation) == features
    assert dataset.lengths.tolist() == [2, 2, 2, 2]
    assert load(Path("demos/run.json"), RecordRun).num_labels == 8
    assert cli("data", "check", "demos").status == 0


def test_record_disturbs_what_is_executed_and_not_the_labels(cli):
    assert cli(*RECORD, "--out", "noisy", "--noise", 0.5, "--set", "clean_fraction=0").status == 0
    for episode in open_dataset(Path("noisy")).episodes():
        assert (episode.action != episode.expert_action).any()
        assert episode.expert_action_valid.all()


def test_record_keeps_pictures_as_video(cli):
    assert cli("record", "car", "--labels", 8, "--video", "--out", "demos", *SMALL).status == 0
    assert list(Path("demos/videos").rglob("*.mp4"))
    assert "stored as video" in cli("data", "info", "demos").out
    assert cli("data", "check", "demos").status == 0


def test_record_films_the_first_drive_of_an_env_without_cameras(cli):
    said = cli("record", "forks", "--out", "drives", "--episodes", "1", "--video")
    assert said.status == 0, said.err
    assert "film of the first drive: drives/films/start-1.mp4" in said.out
    assert Path("drives/films/start-1.mp4").read_bytes()[4:8] == b"ftyp"
    assert cli("data", "check", "drives").status == 0
    refused = cli("record", "linear", "--out", "none", "--episodes", "1", "--video")
    assert refused.status == 2
    assert "cannot be filmed" in refused.err
    assert not Path("none").exists()


def test_copies_in_processes_record_the_same_drives(cli):
    push = {"W0": np.eye(2), "b0": np.zeros(2), "W_out": np.ones((2, 1)), "b_out": np.zeros(1)}
    np.savez("push.npz", **push, obs_mean=np.zeros(2), obs_meansq=np.ones(2))
    drives = []
    for mode in ("loop", "async"):
        words = ("--set", "env.max_episode_steps=5", "--set", f"env.vectorization_mode={mode}")
        said = cli("record", "MountainCarContinuous-v0", "--out", mode, "--expert", "push.npz", *words)
        assert said.status == 0, said.err
        drives.append([one.observation["observation.state"] for one in open_dataset(Path(mode)).episodes()])
    assert len(drives[0]) == 4
    for one, two in zip(*drives, strict=True):
        np.testing.assert_array_equal(one, two)


def test_record_never_touches_a_data_set_that_is_there(cli, demos):
    before = open_dataset(Path(demos)).num_frames
    said = cli(*RECORD, "--out", demos)
    assert said.status == 2
    assert "--out" in said.err
    assert open_dataset(Path(demos)).num_frames == before


def test_data_info_tells_what_was_recorded(cli, demos):
    said = cli("data", "info", demos)
    assert said.status == 0
    for fact in ("LeRobot v3.0", "4, of 10 steps", "40 at 20 Hz", "observation.state", "stay on it"):
        assert fact in said.out


def test_data_check_leaves_with_1_for_a_damaged_copy(cli, demos):
    shutil.copytree(demos, "damaged")
    table = next(Path("damaged/data").rglob("*.parquet"))
    table.write_bytes(table.read_bytes()[:-100])
    said = cli("data", "check", "damaged")
    assert said.status == 1
    assert "error" in said.out
    assert table.name in said.out
    assert cli("train", "damaged").status == 2
    assert not Path("runs").exists()


def test_envs_lists_and_describes(cli):
    assert "race car" in cli("envs").out
    assert "privileged.path (experts only)" in cli("envs", "car").out
    assert "discrete, 2 values" in cli("envs", "CartPole-v1").out


def test_train_leaves_its_numbers_and_says_them(cli, demos):
    said = cli(*TRAIN, demos, "--out", "run", "--horizon", 4, "--n-action-steps", 2)
    assert said.status == 0
    assert files(Path("run")) == {
        ".lock",
        "run.json",
        "provenance.json",
        "question.json",
        "result.json",
        "report.html",
        "training",
        "policy",
    }
    result = json.loads(Path("run/result.json").read_text())
    assert (result["num_train_episodes"], result["num_held_out_episodes"]) == (3, 1)
    assert f"loss {result['train_loss']:.4g}, held-out loss {result['validation_loss']:.4g}" in said.out
    names = [one["name"] for one in result["held_out_errors"]]
    assert names == ["policy", "repeat last command", "mean action"]
    for one in result["held_out_errors"]:
        assert len(one["by_step"]) == 4
        row = next(line for line in said.out.splitlines() if line.startswith(one["name"]))
        numbers = [one["mean"], one["relative"], one["by_step"][0], one["by_step"][-1]]
        assert [float(word) for word in row.split()[-4:]] == pytest.approx(numbers, rel=2e-3, abs=5e-4)


def test_the_same_run_json_gives_the_same_policy_bit_for_bit(cli, demos, clone):
    run = Path(clone, "run.json")
    assert cli(*TRAIN, demos, "--out", "twice").status == 0
    assert cli("train", "--config", run, "--out", "again").status == 0
    assert weights(clone) == weights("twice") == weights("again")
    assert Path("again/run.json").read_bytes() == run.read_bytes()
    assert cli("train", "--config", run, "--set", "seed=1", "--out", "other").status == 0
    assert weights("other") != weights(clone)
    assert load(Path("other/run.json"), TrainRun).seed == 1


def test_a_flag_beside_config_is_refused_rather_than_ignored(cli, clone):
    said = cli("train", "--config", f"{clone}/run.json", "--learning-rate", 0.1, "--out", "x")
    assert said.status == 2
    assert "--learning-rate" in said.err
    assert not Path("x").exists()


def test_train_refuses_a_folder_that_holds_a_run(cli, demos, clone):
    before = weights(clone)
    said = cli(*TRAIN, demos, "--out", clone)
    assert said.status == 2
    assert "--resume" in said.err
    said = cli(*TRAIN, demos, "--out", clone, "--seed", 1)
    assert said.status == 2
    assert "seed: 0 there, 1 asked for" in said.err
    assert weights(clone) == before
    assert cli(*TRAIN, demos, "--out", clone, "--resume").status == 0
    assert weights(clone) == before


def test_a_choice_that_does_not_fit_leaves_no_run_behind(cli, demos):
    for words in (("--encoder", "SmallConv"), ("--head", "Categorical"), ("--observation", "lidar")):
        assert cli(*TRAIN, demos, "--out", "run", *words).status == 2
        assert not Path("run").exists()
    assert cli(*TRAIN, demos, "--out", "run", "--observation", "state").status == 0


def test_set_changes_a_part_to_another_type(cli, demos):
    words = ("--set", "policy.head.type=Gaussian", "--set", "policy.head.std=global")
    assert cli(*TRAIN, demos, "--out", "run", *words).status == 0
    head = json.loads(Path("run/run.json").read_text())["policy"]["head"]
    assert (head["type"], head["std"]) == ("Gaussian", "global")


def test_eval_shows_policies_what_they_read_and_reports(cli, demos, clone):
    assert cli("record", "car", "--observation", "lidar", "--labels", 8, *SMALL, "--out", "more").status == 0
    assert cli(*TRAIN, "more", "--out", "scan").status == 0
    said = cli("eval", clone, "scan", "--env", "car", "--starts", 3, *SMALL, "--out", "report")
    assert said.status == 0
    check_report(Path("report"), said.out, names=["expert", "clone", "scan"], starts=3)
    assert len(list(Path("report/videos").glob("*.mp4"))) == 3
    run = load(Path("report/run.json"), EvalRun)
    assert run.env.observation == ("state", "lidar")


def test_eval_repeats_itself_exactly_and_keeps_what_is_there(cli, clone):
    words = (
        "eval",
        clone,
        "--env",
        "car",
        "--starts",
        2,
        "--videos",
        0,
        "--sample",
        *SMALL,
        "--out",
        "report",
    )
    assert cli(*words).status == 0
    first = json.loads(Path("report/report.json").read_text())
    assert cli(*words).status == 0
    second = json.loads(Path("report/report.json").read_text())
    assert [one["returns"] for one in first["results"]] == [one["returns"] for one in second["results"]]
    assert cli(*words, "--seed", 1).status == 2


def test_a_policy_in_the_wrong_env_is_refused_before_anything_runs(cli, clone):
    said = cli("eval", clone, "--env", "CartPole-v1", "--out", "report")
    assert said.status == 2
    assert "trained for another env" in said.err
    said = cli("eval", clone, "--env", "car", "--observation", "lidar", "--out", "report")
    assert said.status == 2
    assert "observation.state" in said.err
    said = cli("eval", clone, "--env", "car", "--set", "env.control_dt=0.1", "--out", "report")
    assert said.status == 2
    assert "another rate" in said.err
    assert not Path("report").exists()


def test_one_s_own_arrays_become_a_policy_that_drives_an_env_and_teaches(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)  # CartPole cannot be drawn without it
    generator = np.random.default_rng(0)
    state = generator.normal(size=(120, 4)).astype(np.float32)
    ends = np.array([40, 80, 120])
    np.savez("own.npz", observation=state, action=(state[:, 2] > 0).astype(np.int64), episode_ends=ends)
    words = (*TRAIN, "own.npz", "--control-dt", 0.02)
    assert (
        "learnt as a number; if it is a choice, say so with --classes 0..1" in cli(*words, "--out", "n").out
    )
    said = cli("eval", "n", "--env", "CartPole-v1", "--starts", 2, "--out", "report")
    assert said.status == 2
    assert "--classes 0..1" in said.err
    assert cli(*words, "--classes", 2, "--out", "own").status == 0
    said = cli("eval", "own", "--env", "CartPole-v1", "--starts", 2, "--out", "report")
    assert said.status == 0, "an env without pictures is evaluated without films"
    assert not Path("report/videos").exists()
    check_report(Path("report"), said.out, names=["own"], starts=2)

    assert cli("record", "CartPole-v1", "--expert", "own", "--episodes", 2, "--out", "shown").status == 0
    assert open_dataset(Path("shown")).action.kind == "discrete"
    limit = ("--set", "env.max_episode_steps=20", "--set", "method.validation_starts=2")
    words = ("--rounds", 2, "--labels", 40, "--steps", 12, "--starts", 2, *limit)
    said = cli("correct", "dagger", "CartPole-v1", "--expert", "own", *words, "--out", "taught")
    assert said.status == 0
    check_report(Path("taught"), said.out, names=["expert", "cloning", "DAgger"], starts=2)
    said = cli("correct", "noise", "CartPole-v1", "--expert", "own", "--out", "noise")
    assert said.status == 2
    assert "continuous action" in said.err
    assert not Path("noise").exists()


def test_correct_dagger_leaves_every_iterate_and_a_report(cli):
    words = ("--rounds", 2, "--labels", 24, "--episodes", 2)
    more = ("--set", "method.validation_starts=2", "--set", "method.beta.type=ExponentialDecay")
    said = cli("correct", "dagger", "car", "--observation", "lidar", *words, *CORRECT, *more, "--out", "run")
    assert said.status == 0
    check_report(Path("run"), said.out, names=["expert", "cloning", "DAgger"], starts=2)
    rounds = sorted(Path("run/dagger").glob("round-*"))
    assert [path.name for path in rounds] == ["round-01", "round-02"]
    report = json.loads(Path("run/report.json").read_text())
    best = report["rounds"]["returned"]
    assert weights("run") == weights(rounds[best - 1])
    assert [one["total_labels"] for one in report["rounds"]["records"]] == [12, 24]
    assert load(Path("run/run.json"), CorrectRun).method.beta.p == 0.5
    cloned = open_dataset(Path("run/cloning/episodes"))
    assert cloned.num_frames == 24, "the clone gets as many labels"
    assert f"round {best} of 2, trained on {12 * best} of 24 labels" in said.out
    baseline = next(one["value"] for one in report["setting"] if one["name"] == "Baseline")
    assert baseline.startswith("24 labels of the expert's own driving in 4 drives")
    said = cli("eval", "run", "--env", "car", "--starts", 2, "--videos", 0, *SMALL, "--out", "report")
    assert said.status == 0


def test_correct_noise_on_pixels_and_again(cli):
    words = ("correct", "noise", "car", "--labels", 12, "--encoder", "FlatImage", *CORRECT, "--videos", 0)
    said = cli(*words, "--out", "run")
    assert said.status == 0
    check_report(Path("run"), said.out, names=["expert", "cloning", "noise injection"], starts=2)
    first = weights("run")
    again = cli(*words, "--out", "run")
    assert again.status == 0
    assert weights("run") == first
    assert [line for line in again.out.splitlines() if "%" in line] == [
        line for line in said.out.splitlines() if "%" in line
    ]
    assert cli(*words, "--out", "run", "--no-clone").status == 2


def test_data_check_says_a_thing_that_is_wrong_in_many_places_once(cli):
    assert cli("record", "car", "--labels", 8, "--video", "--out", "demos", *SMALL).status == 0
    video = next(Path("demos/videos").rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:100])
    said = cli("data", "check", "demos")
    assert said.status == 1
    assert said.out.count("video-damaged") == 1
    assert "and 3 more" in said.out
    assert said.out.count("do this") == 1
    assert "4 errors" in said.out


def test_episodes_and_names_are_chosen_by_every_verb_that_reads_data(cli, tmp_path) -> None:
    states = np.random.default_rng(0).normal(size=(120, 2)).astype(np.float32)
    ends = 10 * np.arange(1, 13)
    np.savez("own.npz", qpos=states[::-1], actions=np.ones((120, 2), np.float32), episode_ends=ends)
    chosen = ("own.npz", "--rename", "qpos=observation.state", "--rename", "actions=action")
    assert cli("data", "info", "own.npz").status == 2
    info = cli("data", "info", *chosen, "--episodes", "!9")
    assert info.status == 0
    assert "episodes     11" in info.out
    assert cli("data", "check", *chosen, "--episodes", "!9").status == 0
    run = cli(*TRAIN, *chosen, "--episodes", "!9", "--out", "own")
    assert run.status == 0
    saved = load(Path("own/run.json"), TrainRun)
    assert saved.rename == {"qpos": "observation.state", "actions": "action"}
    assert saved.episodes == "!9"
    assert cli("train", "--config", "own/run.json", "--out", "again").status == 0
    assert weights("own") == weights("again")
    assert "100" in cli("data", "info", *chosen, "--episodes", "100").err


STEER = """
def steer(seen):
    return -GAIN * seen[..., :1] - 1.5 * seen[..., 1:2]


def dictionary(seen):
    return -seen["observation.state"][..., :1]


GAIN = 2.0
"""


def test_a_function_in_a_file_of_ones_own_is_the_expert(cli, tmp_path):
    """Of record, eval and DAgger; what it reads around it counts, and no file imports it by itself."""
    name = "steering_of_mine"
    (tmp_path / f"{name}.py").write_text(STEER)
    expert = ("--expert", f"{name}.py:steer")
    record = ("record", "car", "--observation", "state", *expert, *SMALL, "--labels", 40, "--out", "demos")
    assert cli("--plugin", name, *record).status == 0
    demos = open_dataset(tmp_path / "demos")
    for episode in demos:
        state = episode.observation["observation.state"]
        wanted = -2.0 * state[:, :1] - 1.5 * state[:, 1:2]
        np.testing.assert_allclose(episode.expert_action, np.clip(wanted, -1, 1), atol=1e-5)
    run = json.loads((tmp_path / "demos" / "run.json").read_text())
    assert run["expert"] == {"type": "FunctionExpert", "source": f"{name}:steer", "feature": ""}
    evaluate = ("--env", "car", "--observation", "state", "--starts", 2, "--videos", 0)
    assert cli("eval", *evaluate, *expert, *SMALL).status == 0
    budget = ("--rounds", 2, "--labels", 40, "--no-clone", "--videos", 0)
    dagger = (
        "correct",
        "dagger",
        "car",
        "--observation",
        "state",
        *expert,
        *budget,
        *CORRECT,
        "--out",
        "dagger",
    )
    assert cli(*dagger).status == 0
    assert json.loads((tmp_path / "dagger" / "report.json").read_text())["results"]
    sys.modules[name].GAIN = 1.0
    assert "expert" in cli(*dagger).err, "with another gain it is another expert"
    del sys.modules[name]
    with pytest.raises(ConfigError, match=f"--plugin {name}"):
        load(tmp_path / "demos" / "run.json", RecordRun).expert.build(CarConfig().build(1))


def test_an_expert_that_is_not_there_is_refused_with_those_that_are(cli, tmp_path):
    (tmp_path / "steering_wrong.py").write_text(STEER)
    for expert, expected in (
        ("steering_wrong.py:ster", "did you mean 'steer'?"),
        ("steering_wrong:GAIN", "This is no expert."),
        ("nowhere:steer", "A module of that name is not to be found."),
        ("pursuit", "available: auto, scripted, pure-pursuit, delayed"),
    ):
        said = cli("record", "car", "--expert", expert, "--out", "x")
        assert said.status == 2
        assert expected in said.err
        assert not (tmp_path / "x").exists()
