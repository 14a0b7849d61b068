"""An episode may end with its intervention: where exactly, as what, and that nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest

from point_env import Halving, PointEnv
from steadyhand.core.codec import from_data, to_data
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.specs import STATE
from steadyhand.correction.burden import Burden
from steadyhand.correction.collect import collect
from steadyhand.correction.contract import Stage
from steadyhand.correction.gate import Gated
from steadyhand.correction.gated_remedies import HgDagger
from steadyhand.correction.human import Discrepancy, HumanGate, SimulatedHuman
from steadyhand.correction.noise import GaussianNoise, NoisyExecution, RandomExecution
from steadyhand.correction.rounds import teach_in_rounds
from steadyhand.data.episode import demonstration
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.training.config import TrainConfig

HUMAN = HumanGate(
    human=SimulatedHuman(
        risk=Discrepancy(threshold=0.3, sigma=0.0, smoothing=0.0), reaction_delay=0.2, min_hold=0.3, calm=0.1
    )
)


class Push(Controller):
    """Drives outward."""

    def act(self, observation, privileged, rows, generator):
        return Decision.by(Actor.POLICY, np.sign(observation[STATE] + 1e-3).astype(np.float32) * 0.1)


class Brief(Halving):
    """Has finished after three steps."""

    def begin(self, rows):
        self.left = {**getattr(self, "left", {}), **dict.fromkeys(rows.tolist(), 3)}

    def act(self, observation, privileged, rows, generator):
        for row in rows.tolist():
            self.left[row] -= 1
        return super().act(observation, privileged, rows, generator)

    def finished(self, rows):
        return np.array([self.left[row] == 0 for row in rows.tolist()])


def stage(env):
    made = object.__new__(Stage)
    state = np.zeros((1, 1), dtype=np.float32)
    made.env, made.training = env, [demonstration({STATE: state}, state, control_dt=0.1)]
    made.policy, made.expert = Push(), Halving()
    return made


def drives(*, ends, num_rows=5):
    env = PointEnv(num_rows)
    driver = HgDagger(gate=HUMAN, end_after_intervention=ends).driver(stage(env))
    return collect(env, driver, env.starts("train", 5), source="correction", seed=1)


def test_the_expert_drives_to_the_end_and_the_record_is_the_other_ones_up_to_the_hand_over():
    corrected = 0
    for short, whole in zip(drives(ends=True), drives(ends=False), strict=True):
        taken = np.flatnonzero(whole.intervention)
        assert len(taken), "the case must have an intervention in every drive"
        first = taken[0]
        over = first + np.flatnonzero(~whole.intervention[first:])[0]  # the step that the robot gets back
        assert len(short) == over + 1
        assert np.array_equal(short.action[:over], whole.action[:over])
        assert np.array_equal(short.observation[STATE], whole.observation[STATE][: over + 1])
        assert short.intervention[first:].all()
        assert short.expert_action_valid[first:].all()
        assert short.action[-1] == pytest.approx(-0.5 * short.observation[STATE][-1])
        assert (short.truncated, short.terminated, short.success) == (True, False, None)
        corrected += 1
    assert corrected == 5
    assert Burden.of(drives(ends=False)).interventions > 5  # otherwise the robot is handed control again
    assert Burden.of(drives(ends=True)).interventions == 5


def test_rows_do_not_depend_on_each_other():
    for one, other in zip(drives(ends=True, num_rows=5), drives(ends=True, num_rows=1), strict=True):
        assert np.array_equal(one.action, other.action)


def test_an_episode_without_an_intervention_runs_to_its_end():
    env = PointEnv(2, max_episode_steps=8)
    gate = HUMAN.build(stage(env))
    gated = Gated(Halving(), Halving(), gate, end_after_intervention=True)
    episodes = collect(env, gated, env.starts("train", 4), source="correction", seed=0)
    assert [(len(one), one.success, one.truncated) for one in episodes] == [(8, True, True)] * 4


def test_a_session_cuts_where_a_controller_has_finished_and_goes_on_with_the_next_start():
    env = PointEnv(2)
    noise = GaussianNoise(sigma=0.0)
    for driver in (Brief(), NoisyExecution(Brief(), noise=noise, action=env.spec.action, clean_fraction=0.0)):
        starts = env.starts("train", 5)
        episodes = collect(env, driver, starts, source="rollout", seed=0)
        assert [(len(one), one.success, one.truncated) for one in episodes] == [(3, None, True)] * 5
        first = [one.observation[STATE][0, 0] for one in episodes]
        assert first == pytest.approx([start.options["x"] for start in starts])


def test_wrappers_around_who_drives_pass_it_on():
    class Done(Controller):
        def act(self, observation, privileged, rows, generator):
            raise NotImplementedError

        def finished(self, rows):
            return rows % 2 == 0

    inner, rows, action = Done(), np.arange(4), PointEnv(1).spec.action
    choices = replace(action, shape=(1,), kind="discrete", dtype="int64", low=None, high=None, num_classes=3)
    for wrapper in (
        NoisyExecution(inner, noise=GaussianNoise(sigma=0.1), action=action),
        RandomExecution(inner, action=choices, epsilon=0.1),
    ):
        assert wrapper.finished(rows).tolist() == [True, False, True, False]
    assert not Halving().finished(rows).any()


def test_a_round_spends_its_labels_over_more_starts(tmp_path):
    env = PointEnv(4, drift=0.08)
    policy = PolicyConfig(encoder=StateMLP(hidden=(4,)))
    learner = PolicyLearner(env.spec, policy=policy, training=TrainConfig(num_steps=1, batch_size=8))
    nervous = replace(HUMAN.human, risk=Discrepancy(threshold=0.1, sigma=0.0, smoothing=0.0))
    config = HgDagger(
        gate=HumanGate(human=nervous),
        rounds=2,
        labels_per_round=40,
        episodes_per_round=4,
        validation_starts=2,
        patience=20.0,
    )
    counts = []
    for ends in (False, True):
        folder = tmp_path / str(ends)
        one = replace(config, end_after_intervention=ends)
        result = teach_in_rounds(env, Halving(), learner, config=one, folder=folder, seed=0)
        episodes = learner.read(result.folders[1] / "episodes")
        assert sum(episode.num_labels for episode in episodes) == 40
        counts.append(len(episodes))
        if ends:
            for episode in episodes:
                begins = np.diff(episode.intervention.astype(int), prepend=0)
                assert (begins > 0).sum() <= 1
                assert (begins < 0).sum() == 0
    assert counts[1] > counts[0]


def test_it_is_off_unless_asked_for_and_can_be_stored():
    assert not HgDagger().end_after_intervention
    config = HgDagger(gate=HUMAN, end_after_intervention=True)
    assert from_data(to_data(config), HgDagger) == config
    older = to_data(HgDagger(gate=HUMAN))
    del older["end_after_intervention"]
    assert from_data(older, HgDagger) == HgDagger(gate=HUMAN)
