"""Changes one place of the source at a time and asks the tests: who notices?

    python benchmarks/mutants.py [--count 160] [--seed 0] [--jobs 2] [--only PART]

A mutant is a small change of meaning: `<` for `<=`, `+` for `-`, `and` for `or`, a number more by one, a
call left out. Mutants are drawn at random (the seed counts) from all places in `core`, `data`, `correction`
and `policies`; texts of errors, docstrings, annotations and default settings are no places. Each runs
against the tests that execute its line, which one run of the suite under coverage.py finds, the quickest
first, in a process of its own; the first failure kills it. What survives is a missing test, or a change
without a meaning: those are listed with their reason in mutants_equivalent.txt beside this file.

It takes about half an hour on two cores after the first run of the suite, which is kept in .mutants/.
"""

import argparse
import ast
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "steadyhand"
PACKAGES = ("core", "data", "correction", "policies")
KEPT = ROOT / ".mutants"
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.txt")
MOST_SECONDS = 120.0
"""Tests of a mutant stop after this much of their own time; what they have not noticed by then survives."""

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
                source=source.strip(),
                column=int(getattr(node, "col_offset", 0)) - len(source) + len(source.lstrip()),
                change=f"{said} -> {change}",
            )


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


Coverage = dict[str, dict[int, list[str]]]
"""File below src/steadyhand -> line -> tests that execute it."""


def covered() -> tuple[Coverage, dict[str, float]]:
    """Return who executes which line, and how long each test takes [s]; runs the suite if not known."""
    lines, seconds = KEPT / "lines.json", KEPT / "seconds.json"
    if not lines.is_file():
        KEPT.mkdir(exist_ok=True)
        _run_suite()
    raw = json.loads(lines.read_text())
    return {
        path: {int(line): tests for line, tests in found.items()} for path, found in raw.items()
    }, json.loads(seconds.read_text())


def _run_suite() -> None:
    """Run every test once under coverage.py with a context for each test."""
    settings = KEPT / "coverage.ini"
    settings.write_text(
        f"[run]\nsource = {SOURCE}\ndata_file = {KEPT / 'data'}\nparallel = true\n"
        "dynamic_context = test_function\ncore = ctrace\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE.parent), "OMP_NUM_THREADS": "1"}
    halves = [["tests/unit/policies", "tests/unit/correction", "tests/laws"], ["tests"]]
    ignored = [f"--ignore={name}" for name in halves[0]]
    commands = [[*halves[0]], [*halves[1], *ignored]]
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "coverage", "run", f"--rcfile={settings}"),
                *("-m", "pytest", "-q", "-n", "0", "--durations=0", "--durations-min=0", *command),
            ],
            cwd=ROOT,
            env=environment,
            stdout=(KEPT / f"suite-{number}.txt").open("w"),
            stderr=subprocess.STDOUT,
        )
        for number, command in enumerate(commands)
    ]
    for process in running:
        process.wait()
    _digest(settings, environment, len(running))


def _digest(settings: Path, environment: dict[str, str], parts: int) -> None:
    subprocess.run(
        [sys.executable, "-m", "coverage", "combine", f"--rcfile={settings}"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
    )
    import coverage  # pyright: ignore[reportMissingImports]  only this tool needs it

    data = coverage.CoverageData(str(KEPT / "data"))
    data.read()
    lines: dict[str, dict[int, list[str]]] = {}
    for name in data.measured_files():
        found = data.contexts_by_lineno(name)
        lines[str(Path(name).relative_to(SOURCE))] = {
            line: sorted(one for one in contexts if one) for line, contexts in found.items()
        }
    seconds: dict[str, float] = {}
    for number in range(parts):
        for line in (KEPT / f"suite-{number}.txt").read_text().splitlines():
            words = line.split(maxsplit=2)
            if len(words) == 3 and words[0].endswith("s") and words[1] in ("call", "setup", "teardown"):
                test = words[2].split("[")[0].strip()
                seconds[test] = seconds.get(test, 0.0) + float(words[0][:-1])
    (KEPT / "lines.json").write_text(json.dumps(lines))
    (KEPT / "seconds.json").write_text(json.dumps(seconds))


def node_of(context: str) -> str:
    """Return the pytest node of a coverage context, such as tests.unit.core.test_codec.TestX.test_y."""
    words = context.split(".")
    for count in range(len(words), 0, -1):
        path = Path(*words[:count]).with_suffix(".py")
        if (ROOT / path).is_file():
            return "::".join([str(path), *words[count:]])
    return ""


_RUN = """
import importlib.abc, importlib.util, sys
source = sys.stdin.read()
class Loader(importlib.abc.SourceLoader):
    def get_filename(self, name): return {path!r}
    def get_data(self, path): return source.encode()
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {name!r}: return importlib.util.spec_from_file_location(name, {path!r}, loader=Loader())
sys.meta_path.insert(0, Finder())
import pytest
sys.exit(pytest.main({words!r}))
"""
"""A run of tests in which one module is made from other source, which comes on the standard input."""


def verdict(mutant: Mutant, coverage: Coverage, seconds: dict[str, float]) -> tuple[str, str]:
    """Return "killed", "survived" or "not executed", and by which test or how many."""
    found = coverage.get(mutant.path, {})
    contexts = found.get(mutant.line, [])
    if mutant.line in found and not contexts:  # executed at import: any test of the file may notice
        contexts = [one for several in found.values() for one in several]
    tests = sorted(
        {node for one in contexts if (node := node_of(one))},
        key=lambda node: seconds.get(node, 1.0),
    )
    if not tests:
        return "not executed", ""
    chosen: list[str] = []
    spent = 0.0
    for test in tests:
        spent += seconds.get(test, 1.0)
        if chosen and (spent > MOST_SECONDS or len(chosen) == 150):
            break
        chosen.append(test)
    words = ["-q", "-x", "-n", "0", "-o", "addopts=", "--import-mode=importlib", *chosen]
    code = _RUN.format(path=str(SOURCE / mutant.path), name=_module(mutant.path), words=words)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(SOURCE.parent), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(mutated(mutant), timeout=4 * MOST_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "killed", "hangs"
    if process.returncode in (0, 5):
        return "survived", f"{len(chosen)} of {len(tests)} tests"
    failed = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "killed", failed[0][:120] if failed else said.strip().splitlines()[-1][:120]


def _module(path: str) -> str:
    return "steadyhand." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def drawn(count: int, seed: int, only: str) -> list[Mutant]:
    """Return mutants drawn evenly from all places of the four packages."""
    everything = [
        mutant
        for package in PACKAGES
        for path in sorted((SOURCE / package).rglob("*.py"))
        for mutant in places(path)
        if only in mutant.path
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
    parser.add_argument("--only", default="", help="part of a path below src/steadyhand")
    chosen = parser.parse_args(arguments)
    coverage, seconds = covered()
    lines = EQUIVALENT.read_text().splitlines() if EQUIVALENT.is_file() else []
    listed = {line.rpartition(" # ")[0] for line in lines}
    mutants = drawn(chosen.count, chosen.seed, chosen.only)
    began = time.perf_counter()
    counts: dict[str, int] = {}

    def judged(mutant: Mutant) -> tuple[str, str]:
        return verdict(mutant, coverage, seconds)

    with ThreadPoolExecutor(chosen.jobs) as pool:
        for mutant, (answer, why) in zip(mutants, pool.map(judged, mutants), strict=True):
            word = "equivalent" if answer != "killed" and mutant.name in listed else answer
            counts[word] = counts.get(word, 0) + 1
            print(f"{word:<12} {mutant.line:>4} {mutant.name}   [{why}]", flush=True)
    lost = counts.get("survived", 0) + counts.get("not executed", 0)
    took = time.perf_counter() - began
    print(f"{len(mutants)} mutants in {took:.0f} s: {counts}; {lost / len(mutants):.1%} unnoticed")
    return int(lost > 0.05 * len(mutants))


if __name__ == "__main__":
    raise SystemExit(main())
