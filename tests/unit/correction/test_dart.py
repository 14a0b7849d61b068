"""DART with a learner in closed form: every covariance is computed a second time, by other means."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from plane_env import BOUND, Homing, Linear, Plane
from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.correction.collect import collect
from steadyhand.correction.contract import Stage
from steadyhand.correction.dagger import DaggerBeta, DaggerConfig
from steadyhand.correction.dart import DartConfig
from steadyhand.correction.dart_noise import (
    NoiseEstimate,
    Thinned,
    WholeEpisodes,
    held_out_error,
    noise_record,
    noise_records,
    scaled,
    second_moment,
    shaped,
)
from steadyhand.correction.gated_remedies import SafeDagger, ThriftyDagger
from steadyhand.correction.noise import CorrelatedNoise, NoisyExecution
from steadyhand.correction.offline import NoiseInjection
from steadyhand.correction.rounds import teach_in_rounds
from steadyhand.data.episode import Episode, demonstration
from steadyhand.envs.base import BatchEnv

COVARIANCE = ((0.04, -0.018), (-0.018, 0.01))


CONFIG = DartConfig(
    rounds=3,
    labels_per_round=80,
    episodes_per_round=4,
    validation_starts=4,
    train_on_held_out=False,
    held_out=WholeEpisodes(every=2),
)
ERROR = np.array([[0.2, 0.1], [-0.1, 0.05]])


def run(
    tmp_path: Path, config: DartConfig = CONFIG, *, learner: Linear | None = None, env: BatchEnv | None = None
):
    env = env or Plane(4)
    learner = learner or Linear(env, ERROR)
    result = teach_in_rounds(env, Homing(env), learner, config=config, folder=tmp_path, seed=0)
    return SimpleNamespace(**vars(result), burden=result.burden, noise=noise_records(learner, result.folders))


def test_the_estimate_is_the_error_moment_of_a_known_linear_error(tmp_path):
    """A policy that errs by E x has the moment E M E^T, M being that of the held-out states."""
    result = run(tmp_path)
    learner = Linear(Plane(4))
    rounds = [learner.read(folder / "episodes") for folder in result.folders]
    for record in result.noise[1:]:
        before = [episode for episodes in rounds[: record.round - 1] for episode in episodes]
        x = np.concatenate([e.observation[STATE] for e in before[1::2]]).astype(np.float64)
        expected = ERROR @ (x.T @ x / len(x)) @ ERROR.T
        assert record.estimate.pairs == len(x)
        # The labels of this expert are linear where they are not cut; starts lie within the bound.
        assert np.allclose(record.estimate.covariance, expected, rtol=1e-3, atol=1e-9)
        assert record.estimate.error_trace == pytest.approx(np.trace(expected), rel=1e-3)
    assert result.noise[0].estimate.trace == 0.0
    assert result.noise[0].executed is None
    assert result.noise[0].clean_episodes == result.noise[0].episodes


def test_alpha_sets_the_trace_and_keeps_the_shape(tmp_path):
    plain = run(tmp_path / "plain").noise[1].estimate
    half = run(tmp_path / "half", replace(CONFIG, alpha=2.0)).noise[1].estimate
    assert half.trace == pytest.approx(2.0 / 25, rel=1e-12)
    ratio = np.array(half.covariance) / np.array(plain.covariance)
    assert np.allclose(ratio, ratio[0, 0])
    assert np.allclose(half.correlation, plain.correlation)
    shorter = run(tmp_path / "short", replace(CONFIG, alpha=2.0, horizon=10)).noise[1].estimate
    assert shorter.trace == pytest.approx(0.2, rel=1e-12)


@pytest.mark.parametrize("shape", ["full", "diagonal", "isotropic"])
def test_shapes_keep_the_trace_and_the_floor_is_added_last(shape):
    moment = np.array(COVARIANCE)
    assert np.trace(shaped(moment, shape)) == pytest.approx(0.05)
    assert np.trace(scaled(shaped(moment, shape), 3.0, horizon=100)) == pytest.approx(0.03, rel=1e-12)
    assert np.array_equal(scaled(np.zeros((2, 2)), 3.0, horizon=100), 0.015 * np.eye(2))


def test_a_floor_excites_directions_in_which_the_learner_does_not_err(tmp_path):
    flat = np.array([[0.2, 0.0], [0.0, 0.0]])
    env = Plane(4)
    without = run(tmp_path / "a", learner=Linear(env, flat), env=env).noise[1].estimate
    floored = (
        run(tmp_path / "b", replace(CONFIG, floor=0.01), learner=Linear(env, flat), env=env).noise[1].estimate
    )
    assert np.linalg.eigvalsh(np.array(without.covariance)).min() < 1e-9
    assert np.allclose(np.array(floored.covariance) - np.array(without.covariance), 0.01 * np.eye(2))


def test_training_pairs_would_underestimate_the_noise():
    """A learner that passes through its training pairs has no error there, but one elsewhere."""

    class Memory(Linear):
        def fit(self, episodes, *, folder, seed, warm_start, marks=None):
            pairs = zip(episodes, marks, strict=True)
            self.known = {id(e): e.expert_action * (m.weight[:, None] > 0) for e, m in pairs}

        def answers(self, folder, episodes):
            return [self.known[id(episode)] for episode in episodes]

    env = Plane(4)
    episodes = collect(env, Homing(env), env.starts("train", 4), source="demonstration", seed=0)
    for rule in (WholeEpisodes(every=2), Thinned(keep_every=10)):
        learner = Memory(env)
        config = replace(CONFIG, held_out=rule)
        learner.fit(episodes, folder=Path(), seed=0, warm_start=None, marks=config.without_held_out(episodes))

        held_out = second_moment(held_out_error(learner, Path(), episodes, rule))
        answers = learner.answers(Path(), episodes)
        pairs = [~rule.steps(i, len(e)) for i, e in enumerate(episodes)]
        errors = [(a - e.expert_action)[kept] for a, e, kept in zip(answers, episodes, pairs, strict=True)]
        trained = second_moment(np.concatenate(errors))
        assert np.trace(trained) == 0.0
        assert np.trace(held_out) > 1e-3


def test_thinned_steps_are_the_published_share():
    steps = [Thinned(keep_every=10).steps(index, 500) for index in range(20)]
    assert {int((~one).sum()) for one in steps} == {50}
    assert len({int(np.flatnonzero(~one)[0]) for one in steps}) > 5
    assert not WholeEpisodes(every=4).steps(2, 9).any()
    assert WholeEpisodes(every=4).steps(3, 9).all()


def test_held_out_steps_are_not_trained_on_unless_asked(tmp_path):
    env = Plane(4)
    apart, both = Linear(env, ERROR), Linear(env, ERROR)
    result = run(tmp_path / "apart", learner=apart, env=env)
    assert result.trained_labels == [40, 80, 120][result.best - 1]
    assert apart.fitted == [("round-01", 40), ("round-02", 80), ("round-03", 120)]
    result = run(tmp_path / "both", replace(CONFIG, train_on_held_out=True), learner=both, env=env)
    assert result.trained_labels == [80, 160, 240][result.best - 1]
    assert both.fitted == [
        ("round-01", 80),
        ("probe", 40),
        ("round-02", 160),
        ("probe", 80),
        ("round-03", 240),
    ]


def test_the_label_is_the_intended_action_and_counts_once(tmp_path):
    result = run(tmp_path, replace(CONFIG, alpha=5.0))
    assert result.queries == 240
    assert [record.beta for record in result.rounds] == [1.0, 1.0, 1.0]
    for folder, record in zip(result.folders, result.noise, strict=True):
        for episode in Linear(Plane(4)).read(folder / "episodes"):
            wanted = np.clip(-0.5 * episode.observation[STATE], -BOUND, BOUND)
            assert np.allclose(episode.expert_action, wanted, atol=1e-6)
            assert episode.expert_action_valid.all()
        assert record.changed is None or record.changed > 0.9
    assert result.burden.labels == 240


def test_updates_keep_the_estimate_between(tmp_path):
    config = replace(CONFIG, rounds=4, updates=(2, 4))
    result = run(tmp_path, config)
    assert result.noise[2].estimate == result.noise[1].estimate
    assert result.noise[3].estimate != result.noise[1].estimate


def test_a_run_that_was_killed_goes_on_bit_for_bit(tmp_path):
    config = replace(CONFIG, train_on_held_out=True, watch=3, clean_fraction=0.5)
    whole = run(tmp_path / "whole", config)
    for death in (("fit", 2), ("write", 2), ("fit", 3), ("write", 3), ("fit", 5)):
        folder = tmp_path / "killed"
        env = Plane(4)
        with pytest.raises(KeyboardInterrupt):
            run(folder, config, learner=Linear(env, ERROR, die_at=death), env=env)
        again = run(folder, config)
        assert again.rounds == whole.rounds
        assert again.noise == whole.noise
        shutil.rmtree(folder)


def test_watched_drives_say_whether_the_expert_manages(tmp_path):
    calm = run(tmp_path / "calm", replace(CONFIG, watch=6))
    assert [record.estimate.watched_success for record in calm.noise] == [1.0, 1.0, 1.0]
    wild = run(tmp_path / "wild", replace(CONFIG, watch=6, initial_sigma=5.0), env=Plane(4, bound=None))
    assert wild.noise[0].estimate.watched_success == 0.0
    assert wild.noise[0].failures > 0
    assert calm.noise[1].failures == 0
    assert calm.queries == 240


def test_the_first_round_may_be_disturbed_too(tmp_path):
    result = run(
        tmp_path, replace(CONFIG, rounds=1, initial_sigma=0.1, labels_per_round=800, episodes_per_round=40)
    )
    assert result.noise[0].estimate.covariance == ((pytest.approx(0.01), 0.0), (0.0, pytest.approx(0.01)))
    # Sample covariance: standard error sqrt(2 / n) of each variance.
    assert np.allclose(np.diag(result.noise[0].executed), 0.01, rtol=5 * np.sqrt(2 / 800))


def test_without_held_out_pairs_there_is_no_estimate(tmp_path):
    config = replace(CONFIG, episodes_per_round=1, labels_per_round=10, held_out=WholeEpisodes(every=9))
    with pytest.raises(ConfigError, match="No pair is held out"):
        run(tmp_path, config)


@pytest.mark.parametrize(
    "bad",
    [{"alpha": 0.0}, {"floor": -1.0}, {"theta": 0.0}, {"horizon": 0}, {"window": 0}, {"clean_fraction": 2.0}],
)
def test_settings_that_make_no_sense_are_refused(bad, tmp_path):
    with pytest.raises(ConfigError):
        run(tmp_path, replace(CONFIG, initial_sigma=0.1, **bad))


class Fixed(Controller):
    def __init__(self, action) -> None:
        self.value = np.array(action)

    def act(self, observation, privileged, rows, generator):
        action = np.tile(self.value, (len(rows), 1))
        return Decision.by(Actor.EXPERT, action, label=action)


def test_settings_survive_json():
    noise = NoiseInjection(noise=CorrelatedNoise(covariance=COVARIANCE, theta=0.5))
    assert from_data(to_data(noise), NoiseInjection) == noise
    config = replace(CONFIG, alpha=3.0, held_out=Thinned())
    assert from_data(to_data(config), DartConfig) == config


def test_clipping_bias_is_logged():
    """At the bound half of the noise is cut: the mean is -sigma / sqrt(2 pi), the moment sigma^2 / 2."""
    sigma, env = 0.1, Plane(200)
    noise = CorrelatedNoise(covariance=((sigma**2, 0.0), (0.0, sigma**2)))
    noisy = NoisyExecution(
        Fixed(np.float32([BOUND, 0.0])), noise=noise, action=env.spec.action, clean_fraction=0.0
    )
    starts = env.starts("train", 200)
    episodes = collect(env, noisy, starts, source="demonstration", seed=0, max_steps=4)
    estimate = NoiseEstimate(covariance=noise.covariance, pairs=1)
    record = noise_record(2, estimate, episodes)
    count = 800
    assert record.executed_mean[0] == pytest.approx(
        -sigma / np.sqrt(2 * np.pi), abs=4 * sigma / np.sqrt(count)
    )
    assert record.executed[0][0] == pytest.approx(sigma**2 / 2, rel=0.2)
    assert record.executed[1][1] == pytest.approx(sigma**2, rel=5 * np.sqrt(2 / count))
    assert record.clean_episodes == 0


def test_epsilon_is_the_rate_of_disagreement(tmp_path):
    env = Plane(4, classes=4)
    result = run(tmp_path, learner=Linear(env), env=env)
    before = Linear(env).read(result.folders[0] / "episodes")
    labels = np.concatenate([e.expert_action for e in before[1::2]])
    assert result.noise[1].estimate.epsilon == pytest.approx(float((labels != 2).mean()))
    assert 0.0 < result.noise[1].estimate.epsilon < 1.0
    assert result.noise[1].executed is None
    fixed = run(tmp_path / "alpha", replace(CONFIG, alpha=5.0), learner=Linear(env), env=env)
    assert fixed.noise[1].estimate.epsilon == pytest.approx(5.0 / 25)
    for alpha, expected in ((5.0, 5.0 / 25 + 0.1), (24.0, 1.0)):
        config = replace(CONFIG, alpha=alpha, floor=0.1)
        floor = run(tmp_path / f"floor-{alpha}", config, learner=Linear(env), env=env)
        assert floor.noise[1].estimate.epsilon == pytest.approx(expected)  # a probability


class Constant(Linear):
    """Answers 0 everywhere."""

    def answers(self, folder: Path, episodes: Sequence[Episode]) -> list[np.ndarray]:
        return [np.zeros_like(episode.expert_action) for episode in episodes]


def labelled(labels: Sequence[float], *, valid: Sequence[bool] | None = None) -> Episode:
    """Return an episode whose labels are these numbers, in both dimensions."""
    column = np.repeat(np.array(labels, dtype=np.float32)[:, None], 2, axis=1)
    one = demonstration({STATE: column}, column, control_dt=0.1)
    mask = np.ones(len(labels), dtype=bool) if valid is None else np.array(valid)
    return replace(one, expert_action_valid=mask)


def test_the_window_takes_the_last_episodes(tmp_path):
    episodes = [labelled([float(number)] * 3) for number in range(1, 9)]  # 2, 4, 6 and 8 are held out
    error = held_out_error(Constant(Plane(1)), tmp_path, episodes, WholeEpisodes(every=2), window=2)
    assert sorted(set(error.ravel())) == [-8.0, -6.0]


def test_only_steps_with_an_experts_label_count_as_held_out(tmp_path):
    rest, nothing = labelled([7.0]), labelled([50.0], valid=[False])
    episodes = [rest, labelled([1.0, 100.0, 2.0], valid=[True, False, True]), rest, nothing]
    error = held_out_error(Constant(Plane(1)), tmp_path, episodes, WholeEpisodes(every=2))
    assert error.tolist() == [[-1.0, -1.0], [-2.0, -2.0]]


def test_a_record_counts_how_the_drives_ended(tmp_path):
    env = Plane(4)
    one = Linear(env, ERROR)
    drive = teach_in_rounds(env, Homing(env), one, config=CONFIG, folder=tmp_path, seed=0)
    episode = one.read(drive.folders[0] / "episodes")[0]
    ends = [(True, False), (True, True), (False, False), (False, None), (False, True), (True, True)]
    drives = [replace(episode, terminated=done, truncated=not done, success=told) for done, told in ends]
    record = noise_record(1, NoiseEstimate(), drives)
    assert (record.episodes, record.successes, record.failures) == (6, 3, 1)
    once = np.full(len(episode), Actor.EXPERT, dtype=np.uint8)
    moved = episode.expert_action.copy()
    moved[0, 0] += 1.0
    clean = replace(episode, actor=once, action=episode.expert_action)
    first = np.where(np.arange(len(once)) == 0, Actor.NOISE, once).astype(np.uint8)
    record = noise_record(1, NoiseEstimate(), [clean, replace(clean, actor=first, action=moved)])
    assert (record.clean_episodes, record.changed) == (1, pytest.approx(1 / len(episode)))


def test_only_dart_looks_at_the_last_iterate_where_the_expert_drives_alone():
    counts = {"rounds": 1, "labels_per_round": 1, "episodes_per_round": 1}
    assert DartConfig(**counts).reads_iterate
    for kind in (DaggerConfig, DaggerBeta, SafeDagger, ThriftyDagger):
        assert not kind(**counts).reads_iterate


@pytest.mark.parametrize(
    ("options", "lengths", "is_refused"),
    [
        ({"rounds": 1}, [], False),  # the first round's disturbance needs no estimate
        ({"rounds": 2}, [], True),
        ({"rounds": 1}, [5], True),  # demonstrations stand for the first round
        ({"rounds": 1}, [5, 5], False),
        ({"rounds": 2, "episodes_per_round": 3}, [], False),  # the second of three is held out
        ({"rounds": 2, "held_out": Thinned(keep_every=9)}, [], False),  # all of its ten steps but one or two
    ],
)
def test_a_first_round_that_holds_nothing_out_is_refused_before_it_is_driven(options, lengths, is_refused):
    env = Plane(1)
    initial = [labelled([1.0] * length) for length in lengths]
    config = replace(CONFIG, **{"episodes_per_round": 1, "labels_per_round": 10, **options})
    if not is_refused:
        config.check(env, Homing(env), Linear(env), initial=initial)
        return
    with pytest.raises(ConfigError, match="No pair is held out"):
        config.check(env, Homing(env), Linear(env), initial=initial)


def test_a_remedy_made_from_it_is_checked_as_every_one_in_rounds():
    class Drives(DartConfig):
        def expert_share(self, round):
            return 0.5

    env = Plane(1)
    with pytest.raises(ConfigError, match="no policy to drive in the first round"):
        Drives(rounds=1).check(env, Homing(env), Linear(env))


def test_a_share_of_episodes_is_left_clean_unless_the_caller_says_another():
    estimate, action = NoiseEstimate(covariance=((0.01, 0.0), (0.0, 0.04))), FeatureSpec(shape=(2,))
    config = replace(CONFIG, clean_fraction=1.0)
    for options, actor in (({}, Actor.EXPERT), ({"clean_fraction": 0.0}, Actor.NOISE)):
        driver = config.disturbed(Fixed(np.float32([0, 0])), estimate, action, **options)
        decision = driver.act({}, {}, np.arange(3), RowStreams.from_seed(0, 3))
        assert decision.actor.tolist() == [actor] * 3


def test_updates_that_leave_out_the_first_estimate_make_it_all_the_same(tmp_path):
    """Demonstrations stand for the first round: there is no earlier estimate to keep."""
    env = Plane(4)
    initial = collect(env, Homing(env), env.starts("train", 4), source="demonstration", seed=0, max_steps=9)
    learner = Linear(env, ERROR)
    config = replace(CONFIG, rounds=1, updates=(3,))
    result = teach_in_rounds(
        env, Homing(env), learner, config=config, folder=tmp_path, seed=0, initial=initial
    )
    assert noise_records(learner, result.folders)[0].estimate.pairs == 18


def test_a_watched_drive_keeps_no_path(tmp_path):
    class Unseen(Plane):
        def position(self, rows):
            raise AssertionError("nobody asked for it")

    env = Unseen(4)
    stage = Stage(
        env=env,
        expert=Homing(env),
        learner=Linear(env),
        round=1,
        seed=0,
        folder=tmp_path,
        iterate=None,
        policy=None,
        training=(),
        held_out=(),
        family="train",
        num_rows=4,
    )
    replace(CONFIG, watch=2).driver(stage)
    assert (tmp_path / "estimate.json").is_file()


def test_the_shape_of_a_covariance_is_its_correlations():
    """Deviations 2 and 5, covariance 3: correlation .3; a direction that is not disturbed has none."""
    estimate = NoiseEstimate(covariance=((4.0, 3.0, 0.0), (3.0, 25.0, 0.0), (0.0, 0.0, 0.0)))
    expected = [[1.0, 0.3, 0.0], [0.3, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert np.array(estimate.correlation) == pytest.approx(np.array(expected))
    small = NoiseEstimate(covariance=((0.04, 0.003), (0.003, 0.0025)))
    assert np.array(small.correlation) == pytest.approx(np.array([[1.0, 0.3], [0.3, 1.0]]))
    assert estimate.trace == 29.0
    assert (NoiseEstimate(epsilon=0.2).correlation, NoiseEstimate(epsilon=0.2).trace) == (None, 0.2)


def test_shapes_by_hand():
    moment = np.array([[4.0, 3.0, 1.0], [3.0, 5.0, 2.0], [1.0, 2.0, 6.0]])
    assert np.array_equal(shaped(moment, "full"), moment)
    assert np.array_equal(shaped(moment, "diagonal"), np.diag([4.0, 5.0, 6.0]))
    assert np.array_equal(shaped(moment, "isotropic"), 5.0 * np.eye(3))
    assert scaled(moment, 3.0, horizon=10) == pytest.approx(moment * 0.3 / 15.0)
    assert np.array_equal(scaled(np.zeros((3, 3)), 3.0, horizon=10), 0.1 * np.eye(3))
