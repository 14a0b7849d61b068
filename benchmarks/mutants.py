"""Changes one place of the source at a time and asks the tests: who notices?

    python benchmarks/mutants.py [--count 160] [--seed 0] [--jobs 2] [--only PART] [--tests tests/unit/core]

A mutant is a small change of meaning: `<` for `<=`, `+` for `-`, `and` for `or`, a number more by one, a
call left out. Mutants are drawn at random (the seed counts) from all places in `core`, `data`, `correction`
and `policies`; texts of errors, docstrings, annotations, default settings and `toys` are no places. Each
runs against the tests that execute its line, the quickest first; the first failure kills it. What survives
is a missing test, or a change without a meaning: those are listed with their reason in
mutants_equivalent.txt.

A process that has collected the tests forks for each mutant and gives the function that it lies in other
code, so that a mutant costs its tests and nothing else. One outside of every function needs an import anew.

Which test executes which line is found by coverage.py and kept in .mutants/; a file of tests that has changed
is asked anew. Remove the folder when the source has changed much.
"""

import argparse
import gc
import importlib
import importlib.abc
import importlib.util
import inspect
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from mutant_places import SOURCE, Mutant, drawn, mutated
from mutant_tests import (
    BROKEN,
    ROOT,
    Known,
    Loop,
    forked,
    learn,
    live_caches,
    move_to,
    run,
    run_pytest,
)

EQUIVALENT = Path(__file__).with_name("mutants_equivalent.txt")
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


def _try_live(
    functions: list[FunctionType], code: CodeType, items: list[pytest.Item], caches: list[Any], folder: Path
) -> int:
    move_to(folder)
    if not functions:
        raise LookupError(f"no function of {code.co_qualname} is alive")
    for one in caches:
        one.cache_clear()
    for function in functions:
        function.__code__ = code
    for item, following in zip(items, [*items[1:], None], strict=True):
        if run(item, following):
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
    return run_pytest(tests, folder, "-x")


Told = Callable[[Mutant, str, str], None]


def judge(mutants: Sequence[Mutant], known: Known, jobs: int, most_seconds: float, told: Told) -> None:
    """Tell of each mutant "killed", "survived", "not executed" or "not judged", and why."""
    live: list[tuple[Mutant, list[str], tuple[str, str, int], CodeType]] = []
    anew: list[tuple[Mutant, list[str]]] = []
    for mutant in mutants:
        function = altered(mutant)
        tests = _chosen(known.of(mutant), known.seconds, most_seconds)
        if not tests:
            told(mutant, "not executed", "")
        elif function is None:
            anew.append((mutant, tests))
        else:
            live.append((mutant, tests, function[:3], function[3]))

    def judged(tasks: Sequence[Callable[[Path], int]], asked: Sequence[tuple[Mutant, list[str]]]) -> None:
        limits = [60.0 + 4.0 * sum(known.seconds[name] for name in tests) for _, tests in asked]
        for number, status, said in forked(zip(tasks, limits, strict=True), jobs):
            mutant, tests = asked[number]
            lines = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
            why = lines[0][:120] if lines else f"{len(tests)} tests, {status}: {said.strip()[-160:]!r}"
            told(mutant, {0: "survived", BROKEN: "not judged"}.get(status, "killed"), why)

    def work(items: dict[str, pytest.Item]) -> None:
        for mutant, *_ in live:  # which a test may import late
            importlib.import_module(module_of(mutant))
        functions, caches = live_functions(), live_caches()
        tasks = [
            partial(
                _try_live,
                functions.get(place, []),
                code,
                [items[name] for name in tests if name in items],
                caches,
            )
            for _, tests, place, code in live
        ]
        judged(tasks, [(mutant, tests) for mutant, tests, *_ in live])

    judged([partial(_try_anew, mutant, tests) for mutant, tests in anew], anew)
    with tempfile.TemporaryDirectory() as folder:
        files = {name.partition("::")[0] for _, tests, *_ in live for name in tests}
        run_pytest(sorted(files), Path(folder), plugins=[Loop(work)])


def _chosen(tests: Sequence[str], seconds: dict[str, float], most_seconds: float) -> list[str]:
    """Return the first tests that take no longer than they may, at least one."""
    chosen: list[str] = []
    spent = 0.0
    for test in tests:
        spent += seconds[test]
        if chosen and (spent > most_seconds or len(chosen) == 1000):
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
    parser.add_argument(
        "--tests", nargs="*", default=["tests"], help="which are run to learn what they execute"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=60.0,
        help="of tests for a mutant; it survives what they do not notice",
    )
    chosen = parser.parse_args(arguments)
    os.chdir(ROOT)
    os.environ |= {"PYTHONPATH": str(SOURCE.parent), "OMP_NUM_THREADS": "1"}
    sys.path.insert(0, str(SOURCE.parent))
    for name in IMPORTED:
        importlib.import_module(name)
    known = learn(Known(), chosen.tests, chosen.jobs)
    listed = {line.rpartition(" # ")[0] for line in EQUIVALENT.read_text().splitlines()}
    mutants = drawn(chosen.count, chosen.seed, chosen.only)
    began = time.perf_counter()
    counts: dict[str, int] = {}

    def told(mutant: Mutant, answer: str, why: str) -> None:
        word = "equivalent" if answer != "killed" and mutant.name in listed else answer
        counts[word] = counts.get(word, 0) + 1
        print(f"{word:<12} {mutant.line:>4} {mutant.name}   [{why}]", flush=True)

    judge(mutants, known, chosen.jobs, chosen.seconds, told)
    lost = sum(counts.values()) - counts.get("killed", 0) - counts.get("equivalent", 0)
    able = len(mutants) - counts.get("equivalent", 0)
    took = time.perf_counter() - began
    print(f"{len(mutants)} mutants in {took:.0f} s: {counts}; {lost / max(1, able):.1%} of {able} unnoticed")
    return int(lost > 0.05 * able)


if __name__ == "__main__":
    raise SystemExit(main())
