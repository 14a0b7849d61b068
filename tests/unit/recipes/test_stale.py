"""Yesterday's answer is never given to today's question, from Python as from the command line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from steadyhand.core import question
from steadyhand.core.errors import ConfigError
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.dart import DartConfig
from steadyhand.correction.offline import Cloning, NoiseInjection
from steadyhand.data.episode import Episode, demonstration
from steadyhand.data.frames import Frames
from steadyhand.envs.base import StepResult
from steadyhand.envs.linear.config import LinearConfig
from steadyhand.envs.linear.env import LinearSystem
from steadyhand.experts.config import LqrExpert
from steadyhand.policies.heads.gaussian import Gaussian
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.learner import PolicyLearner, fitted
from steadyhand.recipes.teach import Trainer
from steadyhand.rollout.evaluate import evaluate
from steadyhand.training.config import TrainConfig

TRAINING = TrainConfig(num_steps=3, batch_size=8)
ENV = LinearConfig(max_episode_steps=20)
ROUNDS = DaggerConfig(rounds=2, labels_per_round=10, episodes_per_round=2, validation_starts=2)


def learner(**changes: object) -> PolicyLearner:
    return PolicyLearner(ENV.build(1).spec, policy=PolicyConfig(), training=replace(TRAINING, **changes))


def episodes(scale: float = 1.0) -> list[Episode]:
    spec = ENV.build(1).spec
    random = np.random.default_rng(0)
    observation = {
        name: random.normal(size=(20, *feature.shape)).astype(np.float32)
        for name, feature in spec.observation.items()
    }
    action = (scale * random.uniform(-0.1, 0.1, size=(20, *spec.action.shape))).astype(np.float32)
    return [demonstration(observation, action, control_dt=spec.control_dt)]


def weights(folder: Path) -> bytes:
    return (folder / "policy" / "weights.safetensors").read_bytes()


def test_the_same_fit_is_found_at_once_and_free_settings_do_not_matter(tmp_path: Path) -> None:
    learner().fit(episodes(), folder=tmp_path, seed=0, warm_start=None)
    first, when = weights(tmp_path), (tmp_path / "policy" / "weights.safetensors").stat().st_mtime_ns
    learner(log_every=1, checkpoint_every=2).fit(episodes(), folder=tmp_path, seed=0, warm_start=None)
    assert weights(tmp_path) == first
    assert (tmp_path / "policy" / "weights.safetensors").stat().st_mtime_ns == when


def test_a_policy_says_which_data_it_was_trained_on(tmp_path: Path) -> None:
    for name, scale in (("a", 1.0), ("again", 1.0), ("b", 2.0)):
        learner().fit(episodes(scale), folder=tmp_path / name, seed=0, warm_start=None)
    said = {name: learner().policy(tmp_path / name).trained_on for name in ("a", "again", "b")}
    assert said["a"] is not None
    assert (said["a"]["episodes"], said["a"]["steps"]) == (1, 20)
    assert said["a"] == said["again"] != said["b"]


OTHER_FITS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "seed": (
        "seed: 0 there, 1 asked for",
        lambda folder: learner().fit(episodes(), folder=folder, seed=1, warm_start=None),
    ),
    "sign of the labels": (
        "data: 20 steps of content .* there, 20 steps of content .* asked for",
        lambda folder: learner().fit(episodes(-1.0), folder=folder, seed=0, warm_start=None),
    ),
    "training": (
        "training.learning_rate: 0.001 there, 0.1 asked for",
        lambda folder: learner(learning_rate=0.1).fit(episodes(), folder=folder, seed=0, warm_start=None),
    ),
    "policy": (
        "policy.head",
        lambda folder: (
            learner()
            .with_policy(PolicyConfig(head=Gaussian()))
            .fit(episodes(), folder=folder, seed=0, warm_start=None)
        ),
    ),
    "warm start": (
        "warm_start: None there",
        lambda folder: learner().fit(episodes(), folder=folder, seed=0, warm_start=folder),
    ),
}


@pytest.mark.parametrize("name", OTHER_FITS)
def test_another_fit_in_the_same_folder_is_refused_by_what_differs(name: str, tmp_path: Path) -> None:
    learner().fit(episodes(), folder=tmp_path, seed=0, warm_start=None)
    first = weights(tmp_path)
    says, fit_again = OTHER_FITS[name]
    with pytest.raises(ConfigError, match=f"(?s)another question.*{says}"):
        fit_again(tmp_path)
    assert weights(tmp_path) == first


def test_half_a_fit_is_not_continued_on_other_data(tmp_path: Path) -> None:
    frames = Frames.from_episodes(
        episodes(), observation_spec=ENV.build(1).spec.observation, action_spec=ENV.build(1).spec.action
    )
    fitted(frames, PolicyConfig(), TRAINING, weights_seed=0, folder=tmp_path)
    fitted(frames, PolicyConfig(), TRAINING, weights_seed=0, folder=tmp_path)
    other = replace(frames, expert_action=-frames.expert_action)
    with pytest.raises(ConfigError, match=r"(?s)another question.*data: 20 steps"):
        fitted(other, PolicyConfig(), TRAINING, weights_seed=0, folder=tmp_path)
    with pytest.raises(ConfigError, match=r"(?s)another question.*policy\.input_noise"):
        fitted(frames, PolicyConfig(input_noise=0.1), TRAINING, weights_seed=0, folder=tmp_path)


def trainer(folder: Path, **changes: object) -> Trainer:
    env = ENV.build(2)
    parts = {
        "env": env,
        "expert": LqrExpert().build(env),
        "learner": PolicyLearner(env.spec, policy=PolicyConfig(), training=TRAINING),
        "folder": folder,
        "seed": 0,
    }
    return Trainer(**{**parts, **changes})


@pytest.mark.parametrize(
    "method",
    [
        ROUNDS,
        DartConfig(rounds=2, labels_per_round=12, episodes_per_round=4, validation_starts=2),
        Cloning(num_labels=20, num_episodes=2),
        NoiseInjection(num_labels=20, num_episodes=2),
    ],
    ids=["dagger", "dart", "cloning", "noise"],
)
def test_a_method_is_found_again_and_another_in_its_folder_is_refused(
    method: Cloning | NoiseInjection | DaggerConfig | DartConfig, tmp_path: Path
) -> None:
    first = trainer(tmp_path).teach(method, key="here")
    kept = weights(first.folder)
    again = trainer(tmp_path).teach(method, key="here")
    assert again.folder == first.folder
    other_env = replace(ENV, max_episode_steps=19).build(2)
    for says, changes, asked in (
        ("seed: 0 there, 1 asked for", {"seed": 1}, method),
        ("learner.training.num_steps", {"learner": learner(num_steps=4)}, method),
        ("env.config.max_episode_steps: 20 there, 19 asked for", {"env": other_env}, method),
        ("method.family: 'train' there, 'test' asked for", {}, replace(method, family="test")),
    ):
        with pytest.raises(ConfigError, match=f"(?s)another question.*{says}"):
            trainer(tmp_path, **changes).teach(asked, key="here")
    assert weights(first.folder) == kept


class Windy(LinearSystem):
    """An env of a user's own: its config does not tell it from others."""

    def __init__(self, *, num_rows: int = 2, wind: float = 0.1) -> None:
        super().__init__(ENV, num_rows=num_rows)
        self.wind, self.total, self.log = wind, 0, list[int]()

    def step(self, actions: np.ndarray, rows: np.ndarray) -> StepResult:
        self.total += 1
        self.log.append(len(rows))
        return super().step(actions + np.float32(self.wind), rows)


@pytest.mark.parametrize(
    "method", [ROUNDS, Cloning(num_labels=20, num_episodes=2)], ids=["dagger", "cloning"]
)
def test_another_env_of_a_user_s_own_is_another_question(
    method: Cloning | DaggerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = Windy()
    first = trainer(tmp_path, env=env).teach(method, key="here")
    kept = weights(first.folder)
    expert = LqrExpert().build(env)
    evaluate(env, expert, env.starts("test", 2), name="expert")
    env.reset(env.starts("test", 1), np.array([0]))  # by hand, too
    env.step(np.zeros((1, *env.spec.action.shape), np.float32), np.array([0]))
    for same in (env, Windy(), Windy(num_rows=3)):
        assert trainer(tmp_path, env=same).teach(method, key="here").folder == first.folder
    with pytest.raises(ConfigError, match=r"(?s)another question.*env\.attributes\.wind: 0\.1 there, 0\.2"):
        trainer(tmp_path, env=Windy(wind=0.2)).teach(method, key="here")
    monkeypatch.setattr(Windy, "step", LinearSystem.step)
    with pytest.raises(ConfigError, match=r"(?s)another question.*env\.code"):
        trainer(tmp_path, env=Windy()).teach(method, key="here")
    assert weights(first.folder) == kept


def test_code_that_alters_numbers_makes_another_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer(tmp_path).teach(ROUNDS)
    monkeypatch.setattr(question, "NUMERICS", question.NUMERICS + 1)
    with pytest.raises(ConfigError, match="computes other numbers"):
        trainer(tmp_path).teach(ROUNDS)


def test_a_folder_name_that_climbs_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be that of a file"):
        trainer(tmp_path / "in").teach(ROUNDS, key="../out")
    assert not (tmp_path / "out").exists()
