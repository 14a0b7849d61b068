"""What a decision says when one actor decides for every row."""

import numpy as np
import pytest

from steadyhand.core.protocol import Actor, Controller, Decision, grown
from steadyhand.core.seeding import RowStreams


def test_an_unlabelled_decision_repeats_its_action():
    action = np.array([[1.0], [2.0]], dtype=np.float32)
    decision = Decision.by(Actor.POLICY, action)
    assert decision.label is action
    assert decision.label_valid.tolist() == [False, False]
    assert decision.actor.tolist() == [1, 1]
    assert decision.actor.dtype == np.uint8
    assert not decision.intervention.any()


def test_a_labelled_decision_keeps_the_label_apart():
    action, label = np.zeros((3, 1), dtype=np.float32), np.ones((3, 1), dtype=np.float32)
    decision = Decision.by(Actor.NOISE, action, label=label)
    assert decision.label is label
    assert decision.label_valid.all()
    assert decision.actor.tolist() == [int(Actor.NOISE)] * 3


def test_actor_codes_are_those_on_disk():
    assert [actor.value for actor in (Actor.EXPERT, Actor.POLICY, Actor.HUMAN, Actor.NOISE)] == [0, 1, 2, 3]


def test_a_controller_must_act_and_is_memoryless_unless_it_says_so():
    class Still(Controller):
        def act(self, observation, privileged, rows, generator):
            return Decision.by(Actor.EXPERT, np.zeros((len(rows), 1), dtype=np.float32))

    with pytest.raises(TypeError, match="act"):
        Controller()
    controller, rows = Still(), np.array([0, 2])
    controller.begin(rows)
    controller.restore(controller.state())
    assert controller.state() == {}
    assert controller.act({}, {}, rows, RowStreams.from_seed(0, 2)).action.shape == (2, 1)


def test_a_memory_of_rows_grows_to_the_highest_row_and_forgets_nothing():
    memory = np.array([[1, 2], [3, 4]])
    assert grown(memory, np.array([1, 0]), fill=9) is memory
    assert grown(memory, np.array([3, 1]), fill=9).tolist() == [[1, 2], [3, 4], [9, 9], [9, 9]]
    assert grown(memory, np.array([], dtype=np.int64), fill=9) is memory
