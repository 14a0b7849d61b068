"""The law of compounding error, from exact costs: what grows with the horizon's square and what does not."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from steadyhand.core.specs import STATE
from steadyhand.correction.collect import collect
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.rounds import teach_in_rounds
from steadyhand.envs.tabular.config import CONTEXT, TabularConfig
from steadyhand.envs.tabular.exact import expected_cost
from steadyhand.envs.tabular.layouts import MISTAKE, RIGHT_WAY
from steadyhand.experts.linear import regulator, slow_direction, spectral_radius
from steadyhand.experts.tabular import DynamicProgramming
from steadyhand.policies.artifact import load_policy
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.tabular import Tabular
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.training.config import TrainConfig

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
HORIZONS = (8, 16, 32, 64)
TWO, ONE = pytest.approx(2.0, abs=0.15), pytest.approx(1.0, abs=0.15)


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("pages", "law", "law_linear", "law_methods"):
        sys.modules.pop(name, None)


def slope(layout, method, *, labels=2**13, num_sets=60):
    made = importlib.import_module("law_methods")
    costs = []
    for horizon in HORIZONS:
        config = TabularConfig(layout=layout, horizon=horizon, num_contexts=64)
        problem = made.LawProblem(config, num_sets=num_sets, seed=1, name=method)
        drives = labels // horizon
        if method == "cloning":
            outcome = made.cloning(problem, trajectories=drives)
        else:
            outcome = made.dagger(problem, at=[drives])[0]
        assert outcome.labels == labels
        costs.append(outcome.cost.mean())
    return np.polyfit(np.log(HORIZONS), np.log(costs), 1)[0]


@pytest.mark.parametrize(
    ("layout", "method", "expected"),
    [
        ("tight", "cloning", TWO),
        ("tight", "DAgger", ONE),
        ("cliff", "cloning", TWO),
        ("cliff", "DAgger", ONE),
        ("unrecoverable_cliff", "cloning", TWO),
        ("unrecoverable_cliff", "DAgger", TWO),
    ],
)
def test_cost_exponents(layout, method, expected):
    """Ross and Bagnell (2010), theorem 2.1, and Ross et al. (2011), theorem 3.2, with u = 1 and u = H."""
    assert slope(layout, method) == expected


def test_cloning_costs_what_the_missing_contexts_say():
    """On the tight example E[cost] = H sum_c p_c (1 - p_c)^N, by hand."""
    made = importlib.import_module("law_methods")
    config = TabularConfig(layout="tight", horizon=16, num_contexts=64)
    problem = made.LawProblem(config, num_sets=500, seed=0, name="check")
    cost = made.cloning(problem, trajectories=100).cost
    # From 100 drives of 16 steps, the contexts of state "shown" are all but known: they cost next to nothing.
    shown = 15 * config.contexts().missing(1500)
    expected = 16 * config.contexts().missing(100) + shown
    assert cost.mean() == pytest.approx(expected, abs=4 * cost.std() / np.sqrt(500))


def exact_policy(policy, config):
    """Return pi(a | s) of a policy's mode, all contexts taken into account."""
    mdp, looks = config.mdp(), config.contexts()
    states, contexts = np.meshgrid(np.arange(mdp.num_states), np.arange(config.num_contexts), indexing="ij")
    window = {STATE: states.reshape(-1, 1, 1), CONTEXT: contexts.reshape(-1, 1, 1)}
    action = policy.predict_chunk(window)[:, 0, 0].numpy().reshape(states.shape)
    return looks.marginal(np.eye(2)[action]), action


@pytest.fixture
def table():
    """A config, its env and expert, and a learner whose policy is the tabular head."""
    config = TabularConfig(layout="cliff", horizon=16, num_contexts=16)
    env = config.build(8)
    policy = PolicyConfig(encoder=StateMLP(hidden=()), head=Tabular())
    learner = PolicyLearner(env.spec, policy=policy, training=TrainConfig(num_steps=1, warmup_steps=0))
    return config, env, DynamicProgramming(env.mdp), learner


def test_the_tabular_head_is_the_table_of_the_experiment(table, tmp_path):
    """Its mode is the expert's action where a context was shown, and action 0, a mistake, where none was."""
    config, env, expert, learner = table
    episodes = collect(env, expert, env.starts("train", 2), source="demonstration", seed=0)
    learner.fit(episodes, folder=tmp_path, seed=0, warm_start=None)
    policy = load_policy(tmp_path / "policy").eval()
    marginal, action = exact_policy(policy, config)
    shown = np.zeros((2, 16), dtype=bool)
    for episode in episodes:
        shown[episode.observation[STATE][:, 0], episode.observation[CONTEXT][:, 0]] = True
    assert 0 < shown[0].sum() < 16
    assert not shown[1].any()
    np.testing.assert_array_equal(action, np.where(shown, RIGHT_WAY, MISTAKE))
    epsilon = 1.0 - config.contexts().probability[shown[0]].sum()
    expected = sum(1.0 - (1.0 - epsilon) ** t for t in range(1, 17))
    assert expected_cost(config.mdp(), marginal) == pytest.approx(expected)
    # And driven in the env, its costs have this mean.
    controller = RecedingHorizon(policy, num_rows=400, deterministic=True)
    driven = collect(config.build(400), controller, env.starts("test", 400), source="rollout", seed=0)
    costs = -np.array([episode.reward.sum() for episode in driven])
    assert costs.mean() == pytest.approx(expected, abs=4 * float(costs.std()) / 20)


def test_the_librarys_dagger_learns_the_way_back(table, tmp_path):
    config, env, expert, learner = table
    result = teach_in_rounds(
        env,
        expert,
        learner,
        config=DaggerConfig(rounds=4, labels_per_round=128, episodes_per_round=8, validation_starts=8),
        folder=tmp_path,
        seed=0,
    )
    first, last = (
        exact_policy(load_policy(result.folders[number] / "policy").eval(), config)[0] for number in (0, -1)
    )
    assert first[1, RIGHT_WAY] == 0.0
    assert last[1, RIGHT_WAY] > 0.5
    assert expected_cost(config.mdp(), last) < 0.5 * expected_cost(config.mdp(), first)


@pytest.mark.parametrize(("system", "escapes"), [("unstable", True), ("stable", False)])
def test_a_linear_clone_runs_away_at_the_rate_of_its_blind_direction(system, escapes):
    """The smallest gain that explains states on one line is K v (x1 / v1 + x2 / v2) / 2.

    That is in the units of the normaliser, in which both numbers vary alike. Executing two steps of the chunk
    leaves the other direction to A^2 = scale^2 1.16 I.
    """
    made = importlib.import_module("law_linear")
    settings = made.LinearSettings(system=system, learner="linear", remedy="cloning")
    config = made.system_of(settings)
    gain = regulator(config).gain
    line = slow_direction(config.a + config.b @ gain)
    clone = (gain @ line)[:, None] * (0.5 / line)
    expected = spectral_radius(config.a + config.b @ clone)
    policy = made.policy_of(settings, config)
    assert expected > 1.2
    assert made.loop_radius(policy, config, 1) == pytest.approx(expected, rel=1e-3)
    deviation, success = made.drive(policy, config, settings, 1)
    assert made.growth(deviation.tolist()) == pytest.approx(expected, rel=0.02)
    assert not success.any()
    assert made.loop_radius(policy, config, 2) == pytest.approx(spectral_radius(config.a), rel=1e-3)
    assert (made.loop_radius(policy, config, 8) > 1.0) == escapes


@pytest.mark.parametrize("system", ["unstable", "stable"])
def test_clean_labels_under_noise_show_the_blind_direction(system):
    made = importlib.import_module("law_linear")
    settings = made.LinearSettings(system=system, learner="linear", remedy="noise")
    config = made.system_of(settings)
    policy = made.policy_of(settings, config)
    expert = spectral_radius(config.a + config.b @ regulator(config).gain)
    assert made.loop_radius(policy, config, 1) == pytest.approx(expert, abs=1e-3)
    states = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    action = policy.predict_chunk({STATE: torch.from_numpy(states[:, None])})[:, 0].numpy()
    np.testing.assert_allclose(action, states @ regulator(config).gain.T, atol=1e-3)


def test_the_page_meets_the_law():
    """The exponents of the stored cells, with the tolerance that was promised."""
    law = importlib.import_module("law")
    expected = {
        ("tight", "cloning"): TWO,
        ("tight", "DAgger"): ONE,
        ("cliff", "cloning"): TWO,
        ("cliff", "DAgger"): ONE,
        ("unrecoverable_cliff", "cloning"): TWO,
        ("unrecoverable_cliff", "DAgger"): TWO,
    }
    found = {}
    for settings in law.tabular_settings():
        if settings.held == "labels" and (settings.layout, settings.method) in expected:
            costs = law.costs_of(settings)
            assert costs is not None, f"missing: {law.cell(settings).name}"
            found[settings.layout, settings.method] = law.exponent(settings.horizons, costs)
    assert found == expected


def test_every_cell_of_the_page_is_there():
    law = importlib.import_module("law")
    assert [cell.name for cell in law.cells() if cell.result() is None] == []
    one = law.tabular_settings()[0]
    assert law.cell(replace(one, seed=7)).result() is None
