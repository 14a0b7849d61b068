"""Labels belong to the states that they are stored with: a shift by one step leaves success untouched.

Every stored episode is driven again from its stored start with its stored actions; at each step the expert is
asked afresh.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from steadyhand.core.codec import from_data
from steadyhand.core.protocol import Actor
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.noise import OrnsteinUhlenbeck
from steadyhand.correction.offline import Cloning, NoiseInjection
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import Episode
from steadyhand.envs.base import Start
from steadyhand.envs.car.config import CarConfig
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.recipes.record import record
from steadyhand.recipes.runs import RecordRun
from steadyhand.recipes.teach import Trainer
from steadyhand.training.config import TrainConfig

CAR = CarConfig(observation=("state",), num_tracks=2, num_held_out_tracks=1, max_episode_steps=15)


def answers(episode: Episode) -> np.ndarray:
    """Drive an episode again and return what the expert says at each of its states, (T, A)."""
    env, expert, row = CAR.build(1), PurePursuit(CAR), np.array([0])
    env.reset([from_data(json.loads(episode.provenance.start), Start)], row)
    said: list[np.ndarray] = []
    for time in range(len(episode)):
        observation = env.observe(row)
        np.testing.assert_array_equal(
            observation["observation.state"][0], episode.observation["observation.state"][time]
        )
        said.append(expert.action(observation, env.privileged(row))[0])
        env.step(episode.action[time : time + 1], row)
    assert episode.final_observation is not None
    np.testing.assert_array_equal(
        env.observe(row)["observation.state"][0], episode.final_observation["observation.state"]
    )
    return np.array(said)


def check(episodes: list[Episode]) -> None:
    for episode in episodes:
        said, asked = answers(episode), episode.expert_action_valid
        np.testing.assert_array_equal(episode.expert_action[asked], said[asked])
        np.testing.assert_array_equal(episode.expert_action[~asked], episode.action[~asked])
        shifted = np.abs(said[1:] - said[:-1])
        assert (shifted > 0).mean() > 0.3, "the case must tell a shift by one step"


@pytest.mark.parametrize("noise", [None, OrnsteinUhlenbeck(sigma=0.4)])
def test_recorded_labels_are_the_expert_s_answers_to_the_recorded_states(tmp_path, noise):
    run = RecordRun(env=CAR, num_episodes=5, noise=noise, clean_fraction=0.4)
    record(run, tmp_path / "demos")
    episodes = open_dataset(tmp_path / "demos").episodes()
    assert len(episodes) == 5
    check(episodes)
    if noise is None:
        assert all((one.action == one.expert_action).all() for one in episodes)
    else:
        disturbed = [one for one in episodes if (one.actor == Actor.NOISE).any()]
        assert 0 < len(disturbed) < 5
        assert all((one.action != one.expert_action).any() for one in disturbed)


def test_labels_stay_with_their_states_when_rows_are_refilled(tmp_path):
    run = RecordRun(
        env=CAR, num_episodes=3, num_labels=60, noise=OrnsteinUhlenbeck(sigma=0.4), clean_fraction=0.0
    )
    record(run, tmp_path / "demos")
    episodes = open_dataset(tmp_path / "demos").episodes()
    assert len(episodes) > 3, "the budget must reach beyond the first starts"
    assert len({one.provenance.start for one in episodes}) == len(episodes)
    assert sum(one.num_labels for one in episodes) == 60
    check(episodes)


def trainer(folder: Path) -> Trainer:
    env = CAR.build(4)
    training = TrainConfig(num_steps=20, batch_size=16, warmup_steps=2)
    return Trainer(
        env=env,
        expert=PurePursuit(CAR),
        learner=PolicyLearner(env.spec, policy=PolicyConfig(), training=training),
        folder=folder,
        seed=1,
    )


@pytest.mark.parametrize("query_every", [1, 3])
def test_dagger_labels_are_the_expert_s_answers_to_the_policy_s_states(tmp_path, query_every):
    config = DaggerConfig(
        rounds=2, labels_per_round=24, episodes_per_round=2, validation_starts=2, query_every=query_every
    )
    made = trainer(tmp_path)
    taught = made.teach(config)
    assert taught.labels == 48
    assert made.expert.num_queries == 48, "every query is stored as a label, and none is asked twice"
    for number in (1, 2):
        episodes = open_dataset(tmp_path / "dagger" / f"round-{number:02d}" / "episodes").episodes()
        assert sum(one.num_labels for one in episodes) == 24
        check(episodes)
        driver = Actor.EXPERT if number == 1 else Actor.POLICY
        assert all((one.actor == driver).all() for one in episodes)
    assert any((one.action != one.expert_action).any() for one in episodes)
    if query_every == 3:
        assert not all(one.expert_action_valid.all() for one in episodes)


def test_all_methods_start_from_the_same_places_with_the_same_budget(tmp_path):
    made = trainer(tmp_path)
    made.teach(Cloning(num_labels=24, num_episodes=2))
    made.teach(NoiseInjection(num_labels=24, num_episodes=2, clean_fraction=0.0))
    made.teach(DaggerConfig(rounds=1, labels_per_round=24, episodes_per_round=2, validation_starts=2))
    stored = [
        open_dataset(tmp_path / name).episodes()
        for name in ("cloning/episodes", "noise/episodes", "dagger/round-01/episodes")
    ]
    first = [[one.provenance.start for one in episodes[:2]] for episodes in stored]
    assert first[0] == first[1] == first[2]
    assert [sum(one.num_labels for one in episodes) for episodes in stored] == [24, 24, 24]
    for episodes in stored:
        check(episodes)
