"""How each method of benchmarks/ccil.py teaches: what it is given, and what it makes of it.

Every method asks for the same number of expert labels, trains the same policy for the same number of updates,
and drives from the same test starts. What is chosen, is chosen on validation starts.
"""

import json
import tempfile
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from steadyhand.core.codec import from_data
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.core.specs import ENVIRONMENT_STATE, STATE
from steadyhand.correction.ccil import corrective_labels
from steadyhand.correction.ccil_config import CcilConfig
from steadyhand.correction.collect import collect
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.dart import DartConfig
from steadyhand.correction.dart_noise import WholeEpisodes
from steadyhand.correction.noise import NoisyExecution, OrnsteinUhlenbeck
from steadyhand.correction.rounds import teach_in_rounds
from steadyhand.correction.true_dynamics import Oracle, TrueDynamics
from steadyhand.data.episode import Episode
from steadyhand.data.stats import array_stats
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.car.dynamics import parameters
from steadyhand.envs.car.env import Car
from steadyhand.envs.car.inverse import before, moved
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.mechanics import Mechanism
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.envs.pendulum.env import Pendulum
from steadyhand.envs.quadrotor.config import PlanarQuadrotorConfig
from steadyhand.envs.two_link.config import ArmConfig
from steadyhand.experts.config import ExpertConfig
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.recipes.experts import default_expert
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.rollout.evaluate import Evaluation, evaluate
from steadyhand.training.config import TrainConfig

Method = Literal[
    "cloning",
    "cloning, short drives",
    "NoiseBC",
    "clean-label noise",
    "DART",
    "DAgger",
    "CCIL explicit",
    "CCIL implicit",
    "CCIL disturbed",
    "CCIL oracle",
]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        method: How it is trained.
        env: Where.
        drives: Demonstrations, from start to end.
        steps: Their length, and so drives * steps labels.
        epochs: Passes over as many labels: with `batch_size` they give the updates of each fit.
        batch_size: Batch size of the policy's training.
        learning_rate: Learning rate of the policy; Adam, constant.
        ccil: Settings of CCIL; None where the method has none.
        sigmas: Input noise among which NoiseBC chooses; empty for other methods.
        noise: Standard deviation of the disturbance, as a share of half the action's range; 0 for methods
            that do not disturb.
        clean_fraction: Share of disturbed drives that are left clean.
        rounds: Rounds of DAgger and DART, or 0.
        drives_per_round: Drives of each round, or of short drives in all.
        validation: Validation starts.
        rollouts: Test starts.
        seed: Seed of everything: data, weights and draws.
        expert: Who is asked; the env's own expert if None.
    """

    method: Method
    env: CarConfig | PendulumConfig | ArmConfig | PlanarQuadrotorConfig
    drives: int
    steps: int
    epochs: int = 100
    batch_size: int = 512
    learning_rate: float = 1e-3
    ccil: CcilConfig | None = None
    sigmas: tuple[float, ...] = ()
    noise: float = 0.0
    clean_fraction: float = 0.5
    rounds: int = 0
    drives_per_round: int = 0
    policy: PolicyConfig = field(default_factory=lambda: PolicyConfig(encoder=StateMLP()))
    validation: int = 64
    rollouts: int = 100
    seed: int = 0
    expert: ExpertConfig | None = None

    @property
    def labels(self) -> int:
        """Labels asked of the expert."""
        return self.drives * self.steps

    @property
    def updates(self) -> int:
        """Gradient updates of each fit."""
        return max(1, round(self.epochs * self.labels / self.batch_size))


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """A cell in progress."""

    settings: Settings
    env: BatchEnv
    expert: Controller
    folder: Path

    def learner(self, *, input_noise: float = 0.0) -> PolicyLearner:
        """Return who learns."""
        settings = self.settings
        training = TrainConfig(
            num_steps=settings.updates,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=0.0,
            schedule="constant",
            warmup_steps=0,
            log_every=1000,
        )
        policy = replace(settings.policy, input_noise=input_noise)
        return PolicyLearner(self.env.spec, policy=policy, training=training)

    def demonstrations(self, controller: Controller, *, drives: int) -> list[Episode]:
        """Return as many labels as a method may ask for, over `drives` drives: the same for all."""
        settings = self.settings
        starts = self.env.starts("train", 20 * drives, seed=derive(settings.seed, "demonstrations") % 2**31)
        return collect(
            self.env,
            controller,
            starts,
            source="demonstration",
            seed=derive(settings.seed, "collect"),
            num_labels=settings.labels,
            num_rows=min(drives, self.env.num_rows),
            max_steps=-(-settings.labels // drives),
        )

    def fit(self, episodes: list[Episode], *, name: str = "fit", input_noise: float = 0.0) -> Controller:
        """Train a policy; every method starts from the same parameters."""
        learner, here = self.learner(input_noise=input_noise), self.folder / name
        learner.fit(episodes, folder=here, seed=derive(self.settings.seed, "fit"), warm_start=None)
        return learner.controller(here, num_rows=self.env.num_rows)

    def validate(self, controller: Controller) -> Evaluation:
        """Drive from the validation starts."""
        starts = self.env.starts("validation", self.settings.validation, seed=derive(0, "validation") % 2**31)
        return evaluate(self.env, controller, starts, name="validation", positions=False)


@lru_cache(maxsize=1)
def built(config: EnvConfig, num_rows: int) -> BatchEnv:
    """Return the env; the maps of a hundred tracks are worth keeping from cell to cell."""
    return config.build(num_rows)


def compute(settings: Settings) -> dict[str, Any]:
    """Teach, drive from the test starts, return what the tables need."""
    env = built(settings.env, settings.rollouts)
    config = settings.expert or default_expert(settings.env)
    assert config is not None
    expert = config.build(env)
    with tempfile.TemporaryDirectory() as folder:
        run = CellRun(settings=settings, env=env, expert=expert, folder=Path(folder))
        driver, labels, notes = trained(run)
        starts = env.starts("test", settings.rollouts, seed=0)
        driven = evaluate(env, driver, starts, name=settings.method, seed=settings.seed, positions=False)
    shown = evaluate(env, expert, starts, name="expert", positions=False)
    return {
        "labels": labels,
        "updates": settings.updates,
        **notes,
        "success": driven.told.astype(int).tolist(),
        "steps": driven.lengths.tolist(),
        "return": np.round(driven.returns, 2).tolist(),
        "expert": {
            "success": float(shown.told.mean()),
            "return": round(float(shown.returns.mean()), 2),
        },
    }


def trained(run: CellRun) -> tuple[Controller, int, dict[str, Any]]:
    """Return the policy, the labels that were asked for it, and what else is to be told."""
    settings = run.settings
    match settings.method:
        case "cloning":
            demos = run.demonstrations(run.expert, drives=settings.drives)
            return run.fit(demos), count(demos), {}
        case "cloning, short drives":
            demos = run.demonstrations(run.expert, drives=settings.drives_per_round)
            return run.fit(demos), count(demos), {}
        case "NoiseBC":
            return noisy_inputs(run)
        case "clean-label noise":
            demos = run.demonstrations(disturbed(run), drives=settings.drives)
            return run.fit(demos), count(demos), {}
        case "DAgger" | "DART":
            return in_rounds(run)
        case _:
            return with_labels(run)


def count(episodes: list[Episode]) -> int:
    """Return the labels that were asked."""
    return sum(episode.num_labels for episode in episodes)


def noisy_inputs(run: CellRun) -> tuple[Controller, int, dict[str, Any]]:
    """NoiseBC, its noise chosen by success and then return on validation starts."""
    demos = run.demonstrations(run.expert, drives=run.settings.drives)
    scores: dict[float, tuple[float, float]] = {}
    drivers: dict[float, Controller] = {}
    for sigma in run.settings.sigmas:
        drivers[sigma] = run.fit(demos, name=f"sigma-{sigma}", input_noise=sigma)
        seen = run.validate(drivers[sigma])
        scores[sigma] = (float(seen.told.mean()), float(seen.returns.mean()))
    best = max(scores, key=lambda sigma: scores[sigma])
    notes = {"sigma": best, "validation success": {str(sigma): score[0] for sigma, score in scores.items()}}
    return drivers[best], count(demos), notes


def disturbed(run: CellRun) -> NoisyExecution:
    """Return the expert whose execution is disturbed."""
    action = run.env.spec.action
    assert action.low is not None
    assert action.high is not None
    half = {0.5 * (high - low) for low, high in zip(action.low, action.high, strict=True)}
    (width,) = half
    noise = OrnsteinUhlenbeck(sigma=run.settings.noise * width)
    return NoisyExecution(run.expert, noise=noise, action=action, clean_fraction=run.settings.clean_fraction)


def in_rounds(run: CellRun) -> tuple[Controller, int, dict[str, Any]]:
    """DAgger, or DART: the budget of labels in equal rounds, the best iterate by validation starts."""
    settings, learner = run.settings, run.learner()
    common: dict[str, Any] = {
        "rounds": settings.rounds,
        "labels_per_round": settings.labels // settings.rounds,
        "episodes_per_round": settings.drives_per_round,
        "validation_starts": settings.validation,
    }
    if settings.method == "DAgger":
        config = DaggerConfig(**common)
    else:
        config = DartConfig(held_out=WholeEpisodes(every=min(4, settings.drives_per_round)), **common)
    result = teach_in_rounds(
        run.env, run.expert, learner, config=config, folder=run.folder, seed=settings.seed
    )
    driver = learner.controller(result.best_folder, num_rows=run.env.num_rows)
    return driver, result.queries, {"round": result.best}


def with_labels(run: CellRun) -> tuple[Controller, int, dict[str, Any]]:
    """CCIL: demonstrations and corrective labels, from a learnt model or from the true system."""
    settings = run.settings
    assert settings.ccil is not None
    demos = run.demonstrations(run.expert, drives=settings.drives)
    oracle = truth(run, demos) if settings.method == "CCIL oracle" else None
    labels, geometry = corrective_labels(
        demos,
        PolicySpec.of_env(run.env.spec),
        settings.ccil,
        seed=derive(settings.seed, "ccil"),
        oracle=oracle,
    )
    figures = {name: float(f"{value:.5g}") for name, value in asdict(geometry).items() if value is not None}
    return run.fit([*demos, *unchanged(demos, labels)]), count(demos), {"geometry": figures}


def unchanged(demos: list[Episode], labels: list[Episode]) -> list[Episode]:
    """Return the labels with what never changed in the demonstrations as it was there.

    A model is off by a little on such a feature, too (the speed and the collision flag of F1TENTH). In
    statistics of demonstrations and labels together that little is all its spread: the normaliser then
    magnifies it, and no car stays on the road (in a trial run 0 of 64, against 41 of 64 without).
    """
    fixed = labels
    for name in demos[0].observation:
        seen = np.concatenate([demo.observation[name] for demo in demos])
        constant = array_stats(seen).constant
        if constant.any():
            value = np.where(constant, seen[0], np.float32(0.0))
            fixed = [
                replace(
                    label,
                    observation={
                        **label.observation,
                        name: np.where(constant, value, label.observation[name]),
                    },
                )
                for label in fixed
            ]
    return fixed


def truth(run: CellRun, demos: list[Episode]) -> Oracle:
    """Return the true system of an env, as CCIL asks it."""
    env = run.env
    if isinstance(env, Pendulum):
        return pendulum_truth(env)
    if isinstance(env, Mechanism):
        return mechanism_truth(env)
    assert isinstance(env, Car)
    return CarTruth(env.config, demos)


def pendulum_truth(env: Pendulum) -> TrueDynamics:
    """Return the pendulum: its angle is known from its sine and cosine."""

    def state_of(seen: np.ndarray) -> np.ndarray:
        return np.stack([np.arctan2(seen[:, 0], seen[:, 1]), seen[:, 2]], axis=1)

    def observe(state: np.ndarray) -> np.ndarray:
        return np.stack([np.sin(state[:, 0]), np.cos(state[:, 0]), state[:, 1]], axis=1)

    def difference(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        gap = x - y
        gap[..., 0] = np.remainder(gap[..., 0] + np.pi, 2.0 * np.pi) - np.pi
        return gap

    def step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        return env.dynamics(state, action, params={}, xp=np)

    return TrueDynamics(step=step, state_of=state_of, observe=observe, difference=difference)


def mechanism_truth(env: Mechanism[Any]) -> TrueDynamics:
    """Return a mechanical system, whose state is all seen."""

    def state_of(seen: np.ndarray) -> np.ndarray:
        return env.x_of({STATE: seen})

    def step(state: np.ndarray, action: np.ndarray) -> np.ndarray:
        return env.dynamics(state, action.astype(np.float64), params={}, xp=np)

    return TrueDynamics(step=step, state_of=state_of, observe=env.seen, difference=env.problem().difference)


class CarTruth:
    """The car run backwards from the true states of its demonstrations, and what its scanner sees there.

    The scan does not tell steering angle or pose, so the demonstrations are driven again from their starts to
    know the states behind them. Nor need a label lead to the same steering angle, which nobody sees: the
    wheels begin as they were where it leads.

    Args:
        config: The car.
        demos: Demonstrations.
    """

    def __init__(self, config: CarConfig, demos: list[Episode]) -> None:
        self._config = config
        self._snapshots = [self._replayed(demo) for demo in demos]

    def _replayed(self, demo: Episode) -> list[dict[str, np.ndarray]]:
        env, row = self._config.build(1), np.zeros(1, dtype=np.int64)
        env.reset([from_data(json.loads(demo.provenance.start), Start)], row)
        path = [env.state(row)]
        for seen, action in zip(demo.observation[ENVIRONMENT_STATE], demo.action, strict=True):
            assert np.array_equal(env.observe(row)[ENVIRONMENT_STATE][0], seen), "another drive"
            env.step(action[None], row)
            path.append(env.state(row))
        return path

    def before(self, parent: np.ndarray, reached: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Return what is seen where `action` leads to step `reached`; see `Inverse`."""
        chosen = [self._snapshots[p][r] for p, r in zip(parent.tolist(), reached.tolist(), strict=True)]
        snapshot = {name: np.concatenate([one[name] for one in chosen]) for name in chosen[0]}
        reached_state = snapshot["values"][:, :5]
        params = parameters(self._config)
        found = before(reached_state, action, params=params, steering=reached_state[:, 3])
        known = np.asarray(np.isfinite(found).all(axis=1))
        rows = np.arange(len(parent))
        env = self._config.build(len(parent))
        env.restore(moved(snapshot, np.where(known[:, None], found, reached_state)), rows)
        seen = env.observe(rows)[ENVIRONMENT_STATE].astype(np.float64)
        seen[~known] = np.nan
        return seen
