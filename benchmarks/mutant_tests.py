"""Runs tests in forks, and keeps which of them execute which line; for benchmarks/mutants.py."""

import gc
import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from mutant_places import SOURCE, Mutant

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".mutants"
BROKEN = 70
"""Exit status of a fork that could not do its work."""
_MOST_BYTES = 12 << 30


def forked(tasks: Iterable[tuple[Callable[[Path], int], float]], jobs: int) -> Iterator[tuple[int, int, str]]:
    """Run tasks in forks of this process, `jobs` at a time; yield number, status and what it said.

    Args:
        tasks: what to run in a folder of its own, which is removed, and the time it may take [s].
        jobs: how many run side by side.

    Yields:
        The number of a task, its exit status (-9: it took too long) and its output, as they end.
    """
    waiting = list(enumerate(tasks))[::-1]
    running: dict[int, tuple[int, float, Path]] = {}
    gc.freeze()
    while waiting or running:
        while waiting and len(running) < jobs:
            number, (task, limit) = waiting.pop()
            folder = Path(tempfile.mkdtemp(prefix="mutant-"))
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                _in_fork(task, folder)
            running[pid] = (number, time.monotonic() + limit, folder)
        for pid, (number, until, folder) in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and time.monotonic() > until:
                os.killpg(pid, signal.SIGKILL)
                ended, status = os.waitpid(pid, 0)
            if ended:
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)  # what it left running
                said = (folder / "said").read_text(errors="replace")
                shutil.rmtree(folder, ignore_errors=True)
                del running[pid]
                yield number, os.waitstatus_to_exitcode(status), said
        time.sleep(0.02)


def _in_fork(task: Callable[[Path], int], folder: Path) -> None:
    status = BROKEN
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_BYTES, _MOST_BYTES))
        said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT)
        os.dup2(said, 1)
        os.dup2(said, 2)
        status = task(folder)
        sys.stdout.flush()
    except BaseException:  # this process must end here, whatever came
        traceback.print_exc()
    finally:
        os._exit(status)


class Loop:
    """A plugin of pytest that does other work with the collected tests than to run them all."""

    def __init__(self, work: Callable[[dict[str, pytest.Item]], None]) -> None:
        self.work = work

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Do the work."""
        self.work({item.nodeid: item for item in session.items})
        return True


def run_pytest(tests: Iterable[str], folder: Path, *more: str, plugins: Sequence[object] = ()) -> int:
    move_to(folder)
    words = ["-q", "-n", "0", "-s", "-o", "addopts=", "-p", "no:cacheprovider", "--import-mode=importlib"]
    words += ["-W", "ignore::pytest.PytestAssertRewriteWarning", "--tb=no"]
    return int(pytest.main([*words, *more, *tests], list(plugins)))


def run(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run a test; return whether it failed."""
    failed = item.session.testsfailed
    item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
    return item.session.testsfailed > failed


def live_caches() -> list[Any]:
    """Return the caches of the package, which hide what a test needs that an earlier one has asked for."""
    kind = type(cache(lambda: None))
    caches = [thing for thing in gc.get_objects() if isinstance(thing, kind)]
    return [one for one in caches if str(one.__module__).startswith("steadyhand.")]


def _record(items: Sequence[pytest.Item], kept: Path, caches: Sequence[Any], folder: Path) -> int:
    """Run tests under coverage.py, and write down the lines and the time [s] of each."""
    import coverage  # pyright: ignore[reportMissingImports]  only this tool needs it

    move_to(folder)
    meter: Any = coverage.Coverage(data_file=None, config_file=False, include=[f"{SOURCE}/*"])
    meter.set_option("run:core", "ctrace")
    meter.start()
    known: dict[str, list[Any]] = {}
    for item, following in zip(items, [*items[1:], None], strict=True):
        for one in caches:
            one.cache_clear()
        meter.switch_context(item.nodeid)
        began = sum(os.times()[:4])  # of the processor: what else runs does not count
        if run(item, following):
            print(f"fails as it is: {item.nodeid}")
        known[item.nodeid] = [sum(os.times()[:4]) - began, {}]
    meter.stop()
    data = meter.get_data()
    for name in data.measured_files():
        texts = Path(name).read_text().splitlines()
        for line, contexts in data.contexts_by_lineno(name).items():
            for context in filter(None, contexts):
                seen = known[context][1].setdefault(str(Path(name).relative_to(SOURCE)), [])
                seen.append(texts[line - 1].strip())
    files = {item.nodeid.partition("::")[0] for item in items}
    kept.write_text(json.dumps({"digests": {name: _digest(name) for name in files}, "tests": known}))
    return 0


def move_to(folder: Path) -> None:
    """Let tests write below a folder of this process."""
    os.environ |= {"PYTEST_DEBUG_TEMPROOT": str(folder), "TMPDIR": str(folder)}
    tempfile.tempdir = None


def _digest(name: str) -> str:
    return hashlib.sha256((ROOT / name).read_bytes()).hexdigest()


class Known:
    """What is known of the tests: how long each takes [s], and who executes a line, by its file and text."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self._tests: dict[tuple[str, str], set[str]] = {}
        for file in sorted(KEPT.glob("*.json"), key=lambda file: file.stat().st_mtime):
            kept = json.loads(file.read_text())
            self.digests |= kept["digests"]
            for name in [name for name in self.seconds if name.partition("::")[0] in kept["digests"]]:
                del self.seconds[name]  # what the file has now follows
            for name, (spent, lines) in kept["tests"].items():
                self.seconds[name] = spent
                for path, texts in lines.items():
                    for text in texts:
                        self._tests.setdefault((path, text), set()).add(name)

    def stale(self, tests: Iterable[str]) -> list[str]:
        """Return these files, and those below these folders, that are new or have changed."""
        asked = [ROOT / place for place in tests]
        files = sorted(
            str(path.relative_to(ROOT))
            for place in asked
            for path in ([place] if place.is_file() else place.rglob("test_*.py"))
        )
        return [name for name in files if self.digests.get(name) != _digest(name)]

    def of(self, mutant: Mutant) -> list[str]:
        """Return the tests that may notice: those of its module first, and the quickest."""
        found = self._of_texts(mutant.path, [mutant.source]) or self._of_texts(mutant.path, mutant.statement)
        word, own = mutant.source.split()[0].strip(",:"), f"/test_{Path(mutant.path).stem}.py::"
        if not found or word.isupper():  # executed at import, or written since: best where the name is read
            texts = {text for path, text in self._tests if path == mutant.path}
            found |= self._of_texts(mutant.path, {text for text in texts if word in text})
            found = found or self._of_texts(mutant.path, texts) or self._naming(mutant.path)
            found |= {name for name in self.seconds if own in name}
        if 0 < len(found) < 10:  # a fixture is seen with the first of its tests alone
            files = {name.partition("::")[0] for name in found}
            found |= {name for name in self.seconds if name.partition("::")[0] in files}
        return sorted(found, key=lambda name: (own not in name, self.seconds[name]))

    def _naming(self, path: str) -> set[str]:
        """Return the tests in files that import a module, such as one of constants alone."""
        module = f"steadyhand.{path.removesuffix('.py').replace('/', '.')} import"
        files = {name.partition("::")[0] for name in self.seconds}
        naming = {file for file in files if module in (ROOT / file).read_text()}
        return {name for name in self.seconds if name.partition("::")[0] in naming}

    def _of_texts(self, path: str, texts: Iterable[str]) -> set[str]:
        found = {name for text in texts for name in self._tests.get((path, text), ())}
        return {name for name in found & self.seconds.keys() if (ROOT / name.partition("::")[0]).exists()}


def learn(known: Known, tests: Iterable[str], jobs: int) -> Known:
    """Return what is known, after running the tests below these folders that are new or have changed."""
    stale = known.stale(tests)

    def work(items: dict[str, pytest.Item]) -> None:
        folders: dict[str, list[pytest.Item]] = {}
        for name, item in items.items():
            folders.setdefault(str(Path(name.partition("::")[0]).parent), []).append(item)
        names = [KEPT / f"{folder.replace('/', '-')}-{time.time():.0f}.json" for folder in folders]
        caches = live_caches()
        tasks = [
            partial(_record, some, name, caches) for some, name in zip(folders.values(), names, strict=True)
        ]
        for number, status, said in forked([(task, 7200.0) for task in tasks], jobs):
            failures = [line for line in said.splitlines() if line.startswith("fails as it is")]
            print(f"{names[number].name}: {status} {failures or said[-500:] * bool(status)}", file=sys.stderr)

    def collect(folder: Path) -> int:
        return run_pytest(stale, folder, plugins=[Loop(work)])

    if stale:
        KEPT.mkdir(exist_ok=True)
        for _, status, said in forked([(collect, 20_000.0)], 1):
            print(f"{len(stale)} files of tests: {status} {said[-1500:]}")
        known = Known()
    return known
