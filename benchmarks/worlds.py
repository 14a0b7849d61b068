"""How fast are the tabletop, the planners, the pictures of worlds? One JSON line for each, beside a floor.

Run on one core: OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/worlds.py

Floors: the tabletop is compared with copying what it returns; a plan by sampling with the same rollouts one
after the other; trajectories of many problems with solving one problem at a time.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from typing import Any

import gymnasium
import numpy as np
from lines import report

from steadyhand.cli import terminal
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import RowStreams
from steadyhand.envs import env_config, make
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.tabletop import Tabletop, TabletopConfig
from steadyhand.envs.worlds.config import WorldConfig
from steadyhand.experts.control.ilqr import ilqr
from steadyhand.experts.control.sampling import Mppi, plan_by_sampling
from steadyhand.experts.function import function_expert
from steadyhand.rollout.evaluate import evaluate

REPEATS = 7


def best(task: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the shortest of several CPU times of a task [s]; busy neighbours do not count."""
    times: list[float] = []
    for _ in range(repeats):
        begin = time.thread_time()
        task()
        times.append(time.thread_time() - begin)
    return min(times)


def tabletop(num_rows: int = 1024, steps: int = 40) -> None:
    """Random driving, and pictures of all rows at once."""
    env = Tabletop(TabletopConfig(), num_rows=num_rows)
    rows, starts = np.arange(num_rows), env.starts("train", num_rows)
    random = np.random.default_rng(0)
    actions = random.uniform(-0.4, 0.4, (steps, num_rows, 3)).astype(np.float32)
    actions[:, :, 2] = random.random((steps, num_rows))
    env.reset(starts, rows)
    seen = env.observe(rows)

    def drive() -> None:
        for action in actions:
            env.step(action, rows)
            env.observe(rows)

    def copy() -> None:
        for _ in actions:
            for value in seen.values():
                value.copy()

    # 40 steps by chance sort no table, so that none ends; each repetition begins anew, outside of the timing.
    times: list[float] = []
    for _ in range(REPEATS):
        env.reset(starts, rows)
        times.append(best(drive, repeats=1))
    count = steps * num_rows
    report(
        f"tabletop, step and objects, N = {num_rows}",
        value=count / min(times),
        unit="steps / s",
        floor=count / best(copy),
        floor_is="copying the observation",
        target="value >= 300000",
    )
    camera = Tabletop(TabletopConfig(observation=("camera",)), num_rows=num_rows)
    camera.reset(starts, rows)
    pictures = camera.observe(rows)["observation.images.top"]
    report(
        f"tabletop, pictures of 64 x 64, N = {num_rows}",
        value=num_rows / best(lambda: camera.observe(rows)),
        unit="pictures / s",
        floor=num_rows / best(pictures.copy),
        floor_is="copying the pictures",
        target="value >= 50000",
    )


def sampling(num_samples: int = 256, horizon: int = 30) -> None:
    """One plan of MPPI for one pendulum, and the same rollouts one after the other."""
    problem = make("pendulum", num_rows=1).problem()
    start = np.array([[0.3, -0.2]])
    plan = np.zeros((1, horizon, 1))
    streams = RowStreams.from_seed(0, 1)
    rule = Mppi(num_samples=num_samples)
    samples = np.random.default_rng(0).uniform(problem.low, problem.high, (num_samples, horizon, 1))

    def one_by_one() -> None:
        for inputs in samples:
            x, cost = start[0], 0.0
            for u in inputs:
                felt = problem.running(x, u, np)
                cost += float(felt @ felt)
                x = problem.dynamics(x, u, np)
            felt = problem.terminal(x, np)
            cost += float(felt @ felt)

    seconds = best(lambda: plan_by_sampling(problem, rule, start, plan, streams))
    floor = best(one_by_one, repeats=REPEATS)
    report(
        f"MPPI on the pendulum, K = {num_samples}, T = {horizon}",
        value=1e3 * seconds,
        unit="ms / plan",
        floor=1e3 * floor,
        floor_is="the same rollouts one after the other, in NumPy",
        ratio=floor / seconds,
        target="ratio >= 20",
    )
    report("the same plan", value=1e3 * seconds, unit="ms / plan", target="value <= 4")


def trajectories(count: int = 32, horizon: int = 100) -> None:
    """ILQR of many pendulums at once, and one after the other."""
    env = make("pendulum", num_rows=count)
    rows = np.arange(count)
    env.reset(env.starts("test", count), rows)
    problem, start = env.problem(), env.x_of(env.observe(rows))
    guess = np.random.default_rng(0).uniform(problem.low, problem.high, (count, horizon, 1))
    each = [(start[n : n + 1], guess[n : n + 1]) for n in range(count)]
    together, alone = np.inf, np.inf
    for _ in range(3):  # in turn, as often
        together = min(together, best(lambda: ilqr(problem, start, guess), repeats=1))
        alone = min(alone, best(lambda: [ilqr(problem, *one) for one in each], repeats=1))
    report(
        f"iLQR of {count} pendulums, T = {horizon}",
        value=count / together,
        unit="problems / s",
        floor=count / alone,
        floor_is="one problem after the other",
        target="ratio >= 8",
    )


SIZES: dict[str, Any] = {"render_mode": "rgb_array", "width": 96, "height": 96}
DRAWN: dict[str, tuple[str, dict[str, Any], int]] = {
    "HalfCheetah": ("locomotion", {"observation": ("track",)}, 20),
    "Fetch pick and place": ("fetch", {"observation": ("external_camera_0",)}, 2),
    "Meta-World pick and place": ("metaworld", {"observation": ("corner2",)}, 10),
    "ALOHA cube transfer": (
        "aloha",
        {"observation": ("top",), "picture_height": 240, "picture_width": 320},
        15,
    ),
}
"""Title -> the env here, what it shows, and how many times as fast as its own rendering it should be."""


def pictures(steps: int = 12) -> None:
    """A step and a picture of 96 x 96 (ALOHA: 240 x 320), beside what the env's own rendering takes for both.

    Each side has a process of its own, so that two users of the graphics library do not meet, and is measured
    by the CPU time of all its threads, since a processor draws with several.
    """
    for title, (name, options, target) in DRAWN.items():
        size = f"{options.get('picture_height', 96)} x {options.get('picture_width', 96)}"
        config = env_config(name)
        if isinstance(config, WorldConfig) and not config.is_installed():
            terminal.say(f"skipped, not installed: {title}")
            continue
        spawn = get_context("spawn")
        with ProcessPoolExecutor(1, spawn) as ours, ProcessPoolExecutor(1, spawn) as theirs:
            fast, slow = np.inf, np.inf
            for _ in range(4):  # in turn, as often; the first one warms up
                fast = min(fast, ours.submit(_ours, title, steps).result())
                slow = min(slow, theirs.submit(_theirs, title, steps).result())
        report(
            f"{title}, a step and a picture of {size}",
            value=steps / fast,
            unit="steps / s",
            floor=steps / slow,
            floor_is="the env's own rendering",
            target=f"ratio >= {target}",
        )


def _ours(title: str, steps: int) -> float:
    """Return the CPU time of some steps with a picture each, by the env here [s]."""
    name, options, _ = DRAWN[title]
    env = env_config(name, **options).build(1)
    rows, zeros = np.array([0]), np.zeros((1, env.spec.action.size), dtype=np.float32)
    env.reset(env.starts("train", 1), rows)
    env.observe(rows)
    begin = time.process_time()
    for _ in range(steps):
        env.step(zeros, rows)
        env.observe(rows)
    return time.process_time() - begin


def _theirs(title: str, steps: int) -> float:
    """Return the CPU time of some steps with a picture each, by the env's own rendering [s]."""
    os.environ.setdefault("MUJOCO_GL", "egl")
    match title:
        case "HalfCheetah":
            env: Any = gymnasium.make("HalfCheetah-v5", **SIZES).unwrapped
        case "Fetch pick and place":
            env = import_module("gymnasium_robotics.envs.fetch.pick_and_place").MujocoFetchPickAndPlaceEnv(
                **SIZES
            )
        case "ALOHA cube transfer":  # its step draws three pictures, one of which it shows
            env = import_module("gym_aloha.env").AlohaEnv("transfer_cube", "pixels_agent_pos")
            env.render = lambda: None
        case _:
            kinds = import_module("metaworld.env_dict").ALL_V3_ENVIRONMENTS
            env = kinds["pick-place-v3"](**SIZES, camera_name="corner2")
            env._set_task_called = env.seeded_rand_vec = True
            env._freeze_rand_vec = False
            env.seed(0)
    env.reset(seed=0)
    env.render()
    zeros = np.zeros(env.action_space.shape, dtype=np.float32)
    begin = time.process_time()
    for _ in range(steps):
        env.step(zeros)
        env.render()
    spent = time.process_time() - begin
    env.close()
    return spent


def copies(count: int = 16, steps: int = 100) -> None:
    """An evaluation of copies by a policy that costs nothing, beside stepping the simulators in a loop."""
    for title, name, make_one in (
        ("HalfCheetah", "locomotion", lambda: gymnasium.make("HalfCheetah-v5").unwrapped),
        ("Meta-World pick and place", "metaworld", _metaworld),
    ):
        config = env_config(name, max_episode_steps=steps)
        if isinstance(config, WorldConfig) and not config.is_installed():
            terminal.say(f"skipped, not installed: {title}")
            continue
        env = config.build(count)
        still = np.zeros(env.spec.action.shape, dtype=np.float32)
        driver = function_expert(lambda batch, still=still: np.tile(still, (len(batch), 1)), env)
        starts, raw = env.starts("train", count), [make_one() for _ in range(count)]

        def whole(env: BatchEnv = env, driver: Controller = driver, starts: Any = starts) -> None:
            evaluate(env, driver, starts, name="still")

        def bare(raw: list[Any] = raw, still: np.ndarray = still) -> None:
            for number, one in enumerate(raw):
                one.reset(seed=number)
            for _ in range(steps):
                for one in raw:
                    one.step(still)

        ours, theirs = np.inf, np.inf
        for _ in range(4):  # in turn, as often
            ours, theirs = min(ours, best(whole, repeats=1)), min(theirs, best(bare, repeats=1))
        report(
            f"{title}, {count} copies in an evaluation of {steps} steps",
            value=count * steps / ours,
            unit="steps / s",
            floor=count * steps / theirs,
            floor_is="the simulators in a bare loop",
            target="ratio >= 0.8",
        )


def _metaworld() -> Any:
    env: Any = import_module("metaworld.env_dict").ALL_V3_ENVIRONMENTS["pick-place-v3"]()
    env._set_task_called = env.seeded_rand_vec = True
    env._freeze_rand_vec = False
    env.seed(0)
    return env


def main() -> None:
    tabletop()
    sampling()
    trajectories()
    pictures()
    copies()


if __name__ == "__main__":
    main()
