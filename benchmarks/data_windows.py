"""Does cutting windows cost more than copying the same bytes?

A batch of windows (2 observation steps, 16 action steps) against copying the same rows by a ready-made
index: offsets, padding and episode bounds are what differs. "sampled" draws the steps as training does, the
shuffling of each epoch included; its second floor shuffles too. All walk through a whole epoch, since a batch
that is copied twice is copied from the cache. 20 000 steps in episodes of 200, state 5, action 2, then with
96 x 96 images. Pairs are interleaved; the median ratio is reported.

    OMP_NUM_THREADS=1 python benchmarks/data_windows.py --pairs 15
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from lines import report

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
    begin = time.process_time()
    for number in range(repeats):
        task(number)
    return (time.process_time() - begin) / repeats


class Case:
    """One data set, and the three ways to get a batch out of it; the floor knows its rows beforehand."""

    def __init__(self, num_steps: int, batch: int, *, image: bool) -> None:
        frames = make_frames(num_steps, image=image)
        self.observed = list(frames.observation.values())
        self.actions = frames.expert_action
        self.windower = Windower(frames, WindowSpec(obs_offsets=OBS, action_offsets=ACTIONS))
        self.sampler = Sampler(np.arange(num_steps), batch_size=batch, seed=0)
        self.num_batches = num_steps // batch
        self.all_steps = np.arange(num_steps)
        self.rng = np.random.default_rng(1)
        for number in range(2 * self.num_batches):
            self.sampled(number)  # the table of windows is made within the first epoch
        self.steps = [self.sampler.batch_indices(number).copy() for number in range(self.num_batches)]
        cuts = [self.windower(steps) for steps in self.steps]
        self.index = [(cut.obs_index.reshape(-1), cut.action_index.reshape(-1)) for cut in cuts]

    def gather(self, obs_index: np.ndarray, action_index: np.ndarray) -> list[np.ndarray]:
        """Copy the rows out."""
        observed = [column.take(obs_index, axis=0) for column in self.observed]
        return [*observed, self.actions.take(action_index, axis=0)]

    def windows(self, number: int) -> list[np.ndarray]:
        """Cut the windows around given steps."""
        cut = self.windower(self.steps[number % self.num_batches])
        return self.gather(cut.obs_index, cut.action_index)

    def sampled(self, number: int) -> list[np.ndarray]:
        """Draw steps, then cut the windows around them."""
        cut = self.windower(self.sampler.batch_indices(number))
        return self.gather(cut.obs_index, cut.action_index)

    def copies(self, number: int) -> list[np.ndarray]:
        """Copy rows that are known beforehand."""
        return self.gather(*self.index[number % self.num_batches])

    def shuffled_copies(self, number: int) -> list[np.ndarray]:
        """Shuffle once an epoch, then copy rows that are known beforehand."""
        if number % self.num_batches == 0:
            self.rng.permutation(self.all_steps)
        return self.copies(number)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=400)
    options = parser.parse_args()
    for image in (False, True):
        case = Case(4_000 if image else 20_000, options.batch, image=image)
        repeats = max(options.repeats // (40 if image else 1), 3)
        about = ", 96 x 96 images" * image
        plain, shuffled = "copying the same rows", "shuffling and copying the same rows"
        compare("windows" + about, case.windows, case.copies, plain, options, repeats=repeats, bound=0.5)
        compare("sampled windows" + about, case.sampled, case.copies, plain, options, repeats=repeats)
        compare(
            "sampled windows" + about, case.sampled, case.shuffled_copies, shuffled, options, repeats=repeats
        )


def compare(
    name: str,
    ours: Callable[[int], object],
    floor: Callable[[int], object],
    floor_is: str,
    options: argparse.Namespace,
    *,
    repeats: int,
    bound: float | None = None,
) -> None:
    mine, bare = [], []
    for _ in range(options.pairs):
        mine.append(options.batch / seconds(ours, repeats))
        bare.append(options.batch / seconds(floor, repeats))
    report(
        name,
        value=statistics.median(mine),
        unit="windows / s",
        floor=statistics.median(bare),
        floor_is=floor_is,
        ratio=statistics.median(a / b for a, b in zip(mine, bare, strict=True)),
        target="" if bound is None else f"ratio >= {bound}",
        pairs=options.pairs,
    )


if __name__ == "__main__":
    main()
