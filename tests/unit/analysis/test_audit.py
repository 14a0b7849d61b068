"""An env that ignores its seed, one with three starts, and a car."""

import pytest

from point_env import PointEnv
from steadyhand.analysis.audit import audit_seeds
from steadyhand.core.errors import ConfigError
from steadyhand.envs.car import Car, CarConfig


class Deaf(PointEnv):
    """Gives the same starts whatever the seed."""

    def starts(self, family, count, *, seed=0):
        return super().starts(family, count, seed=0)


class Few(PointEnv):
    """Knows three places to start, in another order with each seed."""

    def starts(self, family, count, *, seed=0):
        whole = super().starts(family, 3, seed=seed)
        return tuple(whole[index % 3] for index in range(count))


def test_a_car_has_as_many_starts_as_asked_and_its_seed_counts():
    audit = audit_seeds(Car(CarConfig(), num_rows=8), num_starts=20, seeds=(0, 1, 2))
    assert audit.distinct == (20, 20, 20)
    assert audit.shared == 0
    assert audit.all_distinct
    assert audit.seed_matters
    assert audit.verdict == "20 starts are 20 different ones, and the seed changes them."


def test_a_deaf_env_and_one_with_few_starts_are_told():
    deaf = audit_seeds(Deaf(4), num_starts=12)
    assert not deaf.seed_matters
    assert "seeds repeat the same test" in deaf.verdict
    few = audit_seeds(Few(4), num_starts=12)
    assert few.distinct == (3, 3, 3)
    assert not few.all_distinct
    assert "only 3 different ways: count 3." in few.verdict


def test_an_audit_needs_two_seeds():
    with pytest.raises(ConfigError, match="compares seeds"):
        audit_seeds(PointEnv(2), seeds=(0,))
