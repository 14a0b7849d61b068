"""Do planners do their tasks? Swing-ups by iLQR with and without restarts, and every expert of control.

    python benchmarks/control.py run [--only NAME]   compute the cells that are missing
    python benchmarks/control.py table               write the tables into docs/results/control.md

The envs, horizons and settings were fixed before the first cell; starts are those of the family "test".
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pages import PAGES, experiment

from steadyhand.cli.experiment import main
from steadyhand.core.seeding import RowStreams, generator
from steadyhand.core.statistics import wilson
from steadyhand.envs.cartpole.config import CartPoleConfig
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.pendulum.config import PendulumConfig
from steadyhand.envs.quadrotor.config import PlanarQuadrotorConfig, QuadrotorConfig
from steadyhand.envs.two_link.config import AcrobotConfig, ArmConfig
from steadyhand.experts.config import ExpertConfig
from steadyhand.experts.control.config import (
    CemExpert,
    GeometricExpert,
    IlqrExpert,
    MppiExpert,
    PredictiveSamplingExpert,
    RegulatorExpert,
)
from steadyhand.experts.control.ilqr import IlqrSettings, Trajectories, ilqr_with_restarts
from steadyhand.experts.control.sampling import Cem, Mppi, PredictiveSampling
from steadyhand.recipes.experiment import Cell
from steadyhand.rollout.evaluate import evaluate

EXPERIMENT = experiment("control")
NUM_STARTS = 64


@dataclass(frozen=True, kw_only=True)
class SwingUp:
    """What a swing-up by iLQR depends on.

    Attributes:
        env: The env.
        horizon: Length of a plan [s].
        attempts: How often a problem is begun: restarts and one.
        noise: Deviation of the inputs that a search begins with, as a share of half their range.
        pieces: Pieces of constant noise that a search begins with.
        max_iterations: The most iterations of a search.
        angle: A plan arrives within this distance of the goal, in the env's own measure.
        speed: And with every entry of the state within this of the goal.
        num_starts: Number of starts.
        seed: Seed of the noise.
    """

    env: EnvConfig
    horizon: float
    attempts: int = 4
    noise: float = 0.3
    pieces: int = 16
    max_iterations: int = 100
    angle: float = 0.1
    speed: float = 0.5
    num_starts: int = NUM_STARTS
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Drive:
    """What the drives of an expert depend on.

    Attributes:
        env: The env.
        expert: Who drives.
        num_starts: Number of starts.
        seed: Seed of the expert's draws.
    """

    env: EnvConfig
    expert: ExpertConfig
    num_starts: int = NUM_STARTS
    seed: int = 0


GYMNASIUM = PendulumConfig(gravity=15.0, max_torque=6.0, control_dt=0.05)
"""The motion of Gymnasium's Pendulum-v1: a uniform rod, 3 g / (2 l) and 3 u / (m l^2) with u within 2 N m."""

SWING_UPS = {
    "pendulum": SwingUp(env=PendulumConfig(), horizon=5.0),
    "pendulum of Gymnasium": SwingUp(env=GYMNASIUM, horizon=4.0, noise=0.5),
    "cart-pole": SwingUp(env=CartPoleConfig(), horizon=3.0),
    "arm": SwingUp(env=ArmConfig(), horizon=3.0),
    "acrobot": SwingUp(env=AcrobotConfig(), horizon=4.0),
}
DRIVES = {
    "pendulum of Gymnasium, iLQR": Drive(env=GYMNASIUM, expert=IlqrExpert(horizon=4.0)),
    "pendulum of Gymnasium, MPPI": Drive(env=GYMNASIUM, expert=MppiExpert(horizon=1.5)),
    "pendulum of Gymnasium, CEM": Drive(env=GYMNASIUM, expert=CemExpert(horizon=1.5)),
    "pendulum of Gymnasium, predictive sampling": Drive(
        env=GYMNASIUM, expert=PredictiveSamplingExpert(horizon=1.5)
    ),
    "pendulum, iLQR": Drive(env=PendulumConfig(), expert=IlqrExpert(horizon=5.0)),
    "pendulum, MPPI": Drive(
        env=PendulumConfig(), expert=MppiExpert(horizon=1.5, rule=Mppi(num_samples=128, num_nodes=12))
    ),
    "pendulum, CEM": Drive(
        env=PendulumConfig(),
        expert=CemExpert(horizon=1.5, rule=Cem(num_samples=64, num_elites=8, num_nodes=12)),
    ),
    "pendulum, predictive sampling": Drive(
        env=PendulumConfig(), expert=PredictiveSamplingExpert(horizon=1.5)
    ),
    "cart-pole, iLQR": Drive(env=CartPoleConfig(), expert=IlqrExpert()),
    "cart-pole, MPPI": Drive(env=CartPoleConfig(), expert=MppiExpert()),
    "cart-pole, CEM": Drive(env=CartPoleConfig(), expert=CemExpert()),
    "cart-pole, predictive sampling": Drive(env=CartPoleConfig(), expert=PredictiveSamplingExpert()),
    "arm, iLQR": Drive(env=ArmConfig(), expert=IlqrExpert()),
    "arm, MPPI": Drive(
        env=ArmConfig(),
        expert=MppiExpert(horizon=1.5, rule=Mppi(num_samples=128, sigma=0.6, num_nodes=8, temperature=0.1)),
        num_starts=16,
    ),
    "acrobot, iLQR": Drive(env=AcrobotConfig(), expert=IlqrExpert(horizon=4.0)),
    "planar quadrotor, iLQR": Drive(env=PlanarQuadrotorConfig(), expert=IlqrExpert(horizon=1.5)),
    "planar quadrotor, MPPI": Drive(
        env=PlanarQuadrotorConfig(),
        expert=MppiExpert(horizon=0.6, rule=Mppi(num_samples=128, sigma=0.1, temperature=0.1)),
    ),
    "planar quadrotor, CEM": Drive(
        env=PlanarQuadrotorConfig(),
        expert=CemExpert(horizon=0.6, rule=Cem(num_samples=64, num_elites=8, sigma=0.3, least=0.02)),
    ),
    "planar quadrotor, predictive sampling": Drive(
        env=PlanarQuadrotorConfig(),
        expert=PredictiveSamplingExpert(horizon=0.6, rule=PredictiveSampling(sigma=0.2)),
    ),
    "quadrotor hovers, geometric": Drive(env=QuadrotorConfig(), expert=GeometricExpert()),
    "quadrotor circles, geometric": Drive(env=QuadrotorConfig(flight="circle"), expert=GeometricExpert()),
    "quadrotor flies the gate, geometric": Drive(
        env=QuadrotorConfig(flight="gate"), expert=GeometricExpert()
    ),
}


@dataclass(frozen=True, kw_only=True)
class Hold:
    """What holding near the goal depends on.

    Attributes:
        env: The env.
        spread: Every entry of the state begins within this of the goal, spread evenly.
        num_starts: Number of starts.
        time: For how long it is held [s].
        seed: Seed of the starts.
    """

    env: EnvConfig
    spread: float
    num_starts: int = NUM_STARTS
    time: float = 4.0
    seed: int = 0


HOLDS = {
    f"{name} {spread}": Hold(env=env, spread=spread)
    for name, env in {
        "pendulum": PendulumConfig(),
        "cart-pole": CartPoleConfig(),
        "arm": ArmConfig(),
        "acrobot": AcrobotConfig(),
        "planar quadrotor": PlanarQuadrotorConfig(),
    }.items()
    for spread in (0.02, 0.1, 0.3)
}


def swing_up(settings: SwingUp) -> dict[str, Any]:
    """Plan from every start, and say at which attempt each plan arrived."""
    env, rows = settings.env.build(settings.num_starts), np.arange(settings.num_starts)
    problem = env.problem()
    env.reset(env.starts("test", settings.num_starts), rows)
    start = env.x_of(env.observe(rows))
    steps = round(settings.horizon / problem.control_dt)
    half = 0.5 * (problem.high - problem.low)

    def guess(some: np.ndarray, attempt: int) -> np.ndarray:
        drawn = np.stack(
            [
                generator(settings.seed, "swing up", attempt, int(row)).standard_normal(
                    (settings.pieces, problem.num_inputs)
                )
                for row in some
            ]
        )
        pushed = np.repeat(drawn, -(-steps // settings.pieces), axis=1)[:, :steps]
        return problem.rest + settings.noise * half * pushed

    def arrives(found: Trajectories) -> np.ndarray:
        env.place(_seen(env, found.x[:, -1]), rows[: len(found.x)])
        apart = np.abs(problem.difference(found.x[:, -1], problem.goal)).max(axis=1)
        return (env.error(rows[: len(found.x)]) < settings.angle) & (apart < settings.speed)

    begin = time.perf_counter()
    found, taken = ilqr_with_restarts(
        problem,
        start,
        guess,
        is_solved=arrives,
        attempts=settings.attempts,
        settings=IlqrSettings(max_iterations=settings.max_iterations),
    )
    wall = time.perf_counter() - begin
    return {"taken": taken.tolist(), "cost": found.cost.tolist(), "wall_s": round(wall, 1)}


def _seen(env: Any, x: np.ndarray) -> dict[str, np.ndarray]:
    """Return what is seen in states, of an env whose state `x_of` finds."""
    if hasattr(env, "seen"):
        return {"observation.state": env.seen(x)}
    theta, rate = x.T  # the pendulum
    return {"observation.state": np.stack([np.sin(theta), np.cos(theta), rate], axis=1)}


def drive(settings: Drive) -> dict[str, Any]:
    """Let an expert drive from every start."""
    env = settings.env.build(settings.num_starts)
    starts = env.starts("test", settings.num_starts)
    begin = time.perf_counter()
    found = evaluate(env, settings.expert.build(env), starts, seed=settings.seed, name="expert")
    wall = time.perf_counter() - begin
    assert found.success is not None
    return {
        "success": found.success.astype(int).tolist(),
        "returns": np.round(found.returns, 3).tolist(),
        "steps": int(found.lengths.sum()),
        "wall_s": round(wall, 1),
    }


def hold(settings: Hold) -> dict[str, Any]:
    """Let the regulator hold from starts near the goal, and say from which it is there at the end."""
    env, rows = settings.env.build(settings.num_starts), np.arange(settings.num_starts)
    problem, expert = env.problem(), RegulatorExpert().build(env)
    env.reset(env.starts("test", settings.num_starts), rows)
    apart = generator(settings.seed, "hold").uniform(-1.0, 1.0, (len(rows), problem.num_states))
    env.place(_seen(env, problem.goal + settings.spread * apart), rows)
    expert.begin(rows)
    streams = RowStreams.from_seed(settings.seed, len(rows))
    alive = rows
    for _ in range(round(settings.time / problem.control_dt)):
        action = expert.act(env.observe(alive), {}, alive, streams.take(alive)).action
        result = env.step(action, alive)
        alive = alive[~result.terminated]
    held = np.zeros(len(rows), dtype=int)
    held[alive] = env.error(alive) < 0.05
    return {"success": held.tolist()}


def cells() -> list[Cell[Any]]:
    """Return all of them."""
    plans = [
        EXPERIMENT.cell(f"swing up {name}", settings=one, compute=swing_up) for name, one in SWING_UPS.items()
    ]
    held = [EXPERIMENT.cell(f"hold {name}", settings=one, compute=hold) for name, one in HOLDS.items()]
    drives = [EXPERIMENT.cell(f"drive {name}", settings=one, compute=drive) for name, one in DRIVES.items()]
    return plans + held + drives


def swing_up_table() -> str:
    """Return how many plans arrive, by the number of restarts."""
    lines = ["| env | horizon | no restart | 1 | 2 | 3 | time of all |", "|---|---|---|---|---|---|---|"]
    for name, settings in SWING_UPS.items():
        done = EXPERIMENT.cell(f"swing up {name}", settings=settings, compute=swing_up).stored()
        if done is None:
            continue
        taken = np.array(done.result["taken"])
        counts = [int(((taken > 0) & (taken <= most)).sum()) for most in range(1, settings.attempts + 1)]
        shares = " | ".join(f"{count} of {len(taken)}" for count in counts)
        lines.append(f"| {name} | {settings.horizon:g} s | {shares} | {done.result['wall_s']:.0f} s |")
    return "\n".join(lines)


def drive_table() -> str:
    """Return how often each expert does its task."""
    lines = ["| env and expert | success | time of a step |", "|---|---|---|"]
    for name, settings in DRIVES.items():
        done = EXPERIMENT.cell(f"drive {name}", settings=settings, compute=drive).stored()
        if done is None:
            continue
        success = done.result["success"]
        interval = wilson(sum(success), len(success))
        said = f"{sum(success)} of {len(success)} ({100 * interval.low:.0f} to {100 * interval.high:.0f} %)"
        step = 1e3 * done.result["wall_s"] / done.result["steps"]
        lines.append(f"| {name} | {said} | {step:.2g} ms |")
    return "\n".join(lines)


def hold_table() -> str:
    """Return from how many starts near the goal the regulator holds."""
    spreads = sorted({one.spread for one in HOLDS.values()})
    head = " | ".join(f"within {spread:g}" for spread in spreads)
    lines = [f"| env | {head} |", "|---" * (1 + len(spreads)) + "|"]
    for name in dict.fromkeys(key.rsplit(" ", 1)[0] for key in HOLDS):
        entries: list[str] = []
        for spread in spreads:
            key = f"{name} {spread}"
            found = EXPERIMENT.cell(f"hold {key}", settings=HOLDS[key], compute=hold).result()
            entries.append("-" if found is None else f"{sum(found['success'])} of {len(found['success'])}")
        lines.append(f"| {name} | {' | '.join(entries)} |")
    return "\n".join(lines)


TABLES = {
    "swing ups": swing_up_table,
    "drives": drive_table,
    "holds": hold_table,
}


def describe(result: Mapping[str, Any]) -> str:
    """Return a result in a few words."""
    if "taken" in result:
        return f"{sum(one > 0 for one in result['taken'])} of {len(result['taken'])} arrive"
    return f"{sum(result['success'])} of {len(result['success'])}"


if __name__ == "__main__":
    main(cells(), page=PAGES / "control.md", tables=TABLES, describe=describe, doc=__doc__)
