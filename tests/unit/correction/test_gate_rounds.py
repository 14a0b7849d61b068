"""Each gate, built from a round of teaching: its thresholds, its memory, its members, and a short run."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from gate_stage import SHORT, learner_of, stage_in
from point_env import Halving, PointEnv
from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.protocol import Actor
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE
from steadyhand.correction.collect import collect
from steadyhand.correction.contract import Stage
from steadyhand.correction.gate import Gated
from steadyhand.correction.gated_remedies import HgDagger
from steadyhand.correction.gates import (
    EnsembleGate,
    LazyGate,
    LossGate,
    NearestGate,
    SafeGate,
    ThriftyGate,
)
from steadyhand.correction.gates.calibration import (
    threshold_at,
    windows_of,
)
from steadyhand.correction.gates.fitter import GateFitter
from steadyhand.correction.marks import Marks
from steadyhand.correction.rounds import teach_in_rounds
from steadyhand.data.episode import Branch
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.risk_config import RiskConfig
from steadyhand.policies.scores import Doubt, OwnLoss
from steadyhand.recipes.learner import PolicyLearner

GATES = [
    SafeGate(classifier=SHORT, drives=2),
    EnsembleGate(members=2, drives=2),
    LazyGate(classifier=SHORT, drives=2),
    ThriftyGate(members=2, drives=2, share=0.1, risk=RiskConfig(num_steps=30, hidden=(8,))),
    LossGate(level=0.8, patience=2, draws=2),
    NearestGate(level=0.8),
    NearestGate(level=0.5, asks_only=True, calibration="drives", drives=2),
]
NAMES = [type(gate).__name__ for gate in GATES]


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Stage:
    return stage_in(tmp_path_factory.mktemp("stage"))


@pytest.mark.parametrize("config", GATES, ids=NAMES)
def test_a_gate_continues_from_its_state_and_rows_do_not_depend_on_each_other(config, stage):
    def controller() -> Gated:
        policy = stage.learner.controller(stage.iterate, num_rows=4)
        return Gated(policy, Halving(), config.build(stage))

    random = np.random.default_rng(0)
    seen = random.normal(size=(9, 4, 1)).astype(np.float32)
    rows = np.arange(4)

    def go(one: Gated, steps: range, some: np.ndarray) -> np.ndarray:
        out = []
        for step in steps:
            streams = RowStreams.from_seed(step, 4).take(some)
            decision = one.act({STATE: seen[step, some]}, {}, some, streams)
            out.append(np.stack([decision.intervention, decision.label_valid, decision.action[:, 0]], 1))
        return np.stack(out)

    whole = controller()
    whole.begin(rows)
    first = go(whole, range(4), rows)
    state = {name: value.copy() for name, value in whole.state().items()}
    rest = go(whole, range(4, 9), rows)
    twin = controller()
    twin.restore(state)
    assert np.array_equal(go(twin, range(4, 9), rows), rest)
    alone = controller()
    alone.begin(rows[2:3])
    both = np.concatenate([first, rest])[:, 2:3]
    assert go(alone, range(9), rows[2:3]) == pytest.approx(both, abs=1e-5)


def test_thresholds_are_the_stated_quantiles_of_steps_that_no_gate_has_filtered(stage):
    gate = NearestGate(level=0.8).build(stage)
    fitter = GateFitter(stage)
    bank = np.concatenate([windows_of(fitter.policy, demo).observation[STATE] for demo in stage.training])
    held_out = np.concatenate([windows_of(fitter.policy, demo).observation[STATE] for demo in stage.held_out])
    data = np.concatenate([demo.observation[STATE] for demo in stage.training])
    key, query = (((part - data.mean()) / data.std()).reshape(len(part), -1) for part in (bank, held_out))
    distance = np.sort(np.linalg.norm(query[:, None] - key, axis=2), axis=1)[:, 4]
    place = int(np.ceil((len(distance) + 1) * 0.8)) - 1
    assert gate.threshold == pytest.approx(np.sort(distance)[place], rel=1e-4)
    lazy = LazyGate(classifier=SHORT, drives=2, back=0.3).build(stage)
    discrepancy = fitter.discrepancy(stage.held_out)
    assert lazy.leave == threshold_at(discrepancy, 0.3)
    ensemble = EnsembleGate(members=2, drives=2, share=0.1).build(stage)
    assert ensemble.tau == threshold_at(discrepancy, 0.9)
    thrifty = GATES[3].build(stage)
    assert thrifty.leave == pytest.approx(discrepancy.mean())


def test_scores_on_drives_are_of_the_policy_alone_and_cost_steps_but_no_labels(tmp_path):
    stage = stage_in(tmp_path)
    gate = LossGate(calibration="drives", drives=2, level=0.9).build(stage)
    assert len(stage.trials) == 2
    assert all((episode.actor == Actor.POLICY).all() for episode in stage.trials)
    assert sum(episode.num_labels for episode in stage.trials) == 0
    fitter = GateFitter(stage)
    fitter._driven = list(stage.trials)
    scores = fitter.on_drives(OwnLoss(fitter.policy), 2)
    assert len(scores) == sum(map(len, stage.trials))
    assert gate.threshold == pytest.approx(threshold_at(scores, 0.9))


def test_a_true_discrepancy_is_that_of_the_policys_mode_on_the_expert(stage):
    answers = np.concatenate(stage.learner.answers(stage.iterate, stage.held_out))
    labels = np.concatenate([demo.expert_action for demo in stage.held_out])
    by_hand = ((answers - labels)[:, 0] / 0.5) ** 2
    assert GateFitter(stage).discrepancy(stage.held_out) == pytest.approx(by_hand, rel=1e-4, abs=1e-7)


def test_members_differ_in_data_and_in_initial_parameters(tmp_path):
    stage = stage_in(tmp_path)
    calls: list[dict] = []

    class Noted(PolicyLearner):
        def fit(self, episodes, *, folder, seed, warm_start, marks=None):
            calls.append({"seed": seed, "marks": marks, "warm": warm_start})
            super().fit(episodes, folder=folder, seed=seed, warm_start=warm_start, marks=marks)

    stage.learner.__class__ = Noted
    members = GateFitter(stage).members(3)
    assert len({call["seed"] for call in calls}) == 3
    weights = [np.concatenate([one.weight for one in call["marks"]]) for call in calls]
    labels = sum(len(demo) for demo in stage.training)
    assert [weight.sum() for weight in weights] == [labels] * 3
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(weights, 2))
    assert 0.2 < np.mean([(weight == 0).mean() for weight in weights]) < 0.55  # 1/e in expectation
    fitter = GateFitter(stage)
    seen, streams = windows_of(fitter.policy, stage.training[0]), RowStreams.from_seed(0, 12)
    doubt = Doubt(members, fitter.scale, measure="norm")(seen, stage.training[0].action, streams)
    assert (doubt > 0).all()
    same = Doubt([members[0]] * 3, fitter.scale, measure="norm")(seen, stage.training[0].action, streams)
    assert same == pytest.approx(np.zeros(12), abs=1e-12)


@pytest.mark.parametrize("config", GATES, ids=NAMES)
def test_every_gate_runs_through_its_rounds_and_counts_its_labels(config, tmp_path):
    env = PointEnv(2, max_episode_steps=12, drift=0.1)
    config = HgDagger(
        gate=config, rounds=2, labels_per_round=24, episodes_per_round=2, validation_starts=2, patience=4.0
    )
    result = teach_in_rounds(
        env, Halving(), learner_of(env, n_obs_steps=1), config=config, folder=tmp_path, seed=0
    )
    last = result.rounds[-1]
    assert result.rounds[0].labels == 24
    assert last.labels == last.burden.labels <= 24
    assert last.burden.human_steps <= last.labels
    if isinstance(config.gate, EnsembleGate):
        assert last.labels == 24
    learner = learner_of(env)
    demos = learner.read(result.folders[0] / "episodes")
    kept = demos[: len(demos) - config.num_held_out]
    late = last.labels if result.best == 2 else 0
    assert result.trained_labels == sum(demo.num_labels for demo in kept) + late
    asks = isinstance(config.gate, NearestGate) and config.gate.asks_only
    assert not asks or last.burden.human_steps == 0


def test_gates_say_what_they_cannot_do(stage, tmp_path):
    class Opaque:
        def __getattr__(self, name):
            if name in ("policy", "frames"):
                raise AttributeError(name)
            return getattr(stage.learner, name)

    with pytest.raises(CapabilityError, match="does not show"):
        NearestGate().build(replace(stage, learner=Opaque()))
    with pytest.raises(ConfigError, match="no policy"):
        NearestGate().build(replace(stage, iterate=None, policy=None))
    with pytest.raises(ConfigError, match="kept from training"):
        NearestGate().build(replace(stage, held_out=()))
    with pytest.raises(CapabilityError, match="says nothing"):
        LossGate().build(stage_in(tmp_path, head=Regression()))

    class Unjudged(GateFitter):
        def drives(self, count):
            return [replace(episode, success=None) for episode in super().drives(count)]

    with pytest.raises(CapabilityError, match="what success is"):
        Unjudged(stage).critics(1, RiskConfig(num_steps=1))


def test_marks_of_a_bootstrap_weigh_nothing_that_had_no_label(tmp_path):
    stage = stage_in(tmp_path)
    half = [
        replace(
            demo,
            expert_action_valid=np.arange(len(demo)) % 2 == 0,
            expert_action=np.where(np.arange(len(demo))[:, None] % 2 == 0, demo.expert_action, demo.action),
        )
        for demo in stage.training
    ]
    kept: list[list[Marks]] = []

    class Noted(PolicyLearner):
        def fit(self, episodes, *, folder, seed, warm_start, marks=None):
            kept.append(marks)
            super().fit(episodes, folder=folder, seed=seed, warm_start=warm_start, marks=marks)

    stage.learner.__class__ = Noted
    GateFitter(replace(stage, training=half)).members(2)
    for marks in kept:
        assert all(not mark.weight[1::2].any() for mark in marks)
        assert sum(mark.weight.sum() for mark in marks) == sum(demo.num_labels for demo in half)


def test_a_gate_that_holds_demonstrations_back_takes_no_labels_made_from_them():
    env = PointEnv(4, max_episode_steps=12, drift=0.1)
    asked = env, Halving(), learner_of(env)
    demos = collect(env, Halving(), env.starts("train", 3), source="demonstration", seed=0)
    (step,) = collect(env, Halving(), env.starts("train", 1), source="views", seed=1, max_steps=1)
    made = [*demos, replace(step, branch=Branch(parent=0, step=0))]
    gated = HgDagger(gate=LossGate(held_out=2), labels_per_round=12, episodes_per_round=3)
    gated.check(*asked, initial=demos)
    with pytest.raises(ConfigError, match="1 branches in"):
        gated.check(*asked, initial=made)
    replace(gated, gate=LossGate(calibration="drives")).check(*asked, initial=made)
    for initial in (demos[:2], demos[:1]):
        with pytest.raises(ConfigError, match="Nothing is left to train on"):
            gated.check(*asked, initial=initial)
