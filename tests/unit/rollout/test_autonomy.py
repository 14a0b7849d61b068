"""Bojarski's figure: 10 interventions in 600 s are 90 %; full lock leaves the road over and over."""

import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.envs.car import Car, CarConfig
from steadyhand.envs.catalogue import make
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.rollout.autonomy import Autonomy, autonomy


class Left(Controller):
    sees_privileged = False

    def act(self, observation, privileged, rows, generator):
        return Decision.by(Actor.POLICY, np.ones((len(rows), 1), dtype=np.float32))


def test_the_papers_arithmetic():
    one = Autonomy(interventions=np.array([10]), seconds=600.0)
    assert one.value == pytest.approx(0.90)
    many = Autonomy(interventions=np.array([0, 10, 1000]), seconds=600.0)
    assert many.each.tolist() == pytest.approx([1.0, 0.9, 0.0])
    assert many.value == 0.0


def test_a_good_driver_needs_nobody_and_a_bad_one_is_put_back_where_it_was():
    env = Car(CarConfig(), num_rows=4)
    starts = env.starts("test", 4)
    assert autonomy(env, PurePursuit(), starts, seconds=10.0).interventions.tolist() == [0] * 4
    bad = autonomy(env, Left(), starts, seconds=10.0)
    # Full lock is a circle of radius .74 m: the road is left within two seconds, after each rescue again.
    assert (bad.interventions >= 5).all()
    assert bad.value < 0.01
    lateral = env.privileged(np.arange(4))["privileged.lateral"]
    rescue = env.rescue(np.arange(4))
    tracks = [start.options["track"] for start in rescue]
    assert tracks == [start.options["track"] for start in starts]
    env.reset(rescue, np.arange(4))
    assert np.abs(env.privileged(np.arange(4))["privileged.lateral"]).max() < 1e-3
    assert np.abs(lateral).max() > 1e-3
    assert all(start.family == "test" for start in rescue)


def test_what_cannot_be_rescued_or_seated_is_refused():
    env = Car(CarConfig(), num_rows=1)
    with pytest.raises(SpecError, match="a row for each start"):
        autonomy(env, PurePursuit(), env.starts("test", 2), seconds=1.0)
    with pytest.raises(SpecError, match="time limit"):  # its end would be a rescue that nobody counts
        autonomy(env, PurePursuit(), env.starts("test", 1), seconds=1e4)
    with pytest.raises(CapabilityError, match="rescue"):
        make("forks", num_rows=1).rescue(np.array([0]))
