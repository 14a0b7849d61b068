"""`data info` and `data check` on what others recorded: known faults are found, sound sets not blamed."""

from pathlib import Path

import numpy as np
import pytest

from steadyhand.analysis.replay import replay
from steadyhand.data.checks import check, check_dataset
from steadyhand.data.dataset import open_any
from steadyhand.data.info import summarise
from steadyhand.envs.catalogue import make

SETS = {
    "written-by-peers/lerobot-v30-state": None,
    "written-by-peers/lerobot-v30-video": None,
    "ccil/ccil_pendulum.npz": (25, 25_000),
    "ccil/ccil_f1tenth.npz": (1, 800),
    "ccil/ccil_hopper.npz": (25, 24_155),
    "ccil/ccil_walker.npz": (20, 20_000),
    "imitation-rollouts/cartpole.npz": (57, 26_964),
    "imitation-rollouts/pendulum.npz": (56, 11_200),
    "mujoco-experts/demos_Ant_v4.npz": (2, 2000),
    "mujoco-experts/demos_HalfCheetah_v4.npz": (2, 2000),
    "mujoco-experts/demos_Walker2d_v4.npz": (2, 2000),
    "dapg-adroit-door/door_v0_human.npz": (25, 6729),
    "ibc-d4rl-human/kitchen_complete_v0.npz": (4, 755),
    "ibc-d4rl-human/door_human_v0.npz": (11, 1700),
    "bridge-debug-octo/bridge_25.npz": (25, 250),
}
RENAMED = {"bridge-debug-octo/bridge_25.npz": {"state": "observation.state"}}


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_described_and_checked(shared_data: Path, name: str) -> None:
    dataset = open_any(shared_data / name, control_dt=0.05, rename=RENAMED.get(name))
    summary = summarise(dataset, path=shared_data / name)
    if (size := SETS[name]) is not None:
        assert (summary.num_episodes, summary.num_frames) == size
    errors = [p.code for p in check_dataset(dataset, depth="quick") if p.severity == "error"]
    assert errors == []


def test_the_humanoid_lacks_videos_and_follows_its_commands_late(shared_data: Path) -> None:
    summary = summarise(open_any(shared_data / "lerobot-v21-unitree-g1", control_dt=0.05))
    assert (summary.num_episodes, summary.num_frames) == (100, 35_965)
    report = check(shared_data / "lerobot-v21-unitree-g1", depth="quick")
    assert [problem.code for problem in report.problems if problem.severity == "error"] == ["video-missing"]
    (missing,) = [problem for problem in report.problems if problem.code == "video-missing"]
    assert "no video for 97 of 100 episodes" in missing.what
    (lag,) = [problem for problem in report.problems if problem.code == "lag"]
    assert lag.where == "observation.state"


def test_recordings_that_were_cut_in_two(shared_data: Path) -> None:
    """Human drives of 300 steps became episodes of 200 and 100; the originals lie beside them, uncut."""
    report = check(shared_data / "ibc-d4rl-human/door_human_v0.npz")
    (cut,) = [problem for problem in report.problems if problem.code == "wrong-cut"]
    assert cut.where == "episodes 1, 3, 5, 7, 9"
    whole = check(shared_data / "dapg-adroit-door/door_v0_human.npz")
    assert "wrong-cut" not in {problem.code for problem in whole.problems}


def test_a_kitchen_of_which_most_hardly_moves(shared_data: Path) -> None:
    report = check(shared_data / "ibc-d4rl-human/kitchen_complete_v0.npz")
    codes = {problem.code: problem for problem in report.problems}
    assert "30" in codes["constant"].what
    assert "9 by 0.0003" in codes["hardly-moves"].what


def test_a_car_that_never_changes_its_speed(shared_data: Path) -> None:
    report = check(shared_data / "ccil/ccil_f1tenth.npz")
    assert [p.what for p in report.problems if p.code == "constant" and p.where == "action"] == [
        "never changes: dimension 1"
    ]


def test_stored_demonstrations_of_mujoco_follow_another_version(shared_data: Path) -> None:
    for name, env in (
        ("mujoco-experts/demos_HalfCheetah_v4.npz", "HalfCheetah-v4"),
        ("ccil/ccil_hopper.npz", "Hopper-v4"),
    ):
        found = replay(open_any(shared_data / name, control_dt=0.05), make(env, num_rows=1))
        assert (found.verdict, found.pairing) == ("other", 0)


def test_pendulums_and_poles_follow_theirs(shared_data: Path) -> None:
    pole = open_any(shared_data / "imitation-rollouts/cartpole.npz", control_dt=0.02, classes=(0, 1))
    for data, env in (
        (pole, make("CartPole-v1", num_rows=1)),
        (
            open_any(shared_data / "imitation-rollouts/pendulum.npz", control_dt=0.05),
            make("Pendulum-v1", num_rows=1),
        ),
        (open_any(shared_data / "ccil/ccil_pendulum.npz", control_dt=0.02), make("pendulum", num_rows=64)),
    ):
        found = replay(data, env)
        assert found.verdict == "follows"
        assert found.errors[0] < 1e-4
        assert np.isfinite(found.errors[1])
