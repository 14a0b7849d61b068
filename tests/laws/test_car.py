"""Laws of the car: a row depends on nothing but its own start and actions, bit for bit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.seeding import RowStreams
from steadyhand.envs.car import Car, CarConfig
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.rollout.session import run

CONFIG = CarConfig(
    observation=("state", "lidar", "retina"), start_lateral_std=0.08, num_tracks=3, num_held_out_tracks=3
)
COUNT = 9
STEPS = 12
STARTS = Car(CONFIG, num_rows=1).starts("train", COUNT, seed=1)
ACTIONS = np.random.default_rng(0).uniform(-1, 1, (STEPS, COUNT, 1)).astype(np.float32)


def drive(places, *, num_rows, order=None):
    """Drive start i in row places[i], stepping the rows of `order` (all of them if None) together."""
    env = Car(CONFIG, num_rows=num_rows)
    starts = list(range(len(places))) if order is None else order
    by_row = sorted(starts, key=lambda i: places[i])
    rows = np.array([places[i] for i in by_row])
    env.reset([STARTS[i] for i in by_row], rows)
    seen = []
    for step in range(STEPS):
        result = env.step(ACTIONS[step, by_row], rows)
        shown = {**env.observe(rows), **env.privileged(rows)}
        shown |= {"reward": result.reward, "terminated": result.terminated}
        seen.append(shown)
        if result.terminated.any():
            break
    return {
        start: [{name: value[place] for name, value in shown.items()} for shown in seen]
        for place, start in enumerate(by_row)
    }


def same(one, other):
    return len(one) == len(other) and all(
        np.array_equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in a
    )


REFERENCE = drive(list(range(COUNT)), num_rows=COUNT)


@settings(max_examples=12)
@given(st.permutations(range(COUNT)))
def test_permuting_rows_changes_nothing(places):
    moved = drive(places, num_rows=COUNT)
    assert all(same(moved[start], REFERENCE[start]) for start in range(COUNT))


@settings(max_examples=9)
@given(st.integers(0, COUNT - 1), st.integers(0, 4))
def test_a_row_alone_is_a_row_among_many(start, spare):
    places = [spare] * COUNT
    alone = drive(places, num_rows=spare + 1, order=[start])
    steps = len(REFERENCE[start])
    assert same(alone[start][:steps], REFERENCE[start])


@settings(max_examples=12)
@given(st.sets(st.integers(0, COUNT - 1), min_size=1), st.integers(0, STEPS - 4))
def test_restoring_a_snapshot_repeats_the_future(rows, moment):
    rows = np.array(sorted(rows))
    env = Car(CONFIG, num_rows=COUNT)
    everyone = np.arange(COUNT)
    env.reset(STARTS, everyone)
    for step in range(min(moment, 4)):
        env.step(0.2 * ACTIONS[step], everyone)
    snapshot = env.state(rows)
    first = [env.step(ACTIONS[moment + k, rows], rows) for k in range(2)]
    seen = env.observe(rows)
    env.restore(snapshot, rows)
    again = [env.step(ACTIONS[moment + k, rows], rows) for k in range(2)]
    assert all(np.array_equal(a.reward, b.reward) for a, b in zip(first, again, strict=True))
    now = env.observe(rows)
    assert all(np.array_equal(seen[name], now[name]) for name in seen)


def test_stepping_some_rows_leaves_the_others():
    env = Car(CONFIG, num_rows=COUNT)
    env.reset(STARTS, np.arange(COUNT))
    before = env.state(np.arange(COUNT))
    env.step(ACTIONS[0, [2, 5]], np.array([2, 5]))
    after = env.state(np.arange(COUNT))
    still = np.array([0, 1, 3, 4, 6, 7, 8])
    assert all(np.array_equal(before[name][still], after[name][still]) for name in before)
    assert not np.array_equal(before["values"][2], after["values"][2])


def replayed_labels(start, actions):
    """Labels that the expert gives when a start is driven alone with the recorded actions."""
    env, expert, row = Car(CONFIG, num_rows=1), PurePursuit(CONFIG), np.array([0])
    env.reset([start], row)
    labels = []
    for action in actions:
        labels.append(expert.act({}, env.privileged(row), row, RowStreams.from_seed(0, 1)).label[0])
        env.step(action[None], row)
    return np.array(labels)


class Wobble(Controller):
    """Executes something else than the expert's label, so that a shifted label shows."""

    def __init__(self):
        self.expert = PurePursuit(CONFIG)

    def act(self, observation, privileged, rows, generator):
        label = self.expert.act(observation, privileged, rows, generator).label
        noise = 0.6 * generator.normal(1).astype(np.float32)
        return Decision.by(Actor.NOISE, np.clip(label + noise, -1, 1), label=label)


def test_labels_belong_to_the_step_they_are_stored_at_across_resets():
    recorded = {index: [] for index in range(COUNT)}

    def listen(event):
        for place, index in enumerate(event.start_index.tolist()):
            assert event.time[place] == len(recorded[index])
            recorded[index].append((event.decision.action[place], event.decision.label[place]))

    run(Car(CONFIG, num_rows=4), Wobble(), STARTS, seed=3, max_steps=15, listeners=[listen])
    for index, start in enumerate(STARTS):
        actions, labels = (np.array(column) for column in zip(*recorded[index], strict=True))
        np.testing.assert_array_equal(labels, replayed_labels(start, actions))
        assert len(labels) == 15
        assert np.abs(labels[1:] - labels[:-1]).max() > 0.01
