"""Running the command line, in this process and in one of its own."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from interrupts import heard
from steadyhand.cli.main import main

LIMIT_S = 300.0
"""Time that a process may take to come where it is to be stopped: a machine may be busy."""


@dataclass(frozen=True)
class Said:
    """What a command left with and said."""

    status: int
    out: str
    err: str


Cli = Callable[..., Said]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Run `steadyhand` with these words in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    from steadyhand.cli import terminal

    monkeypatch.setenv("COLUMNS", "1000")  # so that no line is folded; test_lines.py is about that
    monkeypatch.setattr(terminal.console, "_width", None)  # what pytest's own processes have it begin with

    def run(*words: object) -> Said:
        capsys.readouterr()
        monkeypatch.setattr(terminal.console, "file", sys.stdout)
        monkeypatch.setattr(sys, "argv", ["steadyhand", *map(str, words)])
        status = main([str(word) for word in words])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return Said(status, said.out, said.err)

    return run


class Process:
    """`steadyhand` in a process of its own, to be killed."""

    def __init__(self, *words: object, folder: Path, slow: float = 0.0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("slowed.py")), str(slow), *map(str, words)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heard,
        )

    @property
    def number(self) -> int:
        """Number of the process."""
        return self._process.pid

    def kill_when(
        self,
        ready: Callable[[], bool],
        *,
        before: Callable[[], None] = lambda: None,
        limit_s: float = LIMIT_S,
    ) -> None:
        """Send SIGKILL as soon as `ready` holds; `before` is called first, while the process stands still."""
        began = time.monotonic()
        while not ready():
            assert self._process.poll() is None, f"it ended by itself: {self._process.communicate()[0]}"
            assert time.monotonic() - began < limit_s
            time.sleep(0.002)
        self._process.send_signal(signal.SIGSTOP)
        try:
            before()
        finally:
            self._process.kill()
            self._process.communicate()

    def interrupt_when(
        self, ready: Callable[[], bool], *, limit_s: float = LIMIT_S, number: int = signal.SIGINT
    ) -> tuple[int, str]:
        """Press Ctrl-C, or send another signal, as soon as `ready` holds; return status and what was said."""
        began = time.monotonic()
        while not ready():
            assert self._process.poll() is None, f"it ended by itself: {self._process.communicate()[0]}"
            assert time.monotonic() - began < limit_s
            time.sleep(0.002)
        self._process.send_signal(number)
        said, _ = self._process.communicate(timeout=limit_s)
        return self._process.returncode, said


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., Process]:
    """Start `steadyhand` in a process of its own, in the same folder as `cli`."""

    def start(*words: object, slow: float = 0.0) -> Process:
        return Process(*words, folder=tmp_path, slow=slow)

    return start
