"""Does cutting windows cost more than copying the same bytes?

A batch of windows (2 observation steps, 16 action steps) against copying as many rows by one ready-made
index: offsets, padding and episode bounds are what differs. "sampled" draws the steps as training does, the
shuffling of each epoch included. 20 000 steps in episodes of 200, state 5, action 2, then with 96 x 96
images. Pairs are interleaved; the median ratio is reported.

    OMP_NUM_THREADS=1 python benchmarks/data_windows.py --pairs 15
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

from steadyhand.core.specs import FeatureSpec, image_spec
from steadyhand.data.frames import Frames, Windower, WindowSpec
from steadyhand.data.sampler import Sampler

OBS, ACTIONS = (-1, 0), tuple(range(16))


def make_frames(num_steps: int, *, image: bool) -> Frames:
    rng = np.random.default_rng(0)
    specs = {"observation.state": FeatureSpec(shape=(5,))}
    columns: dict[str, np.ndarray] = {"observation.state": rng.normal(size=(num_steps, 5)).astype(np.float32)}
    if image:
        specs["observation.images.top"] = image_spec(96, 96, 3)
        columns["observation.images.top"] = rng.integers(0, 256, (num_steps, 96, 96, 3), dtype=np.uint8)
    action = rng.normal(size=(num_steps, 2)).astype(np.float32)
    num_episodes = num_steps // 200
    return Frames(
        observation_spec=specs,
        action_spec=FeatureSpec(shape=(2,)),
        control_dt=0.1,
        observation=columns,
        action=action,
        expert_action=action,
        weight=np.ones(num_steps, dtype=np.float32),
        episode_ends=np.arange(200, num_steps + 1, 200, dtype=np.int64),
        branch=np.full((num_episodes, 2), -1, dtype=np.int64),
    )


def seconds(task: Callable[[int], object], repeats: int) -> float:
    begin = time.perf_counter()
    for number in range(repeats):
        task(number)
    return (time.perf_counter() - begin) / repeats


class Case:
    """One data set, and the three ways to get a batch out of it; the floor knows its rows beforehand."""

    def __init__(self, num_steps: int, batch: int, *, image: bool) -> None:
        frames = make_frames(num_steps, image=image)
        self.observed = list(frames.observation.values())
        self.actions = frames.expert_action
        self.windower = Windower(frames, WindowSpec(obs_offsets=OBS, action_offsets=ACTIONS))
        self.sampler = Sampler(np.arange(num_steps), batch_size=batch, seed=0)
        self.steps = self.sampler.order(0)[:batch].copy()
        rng = np.random.default_rng(1)
        self.obs_index = rng.integers(0, num_steps, batch * len(OBS))
        self.action_index = rng.integers(0, num_steps, batch * len(ACTIONS))
        for number in range(2 * num_steps // batch):
            self.sampled(number)  # the table of windows is made within the first epoch

    def gather(self, obs_index: np.ndarray, action_index: np.ndarray) -> list[np.ndarray]:
        """Copy the rows out."""
        observed = [column.take(obs_index, axis=0) for column in self.observed]
        return [*observed, self.actions.take(action_index, axis=0)]

    def windows(self, _: int) -> list[np.ndarray]:
        """Cut the windows around given steps."""
        cut = self.windower(self.steps)
        return self.gather(cut.obs_index, cut.action_index)

    def sampled(self, number: int) -> list[np.ndarray]:
        """Draw steps, then cut the windows around them."""
        cut = self.windower(self.sampler.batch_indices(number))
        return self.gather(cut.obs_index, cut.action_index)

    def copies(self, _: int) -> list[np.ndarray]:
        """Copy rows that are known beforehand."""
        return self.gather(self.obs_index, self.action_index)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=400)
    options = parser.parse_args()
    for image in (False, True):
        case = Case(4_000 if image else 20_000, options.batch, image=image)
        repeats = max(options.repeats // (40 if image else 1), 3)
        for name, ours in (("windows", case.windows), ("sampled windows", case.sampled)):
            compare(name + " with images" * image, ours, case.copies, repeats, options)


def compare(
    name: str,
    ours: Callable[[int], object],
    floor: Callable[[int], object],
    repeats: int,
    options: argparse.Namespace,
) -> None:
    ratios: list[float] = []
    rates: list[float] = []
    for _ in range(options.pairs):
        mine, bare = seconds(ours, repeats), seconds(floor, repeats)
        ratios.append(bare / mine)
        rates.append(options.batch / mine)
    line = {
        "name": name,
        "batch": options.batch,
        "windows_per_second": round(statistics.median(rates)),
        "share_of_plain_copy": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "pairs": options.pairs,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
