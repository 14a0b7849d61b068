"""Train an expert by reinforcement learning: the run behind `steadyhand expert train`."""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from steadyhand.core.codec import write_json
from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.lock import working_in
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.core.settings import Count, NotNegative, Settings
from steadyhand.core.statistics import Estimate, bootstrap_mean
from steadyhand.core.strict import read_text, replacing
from steadyhand.envs.base import BatchEnv, Family
from steadyhand.envs.config import EnvConfig
from steadyhand.experts.actor import ActorNetwork, actor_expert, read_actor, write_actor
from steadyhand.experts.config import feature_of
from steadyhand.experts.stable_baselines import exported
from steadyhand.recipes.experts import ACTOR
from steadyhand.recipes.folder import provenance, start_run
from steadyhand.recipes.lesson import Lesson, require_lesson
from steadyhand.recipes.reinforce_state import restore, store
from steadyhand.recipes.zoo import Algorithm, default_algorithm, numbers_for
from steadyhand.rollout.evaluate import Evaluation, evaluate

RESULT = "expert.json"
EVALUATIONS = "evaluations.jsonl"
MAX_ROWS = 64
_CHOOSES: tuple[Algorithm, ...] = ("PPO", "A2C", "DQN")
_MOVES: tuple[Algorithm, ...] = ("SAC", "TD3", "PPO", "A2C", "DDPG")


@dataclass(frozen=True, kw_only=True)
class ExpertRun(Settings):
    """Train an expert by reinforcement learning, through Stable-Baselines3.

    Attributes:
        env: The env; it learns from starts of the family "train".
        algorithm: The algorithm, by the name of its class in Stable-Baselines3.
        steps: Steps in the env, of all copies together.
        copies: Copies of the env that one rollout is collected from.
        normalize: Whether observations and rewards are divided by their running deviation (`VecNormalize`);
            what the observation is divided by goes into the actor.
        action_noise: Deviation of the noise on the actions while TD3 and DDPG collect, of the range -1 to 1.
        options: Arguments of the algorithm's class. "linear 0.001" is a rate that falls to 0 over the run.
        policy: Arguments of its policy: net_arch, activation_fn (by its name in torch) and so on.
        evaluations: Evaluations on the way, the last one at the end; each also keeps the state of the run.
        starts: Validation starts of an evaluation; the actor of the best mean return is what is kept.
        test_starts: Test starts that the best actor is reported on, which nothing is chosen on.
        seed: Seed of everything random.
    """

    env: EnvConfig
    algorithm: Algorithm = "SAC"
    steps: Count = 100_000
    copies: Count = 1
    normalize: bool = False
    action_noise: NotNegative = 0.0
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    policy: dict[str, Any] = field(default_factory=dict[str, Any])
    evaluations: Count = 20
    starts: Count = 16
    test_starts: Count = 100
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class TrainedOutcome:
    """What came of it.

    Attributes:
        actor: The file of the best actor.
        best_steps: Steps in the env after which it was taken.
        validation_return: Mean return from the validation starts, which it was chosen on.
        test: Evaluation on the test starts.
        mean_return: Mean return from the test starts with a 95 % interval.
    """

    actor: Path
    best_steps: int
    validation_return: float
    test: Evaluation
    mean_return: Estimate


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One evaluation on the way.

    Attributes:
        steps: Steps in the env until then.
        mean_return: Mean return from the validation starts.
        is_best: Whether none before was better.
    """

    steps: int
    mean_return: float
    is_best: bool


def expert_run(env: EnvConfig, *, algorithm: Algorithm | None = None, seed: int = 0) -> ExpertRun:
    """Return a run with the zoo's numbers for an env; see `recipes.zoo`.

    Args:
        env: The env.
        algorithm: The algorithm; None takes the first one that the zoo has numbers for.
        seed: Seed of everything random.
    """
    one = env.build(1)
    chosen = algorithm or default_algorithm(
        one.spec.env_id, is_choice=one.spec.action.num_classes is not None
    )
    numbers = numbers_for(one.spec.env_id, chosen)
    return ExpertRun(
        env=env,
        algorithm=chosen,
        steps=numbers.steps,
        copies=numbers.copies,
        normalize=numbers.normalize,
        action_noise=numbers.action_noise,
        options=dict(numbers.options),
        policy=dict(numbers.policy),
        seed=seed,
    )


def train_expert(
    run: ExpertRun,
    folder: Path,
    *,
    on_step: Callable[[int, int], None] | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> TrainedOutcome:
    """Train an expert, or go on with the same run in `folder`, and report the best actor on the test starts.

    At each evaluation the state of the run is kept, and so it is when it is stopped. A run that was stopped
    draws other random numbers afterwards than one that was not.

    Args:
        run: What to do.
        folder: Where the actor, the evaluations and the state of the run are kept.
        on_step: Called with (steps, all) after each step.
        on_trial: Called after each evaluation.

    Raises:
        CapabilityError: Stable-Baselines3 is not installed, or the env cannot be learnt so.
        ConfigError: `folder` holds another run, or an option is unknown or has no such value.
    """
    env = run.env.build(min(MAX_ROWS, max(run.starts, run.test_starts)))
    _require_learnable(run, env)
    with working_in(folder):
        student = _Student(run, env, folder)
        start_run(run, folder, resume=True)
        student.learn(on_step, on_trial)
        return student.outcome()


def _require_learnable(run: ExpertRun, env: BatchEnv) -> None:
    require_lesson(env)
    able = _MOVES if env.spec.action.num_classes is None else _CHOOSES
    if run.algorithm not in able:
        raise CapabilityError(
            f"{run.algorithm} cannot learn the action of {env.spec.env_id}.",
            got=env.spec.action.describe(),
            available=able,
            hint=f"choose another: --algorithm {able[0]}",
        )
    if find_spec("stable_baselines3") is None:
        raise CapabilityError(
            "Experts are trained by Stable-Baselines3, which is not installed.",
            got=f"{run.algorithm} in {env.spec.env_id}",
            hint='pip install "steadyhand[rl]"',
        )


class _Student:
    """A model of Stable-Baselines3 that learns, its evaluations so far, and the best actor."""

    def __init__(self, run: ExpertRun, env: BatchEnv, folder: Path) -> None:
        self.run, self.env, self.folder = run, env, folder
        self.model, self.normalization = _made(run)
        self.trials = _trials(folder / EVALUATIONS)

    def learn(
        self, on_step: Callable[[int, int], None] | None, on_trial: Callable[[Trial], None] | None
    ) -> None:
        run, model = self.run, self.model
        done = restore(model, self.normalization, self._state) if self._state.is_file() else 0
        # What was evaluated after the state was kept is driven again.
        self.trials = [one for one in self.trials if one.steps <= done]
        if done >= run.steps:
            return
        goals = [round(run.steps * (k + 1) / run.evaluations) for k in range(run.evaluations)]
        reached = sum(goal <= done for goal in goals)

        def after_step(*_: object) -> bool:
            nonlocal reached
            if on_step is not None:
                on_step(min(model.num_timesteps, run.steps), run.steps)
            if reached < len(goals) and model.num_timesteps >= goals[reached]:
                reached = sum(goal <= model.num_timesteps for goal in goals)
                trial = self._try()
                store(model, self.normalization, self._state)
                if on_trial is not None:
                    on_trial(trial)
            return True

        try:
            model.learn(run.steps - done, callback=after_step, reset_num_timesteps=done == 0)
        except BaseException:
            store(model, self.normalization, self._state)
            raise
        if not self.trials or self.trials[-1].steps < model.num_timesteps:
            self._try()
            store(model, self.normalization, self._state)

    def outcome(self) -> TrainedOutcome:
        path = self.folder / ACTOR
        actor = read_actor(path)
        if actor is None:
            raise ConfigError(f"{path} holds no actor.", hint="delete the folder, and train again")
        begin = time.perf_counter()
        test = self._drive(_controller(actor, self.env), "test", self.run.test_starts)
        mean = bootstrap_mean(test.returns, seed=0)
        best = max(self.trials, key=lambda one: one.mean_return)
        interval = mean.interval
        write_json(
            self.folder / RESULT,
            {
                "env": self.env.spec.env_id,
                "algorithm": self.run.algorithm,
                "seed": self.run.seed,
                "steps": self.run.steps,
                "best_steps": best.steps,
                "validation_return": best.mean_return,
                "test_starts": self.run.test_starts,
                "test_return": mean.value,
                "test_return_interval": None if interval is None else [interval.low, interval.high],
                "test_success": None if test.success is None else float(test.success.mean()),
                "test_returns": [round(float(value), 4) for value in test.returns],
                "test_wall_s": round(time.perf_counter() - begin, 2),
                "stable_baselines3": import_module("stable_baselines3").__version__,
                "provenance": provenance(),
            },
        )
        return TrainedOutcome(
            actor=path,
            best_steps=best.steps,
            validation_return=best.mean_return,
            test=test,
            mean_return=mean,
        )

    @property
    def _state(self) -> Path:
        return self.folder / "training" / "state.safetensors"

    def _try(self) -> Trial:
        form, arrays = exported(self.model, normalization=self.normalization)
        form = replace(form, start=self.env.spec.action.start, origin=self._origin())
        driver = _controller(ActorNetwork(form, arrays), self.env)
        mean = float(self._drive(driver, "validation", self.run.starts).returns.mean())
        is_best = not self.trials or mean > max(one.mean_return for one in self.trials)
        if is_best:
            with replacing(self.folder / ACTOR) as temporary:
                write_actor(temporary, form, arrays)
        trial = Trial(steps=self.model.num_timesteps, mean_return=mean, is_best=is_best)
        self.trials.append(trial)
        with replacing(self.folder / EVALUATIONS) as temporary:
            lines = [json.dumps({"steps": one.steps, "mean_return": one.mean_return}) for one in self.trials]
            temporary.write_text("\n".join(lines) + "\n")
        return trial

    def _drive(self, driver: Controller, family: Family, count: int) -> Evaluation:
        starts = self.env.starts(family, count)
        seed = derive(self.run.seed, family)
        return evaluate(self.env, driver, starts, name="expert", seed=seed, positions=False)

    def _origin(self) -> str:
        run = self.run
        where = f"{self.env.spec.env_id}, seed {run.seed}, {self.model.num_timesteps} steps"
        return f"{run.algorithm} of Stable-Baselines3: {where}"


def _controller(actor: ActorNetwork, env: BatchEnv) -> Controller:
    return actor_expert(actor, action=env.spec.action, feature=feature_of("", env), name="the expert")


def _trials(path: Path) -> list[Trial]:
    """Return the evaluations of a run that was stopped; none if there is no such run."""
    if not path.is_file():
        return []
    found: list[Trial] = []
    for line in read_text(path).splitlines():
        said = json.loads(line)
        best = max((one.mean_return for one in found), default=-np.inf)
        found.append(Trial(**said, is_best=said["mean_return"] > best))
    return found


def _made(run: ExpertRun) -> tuple[Any, Any]:
    """Return the model of a run, and the `VecNormalize` around its env if it has one."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # Stable-Baselines3 imports pygame
    package = import_module("stable_baselines3")
    wrappers = import_module("stable_baselines3.common.vec_env")
    options = {name: _scheduled(value) for name, value in run.options.items()}
    env = wrappers.DummyVecEnv([lambda: Lesson(run.env)] * run.copies)
    env.seed(derive(run.seed, "train") % 2**31)
    normalization = None
    if run.normalize:
        normalization = env = wrappers.VecNormalize(env, gamma=float(options.get("gamma", 0.99)))
    if run.action_noise:
        size = env.action_space.shape
        kind = import_module("stable_baselines3.common.noise").NormalActionNoise
        options["action_noise"] = kind(np.zeros(size), np.full(size, run.action_noise))
    if "buffer_size" not in options and run.algorithm in ("SAC", "TD3", "DDPG", "DQN"):
        options["buffer_size"] = min(run.steps, 1_000_000)
    is_dict = type(env.observation_space).__name__ == "Dict"
    try:
        model = getattr(package, run.algorithm)(
            "MultiInputPolicy" if is_dict else "MlpPolicy",
            env,
            policy_kwargs=_policy_options(run.policy),
            seed=derive(run.seed, "learn") % 2**31,
            device="cpu",
            **options,
        )
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"Stable-Baselines3 does not take these options of {run.algorithm}.",
            got=f"{type(error).__name__}: {error}",
            hint=f"see the arguments of stable_baselines3.{run.algorithm} and of its policy",
        ) from error
    return model, normalization


def _scheduled(value: Any) -> Any:
    """Return "linear 0.001" as a rate that falls with what is left of the run, and anything else as it is."""
    word, _, number = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if word != "linear":
        return value
    try:
        first = float(number)
    except ValueError:
        raise ConfigError(
            "This is no rate.", got=value, expected="a number, or such as linear 0.001"
        ) from None

    def rate(left: int | float) -> float:
        return left * first

    return rate


def _policy_options(policy: Mapping[str, Any]) -> dict[str, Any]:
    from torch import nn

    if "activation_fn" not in policy:
        return dict(policy)
    name = policy["activation_fn"]
    if not isinstance(kind := getattr(nn, str(name), None), type):
        raise ConfigError("torch has no such activation.", got=name, expected="such as ReLU or Tanh")
    return {**policy, "activation_fn": kind}
