"""What teaching costs, counted by hand, and what steps may weigh."""

from dataclasses import fields, replace

import numpy as np
import pytest

from drives import drive
from steadyhand.core.errors import DataError
from steadyhand.correction.burden import Burden
from steadyhand.correction.marks import Marks, check_marks, plain
from steadyhand.data.episode import Branch


def test_costs_are_counted_from_who_drove():
    episodes = [
        drive("rrhhrhr"),
        drive("hhr", terminated=True, success=False),
        drive("DDD", terminated=True, success=True),
        drive("rr", success=False),  # out of time: no failure by the env's rules
        drive("r", terminated=True, success=None),
        replace(drive("h"), branch=Branch(parent=0, step=1)),
    ]
    assert Burden.of(episodes) == Burden(
        labels=3 + 2 + 3,
        human_steps=3 + 2 + 3,
        switches=4 + 1,
        interventions=2 + 1,
        env_steps=7 + 3 + 3 + 2 + 1,
        violations=1,
        successes=2,
        episodes=5,
    )
    assert Burden.of([]) == Burden()


def test_costs_add_up():
    names = [field.name for field in fields(Burden)]
    one, other = (Burden(**{name: times * at for at, name in enumerate(names, 1)}) for times in (1, 10))
    assert one + other == Burden(**{name: 11 * at for at, name in enumerate(names, 1)})


@pytest.mark.parametrize("wrong", [[1.0, -1.0], [1.0, np.inf], [np.nan, 1.0], [-1.0, -2.0]])
def test_weights_are_finite_and_not_negative(wrong):
    with pytest.raises(DataError, match="finite and not negative"):
        Marks(weight=np.float32(wrong))


def test_an_unlabelled_step_weighs_nothing():
    episode = replace(drive("rhh"), weight=np.float32([0.5, 0.25, 2.0]))
    assert plain(episode).weight.tolist() == [0.0, 0.25, 2.0]


def test_marks_are_one_for_each_step():
    episodes = [drive("rh"), drive("rrr")]
    whole = [plain(episode) for episode in episodes]
    check_marks(episodes, whole)
    for wrong in (whole[::-1], whole[:1]):
        with pytest.raises(DataError, match="do not fit"):
            check_marks(episodes, wrong)
