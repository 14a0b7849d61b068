"""What many short episodes cost: compacting them, and looking at the result.

Appends episodes of 10 steps to a store and compacts it, in a process of its own. The floor is pyarrow writing
the very tables that came out, with the same options and row groups. Then `summarise` is run on the result, in
another process, and on a store whose episodes are ten times as long. Prints JSON lines; times are those of
the processor, which other programs disturb less.

    OMP_NUM_THREADS=1 python benchmarks/data_scale.py --episodes 100000
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from lines import report

from steadyhand.core.specs import FeatureSpec
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import demonstration
from steadyhand.data.formats.lerobot_v3_writer import open_writer
from steadyhand.data.info import summarise
from steadyhand.data.store import EpisodeStore

STATE, ACTION = 17, 6


def record(root: Path, *, num_episodes: int, length: int) -> None:
    """Append episodes without compacting them."""
    rng = np.random.default_rng(0)
    with EpisodeStore.create(
        root,
        observation={"observation.state": FeatureSpec(shape=(STATE,))},
        action=FeatureSpec(shape=(ACTION,)),
        control_dt=0.05,
    ) as store:
        for _ in range(num_episodes):
            state = rng.normal(size=(length, STATE)).astype(np.float32)
            action = rng.normal(size=(length, ACTION)).astype(np.float32)
            store.append(demonstration({"observation.state": state}, action, control_dt=0.05, task="walk"))


def write_again(root: Path, copy: Path) -> None:
    """Write every table of a data set again, one row group at a time; only the writing is timed."""
    spent = 0.0
    for path in sorted(root.rglob("*.parquet")):
        source = pq.ParquetFile(path)
        groups = [source.read_row_group(group) for group in range(source.num_row_groups)]
        begin = time.process_time()
        writer = open_writer(copy / f"{path.parent.parent.name}-{path.name}", source.schema_arrow)
        for group in groups:
            writer.write_table(group, row_group_size=len(group))
        writer.close()
        spent += time.process_time() - begin
    print(json.dumps({"seconds": spent}))


def timed(action: str, root: Path) -> None:
    """Do one thing, and print what it took."""
    begin = time.process_time()
    if action == "compact":
        with EpisodeStore.open(root) as store:
            store.compact()
    else:
        summarise(open_dataset(root))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.process_time() - begin, "peak_mb": peak}))


def in_a_process(*words: object) -> dict[str, float]:
    command = [sys.executable, __file__, *map(str, words)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--do", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.do:
        action, root = options.do[0], Path(options.do[1])
        write_again(root, Path(options.do[2])) if action == "floor" else timed(action, root)
        return
    count = options.episodes
    with tempfile.TemporaryDirectory() as folder:
        root, longer, copy = Path(folder) / "data", Path(folder) / "longer", Path(folder) / "copy"
        copy.mkdir()
        record(root, num_episodes=count, length=10)
        compacted = in_a_process("--do", "compact", root)
        floor = in_a_process("--do", "floor", root, copy)
        report(
            f"compact {count} episodes of 10 steps",
            value=compacted["seconds"],
            unit="s",
            floor=floor["seconds"],
            floor_is="pyarrow writing the same tables",
            target="ratio <= 3",
            peak_mb=compacted["peak_mb"],
        )
        info = in_a_process("--do", "info", root)
        record(longer, num_episodes=count // 10, length=10)
        in_a_process("--do", "compact", longer)
        short = in_a_process("--do", "info", longer)
        record(Path(folder) / "long", num_episodes=count // 10, length=100)
        in_a_process("--do", "compact", Path(folder) / "long")
        long = in_a_process("--do", "info", Path(folder) / "long")
        report(f"info of {count} episodes", value=info["seconds"], unit="s", peak_mb=info["peak_mb"])
        report(
            f"info of {count // 10} episodes of 100 steps",
            value=long["seconds"],
            unit="s",
            floor=short["seconds"],
            floor_is="the same number of episodes of 10 steps",
            target="ratio <= 1.2",
        )


if __name__ == "__main__":
    main()
