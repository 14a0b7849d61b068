"""The simulated human: what they can know, when they act on it, and how often."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from point_env import Halving, PointEnv
from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec, discrete_spec
from steadyhand.correction.burden import Burden
from steadyhand.correction.collect import collect
from steadyhand.correction.contract import Stage
from steadyhand.correction.gate import Asking, Gated, GateInput
from steadyhand.correction.gated_remedies import HgDagger
from steadyhand.correction.human import (
    Discrepancy,
    HumanGate,
    HumanWatch,
    Meter,
    RoadEdge,
    SimulatedHuman,
)
from steadyhand.data.episode import demonstration
from steadyhand.envs.car import Car, CarConfig
from steadyhand.experts.pure_pursuit import PurePursuit

SURE = RoadEdge(threshold=1.0, sigma=0.0, road_width=1.0)
ATTENTIVE = SimulatedHuman(
    risk=SURE, reaction_delay=0.3, judging_period=0.0, calm=0.2, min_hold=0.4, release=0.5
)


def bare(kind, **fields):
    """Return an object of a class with these fields and no others: whatever else is read is an error."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


class Script(Meter):
    """The risk of each step is known beforehand; (T,) or (T, rows)."""

    def __init__(self, risks):
        self.risks, self.time = np.asarray(risks, dtype=np.float64), 0

    def risk(self, inputs, action):
        now = np.broadcast_to(self.risks[self.time], (len(inputs.rows),))
        self.time += 1
        return now


def watch(human, risks, *, num_rows=1, dt=0.1, seed=0, restore_at=None):
    """Return who drives, (T, rows), while the robot's risk goes as scripted."""
    meter = Script(risks)
    gate = HumanWatch(human, meter, control_dt=dt)
    rows = np.arange(num_rows)
    streams = RowStreams.from_seed(seed, num_rows)
    gate.begin(rows)
    held, drives = np.zeros(num_rows, dtype=bool), []
    for step in range(len(risks)):
        if step == restore_at:
            state = gate.state()
            gate = HumanWatch(human, meter, control_dt=dt)
            gate.restore(state)
        inputs = bare(GateInput, rows=rows, held=held, generator=streams.fork("gate"))
        held = gate.takes_over(inputs)
        gate.executed(inputs, np.zeros((num_rows, 1)))
        streams.advance()
        drives.append(held)
    return np.stack(drives)


def spike(at, *, length=40, width=1, height=2.0):
    risks = np.zeros(length)
    risks[at : at + width] = height
    return risks


@pytest.mark.parametrize(("delay", "lag"), [(0.0, 1), (0.1, 1), (0.3, 3), (0.8, 8)])
def test_he_reacts_to_what_was_and_never_before_his_delay(delay, lag):
    drives = watch(replace(ATTENTIVE, reaction_delay=delay), spike(10))[:, 0]
    assert not drives[: 10 + lag].any()
    assert drives[10 + lag]


@pytest.mark.parametrize("dt", [0.1, 0.05, 0.02])
def test_his_times_are_seconds(dt):
    steps = round(0.1 / dt)
    drives = watch(ATTENTIVE, np.repeat(spike(10), steps), dt=dt)[:, 0]
    begins, ends = (np.flatnonzero(np.diff(drives.astype(int)) == sign)[0] + 1 for sign in (1, -1))
    assert begins * dt == pytest.approx(1.0 + 0.3, abs=1e-9)
    assert (ends - begins) * dt == pytest.approx(0.4, abs=1e-9)


@pytest.mark.parametrize(("threshold", "first"), [(0.35, 0), (0.5, 1), (0.7, 2), (0.8, 3)])
def test_a_danger_grows_on_him_as_it_lasts(threshold, first):
    """Time constant 0.2 s: the level is 1 - exp(-(t + 1) / 2), .39, .63, .78, .86, seen a step late."""
    human = replace(ATTENTIVE, risk=replace(SURE, threshold=threshold, smoothing=0.2), reaction_delay=0.1)
    drives = watch(human, np.ones(8))[:, 0]
    assert np.flatnonzero(drives)[0] == first + 1


def test_he_looks_once_in_a_while_from_the_first_step_on():
    human = replace(ATTENTIVE, reaction_delay=0.1, judging_period=0.3)
    for begins, driven in ((2, 3), (3, 6), (5, 6), (6, 9)):  # looks at steps 0, 3, 6 and 9
        assert np.flatnonzero(watch(human, spike(begins, width=20))[:, 0])[0] == driven


@pytest.mark.parametrize("calm_at", [0.4, 0.399])
def test_calm_is_below_the_share_of_the_threshold(calm_at):
    """A risk of exactly half of the threshold, 0.8, is not calm yet."""
    risks = spike(10)
    risks[11:] = calm_at
    drives = watch(replace(ATTENTIVE, risk=replace(SURE, threshold=0.8)), risks)[:, 0]
    assert drives[13:].all() == (calm_at == 0.4)


def test_a_hand_over_takes_as_many_calm_steps_as_asked_for():
    """On a calm road, who takes over by chance at step 1 hands over at step 3, the fourth calm one."""
    nervous = replace(SURE, sigma=1e6)
    human = replace(ATTENTIVE, risk=nervous, reaction_delay=0.1, calm=0.4, min_hold=0.0)
    drives = watch(human, np.zeros(4), num_rows=100)
    alarmed = drives[1]
    assert not drives[0].any()  # nothing was seen yet
    assert 20 < alarmed.sum() < 80
    assert drives[2, alarmed].all()
    assert not drives[3, alarmed].any()


def test_he_cannot_see_the_future():
    """Two drives that agree up to a step have the same decisions up to their delay after it."""
    random = np.random.default_rng(0)
    for cut in (5, 12, 20):
        one, two = random.uniform(0, 1.4, (2, 30))
        two[:cut] = one[:cut]
        human = replace(ATTENTIVE, risk=replace(SURE, sigma=0.2), miss_rate=0.2)
        first, second = (watch(human, risks, seed=cut) for risks in (one, two))
        assert np.array_equal(first[: cut + 3], second[: cut + 3])


def test_he_drives_at_least_min_hold_and_until_it_was_calm_for_a_while():
    held = watch(ATTENTIVE, spike(10))[:, 0]
    assert held.sum() == 4  # the shortest: calm for 0.2 s is over before 0.4 s are
    assert watch(ATTENTIVE, spike(10, width=12))[:, 0].sum() == 11 + 2  # seen until step 24, calm from 25 on
    between = spike(10)
    between[11:25] = 0.7  # above release * threshold, below the threshold: they keep what they have
    drives = watch(ATTENTIVE, between)[:, 0]
    assert drives[13 : 25 + 3].all()
    assert not watch(ATTENTIVE, np.where(between == 0.7, 0.7, 0.0)).any()  # but it would not alarm them


@pytest.mark.parametrize("risk", [0.8, 1.0, 1.15])
def test_a_look_alarms_him_with_the_probability_of_the_probit(risk):
    num_rows = 8000
    human = replace(ATTENTIVE, risk=replace(SURE, sigma=0.2), reaction_delay=0.0)
    share = watch(human, np.full(2, risk), num_rows=num_rows)[1].mean()
    expected = 0.5 * (1.0 + math.erf((risk - 1.0) / 0.2 / math.sqrt(2.0)))
    assert abs(share - expected) < 4.0 * math.sqrt(expected * (1.0 - expected) / num_rows)


def test_how_nervous_he_is_does_not_depend_on_the_control_rate():
    human = replace(ATTENTIVE, risk=replace(SURE, sigma=0.2), judging_period=0.2, min_hold=100.0)
    coarse, fine = (
        watch(human, np.full(round(2.0 / dt), 0.7), num_rows=4000, dt=dt, seed=1)[-1].mean()
        for dt in (0.1, 0.025)
    )
    assert 0.3 < coarse < 0.6
    assert abs(coarse - fine) < 4.0 * math.sqrt(2 * 0.25 / 4000)


def test_a_missed_danger_is_missed_until_it_is_over():
    num_rows, miss = 4000, 0.3
    risks = np.concatenate([spike(5, length=20, width=10), spike(5, length=20, width=10)])
    human = replace(ATTENTIVE, miss_rate=miss, min_hold=0.1, calm=0.1)
    drives = watch(human, risks, num_rows=num_rows)
    first, second = drives[:20].any(0), drives[20:].any(0)
    bound = 4.0 * math.sqrt(miss * (1 - miss) / num_rows)
    assert abs(first.mean() - (1 - miss)) < bound
    assert abs(second.mean() - (1 - miss)) < bound
    both = abs((first & second).mean() - (1 - miss) ** 2)
    assert both < bound  # one danger says nothing about the next
    assert not watch(replace(human, miss_rate=1.0), risks, num_rows=10).any()


def test_a_restored_human_goes_on_as_he_would_have():
    random = np.random.default_rng(3)
    risks = random.uniform(0, 1.3, (60, 5))
    human = SimulatedHuman(risk=RoadEdge(threshold=1.0, sigma=0.1, smoothing=0.2), miss_rate=0.3)
    whole = watch(human, risks, num_rows=5)
    assert whole.any()
    assert not whole.all()
    for cut in (7, 20, 41):
        assert np.array_equal(watch(human, risks, num_rows=5, restore_at=cut), whole)


def test_a_new_episode_knows_nothing_of_the_last():
    gate = HumanWatch(ATTENTIVE, Script(np.full(100, 5.0)), control_dt=0.1)
    row, streams = np.arange(1), RowStreams.from_seed(0, 1)
    for _ in range(2):
        gate.begin(row)
        drives = []
        for _ in range(5):
            held = np.array([bool(drives and drives[-1])])
            inputs = bare(GateInput, rows=row, held=held, generator=streams)
            drives.append(bool(gate.takes_over(inputs)[0]))
            gate.executed(inputs, np.zeros((1, 1)))
        assert drives == [False, False, False, True, True]


class Push(Controller):
    """Drives outward."""

    def act(self, observation, privileged, rows, generator):
        return Decision.by(Actor.POLICY, np.sign(observation[STATE] + 1e-3).astype(np.float32) * 0.1)


def stage(env):
    state = np.zeros((4, 1), dtype=np.float32)
    labels = [demonstration({STATE: state}, np.array([[-2.0], [0], [1], [2]], np.float32), control_dt=0.1)]
    return bare(Stage, env=env, training=labels)


def human_drive(human, *, num_rows=4, count=4):
    env = PointEnv(num_rows)
    expert = Halving()
    gated = Gated(Push(), expert, HumanGate(human=human).build(stage(env)))
    return collect(env, gated, env.starts("train", count), source="correction", seed=1)


WATCHFUL = SimulatedHuman(
    risk=Discrepancy(threshold=0.3, sigma=0.0, smoothing=0.0), reaction_delay=0.2, min_hold=0.3, calm=0.1
)


def test_only_what_he_drives_is_a_label_and_it_is_recorded_as_his():
    episodes = human_drive(WATCHFUL)
    burden = Burden.of(episodes)
    assert burden.interventions > 0
    assert burden.violations == 0
    assert 0 < burden.human_steps < burden.env_steps
    assert burden.labels == burden.human_steps
    for episode in episodes:
        assert np.array_equal(episode.intervention, episode.actor == Actor.HUMAN)
        assert np.array_equal(episode.intervention, episode.expert_action_valid)


def test_a_human_who_misses_everything_lets_it_happen():
    burden = Burden.of(human_drive(replace(WATCHFUL, miss_rate=1.0)))
    assert (burden.labels, burden.violations) == (0, 4)


def test_a_row_does_not_depend_on_its_neighbours():
    noisy = replace(WATCHFUL, risk=replace(WATCHFUL.risk, sigma=0.1), miss_rate=0.2)
    together, alone = human_drive(noisy, num_rows=6, count=6), human_drive(noisy, num_rows=1, count=6)
    for one, two in zip(together, alone, strict=True):
        assert np.array_equal(one.action, two.action)
        assert np.array_equal(one.actor, two.actor)


def inputs_of(observation, privileged, *, expert=None):
    rows = np.arange(len(next(iter({**observation, **privileged}.values()))))
    streams = RowStreams.from_seed(0, len(rows))
    return GateInput(
        observation=observation,
        privileged=privileged,
        rows=rows,
        generator=streams,
        proposal=np.full((len(rows), 1), np.nan, dtype=np.float32),  # whoever reads it gets nowhere
        held=np.zeros(len(rows), dtype=bool),
        expert=Asking(expert or Halving(), observation, privileged, rows, streams),
    )


def test_discrepancy_is_in_units_of_the_actions_range():
    env = PointEnv(1)
    inputs = inputs_of({STATE: np.array([[0.4], [-0.2]], dtype=np.float32)}, {})
    risk = Discrepancy().meter(stage(env)).risk(inputs, np.array([[0.3], [0.1]], dtype=np.float32))
    assert risk == pytest.approx([0.5 / 1.0, 0.0], abs=1e-6)  # |0.3 + 0.2| of a range of -0.5 to 0.5
    assert not inputs.expert.asked.any()


def test_discrepancy_without_bounds_takes_the_range_of_the_labels_and_classes_agree_or_not():
    env = PointEnv(1)
    inputs = inputs_of({STATE: np.array([[0.4]], dtype=np.float32)}, {})
    unbounded = SimpleNamespace(spec=replace(env.spec, action=FeatureSpec(shape=(1,))))
    risk = Discrepancy().meter(stage(unbounded)).risk(inputs, np.array([[0.8]], dtype=np.float32))
    assert risk == pytest.approx([1.0 / 4.0])  # labels from -2 to 2
    choices = SimpleNamespace(spec=replace(env.spec, action=discrete_spec(3)))

    class First(Halving):
        def action(self, observation, privileged):
            return np.zeros((len(observation[STATE]), 1), dtype=np.int64)

    inputs = inputs_of({STATE: np.zeros((2, 1), dtype=np.float32)}, {}, expert=First())
    risk = Discrepancy().meter(stage(choices)).risk(inputs, np.array([[0], [2]]))
    assert risk.tolist() == [0.0, 1.0]


def test_the_risk_of_the_road_is_where_the_car_will_be():
    privileged = {
        "privileged.lateral": np.array([[0.1], [0.1], [-0.3], [0.2]], dtype=np.float32),
        "privileged.heading_error": np.array([[0.2], [-0.2], [0.0], [-0.5]], dtype=np.float32),
        "privileged.speed": np.full((4, 1), 2.0, dtype=np.float32),
    }
    env = Car(CarConfig(observation=("state",), road_width=0.6), num_rows=1)
    meter = RoadEdge(horizon=0.5).meter(stage(env))
    risk = meter.risk(inputs_of({}, privileged), np.zeros((4, 1)))
    ahead = [abs(0.1 + math.sin(0.2)), 0.1, 0.3, abs(0.2 - math.sin(0.5))]
    assert risk == pytest.approx(np.array(ahead) / 0.3, rel=1e-6)
    with pytest.raises(CapabilityError, match="road"):
        RoadEdge().meter(stage(PointEnv(1)))
    with pytest.raises(CapabilityError, match="on the road"):
        RoadEdge(road_width=1.0).meter(stage(PointEnv(1))).risk(
            inputs_of({}, {"privileged.lateral": np.zeros((1, 1))}), np.zeros((1, 1))
        )


def test_the_edge_of_the_road_is_half_its_width_away():
    env = Car(CarConfig(observation=("state",), road_width=0.6), num_rows=1)
    assert RoadEdge().half_width(env) == pytest.approx(0.3)
    assert RoadEdge(road_width=0.8).half_width(env) == pytest.approx(0.4)


def test_each_entry_of_an_action_counts_in_its_own_range():
    """Bounds where there are any, the labels' range elsewhere: 4, 2 and 10."""
    spec = FeatureSpec(shape=(3,), low=(-2.0, -np.inf, -np.inf), high=(2.0, 5.0, np.inf))
    labels = np.array([[0.0, 3.0, -4.0], [1.0, 4.0, 6.0], [0.5, 3.5, 0.0]], dtype=np.float32)

    class Means(Halving):
        def action(self, observation, privileged):
            return labels[:1].repeat(len(observation[STATE]), axis=0)

    demo = demonstration({STATE: np.zeros((3, 1), dtype=np.float32)}, labels, control_dt=0.1)
    env = SimpleNamespace(spec=replace(PointEnv(1).spec, action=spec))
    meter = Discrepancy().meter(bare(Stage, env=env, training=[demo]))
    inputs = inputs_of({STATE: np.zeros((1, 1), dtype=np.float32)}, {}, expert=Means())
    risk = meter.risk(inputs, np.array([[2.0, 4.0, 1.0]], dtype=np.float32))
    assert risk == pytest.approx([np.sqrt((0.5**2 + 0.5**2 + 0.5**2) / 3)])


class Timid(Controller):
    """Steers the right way, and not enough."""

    def __init__(self, expert):
        self.expert = expert

    def act(self, observation, privileged, rows, generator):
        action = self.expert.action(observation, privileged)
        return Decision.by(Actor.POLICY, (0.4 * action).astype(np.float32))


@pytest.mark.parametrize("risk", [Discrepancy(), RoadEdge()])
def test_on_the_car_he_saves_a_timid_driver_and_leaves_a_good_one_alone(risk):
    config = CarConfig(observation=("state",), max_episode_steps=100)
    env, expert = Car(config, num_rows=6), PurePursuit(config)
    starts = env.starts("train", 6)

    def burden(policy, **human):
        gate = HumanGate(human=SimulatedHuman(risk=risk, **human)).build(stage(env))
        return Burden.of(collect(env, Gated(policy, expert, gate), starts, source="correction", seed=0))

    timid = Timid(PurePursuit(config))
    assert burden(timid, miss_rate=1.0).violations >= 5
    saved = burden(timid, reaction_delay=0.1)
    assert saved.violations == 0
    assert 0 < saved.human_steps < saved.env_steps
    assert burden(timid, reaction_delay=0.6).violations >= 4
    assert burden(PurePursuit(config)).interventions == 0


def test_settings_are_checked_and_can_be_stored():
    for wrong in ({"miss_rate": 1.5}, {"release": 0.0}, {"reaction_delay": -1.0}):
        with pytest.raises(ConfigError):
            SimulatedHuman(**wrong)
    with pytest.raises(ConfigError, match=r"threshold = 0\.0"):
        RoadEdge(threshold=0.0)
    with pytest.raises(ConfigError, match=r"smoothing = -1\.0"):
        Discrepancy(smoothing=-1.0)
    config = HgDagger(gate=HumanGate(human=SimulatedHuman(risk=RoadEdge(), miss_rate=0.1)))
    assert from_data(to_data(config), HgDagger) == config
    assert config.num_held_out == 0
