"""How fast is the car env? One JSON line for each question, each beside a floor measured in the same run.

Run on one core: OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/car.py

Floors: the loop without sensors is compared with one trigonometric pass over as many numbers as the
Runge-Kutta stages need; the lidar with gathering as many cells of its field, side by side, as it looks
up; the camera with gathering as many texture cells as it has pixels; a picture with copying one.
"""

import time
from collections.abc import Callable

import numpy as np
from lines import report

from steadyhand.core.seeding import RowStreams
from steadyhand.envs.car import Car, CarConfig
from steadyhand.envs.car.config import Sense
from steadyhand.experts.pure_pursuit import PurePursuit

REPEATS = 7


def best(task: Callable[[], object]) -> float:
    """Return the shortest of several CPU times of a task [s]; busy neighbours do not count."""
    times: list[float] = []
    task()
    for _ in range(REPEATS):
        begin = time.thread_time()
        task()
        times.append(time.thread_time() - begin)
    return min(times)


TARGETS = {
    ("loop", 256): 600_000,
    ("loop", 1024): 1_000_000,
    ("lidar", 256): 200_000,
    ("lidar", 1024): 200_000,
    ("retina", 256): 200_000,
    ("retina", 1024): 200_000,
}
WORDS = {
    "loop": ("car, no sensors", "car-steps / s", "sine and cosine for each Runge-Kutta stage"),
    "loop with expert": ("car and pure pursuit", "car-steps / s", "the loop without an expert"),
    "lidar": ("lidar, 60 beams", "scans / s", "gathering as many cells"),
    "retina": ("retina, 30 x 32", "frames / s", "gathering as many texture cells"),
    "render 640x480": ("render 640 x 480", "pictures / s", "copying the picture"),
}


def speed(name: str, *, num_rows: int, count: int, seconds: float, floor: float) -> None:
    title, unit, floor_is = WORDS[name]
    bound = TARGETS.get((name, num_rows))
    report(
        f"{title}, N = {num_rows}",
        value=count / seconds,
        unit=unit,
        floor=count / floor,
        floor_is=floor_is,
        target="" if bound is None else f"value >= {bound}",
    )


def prepared(num_rows: int, sense: Sense) -> tuple[Car, np.ndarray]:
    env = Car(CarConfig(observation=(sense,)), num_rows=num_rows)
    rows = np.arange(num_rows)
    env.reset(env.starts("train", num_rows), rows)
    env.observe(rows)
    return env, rows


def loop(num_rows: int, *, steps: int = 100) -> None:
    """Random steering; ended rows are reset at once from prepared starts."""
    env, rows = prepared(num_rows, "state")
    starts = env.starts("train", num_rows)
    actions = np.random.default_rng(0).uniform(-0.5, 0.5, (steps, num_rows, 1)).astype(np.float32)

    def task() -> None:
        for action in actions:
            result = env.step(action, rows)
            over = rows[result.terminated | result.truncated]
            if len(over):
                env.reset([starts[row] for row in over], over)

    angles = np.zeros((4 * env.config.params.substeps, num_rows), dtype=np.float32)
    out = np.empty_like(angles)

    def floor() -> None:
        for _ in range(steps):
            np.sin(angles, out=out)
            np.cos(angles, out=out)

    speed("loop", num_rows=num_rows, count=steps * num_rows, seconds=best(task), floor=best(floor))


def expert_loop(num_rows: int, *, steps: int = 50) -> None:
    """The loop with pure pursuit at the wheel, its privileged features included."""
    env, rows = prepared(num_rows, "state")
    expert, streams = PurePursuit(env.config), RowStreams.from_seed(0, num_rows)
    snapshot = env.state(rows)
    still = np.zeros((num_rows, 1), dtype=np.float32)

    def task() -> None:
        env.restore(snapshot, rows)
        for _ in range(steps):
            env.step(expert.act({}, env.privileged(rows), rows, streams).action, rows)

    def floor() -> None:
        for _ in range(5):
            env.restore(snapshot, rows)
            for _ in range(steps // 10):
                env.step(still, rows)

    speed(
        "loop with expert",
        num_rows=num_rows,
        count=steps * num_rows,
        seconds=best(task),
        floor=best(floor) * steps / (5 * (steps // 10)),
    )


def sensor(sense: Sense, num_rows: int) -> None:
    env, rows = prepared(num_rows, sense)
    if sense == "lidar":
        beams = env.config.lidar.num_beams
        # Two full steps and about a half more for the beams that are not settled then.
        cells, looked_up = env.atlas.fields().cells, int(2.5 * beams)
    else:
        camera = env.config.camera
        cells, looked_up = env.atlas.textures().cells, camera.height * camera.width
    where = np.random.default_rng(0).integers(0, len(cells) - looked_up, (num_rows, 1))
    index = (where + np.arange(looked_up)).astype(np.int32)
    gathered = np.empty((*index.shape, *cells.shape[1:]), dtype=cells.dtype)

    def floor() -> None:
        np.take(cells, index, axis=0, out=gathered, mode="clip")

    speed(
        sense,
        num_rows=num_rows,
        count=num_rows,
        seconds=best(lambda: env.observe(rows)),
        floor=best(floor),
    )


def pictures() -> None:
    env, _ = prepared(1, "retina")
    picture = env.render(0)
    seconds = best(lambda: [env.render(0) for _ in range(10)])
    speed(
        "render 640x480",
        num_rows=1,
        count=10,
        seconds=seconds,
        floor=best(lambda: [picture.copy() for _ in range(10)]),
    )


def main() -> None:
    for num_rows in (64, 256, 1024, 4096):
        loop(num_rows)
    for num_rows in (256, 1024):
        expert_loop(num_rows)
    for sense in ("lidar", "retina"):
        for num_rows in (64, 256, 1024):
            sensor(sense, num_rows)
    pictures()


if __name__ == "__main__":
    main()
