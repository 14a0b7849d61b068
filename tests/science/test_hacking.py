"""Exploits pay more than the task, by hand, from 3 m west of the goal and 1 m north of the pit."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

START = np.array([[0.5, 1.0, 0.0]])


@pytest.fixture
def world(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    yield importlib.import_module("hacking")
    for name in ("pages", "hacking"):
        sys.modules.pop(name, None)


def walks(east, north, steps):
    """Walk for some steps, then stand."""
    left = [steps]

    def act(x):
        left[0] -= 1
        return np.array([[east, north]]) * (left[0] >= 0)

    return act


def test_hovering_pays_more_than_arriving(world):
    honest = world.drive(world.honest, START)
    # 29 steps: 3.0 - 0.1 * 29 = 0.1 is the first distance within 0.15.
    assert (honest[0, :, 2] == world.WALKING).sum() == 29
    ways = 3.0 - 0.1 * np.arange(1, 30)
    assert world.totals("closeness", honest) == pytest.approx((1 - ways / 4).sum() + 5)  # 23.125
    hovers = world.drive(walks(1.0, 0.0, 28), START)
    assert hovers[0, -1, 2] == world.WALKING
    expected = (1 - ways[:28] / 4).sum() + 32 * (1 - 0.2 / 4)  # 47.55
    assert world.totals("closeness", hovers) == pytest.approx(expected)
    assert expected > 2 * 23.125


def test_falling_costs_less_than_walking(world):
    honest, falls = world.drive(world.honest, START), world.drive(walks(0.0, -1.0, 60), START)
    assert falls[0, -1, 2] == world.DEAD
    assert world.totals("hurry", honest) == pytest.approx(10 - 29)
    assert world.totals("hurry", falls) == pytest.approx(-11)  # ten steps to the edge, one over it


def test_the_mended_reward_pays_for_the_task(world):
    honest, falls = world.drive(world.honest, START), world.drive(walks(0.0, -1.0, 60), START)
    hovers = world.drive(walks(1.0, 0.0, 28), START)
    assert world.totals("mended", honest) == pytest.approx(2.9 - 0.29 + 1.0)
    assert world.totals("mended", hovers) == pytest.approx(2.8 - 0.6)
    assert world.totals("mended", falls) == pytest.approx(3.0 - np.hypot(3.0, 1.1) - 0.11 - 1.0)


@pytest.mark.parametrize("reward", ["closeness", "hurry", "mended"])
def test_a_planner_is_charged_what_the_reward_lacks(world, reward):
    inputs = np.random.default_rng(0).uniform(-1, 1, (5, 60, 2)) + 0.3
    start, problem = world.starts("left", "test", 5), world.problem(reward)
    path = problem.rollout(start, inputs)
    missing = 60 * world.LARGEST[reward] - world.totals(reward, path)
    np.testing.assert_allclose(problem.cost(path, np.clip(inputs, -1, 1)), missing)
