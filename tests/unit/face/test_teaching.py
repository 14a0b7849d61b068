"""Arrays of one's own, remedies of every kind, and what is kept of them."""

from pathlib import Path

import numpy as np
import pytest

import steadyhand as sh
from point_env import PointEnv
from steadyhand.core.errors import ConfigError

SMALL = {"steps": 4, "batch_size": 8, "quiet": True}


@pytest.fixture(scope="module")
def env() -> sh.Env:
    return PointEnv(4)


@pytest.fixture(scope="module")
def expert(env: sh.Env) -> sh.Controller:
    return sh.expert(lambda state: -0.5 * state, env)


def test_arrays_by_name_are_data() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "observation": rng.normal(size=(40, 3)),
        "action": rng.normal(size=(40, 2)),
        "episode_ends": np.array([10, 20, 40]),
    }
    data = sh.load_dataset(arrays, control_dt=0.02)
    assert data.lengths.tolist() == [10, 10, 20]
    assert data.control_dt == 0.02
    policy = sh.train(arrays, validation_fraction=0.4, **SMALL)
    assert policy(np.zeros(3)).shape == (2,)
    assert policy.origin is not None
    assert policy.origin.errors[0].name == "policy"


@pytest.mark.parametrize("remedy", ["cloning", "noise", "noise-bc", "hg-dagger"])
def test_a_remedy_is_taught_by_name(remedy: str, env: sh.Env, expert: sh.Controller) -> None:
    policy = sh.correct(remedy, env, expert, labels=50, **SMALL)
    assert np.abs(policy(np.zeros((2, 1)))).max() <= 0.5
    assert policy.origin is not None
    assert policy.origin.labels == 50 or remedy == "hg-dagger"
    assert sh.evaluate(policy, env, starts=3).name == policy.name == policy.origin.name


def test_settings_of_a_remedy_and_demonstrations_to_begin_with(
    env: sh.Env, expert: sh.Controller, tmp_path: Path
) -> None:
    demos = sh.record(env, expert, labels=12, episodes=3, quiet=True)
    asks = sh.remedies.DaggerConfig(rounds=2, labels_per_round=10, episodes_per_round=2, validation_starts=2)
    policy = sh.correct(asks, env, expert, initial=demos, out=tmp_path, **SMALL)
    assert policy.origin is not None
    assert policy.origin.labels == 12 + 20
    again = sh.load(tmp_path)
    np.testing.assert_array_equal(again(np.ones(1)), policy(np.ones(1)))
    with pytest.raises(ConfigError, match="how many labels"):
        sh.correct(asks, env, expert, labels=5, **SMALL)
    with pytest.raises(ConfigError, match="no such remedy"):
        sh.correct("dager", env, expert, **SMALL)


def test_the_budget_of_a_named_remedy_is_said_beside_its_name(env: sh.Env, expert: sh.Controller) -> None:
    policy = sh.correct("dagger", env, expert, labels=12, rounds=2, episodes=3, query_every=2, **SMALL)
    asks = sh.remedies.DaggerConfig(rounds=2, labels_per_round=6, episodes_per_round=3, query_every=2)
    same = sh.correct(asks, env, expert, **SMALL)
    np.testing.assert_array_equal(policy(np.ones((3, 1))), same(np.ones((3, 1))))
    with pytest.raises(ConfigError, match="available: labels, episodes"):
        sh.correct("noise", env, expert, query_every=2, **SMALL)


def test_demonstrations_without_an_episode_or_a_label_are_refused(env: sh.Env, expert: sh.Controller) -> None:
    with pytest.raises(ConfigError, match="episodes does not count"):
        sh.record(env, expert, episodes=0)
    with pytest.raises(ConfigError, match="fewer labels than episodes"):
        sh.record(env, expert, labels=3, episodes=4)


def test_another_run_in_the_same_folder_is_refused(
    env: sh.Env, expert: sh.Controller, tmp_path: Path
) -> None:
    demos = sh.record(env, expert, labels=12, episodes=3, quiet=True)
    first = sh.train(demos, out=tmp_path / "run", **SMALL)
    same = sh.train(demos, out=str(tmp_path / "run"), **SMALL)
    np.testing.assert_array_equal(same(np.ones(1)), first(np.ones(1)))
    with pytest.raises(ConfigError, match="another run"):
        sh.train(demos, out=tmp_path / "run", seed=1, **SMALL)
    others = sh.record(env, expert, labels=12, episodes=3, seed=1, quiet=True)
    with pytest.raises(ConfigError):
        sh.train(others, out=tmp_path / "run", **SMALL)
