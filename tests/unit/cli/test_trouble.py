"""What the system refuses is one clear error with status 2, and no text steers the terminal."""

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from steadyhand.cli import main as cli_main
from steadyhand.cli import terminal
from steadyhand.recipes.compare import film_name

ESCAPE = "\x1b[31mred\x1b]0;title\x07"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/run/weights"), "/data/run/weights"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), "/root/x"),
        (OSError(errno.EROFS, "Read-only file system", "/ro/y"), "read-only: choose another folder"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/z"), "/z"),
        (MemoryError("Unable to allocate 9 TiB"), "(?s)not enough memory.*9 TiB"),
        (RecursionError("maximum recursion depth"), "nested too deeply"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "not enough memory"),
    ],
)
def test_what_the_system_refuses_leaves_with_status_2(cli, monkeypatch, error: Exception, says: str) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr(cli_main, "_dispatch", fail)
    said = cli("envs")
    assert said.status == 2
    assert "do this:" in said.err
    import re

    assert re.search(says, said.err)


def test_an_error_of_the_code_itself_is_not_hidden(cli, monkeypatch) -> None:
    def fail(*_: object) -> int:
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli_main, "_dispatch", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        cli("envs")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(cli, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    said = cli("record", "car", "--observation", "state", "--labels", 5, "--out", "closed/demos")
    assert said.status == 2
    assert "closed" in said.err


def test_an_output_below_a_file_is_refused(cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    said = cli("record", "linear", "--episodes", 1, "--out", "file/demos")
    assert said.status == 2
    assert "file" in said.err
    assert "do this:" in said.err


def test_a_pipe_in_place_of_data_is_no_wait(cli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npz")
    said = cli("train", "x.npz", "--control-dt", 0.1, "--out", "run")
    assert said.status == 2
    assert "a named pipe" in said.err
    (tmp_path / "set" / "meta").mkdir(parents=True)
    os.mkfifo(tmp_path / "set" / "meta" / "info.json")
    said = cli("data", "info", "set")
    assert said.status == 2
    assert "meta/info.json" in said.err


def test_nothing_that_is_said_steers_the_terminal(cli, capsys, monkeypatch) -> None:
    said = cli("train", f"nowhere-{ESCAPE}", "--out", "run")
    assert said.status == 2
    assert "\x1b" not in said.err
    assert "\\x1b[31mred" in said.err

    def speak(*_: object) -> int:
        terminal.say(ESCAPE)
        terminal.heading(f"[bold]{ESCAPE}[/nothing]")
        terminal.table([ESCAPE, "b"], [[ESCAPE, "1"]])
        warnings.simplefilter("always")
        warnings.warn(ESCAPE, stacklevel=1)
        return 0

    monkeypatch.setattr(cli_main, "_dispatch", speak)
    said = cli("envs")
    assert said.status == 0
    assert "\x1b" not in said.out + said.err
    assert "\x07" not in said.out + said.err
    assert "[/nothing]" in said.out
    assert said.out.count("\\x1b[31mred") == 4
    assert said.err.startswith("note: \\x1b[31mred")


def test_a_key_that_is_set_twice_at_once_is_refused(cli, tmp_path: Path) -> None:
    np.savez(
        tmp_path / "d.npz",
        observation=np.zeros((8, 1), np.float32),
        action=np.zeros((8, 1), np.float32),
        episode_ends=np.array([4, 8]),
    )
    said = cli(
        "train", "d.npz", "--control-dt", 0.1, "--out", "run",
        "--set", 'policy.normalisation={"action": "identity", "action": "z_score"}',
    )  # fmt: skip
    assert said.status == 2
    assert "the key 'action' stands there twice" in said.err


@pytest.mark.parametrize("name", ["../../evil", "/etc/passwd", "a/b", "..", "", "a\x1b[2J\n", "x" * 400])
def test_the_film_of_a_policy_of_any_name_lies_in_the_folder_of_films(name: str, tmp_path: Path) -> None:
    path = tmp_path / "videos" / film_name("start 3", name)
    assert path.resolve().parent == tmp_path / "videos"
    path.parent.mkdir()
    path.write_bytes(b"film")
    assert path.name.startswith("start-3")
    assert path.name.isprintable()


FULL = """
import resource, sys
from steadyhand.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
raise SystemExit(main(sys.argv[1:]))
"""


def test_a_disk_that_takes_no_more_is_named_with_the_file_and_old_answers_stay(tmp_path: Path) -> None:
    """A limit on the size of files fails as a full disk does: in the middle of a write."""
    np.savez(
        tmp_path / "d.npz",
        observation=np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32),
        action=np.zeros((40, 1), np.float32),
        episode_ends=np.arange(10, 41, 10),
    )
    words = ["train", "d.npz", "--control-dt", "0.1", "--steps", "2", "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-c", FULL, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "weights.safetensors" in done.stderr
    assert "File too large" in done.stderr
    assert not (tmp_path / "run" / "policy").exists()
