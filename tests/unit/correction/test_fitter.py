"""What gates are fitted to: which steps, with which labels and weights, worked out a second time."""

from dataclasses import replace

import numpy as np
import pytest

from gate_stage import learner_of, stage_in
from point_env import Halving
from steadyhand.core.errors import CapabilityError
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE
from steadyhand.correction.collect import collect
from steadyhand.correction.gate import Asking, GateInput
from steadyhand.correction.gates import NearestGate, ThriftyGate
from steadyhand.correction.gates.calibration import ScoreRecorder, windows_of
from steadyhand.correction.gates.fitter import GateFitter
from steadyhand.data.episode import EpisodeOrigin
from steadyhand.policies.risk_config import RiskConfig
from steadyhand.policies.scores import Neighbour
from steadyhand.policies.scores.predicted import SAFE, UNSAFE
from steadyhand.policies.scores.risk import Critics, pairs
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.training.config import TrainConfig


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return stage_in(tmp_path_factory.mktemp("stage"))


def part_labelled(episode, valid):
    """Return it with labels where `valid` says so; elsewhere the label repeats what was executed."""
    valid = np.array(valid, dtype=bool)
    label = np.where(valid[:, None], episode.expert_action, episode.action)
    return replace(episode, expert_action_valid=valid, expert_action=label)


class Told(GateFitter):
    """Has been told its discrepancies."""

    held_out = ()

    def __init__(self, values):
        self.values = np.array(values)

    def discrepancy(self, episodes):
        return self.values


@pytest.mark.parametrize(
    ("values", "unsafe", "tau"),
    [
        ([3.0, 1.0, 4.0, 2.0], 0.5, 2.0),
        ([3.0, 1.0, 4.0, 2.0], 0.2, 3.0),  # no step lies above the largest one
        ([1.0, 4.0, 4.0, 4.0], 0.5, 1.0),
        ([5.0, 5.0], 0.2, 5.0),
    ],
)
def test_tau_leaves_a_step_above_it_where_any_differ(values, unsafe, tau):
    assert Told(values).tau(unsafe) == tau
    assert Told(values).held_out_discrepancy(0.5) == sorted(values)[(len(values) - 1) // 2]


def test_the_bank_holds_the_windows_of_labelled_steps(stage):
    one, other, last = stage.training
    asked = np.arange(len(one)) % 3 == 1
    training = [part_labelled(one, asked), part_labelled(other, [False] * len(other)), last]
    bank = GateFitter(replace(stage, training=training)).bank()
    seen = [windows_of(GateFitter(stage).policy, episode) for episode in (one, last)]
    assert np.array_equal(
        bank.observation[STATE],
        np.concatenate([seen[0].observation[STATE][asked], seen[1].observation[STATE]]),
    )
    assert bank.is_pad.tolist() == [[False, False]] * int(asked.sum()) + [[True, False]] + [
        [False, False]
    ] * (len(last) - 1)


def test_every_labelled_step_may_be_drawn_for_a_member(stage, tmp_path):
    drawn = []

    class Noted(PolicyLearner):
        def fit(self, episodes, *, folder, seed, warm_start, marks=None):
            drawn.append(np.concatenate([one.weight for one in marks]))

        def policy(self, folder):
            return super().policy(stage.iterate)

    learner = learner_of(stage.env)
    learner.__class__ = Noted
    training = [part_labelled(stage.training[0], [step in (0, 7) for step in range(12)])]
    fitter = GateFitter(replace(stage, learner=learner, training=training, folder=tmp_path))
    assert len(fitter.members(20)) == 20
    total = np.sum(drawn, axis=0)
    assert [weight.sum() for weight in drawn] == [2.0] * 20
    assert np.flatnonzero(total).tolist() == [0, 7]
    assert {float(weight[0]) for weight in drawn} == {0.0, 1.0, 2.0}


def test_a_classifier_is_fitted_to_what_the_policy_was_not_trained_on_first(stage, monkeypatch):
    """Held-out demonstrations and collected steps; a discrepancy of exactly tau is safe."""
    kept = {}
    monkeypatch.setattr(
        "steadyhand.correction.gates.fitter.fit",
        lambda built, source, *, config: kept.update(built=built, source=source, config=config),
    )
    (drive,) = collect(stage.env, Halving(), stage.env.starts("train", 1), source="correction", seed=9)
    collected = part_labelled(drive, np.arange(len(drive)) % 2 == 0)
    fitter = GateFitter(replace(stage, training=[*stage.training, collected]))
    told = [*stage.held_out, collected]
    discrepancy = np.concatenate(
        [
            np.square((answer - episode.expert_action)[:, 0] / 0.5)
            for episode, answer in zip(told, fitter.proposed(told), strict=True)
        ]
    )
    exact = fitter.scale.discrepancy(fitter.proposed(told)[0], told[0].expert_action)
    tau = float(exact[4])
    training = TrainConfig(num_steps=7, batch_size=3, seed=1)
    assert fitter.classifier(tau, training) is kept["built"]
    frames = kept["source"].frames
    wanted = np.where(discrepancy > tau * (1 + 1e-6), UNSAFE, SAFE)
    assert 0 < wanted.sum() < len(wanted)
    assert frames.expert_action[:, 0].tolist() == wanted.tolist()
    assert frames.weight.tolist() == [*[1.0] * sum(map(len, stage.held_out)), *collected.expert_action_valid]
    built = kept["built"]
    assert built.spec.action.num_classes == 2
    seen = np.concatenate([episode.observation[STATE] for episode in told])[frames.weight > 0]
    assert built.affines[STATE].offset.item() == pytest.approx(seen.mean(), rel=1e-4)
    assert kept["config"] == replace(training, seed=kept["config"].seed)
    assert 0 <= kept["config"].seed < 2**31


def test_critics_are_fitted_to_drives_and_demonstrations_and_to_no_corrections(stage, monkeypatch):
    kept = []

    def noted(data, *, config, seed):
        kept.append((data, seed))
        return Critics(data.pair.shape[1], hidden=config.hidden)

    monkeypatch.setattr("steadyhand.correction.gates.fitter.fit_critics", noted)
    corrected = replace(stage.training[2], provenance=EpisodeOrigin(source="correction", round=1))
    training = [stage.training[0], stage.training[1], corrected]
    fitter = GateFitter(replace(stage, training=training))
    runs = collect(stage.env, Halving(), stage.env.starts("train", 3), source="rollout", seed=2)
    driven = [replace(one, success=told) for one, told in zip(runs, (True, None, False), strict=True)]
    fitter._driven = driven
    fitter.critics(3, RiskConfig())
    ((data, seed),) = kept
    assert 0 <= seed < 2**31

    shown = [*training[:2], *stage.held_out]
    own = [episode.action for episode in driven]  # what the policy did alone is what it would do
    row = 0
    for episode, would in zip([*driven, *shown], [*own, *fitter.proposed(shown)], strict=True):
        seen = windows_of(fitter.policy, episode)
        executed = pairs(fitter.policy, fitter.scale, seen, episode.action)
        ahead = pairs(fitter.policy, fitter.scale, seen, would)
        for step in range(len(episode)):
            is_last = step == len(episode) - 1
            if is_last and episode.success is None:
                continue  # nobody told how it ended
            assert np.array_equal(data.pair[row], executed[step])
            assert np.array_equal(
                data.next_pair[row], np.zeros_like(executed[0]) if is_last else ahead[step + 1]
            )
            assert data.ends[row] == is_last
            assert data.success[row] == (is_last and episode.success is True)
            row += 1
    assert row == len(data.pair) == len(data.ends) == len(data.success) == len(data.next_pair)


def gate_inputs(stage, seen, rows):
    streams = RowStreams.from_seed(0, len(rows))
    observation = {STATE: seen[rows]}
    return GateInput(
        observation=observation,
        privileged={},
        rows=rows,
        generator=streams,
        proposal=np.zeros((len(rows), 1), dtype=np.float32),
        held=np.zeros(len(rows), dtype=bool),
        expert=Asking(Halving(), observation, {}, rows, streams),
    )


def test_a_score_of_a_new_episode_knows_nothing_of_the_last(stage):
    fitter = GateFitter(stage)
    score = Neighbour(fitter.policy, fitter.bank(), num_neighbours=1)
    seen = np.random.default_rng(0).normal(size=(3, 4, 1)).astype(np.float32)
    rows = np.arange(4)
    recorder = ScoreRecorder(fitter.policy, {"new": score}, num_rows=4)
    for step in (0, 1):
        recorder(gate_inputs(stage, seen[step], rows))
    recorder.begin(rows[1:2])
    found = recorder(gate_inputs(stage, seen[2], rows))["new"]
    fresh = ScoreRecorder(fitter.policy, {"new": score}, num_rows=4)
    alone = fresh(gate_inputs(stage, seen[2], rows))["new"]
    assert (np.isclose(found, alone, rtol=1e-6)).tolist() == [False, True, False, False]


def test_gates_that_look_into_a_policy_refuse_a_learner_that_shows_none(stage):
    class Opaque:
        def __getattr__(self, name):
            if name in ("policy", "frames"):
                raise AttributeError(name)
            return getattr(stage.learner, name)

    for gate in (NearestGate(), ThriftyGate()):
        gate.check(stage.env, stage.learner)
        with pytest.raises(CapabilityError, match="does not show"):
            gate.check(stage.env, Opaque())
