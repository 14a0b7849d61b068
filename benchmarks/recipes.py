"""Every recipe on a humanoid's data and on the car: the first tables of docs/results/recipes.md.

    STEADYHAND_DATA=DIR python benchmarks/recipes.py run [--only NAME]   compute the cells that are missing
    python benchmarks/recipes.py table                                   write the tables into the page

A cell is one (recipe, place, what it sees, seed). The recipes are those of size "small" with the number of
gradient steps in `STEPS`, so that a cell takes minutes on one core; what was changed after a first look is
told on the page. DIR holds the folder lerobot-v21-unitree-g1, which does not ship with the project; the
humanoid's cells alone read it. See pages.py for how cells are kept.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pages import PAGES, experiment

from steadyhand.analysis.offline import OfflineError, offline_errors
from steadyhand.cli.experiment import main
from steadyhand.core.errors import SteadyhandError
from steadyhand.core.parts import made
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.core.specs import STATE, FeatureSpec, discrete_spec, image_spec
from steadyhand.core.statistics import wilson
from steadyhand.correction.collect import collect
from steadyhand.data.dataset import open_dataset
from steadyhand.data.frames import Frames
from steadyhand.data.stats import split_episodes
from steadyhand.envs.base import BatchEnv, Family
from steadyhand.envs.car.config import CarConfig, Sense
from steadyhand.envs.car.spec import car_spec
from steadyhand.experts.config import PurePursuitExpert
from steadyhand.policies.noise import GeneratorNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec
from steadyhand.recipes.config import RecipeConfig
from steadyhand.recipes.experiment import Cell
from steadyhand.recipes.learner import fitted
from steadyhand.recipes.parts import choices_of
from steadyhand.rollout.evaluate import Evaluation, evaluate
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.training.config import TrainConfig

EXPERIMENT = experiment("recipes")

Place = Literal["car", "humanoid"]
STEPS = {
    "bc_mlp": (5000, 5000),
    "bc_rnn_gmm": (3000, 3000),
    "act": (2000, 1000),
    "bet": (3000, 1500),
    "diffusion_unet": (2500, 1500),
    "diffusion_transformer": (1500, 1000),
    "flow_unet": (2500, 1500),
    "mip": (2500, 1500),
    "pilotnet": (800, 0),
    "alvinn": (3000, 0),
    "alvinn_1989": (3000, 0),
}
"""Gradient steps on the car and on the humanoid."""
VECTORS = tuple(name for name in STEPS if name not in ("pilotnet", "alvinn", "alvinn_1989"))
SEEN: dict[str, tuple[Sense, ...]] = {
    **dict.fromkeys(VECTORS, ("lidar",)),
    "pilotnet": ("camera",),
    "alvinn": ("retina",),
    "alvinn_1989": ("retina", "ranges"),
}
HUMANOID = {STATE: FeatureSpec(shape=(26,))}
COMPARED = 8
"""Steps of a chunk over which errors are averaged."""
EVERY = 4
"""One in so many held-out steps is compared."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a cell depends on.

    Attributes:
        place: Where.
        sees: The car's sense; empty for the humanoid, which sees its joints.
        policy: The recipe's policy.
        training: The recipe's training, with the number of steps above.
        episodes: Demonstrations of the car.
        steps: Steps of each.
        rollouts: Test starts of the car.
        executed: Executed steps of each chunk; 0 means the recipe's own number.
        also: Also drive with so many executed steps of each chunk.
        seed: Seed of everything: data, weights and draws.
    """

    place: Place
    sees: tuple[Sense, ...]
    policy: PolicyConfig
    training: TrainConfig
    episodes: int = 16
    steps: int = 250
    rollouts: int = 64
    executed: int = 0
    also: tuple[int, ...] = ()
    seed: int = 0


SHORTER = (4, 2)
"""Recipes with chunks of 8 executed steps also drive with fewer."""
Entry = tuple[str, Place, tuple[Sense, ...]]
"""Recipe, place, what it sees."""


def cell(name: str, place: Place, sees: tuple[Sense, ...], *, seed: int = 0) -> Cell[Settings]:
    """Return one entry of the tables."""
    features = dict(car_spec(CarConfig(observation=sees)).observation) if sees else HUMANOID
    policy, training = made(RecipeConfig, name).build(features)
    steps = STEPS[name][place == "humanoid"]
    training = replace(training, num_steps=steps, warmup_steps=min(training.warmup_steps, steps // 10))
    also = SHORTER if place == "car" and policy.n_action_steps > 1 else ()
    settings = Settings(place=place, sees=sees, policy=policy, training=training, also=also, seed=seed)
    where = " ".join(("car", *sees)) if sees else "humanoid"
    words = f"{where} {name} seed {seed}"
    return EXPERIMENT.cell(words, settings=settings, compute=compute)


def compute(settings: Settings) -> dict[str, Any]:
    """Fit on demonstrations; return errors on the humanoid's held-out episodes, or where the car came."""
    return on_humanoid(settings) if settings.place == "humanoid" else on_car(settings)


def trained(
    settings: Settings, frames: Frames, steps: np.ndarray | None
) -> tuple[PolicyModule, dict[str, Any]]:
    """Return a policy fitted to these steps, and its size and cost."""
    training = replace(settings.training, seed=settings.seed)
    policy, result = fitted(
        frames, settings.policy, training, weights_seed=derive(settings.seed, "weights"), steps=steps
    )
    figures = {
        "parameters": sum(p.numel() for p in policy.parameters()),
        "train_s": round(result.wall_time_s, 1),
        "labels": int((frames.weight[steps] > 0).sum()) if steps is not None else len(frames),
    }
    return policy.eval(), figures


def on_humanoid(settings: Settings) -> dict[str, Any]:
    """Return mean absolute errors [rad] over the first step and the first steps of the chunk."""
    root = os.environ.get("STEADYHAND_DATA")
    if root is None:
        raise SystemExit("set STEADYHAND_DATA to the folder that holds lerobot-v21-unitree-g1")
    frames = open_dataset(Path(root) / "lerobot-v21-unitree-g1").frames(settings.policy.observation)
    kept, held = split_episodes(frames.num_episodes, 0.1, settings.seed)
    policy, figures = trained(settings, frames, frames.steps_of(kept))
    steps = frames.steps_of(held)[::EVERY]
    errors = {one.name: _both(one) for one in offline_errors(policy, frames, steps)}
    if policy.head.draws:
        drawn: Any = Drawing(policy, settings.seed)
        errors["a sample"] = _both(offline_errors(drawn, frames, steps)[0])
    return {**figures, "compared": min(COMPARED, settings.policy.num_future_steps), "errors": errors}


def _both(error: OfflineError) -> list[float]:
    return [round(error.by_step[0], 5), round(float(np.mean(error.by_step[:COMPARED])), 5)]


class Drawing:
    """A policy that answers with samples."""

    def __init__(self, policy: PolicyModule, seed: int) -> None:
        self._policy = policy
        self._noise = GeneratorNoise.seeded(derive(seed, "sample"))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def predict_chunk(self, window: Any, is_pad: Any) -> Any:
        """Draw."""
        return self._policy.predict_chunk(window, is_pad, noise=self._noise)


def on_car(settings: Settings) -> dict[str, Any]:
    """Return which test starts were driven to the end, by the policy and by the expert.

    Also the mean absolute error of the policy's mode at each step of the chunk, where the expert drives on
    test tracks.
    """
    env = CarConfig(observation=settings.sees).build(settings.rollouts)
    expert = PurePursuitExpert().build(env)
    frames, held = (demonstrations(env, expert, settings, family) for family in ("train", "test"))
    policy, figures = trained(settings, frames, None)
    starts = env.starts("test", settings.rollouts, seed=0)

    def drive(executed: int) -> Evaluation:
        controller = RecedingHorizon(policy, num_rows=env.num_rows, n_action_steps=executed or None)
        return evaluate(env, controller, starts, name="policy", seed=settings.seed, positions=False)

    driven = drive(settings.executed)
    shown = evaluate(env, expert, starts, name="expert", seed=settings.seed, positions=False)
    errors = offline_errors(policy, held, np.arange(0, len(held), EVERY))[0].by_step
    return {
        **figures,
        "success": driven.told.astype(int).tolist(),
        "seconds": [round(float(n) * env.spec.control_dt, 2) for n in driven.lengths],
        "expert": int(shown.told.sum()),
        "errors": [round(one, 5) for one in errors],
        "also": {str(number): int(drive(number).told.sum()) for number in settings.also},
    }


def demonstrations(env: BatchEnv, expert: Controller, settings: Settings, family: Family) -> Frames:
    """Return drives of the expert."""
    episodes = collect(
        env,
        expert,
        env.starts(family, settings.episodes, seed=settings.seed),
        source="demonstration",
        seed=derive(settings.seed, "demonstrate"),
        num_rows=settings.episodes,
        max_steps=settings.steps,
    )
    spec = env.spec
    return Frames.from_episodes(episodes, observation_spec=spec.observation, action_spec=spec.action)


def wanted() -> list[Entry]:
    """Return all entries, in the order in which they are wanted."""
    car: list[Entry] = [(name, "car", sees) for name, sees in SEEN.items()]
    return car + [(name, "humanoid", ()) for name in VECTORS]


def cells() -> list[Cell[Any]]:
    """Return all cells of the tables."""
    return [cell(name, place, sees) for name, place, sees in wanted()]


def car_table() -> str:
    """Return success on the car."""
    rows = [
        "| recipe | sees | executed of a chunk | parameters | gradient steps | success, of the expert's "
        "| median way, s | steering error, first / last executed | training, s |"
    ]
    rows.append("|---|---|---|---|---|---|---|---|---|")
    for name, place, sees in wanted():
        one = cell(name, place, sees)
        found = one.result() if place == "car" else None
        if found is None:
            continue
        own = one.settings.policy.n_action_steps
        errors = found.get("errors")
        shown = f"{errors[0]:.3f} / {errors[own - 1]:.3f}" if errors else ""
        tries = [(own, sum(found["success"]), f"{np.median(found['seconds']):.1f}", shown)]
        tries += [(number, good, "", "") for number, good in found.get("also", {}).items()]
        for executed, good, way, error in tries:
            interval = wilson(good, found["expert"])
            rows.append(
                f"| {name} | {' + '.join(sees)} | {executed} | {found['parameters']:,} "
                f"| {one.settings.training.num_steps} "
                f"| **{100 * good / found['expert']:.0f} %** ({good} of {found['expert']}; "
                f"{100 * interval.low:.0f} to {100 * interval.high:.0f}) | {way} | {error} "
                f"| {found['train_s']:.0f} |"
            )
    return "\n".join(rows)


def humanoid_table() -> str:
    """Return errors on the humanoid, beside those of the trivial answers."""
    rows = ["| answer | parameters | gradient steps | first step | steps 1 to 8 | as samples | training, s |"]
    rows.append("|---|---|---|---|---|---|---|")
    trivial: dict[str, list[float]] = {}
    for name, place, sees in wanted():
        one = cell(name, place, sees)
        found = one.result() if place == "humanoid" else None
        if found is None:
            continue
        errors = found["errors"]
        is_chunk = found["compared"] == COMPARED
        if is_chunk:
            trivial = {key: value for key, value in errors.items() if key not in ("policy", "a sample")}
        drawn = errors.get("a sample")
        rows.append(
            f"| {name} | {found['parameters']:,} | {one.settings.training.num_steps} "
            f"| {errors['policy'][0]:.4f} | {errors['policy'][1] if is_chunk else float('nan'):.4f} "
            f"| {f'{drawn[int(is_chunk)]:.4f}' if drawn else ''} | {found['train_s']:.0f} |".replace(
                "nan", ""
            )
        )
    rows += [f"| {key} |  |  | {one:.4f} | {many:.4f} |  |  |" for key, (one, many) in trivial.items()]
    return "\n".join(rows)


REFUSED: tuple[tuple[str, str, dict[str, FeatureSpec], FeatureSpec], ...] = (
    *(
        (name, "the humanoid's 26 joints", HUMANOID, FeatureSpec(shape=(26,)))
        for name in ("pilotnet", "alvinn")
    ),
    *(
        (name, "the car's retina", dict(car_spec(CarConfig()).observation), FeatureSpec(shape=(1,)))
        for name in ("bc_mlp", "bet", "pilotnet")
    ),
    (
        "alvinn",
        "two cameras",
        {f"observation.images.{side}": image_spec(30, 32, 1) for side in ("left", "right")},
        FeatureSpec(shape=(1,)),
    ),
    *(
        (name, "CartPole's two actions", {STATE: FeatureSpec(shape=(4,))}, discrete_spec(2))
        for name in VECTORS
    ),
)
"""Recipe, what it is offered in words, features, action."""


def refusal(name: str, features: Mapping[str, FeatureSpec], action: FeatureSpec) -> SteadyhandError | None:
    """Return the error of a recipe that does not fit these inputs and outputs; None if it fits."""
    try:
        policy, _ = made(RecipeConfig, name).build(features, action)
        PolicyModule.build(policy, PolicySpec(observation=dict(features), action=action, control_dt=0.05))
    except SteadyhandError as error:
        return error
    return None


def refusal_table() -> str:
    """Return what recipes say to inputs and outputs that do not match, made by asking them."""
    rows = ["| recipe | offered | what it says |", "|---|---|---|"]
    for name, words, features, action in REFUSED:
        error = refusal(name, features, action)
        assert error is not None, name
        said = "; ".join(" ".join(line.split()) for line in str(error).splitlines())
        rows.append(f"| {name} | {words} | {said} |")
    return "\n".join(rows)


TABLES = {"car": car_table, "humanoid": humanoid_table, "refusals": refusal_table}


def describe(result: Mapping[str, Any]) -> str:
    """Return a cell's outcome in a few words."""
    if "success" in result:
        return f"{sum(result['success'])} of {result['expert']}, training {result['train_s']} s"
    return f"{result['errors']['policy']}, training {result['train_s']} s"


if __name__ == "__main__":
    assert set(STEPS) == set(choices_of("recipe"))
    main(cells(), page=PAGES / "recipes.md", tables=TABLES, describe=describe, doc=__doc__)
