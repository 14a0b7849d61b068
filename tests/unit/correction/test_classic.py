"""Forward training and SMILe around a table learner on an MDP: labels and shares can be recounted."""

import json

import numpy as np
import pytest

from point_env import Halving, PointEnv
from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE
from steadyhand.correction.classic import (
    Blend,
    ByStep,
    SmileConfig,
    forward_training,
    smile,
)
from steadyhand.envs import make
from steadyhand.envs.tabular.layouts import MISTAKE, RIGHT_WAY
from steadyhand.experts.tabular import DynamicProgramming


class Always(Controller):
    """Plays one action; remembers how often each row asked it."""

    def __init__(self, action):
        self.answer = action
        self.asked = np.zeros(64, dtype=np.int64)

    def begin(self, rows):
        self.asked[rows] = 0

    def act(self, observation, privileged, rows, generator):
        self.asked[rows] += 1
        return Decision.by(Actor.POLICY, np.full((len(rows), 1), self.answer))

    def state(self):
        return {"asked": self.asked.copy()}

    def restore(self, state):
        self.asked = state["asked"].copy()


class Table(Controller):
    def __init__(self, known):
        self.known = known

    def act(self, observation, privileged, rows, generator):
        state = observation[STATE][:, 0]
        return Decision.by(
            Actor.POLICY, np.array([[self.known.get(str(int(s)), MISTAKE)] for s in state], dtype=np.int64)
        )


class TableLearner:
    """The label of each state that has one; everything is logged."""

    def __init__(self):
        self.fits, self.stored = [], {}

    def fit(self, episodes, *, folder, seed, warm_start, marks=None):
        self.fits.append(list(episodes))
        folder.mkdir(parents=True, exist_ok=True)
        known = {}
        for episode in episodes:
            for t in np.flatnonzero(episode.expert_action_valid):
                known[str(int(episode.observation[STATE][t, 0]))] = int(episode.expert_action[t, 0])
        (folder / "table.json").write_text(json.dumps(known))

    def controller(self, folder, *, num_rows):
        return Table(json.loads((folder / "table.json").read_text()))

    def known(self, folder):
        return json.loads((folder / "table.json").read_text())

    def answers(self, folder, episodes):
        raise NotImplementedError

    def loss(self, folder, episodes):
        return 0.0

    def write(self, episodes, folder):
        self.stored[folder] = list(episodes)

    def read(self, folder):
        return self.stored.get(folder)


def cliff(num_rows=8, horizon=6):
    env = make("tabular", num_rows=num_rows, layout="cliff", horizon=horizon)
    return env, DynamicProgramming(env.mdp)


def asked(controller, rows, step=0):
    observation = {STATE: np.zeros((len(rows), 1), dtype=np.int64)}
    streams = RowStreams.from_seed(step, 64).take(rows)
    return controller.act(observation, {}, rows, streams)


def test_by_step_plays_each_at_its_step_for_each_row_on_its_own():
    parts = [Always(0), Always(1), Always(2)]
    controller, rows = ByStep(parts), np.arange(2)
    controller.begin(rows)
    assert [asked(controller, rows).action[:, 0].tolist() for _ in range(2)] == [[0, 0], [1, 1]]
    controller.begin(rows[1:])
    assert asked(controller, rows).action[:, 0].tolist() == [2, 0]
    snapshot = controller.state()
    assert asked(controller, rows).action[:, 0].tolist() == [2, 1]
    controller.restore(snapshot)
    assert asked(controller, rows).action[:, 0].tolist() == [2, 1]
    assert parts[2].asked[:2].tolist() == [2, 0]


def test_by_step_ends_where_the_controller_of_the_step_just_decided_does():
    parts = [Always(0), Always(1), Always(2)]
    for number, part in enumerate(parts):
        part.finished = lambda rows, number=number: np.full(len(rows), number == 1)
    controller, rows = ByStep(parts), np.arange(3)
    controller.begin(rows)
    ended = []
    for begins in ([], [1], [], []):
        controller.begin(np.array(begins, dtype=np.int64))
        asked(controller, rows)
        ended.append(controller.finished(rows).tolist())
    assert ended == [[False] * 3, [True, False, True], [False, True, False], [False] * 3]


def test_a_blend_draws_by_its_weights_and_asks_all():
    parts = [Always(0), Always(1), Always(2)]
    controller, rows = Blend(parts, [1.0, 2.0, 5.0]), np.arange(60)
    controller.begin(rows)
    drawn = np.concatenate([asked(controller, rows, step).action[:, 0] for step in range(100)])
    np.testing.assert_allclose(np.bincount(drawn) / len(drawn), [0.125, 0.25, 0.625], atol=0.02)
    assert all((part.asked[:60] == 100).all() for part in parts)
    alone = asked(controller, rows[7:8], 3).action
    np.testing.assert_array_equal(alone, asked(controller, rows, 3).action[7:8])
    snapshot = controller.state()
    asked(controller, rows)
    controller.restore(snapshot)
    assert parts[1].asked[[7, 9]].tolist() == [102, 101]


def test_forward_training_labels_each_step_where_the_policies_before_it_lead(tmp_path):
    env, expert = cliff()
    learner = TableLearner()
    folders = forward_training(env, expert, learner, steps=4, labels_per_step=5, folder=tmp_path, seed=0)
    assert len(folders) == 4
    assert expert.num_queries == 20
    for step, episodes in enumerate(learner.fits):
        assert sum(episode.num_labels for episode in episodes) == 5
        for episode in episodes:
            assert np.flatnonzero(episode.expert_action_valid).tolist() == [step]
    driver = ByStep([learner.controller(folder, num_rows=8) for folder in folders])
    driver.begin(np.arange(8))
    assert asked(driver, np.arange(8)).action[:, 0].tolist() == [RIGHT_WAY] * 8


def test_forward_training_meets_what_a_clone_never_sees(tmp_path):
    """The first policy is made to fall: the second one's labels are those of the bottom."""
    env, expert = cliff()
    learner = TableLearner()
    fit = learner.fit

    def spoilt(episodes, *, folder, **rest):
        fit(episodes, folder=folder, **rest)
        if folder.name == "step-000":
            (folder / "table.json").write_text(json.dumps({"0": MISTAKE}))

    learner.fit = spoilt
    folders = forward_training(env, expert, learner, steps=2, labels_per_step=4, folder=tmp_path, seed=0)
    assert learner.known(folders[1]) == {"1": RIGHT_WAY}


def test_an_interrupted_run_asks_nothing_twice(tmp_path):
    env, expert = cliff()
    learner = TableLearner()
    first = forward_training(env, expert, learner, steps=2, labels_per_step=3, folder=tmp_path, seed=0)
    before = expert.num_queries
    again = forward_training(env, expert, learner, steps=3, labels_per_step=3, folder=tmp_path, seed=0)
    assert again[:2] == first
    assert expert.num_queries == before + 3


class Outward(Always):
    """Moves outward, off the line from where it is near the edge already."""

    def act(self, observation, privileged, rows, generator):
        return Decision.by(Actor.POLICY, np.full((len(rows), 1), 0.5, dtype=np.float32))


class OutwardLearner(TableLearner):
    def fit(self, episodes, *, folder, seed, warm_start, marks=None):
        self.fits.append(list(episodes))

    def controller(self, folder, *, num_rows):
        return Outward(0.5)


def test_drives_that_end_before_the_step_in_question_are_no_data(tmp_path):
    learner = OutwardLearner()
    env = PointEnv(2, drift=0.2)  # starts lie from -0.5 to 0.5: some are off the line after one step
    forward_training(env, Halving(), learner, steps=2, labels_per_step=3, folder=tmp_path, seed=0)
    first, second = learner.fits
    assert [len(episode) for episode in first] == [1, 1, 1]
    assert [len(episode) for episode in second] == [2, 2, 2]
    assert [episode.num_labels for episode in second] == [1, 1, 1]


def test_smile_spreads_its_labels_over_the_episodes(tmp_path):
    """10 labels over 4 episodes, driven one after the other: 3 steps at most."""
    env, expert = cliff(num_rows=1, horizon=10)
    learner, config = TableLearner(), SmileConfig(rounds=1, labels_per_round=10, episodes_per_round=4)
    smile(env, expert, learner, config=config, folder=tmp_path, seed=0)
    assert sorted(len(episode) for episode in learner.fits[0]) == [1, 3, 3, 3]


def test_smile_learns_from_each_mixture_and_drops_the_expert(tmp_path):
    env, expert = cliff(horizon=10)
    learner, config = TableLearner(), SmileConfig(rounds=6, labels_per_round=40, alpha=0.4)
    result = smile(env, expert, learner, config=config, folder=tmp_path, seed=0)
    assert expert.num_queries >= 240
    assert [sum(e.num_labels for e in episodes) for episodes in learner.fits] == [40] * 6
    shares = np.array([0.4 * 0.6**j for j in range(6)])
    np.testing.assert_allclose(result.weights, shares / (1.0 - 0.6**6))
    # The expert drives alone in the first round: its policy knows the path only, and is kept.
    assert learner.known(result.folders[0]) == {"0": RIGHT_WAY}
    first, *later = learner.fits
    assert all((episode.actor == Actor.EXPERT).all() for episode in first)
    share = [np.concatenate([e.actor == Actor.EXPERT for e in episodes]).mean() for episodes in later]
    for number, found in enumerate(share, start=1):
        expected = 0.6**number
        assert found == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 40))


def test_what_makes_no_sense_is_refused(tmp_path):
    env, expert = cliff()
    with pytest.raises(ConfigError, match="first step"):
        ByStep([])
    with pytest.raises(ConfigError, match="one weight"):
        Blend([Always(0)], [0.5, 0.5])
    with pytest.raises(ConfigError, match="negative"):
        Blend([Always(0)], [0.0])
    with pytest.raises(ConfigError, match="negative"):
        Blend([Always(0), Always(1)], [-1.0, 2.0])
    with pytest.raises(ConfigError, match=r"alpha = 0\.0"):
        SmileConfig(alpha=0.0)
    with pytest.raises(ConfigError, match="labels_per_round = 2"):
        SmileConfig(labels_per_round=2)
    expert.remembers = True
    with pytest.raises(CapabilityError, match="one step of a drive"):
        forward_training(env, expert, TableLearner(), steps=2, labels_per_step=1, folder=tmp_path, seed=0)
