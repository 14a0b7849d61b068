"""Does recording slow down as a data set grows?

Appends short episodes to one store and times the last ones before 10, 1000 and 100 000 are reached; then the
same step by step. The floor is writing the same bytes to a plain file. Prints JSON lines.

    OMP_NUM_THREADS=1 python benchmarks/data_recording.py --largest 100000
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from lines import report

from steadyhand.core.specs import FeatureSpec
from steadyhand.data.episode import Episode, demonstration
from steadyhand.data.store import EpisodeStore

LENGTH = 10


def make_episode() -> Episode:
    rng = np.random.default_rng(0)
    state = rng.normal(size=(LENGTH, 17)).astype(np.float32)
    action = rng.normal(size=(LENGTH, 6)).astype(np.float32)
    return demonstration({"observation.state": state}, action, control_dt=0.05, task="walk")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=100_000)
    options = parser.parse_args()
    sizes = [size for size in (10, 1_000, 100_000) if size <= options.largest]
    episode = make_episode()
    with tempfile.TemporaryDirectory() as folder:
        store = EpisodeStore.create(
            Path(folder) / "data",
            observation={"observation.state": FeatureSpec(shape=(17,))},
            action=FeatureSpec(shape=(6,)),
            control_dt=0.05,
        )
        costs: dict[int, float] = {}
        recorded = 0
        for size in sizes:
            window = min(size, 500)
            times: list[float] = []
            while recorded < size:
                begin = time.perf_counter()
                store.append(episode)
                if recorded >= size - window:
                    times.append(time.perf_counter() - begin)
                recorded += 1
            costs[size] = statistics.median(times)
            report(
                f"append an episode of 10 steps to {size}",
                value=1e6 * costs[size],
                unit="us",
                floor=1e6 * costs[sizes[0]],
                floor_is="the same at 10 episodes",
                target="ratio <= 1.5" if size > sizes[0] else "",
            )
        store.close()

        begin = time.perf_counter()
        with EpisodeStore.open(Path(folder) / "data") as again:
            again.append(episode)
            opened = time.perf_counter() - begin
        report(f"open {recorded} episodes for writing", value=opened, unit="s")
        steps(Path(folder), episode)


def steps(folder: Path, episode: Episode, *, count: int = 20_000) -> None:
    store = EpisodeStore.create(
        folder / "steps",
        observation={"observation.state": FeatureSpec(shape=(17,))},
        action=FeatureSpec(shape=(6,)),
        control_dt=0.05,
    )
    state, action = episode.observation["observation.state"], episode.action
    store.begin(0)
    begin = time.perf_counter()
    for number in range(count):
        t = number % LENGTH
        store.record(
            0,
            observation={"observation.state": state[t]},
            action=action[t],
            expert_action=action[t],
            expert_action_valid=True,
            actor=0,
            intervention=False,
            weight=1.0,
            reward=0.0,
        )
    ours = (time.perf_counter() - begin) / count
    store.close()
    data = np.zeros(
        (folder / "steps/meta/steadyhand/journal.bin").stat().st_size // count, np.uint8
    ).tobytes()
    handle = os.open(folder / "floor.bin", os.O_CREAT | os.O_WRONLY)
    begin = time.perf_counter()
    for _ in range(count):
        os.write(handle, data)
    floor = (time.perf_counter() - begin) / count
    os.close(handle)
    report(
        "record a step", value=1e6 * ours, unit="us", floor=1e6 * floor, floor_is="a bare write of the bytes"
    )


if __name__ == "__main__":
    main()
