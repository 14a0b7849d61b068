"""What a decision says when one actor decides for every row."""

import numpy as np
import pytest

from steadyhand.core.description import described
from steadyhand.core.protocol import Actor, Controller, Decision, PerRow, Switch
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
    memory = PerRow(np.array([9, 9]))
    assert memory.values.shape == (0, 2)
    assert memory[np.array([2, 0])].tolist() == [[9, 9], [9, 9]]
    memory = PerRow(np.array([9, 9]))
    memory[np.array([0, 1])] = np.array([[1, 2], [3, 4]])
    assert memory[np.array([3, 1])].tolist() == [[9, 9], [3, 4]]
    assert memory.values.tolist() == [[1, 2], [3, 4], [9, 9], [9, 9]]
    assert memory[np.array([], dtype=np.int64)].shape == (0, 2)
    memory[np.array([5])] = 7
    memory.forget(np.array([0, 6]))
    assert memory.values[[0, 1, 4, 5, 6]].tolist() == [[9, 9], [3, 4], [9, 9], [7, 7], [9, 9]]


class Counts(Controller):
    """Counts the steps of each row, below zero after a restart elsewhere."""

    def __init__(self):
        self._time, self.scale = PerRow(0), 2.0

    def act(self, observation, privileged, rows, generator):
        self._time[rows] += 1
        return Decision.by(Actor.EXPERT, self._time[rows][:, None].astype(np.float32))


class Either(Switch):
    """Asks both, follows the first."""

    driver = 0

    def __init__(self, one, other):
        super().__init__(one=one, none=None, other=other)
        self._count = PerRow(0.5)

    def act(self, observation, privileged, rows, generator):
        self._count[rows] += 1.0
        first, _ = [one.act(observation, privileged, rows, generator) for one in self._controllers.values()]
        return first

    def _driver(self, rows):
        return np.where(rows < 3, self.driver, 1 - self.driver)


def test_what_is_kept_of_rows_is_forgotten_in_snapshots_and_restored_by_itself():
    both, rows, streams = Either(Counts(), Counts()), np.array([1, 2]), RowStreams.from_seed(0, 2)
    for _ in range(3):
        both.act({}, {}, rows, streams)
    both.begin(np.array([2]))
    kept = both.state()
    assert {name: value.tolist() for name, value in kept.items()} == {
        "count": [0.5, 3.5, 0.5],
        "one/time": [0, 3, 0],
        "other/time": [0, 3, 0],
    }
    again = Either(Counts(), Counts())
    again.restore(kept)
    both.act({}, {}, rows, streams)  # moves on, and the snapshot stays
    assert again.act({}, {}, rows, streams).action.tolist() == [[4.0], [1.0]]
    assert kept["one/time"].tolist() == [0, 3, 0]


class Ends(Counts):
    """Ends even rows with an odd step and odd rows with an even one, or the other way round."""

    def __init__(self, phase):
        super().__init__()
        self.phase, self.replanned = phase, []

    def finished(self, rows):
        return (rows + self.phase) % 2 == 0

    def replan(self, rows):
        self.replanned += rows.tolist()


def test_whoever_drove_a_row_ends_it_and_all_plan_anew():
    one, other, rows = Ends(0), Ends(1), np.array([1, 2, 4, 5])
    both = Either(one, other)
    assert both.finished(rows).tolist() == [False, True, False, True]  # one, one, other, other
    both.driver = 1
    assert both.finished(rows).tolist() == [True, False, True, False]
    both.replan(rows)
    assert one.replanned == other.replanned == [1, 2, 4, 5]


def test_a_switch_needs_what_any_of_its_controllers_needs():
    plain, curious = Counts(), Counts()
    plain.sees_privileged, curious.remembers = False, True
    assert Either(plain, curious).sees_privileged
    assert Either(plain, curious).remembers
    curious.sees_privileged, curious.remembers = False, False
    assert not Either(plain, curious).sees_privileged
    assert not Either(plain, curious).remembers


def test_what_is_kept_of_rows_is_no_part_of_what_a_controller_is():
    fresh, used = Counts(), Counts()
    used.act({}, {}, np.array([0, 1]), RowStreams.from_seed(0, 2))
    assert described(used) == described(fresh)
    used.scale = 3.0
    assert described(used) != described(fresh)


def test_who_acted_is_stored_by_these_numbers():
    assert {actor.name: int(actor) for actor in Actor} == {"EXPERT": 0, "POLICY": 1, "HUMAN": 2, "NOISE": 3}
