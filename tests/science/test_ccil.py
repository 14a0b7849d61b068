"""The experiments with CCIL: every method runs on equal terms, and the oracles tell the truth."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.specs import ENVIRONMENT_STATE, STATE
from steadyhand.correction.ccil import corrective_labels, label_errors
from steadyhand.correction.ccil_config import CcilConfig, KeepAll
from steadyhand.correction.collect import collect
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.car.dynamics import parameters
from steadyhand.envs.car.inverse import before, moved
from steadyhand.envs.pendulum import PendulumConfig
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.experts.swing_up import SwingUp
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.spec import PolicyConfig, PolicySpec

CAR = CarConfig(
    observation=("scan",), action="steering_speed", num_tracks=2, num_held_out_tracks=2, max_episode_steps=40
)


@pytest.fixture
def methods(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    yield importlib.import_module("ccil_methods")
    for name in ("pages", "ccil", "ccil_methods"):
        sys.modules.pop(name, None)


def driven(env, expert, drives):
    starts = env.starts("train", drives, seed=3)
    return collect(env, expert, starts, source="demonstration", seed=0)


@pytest.mark.parametrize("discontinuous", [False, True])
def test_labels_of_the_true_pendulum_lead_back_to_the_demonstrations(methods, discontinuous):
    config = PendulumConfig(discontinuous=discontinuous, max_episode_steps=80)
    env = config.build(4)
    demos, spec = driven(env, SwingUp(config), 4), PolicySpec.of_env(env.spec)
    truth = methods.pendulum_truth(env)
    ccil = CcilConfig(label="implicit", rejection=KeepAll())
    labels, geometry = corrective_labels(demos, spec, ccil, seed=0, oracle=truth)
    assert geometry.kept_fraction > 0.8
    assert label_errors(labels, demos, spec, truth).max() < 1e-3
    on_circle = np.concatenate([label.observation[STATE] for label in labels])
    np.testing.assert_allclose(np.hypot(on_circle[:, 0], on_circle[:, 1]), 1.0, atol=1e-5)


def test_what_the_true_car_saw_before_leads_to_what_the_demonstration_saw(methods):
    env = CAR.build(2)
    demos = driven(env, PurePursuit(CAR), 2)
    truth = methods.CarTruth(CAR, demos)
    parent, reached = np.array([0, 0, 1, 1]), np.array([5, 20, 1, 39])
    action = np.stack([demos[p].action[r] for p, r in zip(parent, reached, strict=True)])
    seen = truth.before(parent, reached, action.astype(np.float64))

    path = [truth._snapshots[p][r] for p, r in zip(parent, reached, strict=True)]
    there = {name: np.concatenate([one[name] for one in path]) for name in path[0]}
    state = there["values"][:, :5]
    found = before(state, action, params=parameters(CAR), steering=state[:, 3])
    rows, other = np.arange(4), CAR.build(4)
    other.restore(moved({**there, "ended": np.zeros(4, dtype=bool)}, found), rows)
    np.testing.assert_allclose(other.observe(rows)[ENVIRONMENT_STATE], seen, atol=1e-6)
    other.step(action, rows)
    now = other.observe(rows)[ENVIRONMENT_STATE]
    wanted = [demos[p].observation[ENVIRONMENT_STATE][r] for p, r in zip(parent, reached, strict=True)]
    # Poses agree to a rounding of float32; a beam that grazes an edge turns that into centimetres.
    assert np.quantile(np.abs(now - np.stack(wanted)), 0.95) < 2e-3


def test_constant_features_stay_as_they_were(methods):
    env = CAR.build(1)
    demos = driven(env, PurePursuit(CAR), 1)
    seen = demos[0].observation[ENVIRONMENT_STATE]
    shaken = [replace(demos[0], observation={ENVIRONMENT_STATE: seen + np.float32(0.01)})]
    (label,) = methods.unchanged(demos, shaken)
    np.testing.assert_array_equal(label.observation[ENVIRONMENT_STATE][:, 60:], seen[:, 60:])
    np.testing.assert_array_equal(
        label.observation[ENVIRONMENT_STATE][:, :60], seen[:, :60] + np.float32(0.01)
    )


def test_the_settings_of_all_cells_are_what_was_published_and_read_back(methods):
    ccil = importlib.import_module("ccil")
    found = ccil.cells()
    assert len({cell.name for cell in found}) == len(found)
    for cell in found:
        assert from_data(to_data(cell.settings), methods.Settings) == cell.settings
    wanted = {"F1TENTH": (800, 800), "smooth 100": (50_000, 9766), "jumps 500": (250_000, 48_828)}
    for name, (labels, updates) in wanted.items():
        base = ccil.TASKS[name].base
        assert (base.labels, base.updates) == (labels, updates)
        assert base.labels % base.rounds == 0


@pytest.mark.parametrize("task", ["F1TENTH", "jumps 15"])
def test_every_method_asks_for_the_same_labels(methods, task):
    ccil = importlib.import_module("ccil")
    chosen = ccil.TASKS[task]
    env = replace(chosen.base.env, max_episode_steps=40)
    if task == "F1TENTH":
        env = replace(env, num_tracks=2, num_held_out_tracks=1)
    for method in chosen.methods:
        settings = ccil.settings_of(chosen, method, 0)
        model = settings.ccil
        if model is not None:
            model = replace(model, training=replace(model.training, num_steps=2), rejection=KeepAll())
        drives = 1 if task == "F1TENTH" else 10
        small = replace(
            settings,
            env=env,
            ccil=model,
            drives=drives,
            steps=40,
            epochs=1,
            batch_size=200,
            sigmas=settings.sigmas[:2],
            drives_per_round=settings.drives_per_round
            and (2 if task == "F1TENTH" else drives // settings.rounds or 2),
            policy=PolicyConfig(encoder=StateMLP(hidden=(8,))),
            validation=1,
            rollouts=2,
        )
        result = methods.compute(small)
        assert result["labels"] == small.labels
        assert len(result["success"]) == 2
        assert ("geometry" in result) == method.startswith("CCIL")
