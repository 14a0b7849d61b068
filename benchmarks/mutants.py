"""Changes one place of the source at a time and asks the tests: who notices?

    python benchmarks/mutants.py [--count 160] [--seed 0] [--jobs 2] [--only PART]

A mutant is a small change of meaning: `<` for `<=`, `+` for `-`, `and` for `or`, a number more by one, a
call left out. Mutants are drawn at random (the seed counts) from all places in `core`, `data`, `correction`
and `policies`; texts of errors, docstrings, annotations and default settings are no places. Each runs
against the tests that execute its line, the quickest first; the first failure kills it. What survives is a
missing test, or a change without a meaning: those are listed with their reason in mutants_equivalent.txt.

A process that has collected the tests forks for each mutant and gives the function that it lies in other
code, so that a mutant costs its tests and nothing else. One outside of every function needs an import anew.

Which test executes which line is found by coverage.py and kept in .mutants/; a file of tests that has changed
is asked anew. Remove the folder when the source has changed much.
"""

import argparse
import gc
import hashlib
import importlib
import importlib.abc
import importlib.util
import inspect
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
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from mutant_places import SOURCE, Mutant, drawn, mutated

ROOT = Path(__file__).parents[1]
KEPT = ROOT / ".mutants"
_BROKEN = 70
"""Exit status of a fork that could not do its work."""
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.txt")
MOST_SECONDS = 60.0
"""Tests of a mutant stop after this much of their own time; what they have not noticed by then survives."""
MOST_BYTES = 12 << 30
IMPORTED = (
    "torch",
    "numpy",
    "pyarrow.parquet",
    "scipy",
    "PIL.Image",
    "av",
    "hypothesis",
    "pytest",
    "gymnasium",
)
"""What the forks find imported. The package itself is imported by each fork anew, with its mutant."""


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
    status = _BROKEN
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
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


def _pytest(tests: Iterable[str], folder: Path, *more: str, plugins: Sequence[object] = ()) -> int:
    os.environ |= {"PYTEST_DEBUG_TEMPROOT": str(folder), "TMPDIR": str(folder)}
    tempfile.tempdir = None
    words = ["-q", "-n", "0", "-s", "-o", "addopts=", "-p", "no:cacheprovider", "--import-mode=importlib"]
    words += ["-W", "ignore::pytest.PytestAssertRewriteWarning", "--tb=no"]
    return int(pytest.main([*words, *more, *tests], list(plugins)))


def _run(item: pytest.Item, following: pytest.Item | None) -> bool:
    """Run a test; return whether it failed."""
    failed = item.session.testsfailed
    item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
    return item.session.testsfailed > failed


# --- who executes which line ------------------------------------------------------------------------------


def _record(items: Sequence[pytest.Item], kept: Path, folder: Path) -> int:
    """Run tests under coverage.py, and write down the lines and the time [s] of each."""
    import coverage  # pyright: ignore[reportMissingImports]  only this tool needs it

    _move_to(folder)
    meter: Any = coverage.Coverage(data_file=None, config_file=False, include=[f"{SOURCE}/*"])
    meter.set_option("run:core", "ctrace")
    meter.start()
    known: dict[str, list[Any]] = {}
    for item, following in zip(items, [*items[1:], None], strict=True):
        meter.switch_context(item.nodeid)
        began = sum(os.times()[:4])  # of the processor: what else runs does not count
        if _run(item, following):
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


def _move_to(folder: Path) -> None:
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
            for name, (spent, lines) in kept["tests"].items():
                self.seconds[name] = spent
                for path, texts in lines.items():
                    for text in texts:
                        self._tests.setdefault((path, text), set()).add(name)

    def stale(self) -> list[str]:
        """Return the files of tests that are new or have changed."""
        files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py"))
        return [name for name in files if self.digests.get(name) != _digest(name)]

    def of(self, mutant: Mutant) -> list[str]:
        """Return the tests that may notice, the quickest first."""
        found = self._of_texts(mutant.path, [mutant.source]) or self._of_texts(mutant.path, mutant.statement)
        if (
            not found
        ):  # executed at import, or written since: any test of the file, best where the name is read
            texts = {text for path, text in self._tests if path == mutant.path}
            word = mutant.source.split()[0].strip(",:")
            found = self._of_texts(mutant.path, {text for text in texts if word in text})
            found = found or self._of_texts(mutant.path, texts)
        if 0 < len(found) < 10:  # a fixture is seen with the first of its tests alone
            files = {name.partition("::")[0] for name in found}
            found |= {name for name in self.seconds if name.partition("::")[0] in files}
        return sorted(found, key=self.seconds.__getitem__)

    def _of_texts(self, path: str, texts: Iterable[str]) -> set[str]:
        return {name for text in texts for name in self._tests.get((path, text), ())}


def learn(known: Known, jobs: int) -> Known:
    """Return what is known of the tests, after running those that are new or have changed."""
    stale = known.stale()

    def work(items: dict[str, pytest.Item]) -> None:
        folders: dict[str, list[pytest.Item]] = {}
        for name, item in items.items():
            folders.setdefault(str(Path(name.partition("::")[0]).parent), []).append(item)
        names = [KEPT / f"{folder.replace('/', '-')}-{time.time():.0f}.json" for folder in folders]
        tasks = [partial(_record, some, name) for some, name in zip(folders.values(), names, strict=True)]
        for number, status, said in forked([(task, 7200.0) for task in tasks], jobs):
            failures = [line for line in said.splitlines() if line.startswith("fails as it is")]
            print(f"{names[number].name}: {status} {failures or said[-500:] * bool(status)}", file=sys.stderr)

    def collect(folder: Path) -> int:
        return _pytest(stale, folder, plugins=[Loop(work)])

    if stale:
        KEPT.mkdir(exist_ok=True)
        for _, status, said in forked([(collect, 20_000.0)], 1):
            print(f"{len(stale)} files of tests: {status} {said[-1500:]}")
        known = Known()
    return known


# --- who notices ------------------------------------------------------------------------------------------


def _functions(code: CodeType) -> Iterator[tuple[tuple[str, int], CodeType]]:
    """Yield the outermost functions of a module, by name and line."""
    for part in code.co_consts:
        if isinstance(part, CodeType):
            if not part.co_flags & inspect.CO_OPTIMIZED:  # the body of a class
                yield from _functions(part)
            elif part.co_name == "<lambda>" or not part.co_name.startswith("<"):
                yield (part.co_qualname, part.co_firstlineno), part


def altered(mutant: Mutant) -> tuple[str, str, int, CodeType] | None:
    """Return file, name, line and new code of the function that it lies in; None outside of every one."""
    path = str(SOURCE / mutant.path)
    before = dict(_functions(compile((SOURCE / mutant.path).read_text(), path, "exec")))
    for (name, line), code in _functions(compile(mutated(mutant), path, "exec")):
        old = before.get((name, line))
        if old != code:
            return (path, name, line, code) if old and old.co_freevars == code.co_freevars else None
    return None


def module_of(mutant: Mutant) -> str:
    """Return the name of the module that it lies in."""
    part = mutant.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"steadyhand.{part}"


def live_functions() -> dict[tuple[str, str, int], list[FunctionType]]:
    """Return the functions of the package that this process has imported, by file, name and line."""
    found: dict[tuple[str, str, int], list[FunctionType]] = {}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename.startswith(str(SOURCE)):
            code = thing.__code__
            found.setdefault((code.co_filename, code.co_qualname, code.co_firstlineno), []).append(thing)
    return found


def _try_live(functions: list[FunctionType], code: CodeType, items: list[pytest.Item], folder: Path) -> int:
    _move_to(folder)
    if not functions:
        raise LookupError(f"no function of {code.co_qualname} is alive")
    for function in functions:
        function.__code__ = code
    for item, following in zip(items, [*items[1:], None], strict=True):
        if _run(item, following):
            print(f"\nFAILED {item.nodeid}")
            return 1
    return 0


class Planted(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module with its mutant."""

    def __init__(self, mutant: Mutant) -> None:
        self.path = str(SOURCE / mutant.path)
        self.module = module_of(mutant)
        self.code = compile(mutated(mutant), self.path, "exec")

    def find_spec(self, fullname: str, path: object, target: object = None) -> Any:  # noqa: ARG002
        """Return how to import the module, None for any other."""
        if fullname == self.module:
            return importlib.util.spec_from_file_location(fullname, self.path, loader=self)
        return None

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002
        """Return where the source is."""
        return self.path

    def get_data(self, path: str | bytes) -> bytes:  # noqa: ARG002
        """Return the source as it is."""
        return Path(self.path).read_bytes()

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        """Return the code with the change."""
        return self.code


def _try_anew(mutant: Mutant, tests: Sequence[str], folder: Path) -> int:
    sys.meta_path.insert(0, Planted(mutant))
    return _pytest(tests, folder, "-x")


Told = Callable[[Mutant, str, str], None]


def judge(mutants: Sequence[Mutant], known: Known, jobs: int, told: Told) -> None:
    """Tell of each mutant "killed", "survived", "not executed" or "not judged", and why."""
    live: list[tuple[Mutant, list[str], tuple[str, str, int], CodeType]] = []
    anew: list[tuple[Mutant, list[str]]] = []
    for mutant in mutants:
        function = altered(mutant)
        tests = _chosen(known.of(mutant), known.seconds)
        if not tests:
            told(mutant, "not executed", "")
        elif function is None:
            anew.append((mutant, tests))
        else:
            live.append((mutant, tests, function[:3], function[3]))

    def run(tasks: Sequence[Callable[[Path], int]], asked: Sequence[tuple[Mutant, list[str]]]) -> None:
        limits = [60.0 + 4.0 * sum(known.seconds[name] for name in tests) for _, tests in asked]
        for number, status, said in forked(zip(tasks, limits, strict=True), jobs):
            mutant, tests = asked[number]
            lines = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
            why = lines[0][:120] if lines else f"{len(tests)} tests, {status}: {said.strip()[-160:]!r}"
            told(mutant, {0: "survived", _BROKEN: "not judged"}.get(status, "killed"), why)

    def work(items: dict[str, pytest.Item]) -> None:
        for mutant, *_ in live:  # which a test may import late
            importlib.import_module(module_of(mutant))
        functions = live_functions()
        tasks = [
            partial(
                _try_live, functions.get(place, []), code, [items[name] for name in tests if name in items]
            )
            for _, tests, place, code in live
        ]
        run(tasks, [(mutant, tests) for mutant, tests, *_ in live])

    run([partial(_try_anew, mutant, tests) for mutant, tests in anew], anew)
    with tempfile.TemporaryDirectory() as folder:
        files = {name.partition("::")[0] for _, tests, *_ in live for name in tests}
        _pytest(sorted(files), Path(folder), plugins=[Loop(work)])


def _chosen(tests: Sequence[str], seconds: dict[str, float]) -> list[str]:
    """Return the first tests that take no longer than they may, at least one."""
    chosen: list[str] = []
    spent = 0.0
    for test in tests:
        spent += seconds[test]
        if chosen and (spent > MOST_SECONDS or len(chosen) == 200):
            break
        chosen.append(test)
    return chosen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool; status 1 if more than a twentieth survives."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="part of a mutant's name, such as data/store.py")
    chosen = parser.parse_args(arguments)
    os.chdir(ROOT)
    os.environ |= {"PYTHONPATH": str(SOURCE.parent), "OMP_NUM_THREADS": "1"}
    sys.path.insert(0, str(SOURCE.parent))
    for name in IMPORTED:
        importlib.import_module(name)
    known = learn(Known(), chosen.jobs)
    listed = {line.rpartition(" # ")[0] for line in EQUIVALENT.read_text().splitlines()}
    mutants = drawn(chosen.count, chosen.seed, chosen.only)
    began = time.perf_counter()
    counts: dict[str, int] = {}

    def told(mutant: Mutant, answer: str, why: str) -> None:
        word = "equivalent" if answer != "killed" and mutant.name in listed else answer
        counts[word] = counts.get(word, 0) + 1
        print(f"{word:<12} {mutant.line:>4} {mutant.name}   [{why}]", flush=True)

    judge(mutants, known, chosen.jobs, told)
    lost = sum(counts.values()) - counts.get("killed", 0) - counts.get("equivalent", 0)
    able = len(mutants) - counts.get("equivalent", 0)
    took = time.perf_counter() - began
    print(f"{len(mutants)} mutants in {took:.0f} s: {counts}; {lost / max(1, able):.1%} of {able} unnoticed")
    return int(lost > 0.05 * able)


if __name__ == "__main__":
    raise SystemExit(main())
