"""Mixture and noise: who drives, what is labelled, and with which probabilities."""

import inspect
from dataclasses import replace

import numpy as np
import pytest

from point_env import Halving, PointEnv
from steadyhand.core.description import running
from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec, discrete_spec
from steadyhand.correction.collect import collect
from steadyhand.correction.gate import Asking, Gate, Gated
from steadyhand.correction.mixture import BetaMixture, ExponentialDecay, FirstRoundOnly, LinearDecay
from steadyhand.correction.noise import GaussianNoise, NoisyExecution, OrnsteinUhlenbeck

ROWS = np.arange(4000)
SEEN = {STATE: np.linspace(-1, 1, 4000, dtype=np.float32)[:, None]}
ACTION = FeatureSpec(shape=(1,), low=(-5.0,), high=(5.0,))


class Still(Controller):
    def act(self, observation, privileged, rows, generator):
        return Decision.by(Actor.POLICY, np.zeros((len(rows), 1), dtype=np.float32))


def test_beta_schedules_are_those_of_the_paper():
    assert [FirstRoundOnly().beta(i) for i in (1, 2, 3)] == [1.0, 0.0, 0.0]
    assert [ExponentialDecay(p=0.5).beta(i) for i in (1, 2, 3, 4)] == [1.0, 0.5, 0.25, 0.125]
    assert [LinearDecay(rounds=4).beta(i) for i in (1, 2, 4, 5, 9)] == [1.0, 0.75, 0.25, 0.0, 0.0]
    with pytest.raises(ConfigError, match="< 1"):
        ExponentialDecay(p=1.0)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_expert_drives_with_probability_beta_and_always_labels(beta):
    mixture = BetaMixture(Still(), Halving(), beta=beta)
    decision = mixture.act(SEEN, {}, ROWS, RowStreams.from_seed(0, len(ROWS)))
    share = (decision.actor == Actor.EXPERT).mean()
    assert abs(share - beta) < 4 * np.sqrt(beta * (1 - beta) / len(ROWS)) + 1e-9
    assert np.array_equal(decision.label, -0.5 * SEEN[STATE])
    assert decision.label_valid.all()
    by_expert = decision.actor == Actor.EXPERT
    assert np.array_equal(decision.action[by_expert], decision.label[by_expert])
    assert not decision.action[~by_expert].any()


def actors(granularity):
    mixture = BetaMixture(Still(), Halving(), beta=0.5, granularity=granularity)
    streams = RowStreams.from_seed(1, 200)
    rows = np.arange(200)
    mixture.begin(rows)
    steps = []
    for _ in range(6):
        steps.append(mixture.act({STATE: np.zeros((200, 1), np.float32)}, {}, rows, streams.take(rows)).actor)
        streams.take(rows).advance()
    return np.stack(steps, axis=1)


def test_mixing_by_trajectory_keeps_one_driver_and_by_step_does_not():
    by_trajectory, by_step = actors("trajectory"), actors("step")
    assert (by_trajectory == by_trajectory[:, :1]).all()
    assert 60 < (by_trajectory[:, 0] == Actor.EXPERT).sum() < 140
    switches = (by_step[:, 1:] != by_step[:, :-1]).mean()
    assert abs(switches - 0.5) < 4 * np.sqrt(0.25 / (200 * 5))


def test_noise_disturbs_the_action_and_leaves_the_label_clean():
    noisy = NoisyExecution(Halving(), noise=GaussianNoise(sigma=0.4), action=ACTION, clean_fraction=0.25)
    decision = noisy.act(SEEN, {}, ROWS, RowStreams.from_seed(0, len(ROWS)))
    assert np.array_equal(decision.label, -0.5 * SEEN[STATE])
    disturbed = decision.actor == Actor.NOISE
    assert abs(disturbed.mean() - 0.75) < 4 * np.sqrt(0.25 * 0.75 / len(ROWS))
    assert np.array_equal(decision.action[~disturbed], decision.label[~disturbed])
    difference = (decision.action - decision.label)[disturbed]
    assert abs(difference.std() - 0.4) < 0.03
    assert abs(difference.mean()) < 0.03


def test_ornstein_uhlenbeck_has_its_stationary_deviation_and_correlation():
    noise = OrnsteinUhlenbeck(sigma=0.3, theta=0.2)
    noisy = NoisyExecution(Halving(), noise=noise, action=ACTION, clean_fraction=0.0)
    streams = RowStreams.from_seed(5, len(ROWS))
    noisy.begin(ROWS)
    values = []
    for _ in range(8):
        decision = noisy.act(SEEN, {}, ROWS, streams)
        streams.advance()
        values.append((decision.action - decision.label)[:, 0])
    assert abs(values[0].std() - 0.3) < 0.02
    assert abs(values[-1].std() - 0.3) < 0.02
    correlation = np.corrcoef(values[-2], values[-1])[0, 1]
    assert abs(correlation - 0.8) < 0.03


def test_executed_actions_stay_within_the_bounds():
    tight = FeatureSpec(shape=(1,), low=(-0.1,), high=(0.1,))
    noisy = NoisyExecution(Halving(), noise=GaussianNoise(sigma=3.0), action=tight, clean_fraction=0.0)
    decision = noisy.act(SEEN, {}, ROWS, RowStreams.from_seed(0, len(ROWS)))
    assert np.abs(decision.action).max() <= np.float32(0.1)
    assert np.abs(decision.label).max() == 0.5, "labels are not clipped: they are what was intended"


def test_noise_on_a_discrete_action_is_refused():
    with pytest.raises(CapabilityError, match="continuous"):
        NoisyExecution(Halving(), noise=GaussianNoise(), action=discrete_spec(3))


@pytest.mark.parametrize(
    "build",
    [
        lambda: BetaMixture(Still(), Halving(), beta=0.5, granularity="trajectory"),
        lambda: NoisyExecution(Halving(), noise=OrnsteinUhlenbeck(), action=ACTION),
    ],
)
def test_a_snapshot_continues_exactly(build):
    rows, seen = np.arange(6), {STATE: np.ones((6, 1), np.float32)}
    one, streams = build(), RowStreams.from_seed(2, 6)
    one.begin(rows)
    for _ in range(3):
        one.act(seen, {}, rows, streams)
        streams.advance()
    saved, position = one.state(), streams.state()
    expected = one.act(seen, {}, rows, streams).action
    other = build()
    other.restore(saved)
    streams.restore(position)
    assert np.array_equal(other.act(seen, {}, rows, streams).action, expected)


def test_experts_count_their_queries_and_a_budget_that_cannot_be_met_is_named():
    expert = Halving()
    env = PointEnv(3)
    episodes = collect(
        env, expert, env.starts("train", 4), source="demonstration", seed=0, num_labels=50, num_rows=3
    )
    assert sum(len(episode) for episode in episodes) == 50
    assert expert.num_queries >= 50
    with pytest.raises(ConfigError, match="80 labels from 4 starts"):
        collect(env, expert, env.starts("train", 4), source="demonstration", seed=0, num_labels=500)


def test_a_sparse_query_asks_every_third_step_and_leaves_the_rest_without_a_label():
    expert, rows = Halving(), np.arange(5)
    mixture = BetaMixture(Still(), expert, beta=0.0, query_every=3)
    streams = RowStreams.from_seed(0, 5)
    mixture.begin(rows)
    seen = {STATE: np.full((5, 1), 0.8, np.float32)}
    valid = []
    for step in range(7):
        if step == 4:
            mixture.begin(np.array([2]))
        decision = mixture.act(seen, {}, rows, streams)
        streams.advance()
        valid.append(decision.label_valid)
        asked = decision.label_valid
        assert np.allclose(decision.label[asked], -0.4)
        assert np.array_equal(decision.label[~asked], decision.action[~asked])
    assert np.array_equal(np.array(valid)[:, 0], [True, False, False, True, False, False, True])
    assert np.array_equal(np.array(valid)[:, 2], [True, False, False, True, True, False, False])
    assert expert.num_queries == int(np.sum(valid))


def test_the_expert_labels_what_it_drives_between_queries():
    mixture = BetaMixture(Still(), Halving(), beta=0.4, query_every=1000)
    mixture.begin(ROWS)
    streams = RowStreams.from_seed(0, len(ROWS))
    mixture.act(SEEN, {}, ROWS, streams)
    streams.advance()
    decision = mixture.act(SEEN, {}, ROWS, streams)
    assert np.array_equal(decision.label_valid, decision.actor == Actor.EXPERT)
    assert 0.3 < decision.label_valid.mean() < 0.5


class OneByOne(Controller):
    """An expert written for single rows: it cannot be called for none."""

    def act(self, observation, privileged, rows, generator):
        action = np.stack([-0.5 * state for state in observation[STATE]])
        return Decision.by(Actor.EXPERT, action, label=action)


class Never(Gate):
    def takes_over(self, inputs):
        return np.zeros(len(inputs.rows), dtype=bool)


@pytest.mark.parametrize(
    "controller",
    [BetaMixture(Still(), OneByOne(), beta=0.0, query_every=2), Gated(Still(), OneByOne(), Never())],
    ids=["mixture", "gated"],
)
def test_an_expert_is_never_called_for_no_rows(controller):
    rows, streams = np.arange(3), RowStreams.from_seed(0, 3)
    controller.begin(rows)
    valid = [
        controller.act({STATE: np.ones((3, 1), np.float32)}, {}, rows, streams).label_valid for _ in "1234"
    ]
    assert [part.all() for part in valid] == (
        [True, False] * 2 if isinstance(controller, BetaMixture) else [False] * 4
    )


class Planner(Still):
    def __init__(self):
        self.replanned: list[list[int]] = []

    def begin(self, rows):
        self.replanned.clear()

    def replan(self, rows):
        self.replanned.append(rows.tolist())


def test_the_policy_of_a_mixture_plans_afresh_where_the_expert_drove_the_step_before():
    planner, rows, streams = Planner(), np.arange(6), RowStreams.from_seed(5, 6)
    mixture = BetaMixture(planner, Halving(), beta=0.5)
    mixture.begin(rows)
    want: list[list[int]] = []
    for step in range(8):
        decision = mixture.act({STATE: np.zeros((6, 1), np.float32)}, {}, rows, streams.take(rows))
        if step < 7 and (decision.actor == Actor.EXPERT).any():
            want.append(np.flatnonzero(decision.actor == Actor.EXPERT).tolist())
        streams.take(rows).advance()
    assert planner.replanned == want
    assert len(want) > 3
    again = BetaMixture(Planner(), Halving(), beta=0.5)
    again.restore(mixture.state())
    assert np.array_equal(again.state()["held"], mixture.state()["held"])


class HalfSure(Halving):
    """Has a label for every second row."""

    def act(self, observation, privileged, rows, generator):
        reply = super().act(observation, privileged, rows, generator)
        return replace(reply, label_valid=np.arange(len(rows)) % 2 == 0)


def test_where_the_expert_has_no_label_there_is_none():
    for by_expert in (0.0, 1.0):
        decision = BetaMixture(Still(), HalfSure(), beta=by_expert).act(
            SEEN, {}, ROWS, RowStreams.from_seed(0, len(ROWS))
        )
        assert np.array_equal(decision.label_valid, ROWS % 2 == 0)
        assert np.array_equal(decision.label[1::2], decision.action[1::2])


class FirstHalf(Gate):
    """Hands the first half of the rows to the expert, and asks about the third one beside."""

    def takes_over(self, inputs):
        inputs.expert.label(np.array([2]))
        return inputs.rows < len(inputs.rows) // 2


def test_a_gate_labels_where_the_expert_was_asked_and_has_an_answer():
    rows = np.arange(5)
    seen = {STATE: np.arange(1.0, 6.0, dtype=np.float32)[:, None]}
    decision = Gated(Still(), HalfSure(), FirstHalf()).act(seen, {}, rows, RowStreams.from_seed(0, 5))
    asked = [0, 1, 2]  # of which the expert, who sees these three alone, is sure of the first and the last
    assert decision.label_valid.tolist() == [True, False, True, False, False]
    assert decision.intervention.tolist() == [True, True, False, False, False]
    expert = Halving().act({STATE: seen[STATE][asked]}, {}, rows[asked], RowStreams.from_seed(0, 3))
    assert np.array_equal(decision.label[[0, 2]], expert.label[[0, 2]])
    assert np.array_equal(decision.label[[1, 3, 4]], decision.action[[1, 3, 4]])
    assert np.array_equal(decision.action[:2], expert.action[:2])
    assert decision.actor.tolist() == [Actor.EXPERT] * 2 + [Actor.POLICY] * 3


def test_mixtures_that_make_no_sense_are_refused():
    for beta in (-0.1, 1.5):
        with pytest.raises(ConfigError, match="probability"):
            BetaMixture(Still(), Halving(), beta=beta)
    with pytest.raises(ConfigError, match="Without a policy"):
        BetaMixture(None, Halving(), beta=0.9)
    with pytest.raises(ConfigError, match="counts steps"):
        BetaMixture(Still(), Halving(), beta=0.5, query_every=0)


def asking(expert, count=3):
    seen = {STATE: np.arange(1.0, count + 1, dtype=np.float32)[:, None]}
    return Asking(expert, seen, {}, np.arange(count), RowStreams.from_seed(0, count))


def test_an_expert_is_asked_once_about_a_row_and_a_look_is_no_label():
    expert = Halving()
    ask = asking(expert)
    assert ask.label(np.zeros(0, dtype=np.int64)).shape == (0, 0)
    assert expert.num_queries == 0
    assert ask.label(np.array([1])).tolist() == [[-1.0]]
    assert ask.label(np.array([1, 2])).tolist() == [[-1.0], [-1.5]]
    assert expert.num_queries == 2
    assert ask.peek().tolist() == [[-0.5], [-1.0], [-1.5]]
    assert expert.num_queries == 3
    assert ask.asked.tolist() == [False, True, True]
    assert ask.label(np.zeros(0, dtype=np.int64)).shape == (0, 1)


def test_an_expert_that_remembers_sees_every_row_and_labels_those_that_were_asked_about():
    class Remembers(Halving):
        remembers = True

    expert = Remembers()
    ask = asking(expert)
    assert expert.num_queries == 3
    assert not ask.asked.any()
    assert ask.label(np.array([2])).tolist() == [[-1.5]]
    assert ask.asked.tolist() == [False, False, True]
    assert expert.num_queries == 3


class Noted(Gate):
    """Takes over as it is told, and keeps what it was shown."""

    def __init__(self, drives):
        self.drives, self.inputs = [np.array(one, dtype=bool) for one in drives], []

    def takes_over(self, inputs):
        self.inputs.append(inputs)
        return self.drives[len(self.inputs) - 1].copy()


def test_a_gate_knows_who_drove_the_step_before_and_the_policy_plans_afresh_there():
    gate = Noted([[False, True, True], [True, True, False], [False] * 3])
    planner, expert = Planner(), Halving()
    planner.sees_privileged = expert.sees_privileged = False
    gated = Gated(planner, expert, gate)
    assert gated.sees_privileged
    rows, streams = np.arange(3), RowStreams.from_seed(0, 3)
    gated.begin(rows)
    for _ in range(3):
        gated.act({STATE: np.ones((3, 1), np.float32)}, {}, rows, streams)
    assert [one.held.tolist() for one in gate.inputs] == [
        [False] * 3,
        [False, True, True],
        [True, True, False],
    ]
    assert planner.replanned == [[1, 2], [0, 1]]
    assert expert.num_queries == 4


@pytest.mark.parametrize("kind", [BetaMixture, Gated])
def test_where_nobody_drove_before_nothing_is_planned_afresh(kind):
    planner, rows = Planner(), np.arange(2)
    one = Gated(planner, Halving(), Never()) if kind is Gated else BetaMixture(planner, Halving(), beta=0.0)
    one.begin(rows)
    for _ in range(2):
        one.act({STATE: np.ones((2, 1), np.float32)}, {}, rows, RowStreams.from_seed(0, 2))
    assert planner.replanned == []


@pytest.mark.parametrize(("most", "driven"), [(5, 6), (6, 6), (7, 9), (None, 36)])
def test_a_collection_stops_after_so_many_steps_of_all_rows_together(most, driven):
    env = PointEnv(3, max_episode_steps=12)
    episodes = collect(
        env, Halving(), env.starts("train", 3), source="demonstration", seed=0, max_env_steps=most
    )
    assert sum(len(episode) for episode in episodes) == driven


class Far(Halving):
    """Means to go beyond the bounds of half a step at every fourth row."""

    def action(self, observation, privileged):
        whole = super().action(observation, privileged)
        whole[::4] = 3.0
        return whole


@pytest.mark.parametrize(
    ("outside", "words"), [("clipped", "are clipped to them"), ("meant", "are stored as they were meant")]
)
def test_a_warning_says_which_share_of_the_labels_lay_outside_and_points_at_who_collects(outside, words):
    env = PointEnv(8, max_episode_steps=1)
    plain = running()(inspect.unwrap(collect))  # without the wrapper that checks types in tests alone
    with pytest.warns(UserWarning, match=f"^25 % of the labels lay outside .* and {words}$") as told:
        plain(env, Far(), env.starts("train", 8), source="demonstration", seed=0, outside_labels=outside)
    assert [warning.filename for warning in told] == [__file__]
