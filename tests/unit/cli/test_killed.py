"""kill -9 at the worst moment: nothing that was recorded is lost, and what continues ends the same."""

from pathlib import Path

import numpy as np

from steadyhand.data.dataset import open_dataset
from steadyhand.data.journal import JOURNAL_PATH, JournalReader
from steadyhand.data.spec import load_spec

SMALL = ("--set", "env.num_tracks=1", "--set", "env.num_held_out_tracks=1")
RECORD = ("record", "car", "--observation", "state", "--episodes", "2", *SMALL, "--out", "demos")
TRAIN = ("train", "demos", "--steps", "60", "--batch-size", "16", "--out", "run")
CORRECT = (
    "correct", "dagger", "car", "--observation", "state", "--rounds", "2", "--labels", "48",
    "--steps", "30", "--batch-size", "16", "--starts", "2", "--videos", "0", "--no-clone", "--out", "run",
    *SMALL, "--set", "env.max_episode_steps=20", "--set", "method.validation_starts=2",
    "--set", "training.checkpoint_every=5",
)  # fmt: skip


def steps_in_journal(folder: Path) -> int:
    """Count the steps that have reached the journal, finished episodes or not."""
    spec = load_spec(folder)
    if spec is None or not (folder / JOURNAL_PATH).is_file():
        return 0
    return sum(JournalReader(folder / JOURNAL_PATH, spec, live=False).lengths)


def same_bytes(one: Path, two: Path, pattern: str) -> int:
    """Require that both folders hold the same files of this pattern, byte for byte; return their number."""
    files = sorted(path.relative_to(one) for path in one.rglob(pattern))
    assert files == sorted(path.relative_to(two) for path in two.rglob(pattern))
    for path in files:
        assert (one / path).read_bytes() == (two / path).read_bytes(), path
    return len(files)


def test_a_killed_recording_keeps_every_step(cli, process, tmp_path):
    demos, seen = tmp_path / "demos", 0

    def far_enough() -> bool:
        nonlocal seen
        seen = steps_in_journal(demos)
        return seen >= 61

    process(*RECORD, slow=0.002).kill_when(far_enough)
    dataset = open_dataset(demos)
    assert dataset.num_frames >= seen
    assert dataset.num_episodes == 2
    assert cli("data", "check", "demos").status == 0
    assert "2 episodes that are not compacted" in cli("data", "info", "demos").out
    assert "interrupted (2)" in cli("data", "info", "demos").out

    again = cli(*RECORD[:-1], "whole", "--labels", 2 * min(dataset.lengths))
    assert again.status == 0
    for kept, whole in zip(dataset.episodes(), open_dataset(tmp_path / "whole").episodes(), strict=True):
        length = len(whole)
        assert length <= len(kept) <= length + 1
        np.testing.assert_array_equal(kept.action[:length], whole.action)
        np.testing.assert_array_equal(
            kept.observation["observation.state"][:length], whole.observation["observation.state"]
        )

    assert cli("data", "compact", "demos").status == 0
    assert open_dataset(demos).num_pending == 0
    assert open_dataset(demos).num_frames == dataset.num_frames
    assert cli("data", "check", "demos").status == 0


def test_ctrl_c_while_recording_keeps_every_step(cli, process, tmp_path):
    demos = tmp_path / "demos"
    status, said = process(*RECORD, slow=0.05).interrupt_when(lambda: steps_in_journal(demos) >= 61)
    assert status == 130
    assert "kept" in said
    assert "Traceback" not in said
    assert "the same command goes on" in said
    dataset = open_dataset(demos)
    assert dataset.num_frames >= 61
    assert cli("data", "check", "demos").status == 0


MANY = (
    "record", "forks", "--episodes", "40", "--noise", "0.1", "--seed", "3", "--out", "demos",
)  # fmt: skip


def test_a_killed_recording_goes_on_to_the_same_bits(cli, process, tmp_path):
    assert cli(*MANY[:-1], "whole").status == 0
    demos = tmp_path / "demos"
    process(*MANY, slow=0.02).kill_when(lambda: steps_in_journal(demos) >= 40 * 12)
    assert not (demos / "data").exists()
    refused = cli(*MANY, "--seed", "4")
    assert refused.status == 2
    assert "seed" in refused.err
    assert cli(*MANY).status == 0
    assert open_dataset(demos).num_episodes == 40
    assert same_bytes(tmp_path / "whole", demos, "*.parquet") >= 3
    again = cli(*MANY)
    assert again.status == 2
    assert "40 episodes" in again.err


def test_a_killed_training_run_continues_to_the_same_bits(cli, process, tmp_path):
    assert (
        cli("record", "car", "--observation", "state", "--labels", 40, *SMALL, "--out", "demos").status == 0
    )
    assert cli(*TRAIN[:-1], "whole").status == 0
    states = tmp_path / "run" / "training" / "state"
    process(*TRAIN, slow=0.05).kill_when(lambda: any(states.glob("step-0*2?")))
    assert not (tmp_path / "run" / "policy").exists()

    refused = cli(*TRAIN)
    assert refused.status == 2
    assert "--resume" in refused.err
    assert cli(*TRAIN, "--resume").status == 0
    assert same_bytes(tmp_path / "whole" / "policy", tmp_path / "run" / "policy", "*.safetensors") == 1


def test_a_killed_dagger_round_continues_to_the_same_bits(cli, process, tmp_path):
    assert cli(*[{"run": "whole"}.get(word, word) for word in CORRECT]).status == 0
    second = tmp_path / "run" / "dagger" / "round-02"
    first = process(*CORRECT, slow=0.04)

    def ask_a_second_time() -> None:
        said = cli(*CORRECT)
        assert said.status == 2
        assert f"process {first.number}" in said.err

    first.kill_when(lambda: any(second.glob("training/state/step-*")), before=ask_a_second_time)
    leftover = second / ".policy.tmp"
    leftover.mkdir()
    (leftover / "weights.safetensors").write_bytes(b"half")
    assert not (second / "record.json").exists()
    assert not (tmp_path / "run" / "report.json").exists()

    assert cli(*CORRECT).status == 0
    assert not leftover.exists()
    assert cli(*CORRECT).status == 0  # the same answer, at once
    other = cli(*CORRECT, "--set", "training.learning_rate=0.5")
    assert other.status == 2
    assert "training.learning_rate: 0.001 there, 0.5 asked for" in other.err
    whole, run = tmp_path / "whole" / "dagger", tmp_path / "run" / "dagger"
    assert same_bytes(whole, run, "record.json") == 2
    assert same_bytes(whole, run, "*.parquet") >= 2
    assert same_bytes(whole, run, "policy/*.safetensors") == 2
