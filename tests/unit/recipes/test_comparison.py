"""Comparisons on equal terms: what is refused, what the table says, and which fit a rule takes."""

import importlib
from dataclasses import replace

import numpy as np
import pytest

from steadyhand.core.errors import ConfigError
from steadyhand.correction.budget import Budget
from steadyhand.correction.contract import RoundsConfig
from steadyhand.correction.gated import GatedConfig
from steadyhand.correction.human import HumanGate
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.experts.config import PurePursuitExpert
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.bench import SEARCH_SEED, BenchRun, bench, taught_fits
from steadyhand.recipes.comparison import (
    Row,
    Terms,
    caption,
    meaning,
    reduced,
    require_equal,
    spread,
    unequal,
)
from steadyhand.recipes.experiment import Experiment
from steadyhand.recipes.experts import FunctionExpert
from steadyhand.recipes.remedies import remedies
from steadyhand.recipes.search import Search, candidates
from steadyhand.training.config import TrainConfig

TERMS = Terms(starts=4, labels=40, fits=2, selection="best", validation_starts=3, trials=1, seeds=2)
BURDEN = {"env_steps": 40}


def run_of(**changes):
    return BenchRun(
        **{
            "env": CarConfig(observation=("state",), max_episode_steps=20),
            "expert": PurePursuitExpert(),
            "policy": PolicyConfig(encoder=StateMLP(hidden=(8,))),
            "training": TrainConfig(num_steps=5, batch_size=16),
            "remedies": ("cloning", "noise", "dagger"),
            "budget": Budget(labels=40, rounds=2, episodes=2, validation_starts=3),
            "seeds": 2,
            "num_starts": 4,
            **changes,
        }
    )


def fit_of(success, returns, validation):
    told, returned, steps = validation
    return {
        "success": success,
        "returns": returns,
        "validation": {"success": told, "return": returned, "steps": steps},
    }


FITS = [
    fit_of([1, 0, 0, 0], [1.0, 0.0, 0.0, 0.0], (0.5, 9.0, 10)),
    fit_of([1, 1, 1, 0], [1.0, 1.0, 1.0, 0.0], (1.0, 1.0, 20)),
    fit_of([0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0], (0.5, 5.0, 30)),
]


def test_each_rule_takes_its_fit():
    assert reduced(FITS, "best")["success"] == [1, 1, 1, 0]
    assert reduced(FITS, "last")["success"] == [0, 0, 0, 0]
    np.testing.assert_allclose(reduced(FITS, "mean")["success"], [2 / 3, 1 / 3, 1 / 3, 0])
    np.testing.assert_allclose(reduced(FITS, "mean")["returns"], [2 / 3, 1 / 3, 1 / 3, 0])


def test_of_equal_success_the_return_decides_and_then_the_later_fit():
    tied = [FITS[0], FITS[2], fit_of([0, 0, 0, 1], [0.0] * 4, (0.5, 9.0, 1))]
    assert reduced(tied, "best")["success"] == [0, 0, 0, 1]


def test_where_one_fit_was_not_told_its_success_the_return_chooses():
    untold = [*FITS, fit_of(None, [5.0] * 4, (None, 10.0, 1))]
    assert reduced(untold, "best") == {"success": None, "returns": [5.0] * 4}
    assert reduced(untold, "mean")["success"] is None


def test_a_row_counts_the_validation_steps_of_the_choice_and_of_the_search():
    result = {"fits": FITS, "labels": 40, "burden": BURDEN, "note": ""}
    row = Row.of_fits("x", [result, result], terms=TERMS, searched=1000.0)
    assert row.validation_steps == 60 + 1000
    np.testing.assert_allclose(row.spread, [[0.25, 0.75, 0.0]] * 2)
    assert spread(row) == "0 to 75 %"
    unchosen = replace(TERMS, selection="last", validation_starts=0)
    assert Row.of_fits("x", [result], terms=unchosen).validation_steps == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fits": 1}, "fits: 1 (b), 2 (all others)"),
        ({"starts": 8}, "starts: 8 (b), 4 (all others)"),
        ({"labels": 10}, "labels: 10 (b), 40 (all others)"),
        ({"selection": "last", "validation_starts": 0}, "selection: last (b), best (all others)"),
        ({"validation_starts": 9}, "validation starts: 9 (b), 3 (all others)"),
        ({"trials": 5}, "trials: 5 (b), 1 (all others)"),
        ({"seeds": 1}, "seeds: 1 (b), 2 (all others)"),
    ],
)
def test_every_unequal_term_is_refused_by_name(changes, says):
    terms = {"a": TERMS, "b": replace(TERMS, **changes), "c": TERMS}
    with pytest.raises(ConfigError) as error:
        require_equal(terms)
    assert says in str(error.value)
    rows = [Row(title=title, success=None, terms=one) for title, one in terms.items()]
    assert caption(rows).startswith("Not on equal terms. ")
    assert says in caption(rows)


def test_equal_terms_are_said_in_words():
    assert unequal({"a": TERMS, "b": TERMS}) == ""
    require_equal({"a": TERMS, "b": TERMS})
    refused = Row(title="c", success=None, refusal="no", terms=replace(TERMS, fits=9))
    assert caption([Row(title="a", success=None, terms=TERMS), refused]) == (
        "Each: 4 test starts, 2 seeds, 40 labels, the best of 2 fits on 3 validation starts, "
        "settings as given."
    )


def test_all_remedies_of_a_bench_are_on_equal_terms():
    run = run_of(remedies=tuple(one.name for one in remedies() if one.__module__.startswith("steadyhand.")))
    assert len({run.terms(name) for name in run.remedies}) == 1
    for selection in ("last", "mean"):
        other = replace(run, selection=selection)
        assert len({other.terms(name) for name in run.remedies}) == 1


def test_one_fit_of_cloning_against_the_best_of_rounds_is_refused_before_anything_is_computed():
    with pytest.raises(ConfigError, match="DAgger") as error:
        run_of(fits=1)
    assert "fits: 2 (DAgger), 1 (all others)" in str(error.value)
    assert run_of(fits=1, unequal=True).num_fits("cloning") == 1


def test_a_bench_chooses_alike_and_its_search_sees_no_test_start(tmp_path):
    run = run_of(remedies=("cloning", "dagger"), search=Search(trials=2, seeds=1), seeds=1)
    rows = {row.title: row for row in bench(run, tmp_path)}
    cells = Experiment(name="cells", folder=tmp_path).store.read()
    searched = {name: row for name, row in cells.items() if name.startswith("search")}
    assert len(searched) == 4
    assert len(cells) == 6
    for row in searched.values():
        assert row.settings["seed"] >= SEARCH_SEED
        assert all(set(fit) == {"validation"} for fit in row.result["fits"])
    for row in cells.values():
        assert len(row.result["fits"]) == 2
    for name, title in (("cloning", "cloning"), ("dagger", "DAgger")):
        steps = sum(
            fit["validation"]["steps"]
            for key, row in cells.items()
            if name in key
            for fit in row.result["fits"]
        )
        assert rows[title].validation_steps == steps
        result = cells[f"{name}-seed-0"].result
        assert rows[title].told.tolist() == [reduced(result["fits"], "best")["success"]]


def test_fits_of_the_same_labels_differ_and_the_first_is_that_of_one_fit(tmp_path):
    run = run_of(remedies=("cloning",), seeds=1)
    bench(run, tmp_path / "two")
    bench(replace(run, selection="last"), tmp_path / "one")
    two = Experiment(name="cells", folder=tmp_path / "two").store.read()["cloning-seed-0"].result
    one = Experiment(name="cells", folder=tmp_path / "one").store.read()["cloning-seed-0"].result
    assert [fit["returns"] for fit in two["fits"]][:1] == [fit["returns"] for fit in one["fits"]]
    assert two["fits"][0]["returns"] != two["fits"][1]["returns"]


@pytest.mark.parametrize("one", remedies(), ids=lambda one: one.name)
def test_every_remedy_is_searched_alike_and_keeps_what_is_part_of_the_question(one):
    method, training = one.from_budget(Budget(labels=40, rounds=2, episodes=2)), TrainConfig()
    found = candidates(method, training, trials=6, name=one.name)
    assert len(found) == 6
    assert found[0].method == method
    assert found[0].training == training
    assert len({candidate.training.learning_rate for candidate in found}) > 1
    assert found == candidates(method, training, trials=6, name=one.name)
    for candidate in found[1:]:
        changed = candidate.method
        assert type(changed) is type(method)
        assert changed.num_labels == method.num_labels
        assert 0.25 <= candidate.training.learning_rate / training.learning_rate <= 4.0
        if isinstance(method, RoundsConfig):
            assert (changed.rounds, changed.validation_starts) == (method.rounds, method.validation_starts)
        if isinstance(method, GatedConfig) and isinstance(method.gate, HumanGate):
            assert changed.gate.human == method.gate.human


def test_a_remedy_that_is_named_twice_is_refused():
    with pytest.raises(ConfigError, match="each once"):
        run_of(remedies=("dagger", "cloning", "dagger"))
    with pytest.raises(ConfigError, match="each once"):  # one remedy by two names
        run_of(remedies=("dagger", "DaggerConfig"))


def test_the_line_under_a_table_says_what_its_intervals_hold_for():
    two, one = np.ones((2, 4)), np.ones((1, 4))
    refused = Row(title="c", success=None, refusal="no")
    assert meaning([refused]) == ""
    assert "new seeds and new starts" in meaning([Row(title="a", success=two, returns=two), refused])
    assert "new starts alone" in meaning([Row(title="a", success=one, returns=one)])
    assert "there are no intervals" in meaning([Row(title="a", success=None, returns=one)])


EXPERT = """
GAIN = {gain}


def back(state):
    return GAIN * state[..., -1:]
"""


def test_cells_of_another_expert_of_the_same_name_are_not_taken(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "gains.py").write_text(EXPERT.format(gain=-0.5))
    gains = importlib.import_module("gains")
    run = run_of(
        env=PendulumConfig(max_episode_steps=20),
        expert=FunctionExpert(source="gains:back"),
        remedies=("cloning",),
        seeds=1,
    )
    bench(run, tmp_path / "bench")
    bench(run, tmp_path / "bench")
    monkeypatch.setattr(gains, "GAIN", 0.5)
    with pytest.raises(ConfigError, match=r"GAIN: -0\.5 there, 0\.5 asked for"):
        bench(run, tmp_path / "bench")


def refused_above(threshold):
    """Return what computes cells, but refuses those of a search with a higher learning rate."""

    def compute(trial):
        if trial.training.learning_rate > threshold and not trial.num_starts:
            return {"refusal": "too fast"}
        return taught_fits(trial)

    return compute


def test_settings_that_are_refused_in_a_search_cost_the_others_nothing(tmp_path, monkeypatch):
    run = run_of(remedies=("cloning",), search=Search(trials=4, seeds=1), seeds=1)
    rates = sorted(
        one.training.learning_rate
        for one in candidates(run.method("cloning"), run.training, trials=4, name="cloning")
    )
    monkeypatch.setattr("steadyhand.recipes.bench.taught_fits", refused_above(rates[0]))
    (row,) = bench(run, tmp_path / "one")
    assert row.settings == f"learning rate {rates[0]:g}"
    assert row.terms.trials == 4
    monkeypatch.setattr("steadyhand.recipes.bench.taught_fits", refused_above(0.0))
    (row,) = bench(run, tmp_path / "none")
    assert row.settings == ""
    assert row.terms.trials == 1  # the line under a table says so
