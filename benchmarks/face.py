"""Does the face cost anything? `sh.train` and `sh.evaluate` beside the calls that they make. JSON lines.

The two are called in turn, in alternating order, and their CPU time is compared: the median of the ratios of
the pairs. `import steadyhand` stands beside an interpreter that does nothing.

    python benchmarks/face.py
    python benchmarks/face.py --pairs 3 --steps 200
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lines import report

import steadyhand as sh
from steadyhand.recipes.train import train
from steadyhand.recipes.train_run import TrainRun
from steadyhand.rollout.evaluate import evaluate
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.training.config import TrainConfig


def cpu_time(work: Callable[[], object]) -> float:
    """Return the CPU time that a call takes [s]."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def compare(name: str, face: Callable[[], object], inner: Callable[[], object], *, pairs: int) -> None:
    """Print the CPU time of the face beside that of the inner call."""
    face()  # what is done once is done
    inner()
    times: list[tuple[float, float]] = []
    for number in range(pairs):
        if number % 2:
            second = cpu_time(inner)
            times.append((cpu_time(face), second))
        else:
            times.append((cpu_time(face), cpu_time(inner)))
    report(
        name,
        value=statistics.median(one for one, _ in times),
        unit="CPU s",
        floor=statistics.median(other for _, other in times),
        floor_is="the call that it makes",
        ratio=statistics.median(one / other for one, other in times),
        target="ratio <= 1.02",
    )


def import_time(runs: int) -> None:
    """Print how much longer an interpreter takes that imports steadyhand than one that does nothing."""

    def shortest(code: str) -> float:
        command, times = [sys.executable, "-c", code], list[float]()
        for _ in range(runs):
            begin = time.perf_counter()
            subprocess.run(command, check=True)
            times.append(time.perf_counter() - begin)
        return min(times)

    bare = shortest("pass")
    seconds = shortest("import steadyhand") - bare
    report("import steadyhand", value=seconds, unit="s", target="value <= 0.06")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--steps", type=int, default=1000)
    arguments = parser.parse_args()
    import_time(arguments.pairs)

    env = sh.make("car", num_rows=32, observation=("state",), max_episode_steps=200)
    data = sh.record(env, sh.expert("auto", env), labels=1000, quiet=True)
    training = TrainConfig(num_steps=arguments.steps, batch_size=64)

    def inner_train() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run = TrainRun(data=Path("in-memory"), training=training, control_dt=data.control_dt)
            train(run, Path(folder), dataset=data)

    def face_train() -> sh.Policy:
        return sh.train(data, training=training, quiet=True)

    compare("sh.train", face_train, inner_train, pairs=arguments.pairs)

    policy = face_train()
    starts = env.starts("test", 32)

    def inner_evaluate() -> None:
        driver = RecedingHorizon(policy.network, num_rows=env.num_rows)
        evaluate(env, driver, starts, name="clone")

    compare("sh.evaluate", lambda: sh.evaluate(policy, env, starts=32), inner_evaluate, pairs=arguments.pairs)


if __name__ == "__main__":
    main()
