"""The stepper: starts, alignment of what was seen with what was done, independence of rows."""

import numpy as np
import pytest

from point_env import Halving, PointEnv
from steadyhand.core.errors import SpecError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.specs import STATE
from steadyhand.rollout.evaluate import evaluate
from steadyhand.rollout.film import FilmRecorder
from steadyhand.rollout.recorder import EpisodeRecorder
from steadyhand.rollout.session import Session, run


class Jitter(Controller):
    """Draws its action from its stream, so that any coupling between rows would show."""

    def act(self, observation, privileged, rows, generator):
        action = 0.3 * generator.normal(1).astype(np.float32)
        return Decision.by(Actor.NOISE, action)


def record(env, controller, starts, **options):
    recorder = EpisodeRecorder(env, tuple(starts), source="rollout", seed=3, **options)
    session = Session(env, controller, starts, seed=3, listeners=[recorder])
    while not recorder.full and session.step() is not None:
        pass
    return recorder.finish()


def test_a_start_gives_the_same_episode_whatever_the_batch_size():
    starts = PointEnv(1).starts("test", 9)
    alone = record(PointEnv(1), Jitter(), starts)
    crowd = record(PointEnv(4), Jitter(), starts)
    assert len(alone) == len(crowd) == 9
    assert len({len(episode) for episode in alone}) > 1, (
        "the case must have episodes that end at different times"
    )
    for one, other in zip(alone, crowd, strict=True):
        assert np.array_equal(one.action, other.action)
        assert np.array_equal(one.observation[STATE], other.observation[STATE])


def test_each_row_pairs_what_was_seen_with_what_was_then_done():
    """Labels shifted by one step would leave success untouched; this identity would not survive them."""
    starts = PointEnv(3).starts("train", 8)
    for episode in record(PointEnv(3), Halving(), starts):
        seen = episode.observation[STATE]
        assert np.allclose(episode.action, -0.5 * seen)
        following = np.concatenate([seen[1:], episode.final_observation[STATE][None]])
        assert np.allclose(following, seen + episode.action, atol=1e-6)


def test_rows_are_refilled_in_the_order_of_the_starts():
    env = PointEnv(2, drift=0.4)
    starts = env.starts("test", 7)
    order = []
    run(
        env,
        Halving(),
        starts,
        seed=0,
        listeners=[lambda event: order.extend(event.start_index[event.time == 0])],
    )
    assert order == list(range(7))


def test_a_label_budget_is_met_exactly_and_the_last_observation_stays_true():
    starts = PointEnv(4).starts("train", 8)
    episodes = record(PointEnv(4), Halving(), starts, label_budget=30)
    assert sum(episode.num_labels for episode in episodes) == 30
    for episode in episodes:
        seen, final = episode.observation[STATE], episode.final_observation[STATE]
        assert np.allclose(final, seen[-1] + episode.action[-1], atol=1e-6)


def test_failure_time_and_success_are_those_of_the_closed_form():
    """With a = 0 and drift d from x0, |x| > 1 first holds after floor((1 - x0) / d) + 1 steps."""

    class Idle(Controller):
        def act(self, observation, privileged, rows, generator):
            return Decision.by(Actor.POLICY, np.zeros((len(rows), 1), dtype=np.float32))

    env = PointEnv(3, drift=0.125, max_episode_steps=10)
    starts = env.starts("test", 11)
    outcome = evaluate(env, Idle(), starts, name="idle")
    x0 = np.array([start.options["x"] for start in starts])
    steps = np.floor((1 - x0) / 0.125).astype(int) + 1
    assert np.array_equal(outcome.success, steps > 10)
    assert np.array_equal(outcome.lengths, np.minimum(steps, 10))
    assert np.allclose(outcome.first_failure, np.where(steps > 10, np.inf, steps * 0.1))
    assert np.isnan(
        outcome.error[outcome.success.argmin(), outcome.lengths[outcome.success.argmin()] :]
    ).all()
    first = int(outcome.success.argmin())
    passed = x0[first] + 0.125 * np.arange(1, outcome.lengths[first] + 1)
    assert np.allclose(outcome.error[first, : outcome.lengths[first]], np.abs(passed), atol=1e-5)
    assert outcome.positions is not None
    assert [len(path) for path in outcome.positions] == outcome.lengths.tolist()


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (np.zeros((2, 2), np.float32), "float32 (2, 2)"),
        (np.zeros((2, 1)), "float64"),
        (np.full((2, 1), np.nan, np.float32), "not finite"),
    ],
)
def test_a_decision_that_does_not_fit_is_refused(action, words):
    class Wrong(Controller):
        def act(self, observation, privileged, rows, generator):
            return Decision.by(Actor.POLICY, action)

    env = PointEnv(2)
    with pytest.raises(SpecError, match=words.replace("(", r"\(").replace(")", r"\)")):
        run(env, Wrong(), env.starts("test", 2), seed=0)


def test_a_film_holds_its_last_picture_after_a_failure():
    class Seen(PointEnv):
        def render(self, row, *, width=4, height=3):
            return np.full((height, width, 3), int(self.time[row]), dtype=np.uint8)

    env = Seen(1, drift=0.5)
    film = FilmRecorder(env, [0], max_steps=6, width=4, height=3)
    starts = env.starts("test", 1)
    steps = run(env, Jitter(), starts, seed=1, listeners=[film])
    reel = [int(frame[0, 0, 0]) for frame in film.reel(0)]
    assert len(reel) == 6
    assert reel == [min(step, steps) for step in range(1, 7)]
