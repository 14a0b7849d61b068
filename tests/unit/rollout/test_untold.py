"""Where nothing tells success, nobody counts it: evaluation, recording, autonomy, rounds."""

import numpy as np
import pytest

from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import discrete_spec
from steadyhand.correction.burden import Burden
from steadyhand.correction.record import RoundRecord
from steadyhand.correction.rounds import best_round
from steadyhand.data.dataset import open_dataset
from steadyhand.data.store import EpisodeStore
from steadyhand.envs import make
from steadyhand.envs.adapter import GymnasiumEnv
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.rollout.autonomy import autonomy
from steadyhand.rollout.evaluate import evaluate
from steadyhand.rollout.random_actions import RandomActions
from steadyhand.rollout.recorder import EpisodeRecorder
from steadyhand.rollout.session import Session


class Still(Controller):
    sees_privileged = False

    def __init__(self, env):
        self._action = env.spec.action

    def act(self, observation, privileged, rows, generator):
        action = np.zeros((len(rows), *self._action.shape), dtype=self._action.dtype)
        return Decision.by(Actor.EXPERT, action, label=action)


def pendulum(**options):
    return make("Pendulum-v1", num_rows=2, max_episode_steps=5, **options)


def test_an_evaluation_without_success_has_returns_and_says_so():
    env = pendulum()
    driven = evaluate(env, Still(env), env.starts("test", 3), name="still")
    assert driven.success is None
    assert driven.num_told == 0
    assert (driven.returns < 0).all()
    assert np.isinf(driven.first_failure).all()  # nothing ended before the time limit
    with pytest.raises(CapabilityError, match="still succeeded was told of 0 of 3 episodes"):
        driven.told  # noqa: B018
    env.close()


def test_a_time_out_without_success_is_a_failure_at_its_end():
    env = make("MountainCarContinuous-v0", num_rows=2, max_episode_steps=7)
    driven = evaluate(env, Still(env), env.starts("test", 3), name="still")
    assert driven.success is not None
    assert not driven.success.any()
    assert not driven.terminated.any()
    np.testing.assert_allclose(driven.first_failure, 7 * env.spec.control_dt)
    env.close()


def test_early_ends_are_told_apart_from_failures():
    config = GymnasiumConfig(env_id="CartPole-v1", success="none")
    env = GymnasiumEnv(config, num_rows=2)
    driven = evaluate(env, Still(env), env.starts("test", 4), name="still")
    assert driven.success is None
    assert driven.terminated.all()
    np.testing.assert_allclose(driven.first_failure, driven.lengths * env.spec.control_dt)
    env.close()


def recorded(env, **options):
    starts = env.starts("train", 2)
    recorder = EpisodeRecorder(env, starts, source="demonstration", seed=0, **options)
    session = Session(env, Still(env), starts, seed=0, listeners=[recorder])
    while not recorder.full and session.step() is not None:
        pass
    recorder.finish()
    return recorder


def test_recorded_episodes_stay_open():
    fallen = recorded(GymnasiumEnv(GymnasiumConfig(env_id="CartPole-v1", success="none"), num_rows=2))
    timed = recorded(pendulum())
    for recorder, outcome in ((fallen, "unknown"), (timed, "time")):
        assert [episode.success for episode in recorder.episodes] == [None, None]
        assert [episode.provenance.outcome for episode in recorder.episodes] == [outcome] * 2
        assert recorder.num_judged == recorder.num_success == recorder.num_cut == 0
        assert recorder.outcome == "nothing tells success"
        burden = Burden.of(recorder.episodes)
        assert (burden.violations, burden.successes) == (0, 0)
        assert burden.episodes == 2


def test_episodes_that_were_merely_cut_are_not_said_to_be_untold():
    config = GymnasiumConfig(env_id="Pendulum-v1", max_episode_steps=5, success="return>=-1e6")
    env = GymnasiumEnv(config, num_rows=2)
    assert recorded(env).outcome == "2 of 2 succeeded"
    # Step 4 of both rows spends 8 labels; the ninth is the first row's last step, and the second row is cut.
    assert recorded(env, label_budget=8).outcome == "all cut before their end, so that success is open"
    assert recorded(env, label_budget=9).outcome == "1 of 1 succeeded, 1 cut before their end"
    env.close()


def test_stored_episodes_stay_open_and_no_column_says_failure(tmp_path):
    env = pendulum()
    for name, success, expected in (("open", None, None), ("told", "return>=-1e6", True)):
        config = GymnasiumConfig(env_id="Pendulum-v1", max_episode_steps=5, success=success or "auto")
        env = GymnasiumEnv(config, num_rows=2)
        spec = env.spec
        with EpisodeStore.create(
            tmp_path / name,
            observation=spec.observation,
            action=spec.action,
            control_dt=spec.control_dt,
            env_id=spec.env_id,
        ) as store:
            for _ in range(2):  # a second compaction adds to the files of the first
                recorded(env, sink=store)
                store.compact()
        stored = open_dataset(tmp_path / name)
        assert [stored.episode(number).success for number in range(len(stored.lengths))] == [expected] * 4
        assert ("next.success" in stored.layout.features) == (expected is not None)
        env.close()


def test_autonomy_does_not_count_what_nobody_told():
    env = GymnasiumEnv(GymnasiumConfig(env_id="CartPole-v1", success="none"), num_rows=1)
    with pytest.raises(CapabilityError, match="Autonomy counts failures"):
        autonomy(env, Still(env), env.starts("test", 1), seconds=2.0)
    env.close()


def record(number, success, returned):
    return RoundRecord(
        round=number,
        beta=0.0,
        labels=1,
        total_labels=number,
        online_loss=None,
        hindsight_loss=None,
        regret=None,
        train_loss=0.0,
        validation_success=success,
        validation_return=returned,
        starts_failed=0,
    )


def test_rounds_are_chosen_by_the_return_where_success_is_not_told_of_all():
    assert best_round([record(1, None, -9.0), record(2, None, -3.0), record(3, None, -5.0)]) == 2
    assert best_round([record(1, None, -3.0), record(2, None, -3.0)]) == 2
    assert best_round([record(1, 0.5, -9.0), record(2, 0.25, -3.0)]) == 1
    assert best_round([record(1, 0.5, -9.0), record(2, None, -3.0)]) == 2


def test_random_actions_fill_the_box_and_the_classes():
    env = pendulum()
    rows = np.arange(2)
    streams = RowStreams.from_seed(0, 2)
    drawn = []
    for _ in range(400):
        drawn.append(RandomActions(env.spec.action).act({}, {}, rows, streams).action)
        streams.advance()
    values = np.concatenate(drawn)
    assert -2.0 <= values.min() < -1.9
    assert 1.9 < values.max() <= 2.0
    assert abs(values.mean()) < 0.15
    cart = make("CartPole-v1", num_rows=2)
    action = RandomActions(cart.spec.action).act({}, {}, rows, streams).action
    cart.spec.action.check(action, name="action")
    many = RowStreams.from_seed(1, 80)
    shifted = RandomActions(discrete_spec(3, start=-1)).act({}, {}, np.arange(80), many).action
    assert set(shifted[:, 0].tolist()) == {-1, 0, 1}
    with pytest.raises(CapabilityError, match="bounds"):
        RandomActions(make("linear", num_rows=1).spec.action)
    env.close()
    cart.close()
