"""Paths that are empty, or lead to something of another kind, are refused by what they are."""

import os

import numpy as np
import pytest

from steadyhand.cli.main import main
from steadyhand.core.errors import ArtifactError
from steadyhand.core.specs import STATE
from steadyhand.data.formats.arrays import episodes_from_arrays
from steadyhand.data.frames import Frames
from steadyhand.recipes.policies import policy_folder
from steadyhand.recipes.train_report import _few


@pytest.mark.parametrize("out", [["--out", ""], ["--out="]])
def test_an_empty_out_is_not_the_current_folder(out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "data.npz", *out]) == 2
    assert "--out is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_called_a_pipe(tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    os.mkfifo(pipe.with_suffix(".npz"))
    assert main(["train", str(pipe), "--out", str(tmp_path / "run")]) == 2
    assert "a named pipe" in capsys.readouterr().err
    for path in (pipe, pipe.with_suffix(".npz")):
        assert main(["record", "car", "--out", str(tmp_path / "data"), "--expert", str(path)]) == 2
        assert "a named pipe" in capsys.readouterr().err


def test_a_stopped_training_names_the_policy_that_it_left(tmp_path):
    state = tmp_path / "training" / "state" / "step-0000005"
    state.mkdir(parents=True)
    with pytest.raises(ArtifactError, match="has not ended") as caught:
        policy_folder(tmp_path)
    assert str(state) in str(caught.value)
    assert "--resume" in str(caught.value)


def test_train_says_that_few_values_set_the_range():
    random = np.random.default_rng(0)
    seen, done = (list(random.uniform(-1, 1, (4, 500, 1)).astype(np.float32)) for _ in range(2))
    assert not _few(frames_of(seen, done))
    done[1][7, 0], done[2][9, 0] = 12.5, -5.0
    (line,) = _few(frames_of(seen, done))
    assert "dimension 0: -5 to 12.5" in line


def frames_of(seen: list[np.ndarray], done: list[np.ndarray]) -> Frames:
    ends = np.cumsum([len(action) for action in done])
    data = episodes_from_arrays({STATE: np.concatenate(seen)}, np.concatenate(done), ends, control_dt=0.1)
    return data.frames()
