"""Changes one place of the source at a time and asks the tests: who notices?

    python benchmarks/mutants.py [--count 160] [--seed 0] [--jobs 2] [--only PART]

A mutant is a small change of meaning: `<` for `<=`, `+` for `-`, `and` for `or`, a number more by one, a
call left out. Mutants are drawn at random (the seed counts) from all places in `core`, `data`, `correction`
and `policies`; texts of errors, docstrings, annotations and default settings are no places. Each runs
against the tests that execute its line, the quickest first, in a fork of a process that has imported
everything but steadyhand; the first failure kills it. What survives is a missing test, or a change without
a meaning: those are listed with their reason in mutants_equivalent.txt beside this file.

Which test executes which line is found by coverage.py and kept in .mutants/, a file for each folder of tests;
a file of tests that has changed is asked anew. Remove the folder when the source has moved much.
"""

import argparse
import ast
import gc
import hashlib
import importlib
import importlib.abc
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "steadyhand"
PACKAGES = ("core", "data", "correction", "policies")
KEPT = ROOT / ".mutants"
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

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
RENAMED = {"min": "max", "max": "min", "any": "all", "all": "any", "argmin": "argmax", "argmax": "argmin"}


@dataclass(frozen=True)
class Mutant:
    """One change: file, node (number in a walk), line, its text, the column in that text, what is changed."""

    path: str
    node: int
    line: int
    statement: range
    source: str
    column: int
    change: str

    @property
    def name(self) -> str:
        """Return what tells it from others, whatever line it has moved to."""
        return f"{self.path}: {self.source} @{self.column}: {self.change}"


def places(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a file."""
    text = path.read_text()
    tree = ast.parse(text)
    barred = _barred(tree)
    statements = _statements(tree)
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in barred or not hasattr(node, "lineno"):
            continue
        for change in _changes(node):
            before = ast.get_source_segment(text, node) or ""
            said = " ".join(before.split())[:90]
            line = int(getattr(node, "lineno", 0))
            source = text.splitlines()[line - 1]
            yield Mutant(
                path=str(path.relative_to(SOURCE)),
                node=number,
                line=line,
                statement=statements.get(id(node), range(line, line + 1)),
                source=source.strip(),
                column=int(getattr(node, "col_offset", 0)) - len(source) + len(source.lstrip()),
                change=f"{said} -> {change}",
            )


def _statements(tree: ast.AST) -> dict[int, range]:
    """Return the lines of the statement of each node, of one with a body its head alone."""
    found: dict[int, range] = {}
    for statement in ast.walk(tree):  # outer statements come first, inner ones take their nodes over
        if isinstance(statement, ast.stmt):
            inner: list[ast.stmt] = getattr(statement, "body", [])
            last = max(statement.lineno, inner[0].lineno - 1) if inner else statement.end_lineno
            lines = range(statement.lineno, (last or statement.lineno) + 1)
            found |= {id(node): lines for node in ast.walk(statement)}
    return found


def _barred(tree: ast.AST) -> set[int]:  # noqa: PLR0912  one case for each kind of place
    """Return nodes whose change has no meaning: texts, annotations, what is raised, imports, defaults."""
    barred: set[int] = set()

    def bar(node: ast.AST | None) -> None:
        if node is not None:
            barred.update(id(child) for child in ast.walk(node))

    for node in ast.walk(tree):
        match node:
            case ast.Raise() | ast.Assert() | ast.JoinedStr() | ast.Import() | ast.ImportFrom():
                bar(node)
            case ast.AnnAssign():
                bar(node.annotation)
                if isinstance(node.value, ast.Constant | ast.UnaryOp | ast.Tuple):
                    bar(node.value)  # a default setting
            case ast.BinOp(op=ast.BitOr(), left=ast.Name() | ast.BinOp(), right=ast.Name(id=name)) if (
                name[0].isupper() and not name.isupper()
            ):
                bar(node)  # a union of types
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                bar(node.returns)
                for argument in (*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs):
                    bar(argument.annotation)
                for decorator in node.decorator_list:
                    bar(decorator)
                if node.name in ("__repr__", "__str__", "_repr_html_"):
                    bar(node)
            case ast.ClassDef():
                for decorator in node.decorator_list:
                    bar(decorator)
            case ast.Call(func=ast.Name(id=name)) if name.endswith(("Error", "Problem")) or name == "print":
                bar(node)
            case ast.Expr(value=ast.Constant()):
                bar(node)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                bar(node)
            case ast.Subscript(
                value=ast.Name(id="Literal" | "Annotated" | "tuple" | "dict" | "list" | "Callable")
            ):
                bar(node)
            case _:
                continue
    return barred


def _changes(node: ast.AST) -> list[str]:
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in COMPARED:
            return [COMPARED[type(operator)].__name__]
        case ast.BinOp(op=operator) if type(operator) in COMPUTED and not _is_text(node):
            return [COMPUTED[type(operator)].__name__]
        case ast.BoolOp():
            return ["Or" if isinstance(node.op, ast.And) else "And"]
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            return ["left out"]
        case ast.Constant(value=bool()):
            return ["the other"]
        case ast.Constant(value=int()):
            return ["one more"]
        case ast.Constant(value=float() as value) if value != 0.0:
            return ["twice"]
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in RENAMED:
            return [RENAMED[name]]
        case ast.Expr(value=ast.Call()):
            return ["left out"]
        case _:
            return []


def _is_text(node: ast.BinOp) -> bool:
    return any(
        isinstance(side, ast.Constant | ast.JoinedStr) and not _is_number(side)
        for side in (node.left, node.right)
    )


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def mutated(mutant: Mutant) -> str:
    """Return the source of its file with the change."""
    tree = ast.parse((SOURCE / mutant.path).read_text())
    node = next(node for number, node in enumerate(ast.walk(tree)) if number == mutant.node)
    parents = {id(child): parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    match node:
        case ast.Compare():
            node.ops = [COMPARED[type(node.ops[0])]()]
        case ast.BinOp():
            node.op = COMPUTED[type(node.op)]()
        case ast.BoolOp():
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        case ast.UnaryOp():
            _replace(parents[id(node)], node, node.operand)
        case ast.Constant(value=bool() as value):
            node.value = not value
        case ast.Constant(value=int() as value):
            node.value = value + 1
        case ast.Constant(value=float() as value):
            node.value = value * 2
        case ast.Call(func=ast.Name() as function):
            function.id = RENAMED[function.id]
        case ast.Call(func=ast.Attribute() as function):
            function.attr = RENAMED[function.attr]
        case ast.Expr():
            _replace(parents[id(node)], node, ast.Pass())
        case _:
            raise AssertionError(mutant)
    return ast.unparse(ast.fix_missing_locations(tree))


def _replace(parent: ast.AST, old: ast.AST, new: ast.AST) -> None:
    ast.copy_location(new, old)
    for field, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, field, new)
        elif isinstance(value, list):
            for place, item in enumerate(value):
                if item is old:
                    value[place] = new


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
    status = 70
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


def _pytest(tests: Sequence[str], folder: Path, *more: str, plugins: Sequence[object] = ()) -> int:
    words = ["-q", "-n", "0", "-o", "addopts=", "-p", "no:cacheprovider", "--import-mode=importlib"]
    words += ["-W", "ignore::pytest.PytestAssertRewriteWarning", "--tb=no"]
    return int(pytest.main([*words, f"--basetemp={folder / 'tests'}", *more, *tests], list(plugins)))


Lines = dict[str, list[int]]
"""File below src/steadyhand -> lines of it."""


class Recorder:
    """A plugin of pytest that notes which lines each test executes, and how long it takes."""

    def __init__(self) -> None:
        import coverage  # pyright: ignore[reportMissingImports]  only this tool needs it

        self.coverage: Any = coverage.Coverage(data_file=None, config_file=False, include=[f"{SOURCE}/*"])
        self.coverage.set_option("run:core", "ctrace")
        self.coverage.start()
        self.seconds: dict[str, float] = {"": 0.0}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Time a test, and tell coverage.py its name."""
        self.coverage.switch_context(item.nodeid)
        began = time.perf_counter()
        answer = yield
        self.seconds[item.nodeid] = time.perf_counter() - began
        self.coverage.switch_context("")
        return answer

    def lines(self) -> dict[str, Lines]:
        """Return the lines of each test; what ran outside of every test is under the empty name."""
        self.coverage.stop()
        data = self.coverage.get_data()
        tests: dict[str, Lines] = {name: {} for name in self.seconds}
        for name in data.measured_files():
            for line, contexts in data.contexts_by_lineno(name).items():
                for context in contexts:
                    tests[context].setdefault(str(Path(name).relative_to(SOURCE)), []).append(line)
        return tests


def _record(tests: Sequence[str], kept: Path, folder: Path) -> int:
    recorder = Recorder()
    status = _pytest(tests, folder, plugins=[recorder])
    known = {name: [_digest(name), {}] for name in tests}
    for name, lines in recorder.lines().items():
        known.setdefault(name.partition("::")[0], ["", {}])[1][name] = [recorder.seconds[name], lines]
    kept.write_text(json.dumps(known))
    return status


def _digest(name: str) -> str:
    return hashlib.sha256((ROOT / name).read_bytes()).hexdigest()


@dataclass(frozen=True)
class Known:
    """What is known of the tests: how long each takes [s], and who executes a line of a file."""

    seconds: dict[str, float]
    tests: dict[tuple[str, int], list[str]]

    def of(self, mutant: Mutant) -> list[str]:
        """Return the tests that may notice, the quickest first."""
        found = self._of_lines(mutant.path, [mutant.line]) or self._of_lines(mutant.path, mutant.statement)
        if not found and any((mutant.path, line) in self.tests for line in mutant.statement):
            here = [line for path, line in self.tests if path == mutant.path]  # executed at import
            found = self._of_lines(mutant.path, here)
        if len(found) < 10:  # a fixture is seen with the first of its tests alone
            files = {name.partition("::")[0] for name in found}
            found |= {name for name in self.seconds if name and name.partition("::")[0] in files}
        return sorted(found, key=self.seconds.__getitem__)

    def _of_lines(self, path: str, lines: Iterable[int]) -> set[str]:
        return {name for line in lines for name in self.tests.get((path, line), []) if name}


def known(jobs: int) -> Known:
    """Return what is known of the tests; runs those that are new or have changed under coverage.py."""
    KEPT.mkdir(exist_ok=True)
    kept = _kept()
    folders: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = str(path.relative_to(ROOT))
        if name not in kept or kept[name][0] != _digest(name):
            folders.setdefault(str(Path(name).parent), []).append(name)
    tasks = [
        (partial(_record, names, KEPT / f"{folder.replace('/', '-')}-{time.time():.0f}.json"), 7200.0)
        for folder, names in folders.items()
    ]
    for number, status, said in forked(tasks, jobs):
        print(f"{list(folders)[number]}: status {status}: {said[-200:].strip()}", flush=True)
    if tasks:
        kept = _kept()
    seconds: dict[str, float] = {}
    tests: dict[tuple[str, int], list[str]] = {}
    for file, (_, found) in kept.items():
        if not file or (ROOT / file).is_file():
            for name, (spent, lines) in found.items():
                seconds[name] = spent
                for path, numbers in lines.items():
                    for line in numbers:
                        tests.setdefault((path, line), []).append(name)
    return Known(seconds, tests)


def _kept() -> dict[str, list[Any]]:
    kept: dict[str, list[Any]] = {}
    for file in sorted(KEPT.glob("*.json"), key=lambda file: file.stat().st_mtime):
        kept |= json.loads(file.read_text())
    return kept


class Planted(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    """Imports one module from other source."""

    def __init__(self, mutant: Mutant) -> None:
        self.path = str(SOURCE / mutant.path)
        part = mutant.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.module = f"steadyhand.{part}"
        self.source = mutated(mutant).encode()

    def find_spec(self, fullname: str, path: object, target: object = None) -> Any:  # noqa: ARG002
        """Return how to import the module, None for any other."""
        if fullname == self.module:
            return importlib.util.spec_from_file_location(fullname, self.path, loader=self)
        return None

    def get_filename(self, fullname: str) -> str:  # noqa: ARG002
        """Return where the source would be."""
        return self.path

    def get_data(self, path: str | bytes) -> bytes:  # noqa: ARG002
        """Return the source with the change."""
        return self.source


def _try(mutant: Mutant, tests: Sequence[str], folder: Path) -> int:
    sys.meta_path.insert(0, Planted(mutant))
    return _pytest(tests, folder, "-x")


def _chosen(tests: Sequence[str], seconds: dict[str, float]) -> tuple[list[str], float]:
    """Return the first tests that take no longer than they may, at least one, and their time [s]."""
    chosen: list[str] = []
    spent = 0.0
    for test in tests:
        if chosen and (spent + seconds[test] > MOST_SECONDS or len(chosen) == 200):
            break
        chosen.append(test)
        spent += seconds[test]
    return chosen, spent


def verdicts(mutants: Sequence[Mutant], tests: Known, jobs: int) -> Iterator[tuple[Mutant, str, str]]:
    """Yield each mutant with "killed", "survived" or "not executed", and by which test or how many."""
    tasks: list[tuple[Mutant, str, Callable[[Path], int], float]] = []
    for mutant in mutants:
        able = tests.of(mutant)
        if not able:
            yield mutant, "not executed", ""
            continue
        chosen, spent = _chosen(able, tests.seconds)
        tasks.append((mutant, f"{len(chosen)} of {len(able)} tests", partial(_try, mutant, chosen), spent))
    for number, status, said in forked([(task, 60.0 + 3.0 * spent) for *_, task, spent in tasks], jobs):
        mutant, asked, *_ = tasks[number]
        if status == 0:
            yield mutant, "survived", asked
        else:
            lines = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
            yield mutant, "killed", [*lines, f"status {status}: {said.strip()[-100:]!r}"][0][:120]


def drawn(count: int, seed: int, only: str) -> list[Mutant]:
    """Return mutants drawn evenly from all places of the four packages."""
    everything = [
        mutant
        for package in PACKAGES
        for path in sorted((SOURCE / package).rglob("*.py"))
        for mutant in places(path)
        if only in mutant.name
    ]
    return random.Random(seed).sample(everything, min(count, len(everything)))


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
    tests = known(chosen.jobs)
    lines = EQUIVALENT.read_text().splitlines()
    listed = {line.rpartition(" # ")[0] for line in lines}
    mutants = drawn(chosen.count, chosen.seed, chosen.only)
    began = time.perf_counter()
    counts: dict[str, int] = {}
    for mutant, answer, why in verdicts(mutants, tests, chosen.jobs):
        word = "equivalent" if answer != "killed" and mutant.name in listed else answer
        counts[word] = counts.get(word, 0) + 1
        print(f"{word:<12} {mutant.line:>4} {mutant.name}   [{why}]", flush=True)
    lost = counts.get("survived", 0) + counts.get("not executed", 0)
    able = len(mutants) - counts.get("equivalent", 0)
    took = time.perf_counter() - began
    print(f"{len(mutants)} mutants in {took:.0f} s: {counts}; {lost / max(1, able):.1%} of {able} unnoticed")
    return int(lost > 0.05 * able)


if __name__ == "__main__":
    raise SystemExit(main())
