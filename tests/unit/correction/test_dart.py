"""DART with a learner in closed form: every covariance is computed a second time, by other means."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from steadyhand.core.codec import from_data, to_data
from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.protocol import Actor, Controller, Decision
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec, discrete_spec
from steadyhand.correction.collect import collect
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
from steadyhand.correction.noise import CorrelatedNoise, NoisyExecution, RandomExecution
from steadyhand.correction.offline import NoiseInjection
from steadyhand.correction.rounds import teach_in_rounds
from steadyhand.data.episode import Episode, demonstration
from steadyhand.envs.base import BatchEnv, Start, StepResult
from steadyhand.experts.base import Expert

BOUND = 0.5
COLUMNS = ("action", "expert_action", "expert_action_valid", "actor", "intervention", "weight", "reward")
COVARIANCE = ((0.04, -0.018), (-0.018, 0.01))


class Plane(BatchEnv):
    """x_{t+1} = x_t + a_t in the plane; with `classes` the action chooses one of four small steps."""

    def __init__(self, num_rows: int, *, classes: int | None = None, bound: float | None = BOUND) -> None:
        self.num_rows = num_rows
        self.bound = np.inf if bound is None else bound
        box = (
            FeatureSpec(shape=(2,))
            if bound is None
            else FeatureSpec(shape=(2,), low=(-bound,) * 2, high=(bound,) * 2)
        )
        self.spec = EnvSpec(
            env_id="plane",
            observation={STATE: FeatureSpec(shape=(2,))},
            action=box if classes is None else discrete_spec(classes),
            control_dt=0.1,
            max_episode_steps=25,
        )
        self.x = np.zeros((num_rows, 2), dtype=np.float32)
        self.time = np.zeros(num_rows, dtype=np.int64)

    def starts(self, family, count, *, seed=0):
        return tuple(
            Start(
                family=family, seed=i, options={"x": (i * 7 + seed) % 11 - 5.0, "y": (i * 5 + seed) % 7 - 3.0}
            )
            for i in range(count)
        )

    def reset(self, starts, rows):
        self.x[rows] = [[start.options["x"] / 10, start.options["y"] / 10] for start in starts]
        self.time[rows] = 0

    def step(self, actions, rows):
        if self.spec.action.num_classes is None:
            self.x[rows] += np.clip(actions, -self.bound, self.bound)
        else:
            self.x[rows] += 0.05 * np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)[actions[:, 0]]
        self.time[rows] += 1
        failed = np.abs(self.x[rows]).max(axis=1) > 3
        done = ~failed & (self.time[rows] >= 25)
        return StepResult(
            reward=-np.abs(self.x[rows]).sum(axis=1), terminated=failed, truncated=done, success=done
        )

    def observe(self, rows, *, view_offset=None):
        return {STATE: self.x[rows].copy()}


class Homing(Expert):
    """Steps half way to the centre, cut at the bound; of four steps it takes one of two, by the sign of x."""

    def __init__(self, env: BatchEnv) -> None:
        super().__init__()
        self.discrete = env.spec.action.num_classes is not None

    def action(self, observation, privileged):
        x = observation[STATE]
        if self.discrete:
            return np.where(x[:, :1] > 0, 2, 0).astype(np.int64)
        return np.clip(-0.5 * x, -BOUND, BOUND).astype(np.float32)


class Answers(Controller):
    def __init__(self, learner: "Linear", gain: np.ndarray) -> None:
        self.learner, self.gain = learner, gain

    def act(self, observation, privileged, rows, generator):
        return Decision.by(Actor.POLICY, self.learner.answer(observation[STATE], self.gain))


class Linear:
    """a = W x by least squares on the steps of positive weight, plus an error W_e x that it cannot help.

    With four steps to choose from it always takes the last one of the expert's.
    """

    memory = ("calls", "die_at")

    def __init__(
        self, env: BatchEnv, error: np.ndarray | None = None, *, die_at: tuple[str, int] | None = None
    ) -> None:
        self.env = env
        self.error = np.zeros((2, 2)) if error is None else error
        self.fitted: list[tuple[str, int]] = []
        self.calls: list[str] = []
        self.die_at = die_at

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if self.die_at == (what, self.calls.count(what)):
            raise KeyboardInterrupt

    def answer(self, x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        if self.env.spec.action.num_classes is not None:
            return np.full((len(x), 1), 2, dtype=np.int64)
        return (x.astype(np.float64) @ gain.T).astype(np.float32)

    def fit(self, episodes, *, folder: Path, seed, warm_start, marks=None):
        if (folder / "gain.npy").is_file():
            return
        self._call("fit")
        weights = [e.weight for e in episodes] if marks is None else [one.weight for one in marks]
        chosen = np.concatenate(weights) > 0
        self.fitted.append((folder.name, int(chosen.sum())))
        x = np.concatenate([e.observation[STATE] for e in episodes])[chosen].astype(np.float64)
        y = np.concatenate([e.expert_action for e in episodes])[chosen].astype(np.float64)
        folder.mkdir(parents=True, exist_ok=True)
        gain = np.zeros((2, 2)) if y.shape[1] == 1 else np.linalg.lstsq(x, y, rcond=None)[0].T + self.error
        np.save(folder / "gain.npy", gain)

    def controller(self, folder: Path, *, num_rows: int) -> Controller:
        return Answers(self, np.load(folder / "gain.npy"))

    def answers(self, folder: Path, episodes: Sequence[Episode]) -> list[np.ndarray]:
        gain = np.load(folder / "gain.npy")
        return [self.answer(episode.observation[STATE], gain) for episode in episodes]

    def loss(self, folder: Path, episodes: Sequence[Episode]) -> float:
        pairs = zip(self.answers(folder, episodes), episodes, strict=True)
        return float(np.mean(np.concatenate([(a - e.expert_action).ravel() for a, e in pairs]) ** 2))

    def write(self, episodes: Sequence[Episode], folder: Path) -> None:
        self._call("write")
        folder.mkdir(parents=True)
        for number, e in enumerate(episodes):
            columns = {name: getattr(e, name) for name in COLUMNS}
            ending = [e.terminated, e.truncated, e.success is True, e.success is False]
            np.savez(folder / f"{number:03d}.npz", x=e.observation[STATE], ending=ending, **columns)

    def read(self, folder: Path) -> list[Episode] | None:
        if not folder.is_dir():
            return None
        return [self._one(np.load(path)) for path in sorted(folder.glob("*.npz"))]

    @staticmethod
    def _one(data) -> Episode:
        terminated, truncated, success, failure = data["ending"].tolist()
        return Episode(
            observation={STATE: data["x"]},
            **{name: data[name] for name in COLUMNS},
            terminated=terminated,
            truncated=truncated,
            success=True if success else False if failure else None,
            control_dt=0.1,
        )


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


def streams(count: int) -> RowStreams:
    return RowStreams.from_seed(3, count)


class Fixed(Controller):
    def __init__(self, action) -> None:
        self.value = np.array(action)

    def act(self, observation, privileged, rows, generator):
        action = np.tile(self.value, (len(rows), 1))
        return Decision.by(Actor.EXPERT, action, label=action)


FREE = FeatureSpec(shape=(2,))


def test_samples_have_the_stated_covariance():
    count = 20_000
    noise = CorrelatedNoise(covariance=COVARIANCE)
    noisy = NoisyExecution(Fixed(np.float32([0.1, -0.2])), noise=noise, action=FREE, clean_fraction=0.0)
    decision = noisy.act({}, {}, np.arange(count), streams(count))
    drawn = (decision.action - decision.label).astype(np.float64)
    expected = np.array(COVARIANCE)
    # Var of a sample covariance of normal numbers: (s_ii s_jj + s_ij^2) / n.
    error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / count)
    assert (np.abs(drawn.T @ drawn / count - expected) < 4.5 * error).all()
    assert (np.abs(drawn.mean(axis=0)) < 4.5 * np.sqrt(np.diag(expected) / count)).all()


def test_a_row_does_not_depend_on_its_neighbours():
    noise = CorrelatedNoise(covariance=COVARIANCE, theta=0.3)
    many = NoisyExecution(Fixed(np.float32([0, 0])), noise=noise, action=FREE, clean_fraction=0.5)
    one = NoisyExecution(Fixed(np.float32([0, 0])), noise=noise, action=FREE, clean_fraction=0.5)
    all_rows, all_streams, its = np.arange(300), streams(300), streams(300).take(np.array([7]))
    for _ in range(3):
        together = many.act({}, {}, all_rows, all_streams).action[7]
        assert np.array_equal(one.act({}, {}, np.array([7]), its).action[0], together)
        all_streams.advance()
        its.advance()


def test_correlated_noise_that_stays_keeps_its_covariance():
    count = 20_000
    noise = CorrelatedNoise(covariance=COVARIANCE, theta=0.2)
    noisy = NoisyExecution(Fixed(np.float32([0, 0])), noise=noise, action=FREE, clean_fraction=0.0)
    source = streams(count)
    steps = []
    for _ in range(3):
        steps.append(noisy.act({}, {}, np.arange(count), source).action.astype(np.float64))
        source.advance()
    assert np.allclose(second_moment(steps[2]), COVARIANCE, atol=0.04 * 5 * np.sqrt(2 / count))
    assert np.allclose(
        steps[1].T @ steps[2] / count, 0.8 * np.array(COVARIANCE), atol=0.04 * 5 * np.sqrt(2 / count)
    )


def test_noise_of_no_covariance_is_refused():
    for bad in (((1.0, 2.0), (2.0, 1.0)), ((1.0, 0.5), (0.2, 1.0)), ((1.0, 0.0),)):
        with pytest.raises(ConfigError, match="covariance"):
            CorrelatedNoise(covariance=bad)
    noisy = NoisyExecution(
        Fixed(np.float32([0, 0])), noise=CorrelatedNoise(covariance=((1.0,),)), action=FREE
    )
    with pytest.raises(ConfigError, match="does not fit"):
        noisy.act({}, {}, np.arange(3), streams(3))


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


def test_another_discrete_action_is_executed_at_the_rate_epsilon_and_never_labelled():
    count, epsilon = 20_000, 0.3
    noisy = RandomExecution(Fixed([2]), epsilon=epsilon, action=discrete_spec(4))
    decision = noisy.act({}, {}, np.arange(count), streams(count))
    share = np.bincount(decision.action[:, 0], minlength=4) / count
    expected = np.array([0.1, 0.1, 0.7, 0.1])
    assert (np.abs(share - expected) < 4.5 * np.sqrt(expected * (1 - expected) / count)).all()
    assert (decision.label == 2).all()
    half = RandomExecution(Fixed([2]), epsilon=1.0, action=discrete_spec(4), clean_fraction=0.5)
    rows, source = np.arange(400), streams(400)
    first = half.act({}, {}, rows, source).action[:, 0] != 2
    source.advance()
    assert np.array_equal(half.act({}, {}, rows, source).action[:, 0] != 2, first)
    assert abs(first.mean() - 0.5) < 4.5 * 0.5 / 20
    with pytest.raises(CapabilityError):
        RandomExecution(Fixed([2]), epsilon=0.1, action=FREE)
    with pytest.raises(ConfigError):
        RandomExecution(Fixed([2]), epsilon=1.5, action=discrete_spec(4))


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
    floor = run(tmp_path / "floor", replace(CONFIG, alpha=5.0, floor=0.1), learner=Linear(env), env=env)
    assert floor.noise[1].estimate.epsilon == pytest.approx(5.0 / 25 + 0.1)


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
    ends = [(True, False), (True, True), (False, False), (False, None), (False, True)]
    drives = [replace(episode, terminated=done, truncated=not done, success=told) for done, told in ends]
    record = noise_record(1, NoiseEstimate(), drives)
    assert (record.episodes, record.successes, record.failures) == (5, 2, 1)
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
