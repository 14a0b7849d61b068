"""An experiment's cells: computed once, kept at once, with the code that made them, wherever that runs."""

import json
import re
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import steadyhand
from steadyhand.core.codec import to_data
from steadyhand.core.errors import ArtifactError, CapabilityError, ConfigError, SteadyhandError
from steadyhand.core.provenance import Provenance
from steadyhand.core.question import NUMERICS
from steadyhand.correction.mixture import BetaSchedule, ExponentialDecay
from steadyhand.envs.linear.config import LinearConfig
from steadyhand.recipes.cells import CellStore, StoredCell
from steadyhand.recipes.experiment import RENAMED, Experiment, compute_cells, fill, staleness
from steadyhand.recipes.workers import RayExecutor, processes

NOW = Provenance.of_this_process()


@dataclass(frozen=True, kw_only=True)
class Settings:
    number: int


@pytest.fixture
def numbers(tmp_path):
    return Experiment(name="numbers", folder=tmp_path)


def _square(settings):
    return {"square": settings.number**2}


def _cells(experiment, count, compute=_square):
    return [
        experiment.cell(f"Number {n}", settings=Settings(number=n), compute=compute) for n in range(count)
    ]


def test_a_cell_is_computed_once_and_says_which_code_made_it(numbers):
    seen = []
    cells = _cells(numbers, 3)
    compute_cells(cells, on_cell=lambda cell, row: seen.append((cell.name, row.result["square"])))
    assert seen == [("number-0", 0), ("number-1", 1), ("number-2", 4)]
    assert [cell.result() for cell in cells] == [{"square": 0}, {"square": 1}, {"square": 4}]
    made = cells[0].stored().provenance
    assert made == NOW
    assert made.numerics == NUMERICS
    assert made.torch
    assert made.numpy
    assert cells[0].stored().wall_s >= 0.0

    def never(_):
        raise AssertionError("computed again")

    compute_cells(_cells(numbers, 3, never))


def test_the_commit_is_that_of_the_source_tree():
    assert NOW.commit == "" or len(NOW.commit.rstrip("+")) == 40


def test_other_settings_under_the_same_name_are_not_taken_for_an_answer(numbers):
    cell = numbers.cell("one", settings=Settings(number=1), compute=_square)
    compute_cells([cell])
    other = replace(cell, settings=Settings(number=2))
    assert other.result() is None
    compute_cells([other])
    assert other.result() == {"square": 4}
    assert cell.result() is None


def test_a_field_that_came_later_with_a_default_leaves_old_cells_valid(numbers):
    compute_cells(_cells(numbers, 1))

    @dataclass(frozen=True, kw_only=True)
    class Later(Settings):
        power: int = 2

    assert numbers.cell("number 0", settings=Later(number=0), compute=_square).result() == {"square": 0}
    assert numbers.cell("number 0", settings=Later(number=0, power=3), compute=_square).result() is None


@dataclass(frozen=True, kw_only=True)
class Scheduled:
    beta: BetaSchedule


def test_a_renamed_part_leaves_old_cells_valid(tmp_path):
    trials = Experiment(name="trials", folder=tmp_path)
    old = {"beta": {"type": "Exponential", "p": 0.25}}
    trials.store.keep([StoredCell(name="one", settings=old, result={"kept": 1})])
    asked = Scheduled(beta=ExponentialDecay(p=0.25))
    assert trials.cell("one", settings=asked, compute=dict).result() == {"kept": 1}
    other = Scheduled(beta=ExponentialDecay(p=0.5))
    assert trials.cell("one", settings=other, compute=dict).result() is None


def test_every_part_of_the_published_cells_has_a_class_today():
    """A class that is renamed leaves its old name in `RENAMED`, or published results are lost."""
    root = Path(steadyhand.__file__).parent
    classes = {
        name for file in root.rglob("*.py") for name in re.findall(r"^class (\w+)", file.read_text(), re.M)
    }
    folder = root.parents[1] / "docs" / "results" / "cells"
    if not folder.is_dir():
        pytest.skip("the results are not here")
    named: set[str] = set()
    for path in folder.glob("*.parquet"):
        for cell in CellStore(path).read().values():
            named |= set(re.findall(r'"type": "(\w+)"', json.dumps(cell.settings)))
    assert {"DaggerBeta", "StateMLP", "Exponential"} <= named
    assert {RENAMED.get(name, name) for name in named} <= classes


def test_a_cell_that_fails_loses_no_other_and_is_tried_again(numbers):
    def fails(settings):
        if settings.number == 1:
            raise ValueError("no such luck")
        return _square(settings)

    with pytest.raises(SteadyhandError, match="1 of 3 cells failed") as error:
        compute_cells(_cells(numbers, 3, fails))
    assert "number-1: ValueError: no such luck" in str(error.value)
    assert [cell.result() is None for cell in _cells(numbers, 3)] == [False, True, False]
    compute_cells(_cells(numbers, 3))
    assert _cells(numbers, 3)[1].result() == {"square": 1}


def test_processes_compute_what_this_process_computes(numbers):
    settings = [LinearConfig(max_episode_steps=n) for n in (5, 6, 7)]
    cells = [numbers.cell(f"{one.max_episode_steps}", settings=one, compute=to_data) for one in settings]
    with processes(2) as executor:
        compute_cells(cells, executor=executor)
    for cell, one in zip(cells, settings, strict=True):
        assert cell.result() == json.loads(json.dumps(to_data(one)))
        assert cell.stored().provenance == NOW


class _Ray(ModuleType):
    """What `RayExecutor` asks of Ray, in this process."""

    def __init__(self):
        super().__init__("ray")
        self.asked, self.is_up = [], False

    def is_initialized(self):
        return self.is_up

    def init(self, **how):
        self.is_up, self.how = True, how

    def shutdown(self):
        self.is_up = False

    def remote(self, **needs):
        self.asked.append(needs)

        def wrapped(function):
            def call(*args):
                future = Future()
                try:
                    future.set_result(function(*args))
                except Exception as error:
                    future.set_exception(error)
                return SimpleNamespace(future=lambda: future)

            return SimpleNamespace(remote=call)

        return wrapped


def test_a_cluster_computes_the_same_cells(numbers, monkeypatch):
    ray = _Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)
    with RayExecutor("ray://head:10001", cpus=2) as executor:
        compute_cells(_cells(numbers, 2), executor=executor)
        assert ray.is_up
        assert ray.how["address"] == "ray://head:10001"
    assert not ray.is_up
    assert [needs["num_cpus"] for needs in ray.asked] == [2, 2]
    assert [cell.result() for cell in _cells(numbers, 2)] == [{"square": 0}, {"square": 1}]


def test_without_ray_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CapabilityError, match=r"steadyhand\[scale\]"):
        RayExecutor()


def test_real_ray_computes_the_same_cells(numbers):
    pytest.importorskip("ray")
    with RayExecutor() as executor:
        compute_cells(_cells(numbers, 2), executor=executor)
    assert _cells(numbers, 2)[1].result() == {"square": 1}
    assert _cells(numbers, 2)[1].stored().provenance == NOW  # with the command that asked, not the worker's


def test_two_writers_at_once_lose_nothing(tmp_path):
    def write(half):
        store = CellStore(tmp_path / "cells.parquet")
        for n in range(half, 20, 2):
            store.keep([StoredCell(name=f"{n:02d}", settings={}, result={"n": n})])

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(write, half) for half in (0, 1)]:
            done.result()
    rows = CellStore(tmp_path / "cells.parquet").read()
    assert {name: row.result["n"] for name, row in rows.items()} == {f"{n:02d}": n for n in range(20)}


def test_results_come_back_as_they_were_kept(tmp_path):
    result = {"int": 1, "float": 1.0, "mixed": [1, 2.5, None, "x"], "nested": {"b": {}, "a": [[], [0.1]]}}
    old = StoredCell(name="old", settings={"type": "A"}, result=result, wall_s=1.5)
    new = StoredCell(name="new", settings={}, result={}, provenance=NOW)
    CellStore(tmp_path / "cells.parquet").keep([old, new])
    rows = CellStore(tmp_path / "cells.parquet").read()
    assert rows == {"new": new, "old": old}
    assert [type(x) for x in rows["old"].result["mixed"]] == [int, float, type(None), str]
    assert list(rows["old"].result["nested"]) == ["b", "a"]


def test_what_cannot_be_kept_leaves_what_is_there(tmp_path):
    store = CellStore(tmp_path / "cells.parquet")
    store.keep([StoredCell(name="a", settings={}, result={"x": 1})])
    with pytest.raises(ConfigError, match="cell b"):
        store.keep([StoredCell(name="b", settings={}, result={"x": float("nan")})])
    assert set(CellStore(tmp_path / "cells.parquet").read()) == {"a"}


def test_damage_is_found_on_reading(tmp_path):
    path = tmp_path / "cells.parquet"
    rows = [StoredCell(name=f"{n}", settings={}, result={"x": n / 7}) for n in range(200)]
    CellStore(path).keep(rows)
    whole = bytearray(path.read_bytes())
    place = whole.index(b"x") if b"x" in whole else 200
    whole[place] ^= 1
    whole[len(whole) // 3] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ArtifactError, match="is damaged"):
        CellStore(path).read()


def _row(numerics):
    code = None if numerics is None else replace(NOW, numerics=numerics)
    return StoredCell(name="x", settings={}, result={}, provenance=code)


@pytest.mark.parametrize(
    ("ages", "says"),
    [
        ((NUMERICS,), ""),
        ((NUMERICS - 1, NUMERICS - 1), f"All 2 cells are older than .* \\(numerics {NUMERICS}\\)\\."),
        ((NUMERICS, NUMERICS - 1, None), "^1 of 3 cells are older .* 1 of 3 cells .* may be older"),
        ((None,), "^All 1 cells were computed before provenance was kept"),
    ],
)
def test_staleness_is_said(ages, says):
    said = staleness(_row(age) for age in ages)
    assert said == "" if not says else re.search(says, said)


def test_a_table_says_how_old_its_own_cells_are(numbers):
    compute_cells(_cells(numbers, 2))
    fresh, old = _cells(numbers, 2)
    numbers.store.keep([replace(old.stored(), provenance=None)])
    page = "<!-- a -->\n?\n<!-- end a -->\n<!-- b -->\n?\n<!-- end b -->\n"
    tables = {"a": lambda: str(fresh.result()), "b": lambda: str((fresh.result(), old.result()))}
    filled = fill(page, tables)
    a, b = filled.split("<!-- end a -->")
    assert a == "<!-- a -->\n{'square': 0}\n"
    assert "1 of 2 cells were computed before provenance was kept" in b
    assert fill(filled, tables) == filled
    with pytest.raises(ConfigError, match="no place"):
        fill(page, {"c": lambda: ""})


def test_stale_cells_are_computed_again_when_that_is_asked(numbers):
    compute_cells(_cells(numbers, 2))
    cell = _cells(numbers, 2)[1]
    numbers.store.keep([replace(cell.stored(), result={"square": -1}, provenance=None)])
    compute_cells(_cells(numbers, 2))
    assert cell.result() == {"square": -1}
    compute_cells(_cells(numbers, 2), stale=True)
    assert cell.result() == {"square": 1}
    assert cell.stored().provenance == NOW
