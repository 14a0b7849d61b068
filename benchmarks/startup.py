"""How long until the command line answers, and does it import torch where it need not? JSON lines.

`import steadyhand`, `steadyhand --help` and the help of every verb against an interpreter that starts and
does nothing, beside one that imports NumPy or pyarrow; `steadyhand data info` on a small recording, and
whether torch was imported for it. The shortest of several runs: what is measured is the work, not what else
the machine did, nor compiling to bytecode, which only the first start after an installation does.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from lines import report

from steadyhand.cli.main import VERBS
from steadyhand.core.specs import STATE, FeatureSpec
from steadyhand.data.episode import demonstration
from steadyhand.data.store import EpisodeStore

MAIN = "import sys; from steadyhand.cli.main import main; status = main(sys.argv[1:]); "
COUNT_TORCH = "sys.stderr.write(str(sum(name.split('.')[0] == 'torch' for name in sys.modules)))"


def shortest(command: list[str], runs: int) -> float:
    """Return the shortest wall time of a command [s], with its bytecode kept."""
    times: list[float] = []
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(runs):
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=env)
        times.append(time.perf_counter() - begin)
    return min(times)


def small_recording(folder: Path) -> Path:
    state = np.zeros((20, 4), dtype=np.float32)
    episode = demonstration({STATE: state}, np.zeros((20, 2), dtype=np.float32), control_dt=0.05)
    with EpisodeStore.create(
        folder / "data",
        observation={STATE: FeatureSpec(shape=(4,))},
        action=FeatureSpec(shape=(2,)),
        control_dt=0.05,
    ) as store:
        store.append(episode)
        store.compact()
    return folder / "data"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    bare = shortest([sys.executable, "-c", "pass"], runs)
    command = [sys.executable, "-c", MAIN + "sys.exit(status)"]
    floor, floor_is = bare, "an interpreter that does nothing"
    libraries = ("numpy", "jaxtyping", "pyarrow.parquet", "tyro", "jaxtyping, pyarrow.parquet, tyro")
    took: dict[str, float] = {}
    for module in ("steadyhand", *libraries):
        took[module] = shortest([sys.executable, "-c", f"import {module}"], runs)
        target = f"value <= {bare + 0.06:.3g}" if module == "steadyhand" else ""
        report(
            f"import {module}", value=took[module], unit="s", floor=floor, floor_is=floor_is, target=target
        )
    for words in ([], *([verb] for verb in VERBS), *(["correct", "dagger"], ["bench", "remedies"])):
        seconds = shortest([*command, *words, "--help"], runs)
        name = " ".join(["steadyhand", *words, "--help"])
        report(name, value=seconds, unit="s", floor=floor, floor_is=floor_is, target="value <= 0.3")
    with tempfile.TemporaryDirectory() as folder:
        info = ["data", "info", str(small_recording(Path(folder)))]
        seconds = shortest([*command, *info], runs)
        counting = [sys.executable, "-c", MAIN + COUNT_TORCH, *info]
        counted = subprocess.run(counting, check=True, capture_output=True, text=True).stderr
    report(
        "steadyhand data info",
        value=seconds,
        unit="s",
        floor=took["pyarrow.parquet"],
        floor_is="import pyarrow.parquet",
        target="value <= 0.2",
    )
    report("modules of torch in data info", value=int(counted), unit="modules", target="value <= 0")


if __name__ == "__main__":
    main()
