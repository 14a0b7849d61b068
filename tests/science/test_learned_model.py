"""The worlds in which models are learnt are the true ones."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

NAMES = ("pages", "pendulum_v1", "learned_car", "learned_model")


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    yield {name: importlib.import_module(name) for name in NAMES}
    for name in NAMES:
        sys.modules.pop(name, None)


def test_the_pendulum_is_gymnasiums(scripts):
    gymnasium = pytest.importorskip("gymnasium", reason="the twin is Gymnasium's Pendulum-v1")
    v1, env = scripts["pendulum_v1"], gymnasium.make("Pendulum-v1")
    seen, _ = env.reset(seed=3)
    x, total, paid = v1.state_of(seen[None].astype(float)), 0.0, 0.0
    for number in range(120):  # first pushed at random, then as hard as it goes, so that the speed is clipped
        u = np.random.default_rng(number).uniform(-2.5, 2.5, (1, 1)) if number < 40 else np.array([[2.0]])
        total -= 0.5 * float((v1.residuals(x, np.clip(u, -2, 2)) ** 2).sum())
        x = v1.step(x, u)
        seen, reward, *_ = env.step(u[0])
        paid += float(reward)
        np.testing.assert_allclose(v1.seen(x)[0], seen, atol=2e-4)
    assert total == pytest.approx(paid, abs=0.05)


def test_a_car_in_its_own_frame_goes_as_on_the_road(scripts):
    """What is entered and read back is the next state of the problem, which is the env's own."""
    world = scripts["learned_car"].CarWorld(3, seed=0)
    driven = world.collect(lambda x: np.full((len(x), 1), 0.3), 0)
    x, after = driven.state, driven.next_state
    assert x.shape == (200, 10)
    assert np.abs(driven.action - 0.3).max() == 0.0
    told = world.chart.enter(x, after)
    assert np.abs(told[:, :2]).max() < 0.2  # a step is short, wherever the car is
    np.testing.assert_allclose(world.chart.enter(x, x)[:, :3], 0.0, atol=1e-9)
    back = world.chart.read(x, told)
    np.testing.assert_allclose(back[:, [0, 1, 3, 4]], after[:, [0, 1, 3, 4]], atol=1e-4)
    # At a few steps the problem itself, with true dynamics, tells another heading error than the env.
    apart, own = (
        np.abs(one[:, 7:9] - after[:, 7:9]).max(axis=1)
        for one in (back, world.problem.dynamics(x, driven.action, np))
    )
    assert np.median(apart) < 1e-4
    np.testing.assert_allclose(apart, own, atol=2e-3)
