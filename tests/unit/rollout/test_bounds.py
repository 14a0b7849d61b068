"""What a session executes and stores when a controller leaves the action's bounds, and when an env breaks."""

from dataclasses import replace

import numpy as np
import pytest

from steadyhand.core.errors import EnvError, SpecError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec, discrete_spec
from steadyhand.correction.collect import collect
from steadyhand.correction.noise import GaussianNoise, NoisyExecution
from steadyhand.data.dataset import open_dataset
from steadyhand.envs import make
from steadyhand.envs.base import BatchEnv, Start, StepResult
from steadyhand.envs.gymnasium_config import GymnasiumConfig
from steadyhand.experts.config import WeightsExpert
from steadyhand.experts.network import CallableExpert
from steadyhand.policies.scores.base import ActionScale
from steadyhand.recipes.record import record
from steadyhand.recipes.runs import RecordRun
from steadyhand.rollout.recorder import EpisodeRecorder
from steadyhand.rollout.session import Session


class Counter(BatchEnv):
    """Shows how many steps were made; keeps what it received."""

    def __init__(self, num_rows=2, *, action=None):
        self.num_rows = num_rows
        self.spec = EnvSpec(
            env_id="counter",
            observation={STATE: FeatureSpec(shape=(1,)), "observation.gear": discrete_spec(9, start=1)},
            action=action or FeatureSpec(shape=(2,), low=(-1.0, -0.1), high=(1.0, 0.1)),
            control_dt=0.1,
            max_episode_steps=6,
        )
        self.time = np.zeros(num_rows, dtype=np.int64)
        self.received = []

    def starts(self, family, count, *, seed=0):
        return tuple(Start(family=family, seed=number) for number in range(count))

    def reset(self, starts, rows):
        self.time[rows] = 0

    def step(self, actions, rows):
        self.received.append(actions.copy())
        self.time[rows] += 1
        over = self.time[rows] >= 6
        reward = np.ones(len(rows), dtype=np.float32)
        return StepResult(reward=reward, terminated=np.zeros_like(over), truncated=over, success=over)

    def observe(self, rows, *, view_offset=None):
        time = self.time[rows, None]
        return {STATE: time.astype(np.float32), "observation.gear": time + 1}


class Fixed(Controller):
    """Always decides the same."""

    sees_privileged = False

    def __init__(self, action, *, label=None):
        self._action = np.array(action, dtype=np.float32)
        self._label = None if label is None else np.array(label, dtype=np.float32)

    def act(self, observation, privileged, rows, generator):
        action = np.tile(self._action, (len(rows), 1))
        if self._label is None:
            return Decision.by(Actor.POLICY, action)
        return Decision.by(Actor.EXPERT, action, label=np.tile(self._label, (len(rows), 1)))


def gather(env, controller, **kwargs):
    return collect(env, controller, env.starts("train", 2), source="demonstration", seed=0, **kwargs)


@pytest.mark.parametrize(
    ("outside_labels", "label"), [("clipped", [1.0, 0.1]), ("meant", [12.5, np.float32(0.3)])]
)
def test_the_action_is_what_the_env_received_and_the_label_as_declared(outside_labels, label):
    env = Counter()
    with pytest.warns(UserWarning, match=r"100 % of the labels lay outside"):
        episodes = gather(env, Fixed([-7.0, 0.05], label=[12.5, 0.3]), outside_labels=outside_labels)
    for episode in episodes:
        np.testing.assert_array_equal(episode.action, np.tile(np.float32([-1.0, 0.05]), (6, 1)))
        np.testing.assert_array_equal(episode.expert_action, np.tile(np.float32(label), (6, 1)))
    for received in env.received:
        np.testing.assert_array_equal(received, np.tile(np.float32([-1.0, 0.05]), (2, 1)))


@pytest.mark.parametrize("outside_labels", ["clipped", "meant"])
def test_an_action_that_nobody_labelled_is_stored_as_received(outside_labels):
    env = Counter()
    episodes = gather(env, Fixed([3.0, -5.0]), outside_labels=outside_labels)
    for episode in episodes:
        assert not episode.expert_action_valid.any()
        np.testing.assert_array_equal(episode.action, np.tile(np.float32([1.0, -0.1]), (6, 1)))
        np.testing.assert_array_equal(episode.expert_action, episode.action)


def test_the_bounds_themselves_are_inside_and_nothing_is_copied():
    env = Counter()
    decisions = []
    controller = Fixed([1.0, 0.1], label=[-1.0, -0.1])  # 0.1 as float32 is a little more than 0.1
    session = Session(
        env, controller, env.starts("train", 2), seed=0, listeners=[lambda e: decisions.append(e)]
    )
    session.step()
    assert not decisions[0].outside.any()
    assert decisions[0].decision.action.tolist() == [[1.0, np.float32(0.1)]] * 2


def test_a_half_bounded_action_keeps_to_the_side_that_it_has():
    env = Counter(action=FeatureSpec(shape=(2,), low=(-np.inf, -np.inf), high=(1.0, np.inf)))
    episode = gather(env, Fixed([-1e30, 1e30]))[0]
    np.testing.assert_array_equal(episode.action[0], np.float32([-1e30, 1e30]))
    assert gather(env, Fixed([5.0, 5.0]))[0].action[0].tolist() == [1.0, 5.0]
    with pytest.raises(SpecError, match="not finite"):
        gather(env, Fixed([-np.inf, 0.0]))


def test_the_share_of_labels_outside_is_counted_by_label():
    class Ramp(Controller):
        sees_privileged = False

        def act(self, observation, privileged, rows, generator):
            time = observation[STATE]
            label = np.concatenate([time / 4, np.zeros_like(time)], axis=1)  # 0, .25, ..., 1, 1.25
            return Decision.by(Actor.EXPERT, label, label=label)

    env = Counter()
    recorder = EpisodeRecorder(env, env.starts("train", 2), source="demonstration", seed=0)
    session = Session(env, Ramp(), env.starts("train", 2), seed=0, listeners=[recorder])
    while session.step() is not None:
        pass
    assert (recorder.num_labels, recorder.num_outside) == (12, 2)


def test_a_choice_that_the_env_does_not_offer_is_refused():
    class Choose(Controller):
        sees_privileged = False

        def __init__(self, number):
            self.number = number

        def act(self, observation, privileged, rows, generator):
            return Decision.by(Actor.POLICY, np.full((len(rows), 1), self.number))

    env = Counter(action=discrete_spec(3, start=-1))
    assert gather(env, Choose(-1))[0].action[:, 0].tolist() == [-1] * 6
    with pytest.raises(SpecError, match=r"got: +2\n +expected: +discrete, 3 values, -1 to 1"):
        gather(env, Choose(2))


class Broken(Counter):
    """Breaks at its third step in one way."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def reset(self, starts, rows):
        super().reset(starts, rows)
        if self.how == "reset":
            raise KeyError("no such level")

    def step(self, actions, rows):
        result = super().step(actions, rows)
        if self.time.max() < 3:
            return result
        if self.how == "step":
            raise IndexError("out of track")
        if self.how == "reward":
            return replace(result, reward=np.float32([1.0, np.nan]))
        if self.how == "flags":
            return replace(result, terminated=np.zeros(1, dtype=bool))
        return result

    def observe(self, rows, *, view_offset=None):
        seen = super().observe(rows)
        if self.time.max() < 3:
            return seen
        if self.how == "nan":
            seen[STATE][1] = np.nan
        elif self.how == "dtype":
            seen[STATE] = seen[STATE].astype(np.float64)
        elif self.how == "shape":
            seen[STATE] = seen[STATE][:, 0]
        elif self.how == "missing":
            del seen[STATE]
        elif self.how == "class":
            seen["observation.gear"] = seen["observation.gear"] + 9
        return seen


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("reset", r"counter broke in reset of rows \[0, 1\](.|\n)*no such level"),
        ("step", r"counter broke in step of rows \[0, 1\](.|\n)*IndexError: out of track"),
        ("reward", r"counter broke in step of row 1: reward is not finite"),
        ("flags", r"counter broke in step"),
        ("nan", r"counter broke in observe of row 1: observation.state is not finite"),
        ("dtype", r"observation.state has the wrong dtype"),
        ("shape", r"observation.state has the wrong shape"),
        ("missing", r"expected: +observation.state"),
        ("class", r"observation.gear holds a value that is none of its classes"),
    ],
)
def test_a_foreign_env_that_breaks_is_named(how, message):
    with pytest.raises(EnvError, match=message):
        gather(Broken(how), Fixed([0.0, 0.0]))


def test_noise_disturbs_what_a_loud_expert_would_really_do():
    spec = FeatureSpec(shape=(1,), low=(-2.0,), high=(2.0,))
    loud = CallableExpert(lambda x: np.full((len(x), 1), 50.0), action=spec)
    env = Counter(num_rows=64, action=spec)
    noisy = NoisyExecution(loud, noise=GaussianNoise(sigma=0.5), action=spec, clean_fraction=0.0)
    with pytest.warns(UserWarning, match="outside"):
        episodes = collect(env, noisy, env.starts("train", 64), source="demonstration", seed=0)
    action = np.concatenate([episode.action for episode in episodes])
    assert 0.4 < (action < 2.0).mean() < 0.6, "half of the noise leads inwards from the bound"
    assert np.concatenate([episode.expert_action for episode in episodes]).tolist() == [[2.0]] * len(action)


def test_beyond_the_bounds_all_actions_are_the_same():
    scale = ActionScale.of(FeatureSpec(shape=(1,), low=(-2.0,), high=(2.0,)), np.zeros((4, 1)))
    loud, bound, inside = (np.array([[value]], dtype=np.float32) for value in (50.0, 2.0, 0.0))
    assert scale.discrepancy(loud, bound).tolist() == [0.0]
    assert scale.discrepancy(loud, inside).tolist() == [1.0]


@pytest.mark.parametrize("outside_labels", ["clipped", "meant"])
def test_a_recording_says_what_became_of_loud_labels(tmp_path, outside_labels):
    weights = {
        "W0": np.eye(3),
        "b0": np.zeros((1, 3)),
        "W_out": np.full((3, 1), 40.0),
        "b_out": np.zeros((1, 1)),
    }
    np.savez(tmp_path / "loud.npz", **weights, obs_mean=np.zeros((1, 3)), obs_meansq=np.ones((1, 3)))
    run = RecordRun(
        env=GymnasiumConfig(env_id="Pendulum-v1"),
        expert=WeightsExpert(path=tmp_path / "loud.npz"),
        num_episodes=1,
        num_labels=20,
        outside_labels=outside_labels,
    )
    recorder = record(run, tmp_path / "data")
    data = open_dataset(tmp_path / "data")
    episode = data.episode(0)
    loud = np.abs(make("Pendulum-v1", num_rows=1).spec.action.clipped(episode.expert_action)) == 2.0
    assert recorder.num_outside == loud.sum() > 10
    assert np.abs(episode.action).max() == 2.0
    assert (np.abs(episode.expert_action).max() > 10) == (outside_labels == "meant")
    assert (
        f'"outside_labels": "{outside_labels}"' in (tmp_path / "data/meta/steadyhand/store.json").read_text()
    )
