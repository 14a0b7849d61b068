"""Damaged input is refused: no traceback, no hang, no flood of memory, and a text that helps."""

import gc
import json
import os
import resource
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from damage.damaged import Case, Whole, cases
from steadyhand.cli import terminal
from steadyhand.cli.main import main
from steadyhand.core.specs import image_spec
from steadyhand.data.formats.video import write_mp4
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, OBSERVATION, episode

SECONDS = 20
BYTES = 2 << 30
NAMED = 0.95
AT_ONCE = 64
CAMERAS = {**OBSERVATION, "observation.images.front": image_spec(32, 32, 3)}
DATA = (("data", "check", "@"), ("data", "info", "@"), ("train", "@", "--steps", "1", "--out", "^"))


@dataclass(frozen=True)
class Outcome:
    """What a command did: its status (negative: killed by that signal), and what it said."""

    status: int
    said: str


def run(commands: list[list[str]], folders: list[Path]) -> list[Outcome]:
    """Run command lines in a forked process, one after the other, with limits on time and memory of each.

    One process serves many, since what it copies of the memory of all tests before it costs more than the
    command does; where one dies of a command, the next goes on behind it.
    """
    child = os.fork()
    if child == 0:
        warnings.resetwarnings()  # the command line does not turn them into errors
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)  # a pool of threads does not survive a fork
        for command, folder in zip(commands, folders, strict=True):
            status = _alone(command, folder)
            (folder / "status.txt").write_text(str(status))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else 99
    outcomes: list[Outcome] = []
    for folder in folders:
        told = folder / "status.txt"
        outcomes.append(
            Outcome(
                int(told.read_text()) if told.exists() else code,
                (folder / "said.txt").read_text(errors="replace"),
            )
        )
        if not told.exists():
            break
    done = len(outcomes)
    return outcomes + (run(commands[done:], folders[done:]) if done < len(commands) else [])


def _alone(command: list[str], folder: Path) -> int:
    """Run a command in this process, what it says into a file; return its status, 99 if it raised."""
    with (folder / "said.txt").open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        terminal.console.file = sys.stdout  # it had been bound when it was imported
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (mapped + BYTES, most))
        try:
            return main(command)
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            return 99
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


def lerobot_v21(root: Path, *, length: int = 12) -> None:
    """Write two episodes of a camera and a vector as LeRobot v2.1 lays them out."""
    vector = {"dtype": "float32", "shape": [2], "names": ["a", "b"]}
    camera = {"dtype": "video", "shape": [32, 32, 3], "names": ["height", "width", "channels"]}
    counters = ("timestamp", "frame_index", "episode_index", "index", "task_index")
    info = {
        "codebase_version": "v2.1",
        "robot_type": "arm",
        "fps": 10,
        "features": {
            "observation.state": vector,
            "action": vector,
            "observation.images.top": camera,
            **{
                name: {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
                for name in counters
            },
        },
        "total_episodes": 2,
        "total_frames": 2 * length,
        "total_tasks": 1,
        "chunks_size": 1000,
        "splits": {"train": "0:2"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "lift"}\n')
    lines = [json.dumps({"episode_index": i, "tasks": ["lift"], "length": length}) for i in range(2)]
    (root / "meta/episodes.jsonl").write_text("\n".join(lines) + "\n")
    for i in range(2):
        values = np.random.default_rng(i).normal(size=(length, 2)).astype(np.float32)
        fixed = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 2)
        steps = np.arange(length)
        table = pa.table(
            {
                "observation.state": fixed,
                "action": fixed,
                "timestamp": pa.array((steps / 10).astype(np.float32)),
                "frame_index": steps,
                "episode_index": np.full(length, i),
                "index": i * length + steps,
                "task_index": np.zeros(length, dtype=np.int64),
            }
        )
        path = root / f"data/chunk-000/episode_{i:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        frames = [np.full((32, 32, 3), 10 * t + 60 * i, dtype=np.uint8) for t in range(length)]
        write_mp4(root / f"videos/chunk-000/observation.images.top/episode_{i:06d}.mp4", frames, fps=10)


def store(root: Path, *, compacted: bool, image_format: str) -> None:
    """Record three episodes with a camera."""
    with EpisodeStore.create(
        root,
        observation=CAMERAS,
        action=ACTION_SPEC,
        control_dt=0.1,
        image_format=image_format,  # pyright: ignore[reportArgumentType]
    ) as writer:
        for seed in range(3):
            writer.append(episode(seed, length=8, specs=CAMERAS))
        if compacted:
            writer.compact()


def files_below(root: Path, *, skip: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the files of a folder, relative to it."""
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return tuple(name for name in found if not any(part in name for part in skip))


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Whole]]:
    base = tmp_path_factory.mktemp("whole")
    random = np.random.default_rng(0)
    npz = base / "arrays.npz"
    observation = random.normal(size=(40, 2)).astype(np.float32)
    np.savez(npz, observation=observation, action=observation[:, :1], episode_ends=np.array([20, 40]))
    lerobot_v21(base / "v21")
    store(base / "v30", compacted=True, image_format="png")
    shutil.rmtree(base / "v30/meta/steadyhand")  # as if it came from elsewhere
    store(base / "compacted", compacted=True, image_format="mp4")
    store(base / "journal", compacted=False, image_format="png")
    arguments = ["train", str(npz), "--steps", "4", "--batch-size", "8", "--out", str(base / "run")]
    assert main([*arguments, "--set", "training.checkpoint_every=2"]) == 0
    again = tuple(word.replace(str(base / "run"), "@") for word in (*arguments, "--set"))
    resume = (*again, "training.checkpoint_every=2", "--resume")
    (base / "run.json").write_bytes((base / "run/run.json").read_bytes())
    shutil.copytree(base / "run/policy", base / "policy")
    (base / "run/result.json").unlink()  # as if it had been killed, so that it reads what it goes on from
    for finished in ("policy", "training/state/step-00000004"):
        shutil.rmtree(base / "run" / finished)
    evaluate = (
        "eval",
        "@",
        "--env",
        "pendulum",
        "--starts",
        "1",
        "--videos",
        "0",
        "--expert",
        "none",
        "--out",
        "^",
    )
    kept = ("meta/steadyhand/lock",)
    found = [
        Whole(name="npz", root=npz, commands=DATA, files=("",)),
        Whole(
            name="v21", root=base / "v21", commands=DATA, files=files_below(base / "v21", skip=("000001",))
        ),
        Whole(name="v30", root=base / "v30", commands=DATA, files=files_below(base / "v30")),
        Whole(
            name="compacted",
            root=base / "compacted",
            commands=DATA,
            files=files_below(base / "compacted", skip=kept),
        ),
        Whole(
            name="journal",
            root=base / "journal",
            commands=(*DATA, ("data", "compact", "@")),
            files=files_below(base / "journal", skip=kept),
        ),
        Whole(
            name="policy",
            root=base / "policy",
            commands=(evaluate,),
            files=files_below(base / "policy"),
        ),
        Whole(
            name="run",
            root=base / "run",
            commands=(resume,),
            files=files_below(base / "run", skip=("lock", "best", "provenance", "report", "videos")),
        ),
        Whole(
            name="config",
            root=base / "run.json",
            commands=(("train", "--config", "@", "--out", "^"),),
            files=("",),
        ),
    ]
    for whole in (one for one in found if one.name in ("npz", "v30", "policy")):  # imports for all processes
        for words in whole.commands:
            out = str(base / "whole" / f"{whole.name}-{words[1]}")
            main([word.replace("@", str(whole.root)).replace("^", out) for word in words])
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy the memory of all tests before it
    yield {whole.name: whole for whole in found}
    gc.unfreeze()


NAMES = ("npz", "v21", "v30", "compacted", "journal", "policy", "run", "config")


def tried(chosen: list[Case], folder: Path) -> Iterator[tuple[Case, Outcome]]:
    """Run every case in a folder of its own."""
    for together in [chosen[at : at + AT_ONCE] for at in range(0, len(chosen), AT_ONCE)]:
        folders = [folder / str(place) for place in range(len(together))]
        for here in folders:
            here.mkdir()
        commands = [case.prepare(here) for case, here in zip(together, folders, strict=True)]
        yield from zip(together, run(commands, folders), strict=True)
        for here in folders:
            shutil.rmtree(here, ignore_errors=True)


def is_refusal(outcome: Outcome) -> bool:
    """Whether wrong input was told: status 2, or a check that found errors."""
    return outcome.status == 2 or (outcome.status == 1 and "error" in outcome.said)


def helps(case: Case, outcome: Outcome) -> bool:
    """Whether a refusal names the damaged file and what to do about it."""
    name = Path(case.file or case.whole.root.name).name
    return name in " ".join(outcome.said.split()) and "do this" in outcome.said


def test_there_are_enough(wholes: dict[str, Whole]) -> None:
    assert len(cases(list(wholes.values()))) >= 400


@pytest.mark.parametrize("name", NAMES)
def test_damaged_input_is_told(name: str, wholes: dict[str, Whole], tmp_path: Path) -> None:
    wrong: list[str] = []
    refused = helpful = 0
    silent: list[str] = []
    for case, outcome in tried(cases([wholes[name]]), tmp_path):
        if outcome.status not in (0, 1, 2) or "Traceback" in outcome.said:
            wrong.append(f"{case.name}: status {outcome.status}: {outcome.said.strip()[-300:]}")
        if "\x1b[2J" in outcome.said:
            wrong.append(f"{case.name}: escape codes reach the terminal")
        if is_refusal(outcome):
            refused += 1
            helpful += helps(case, outcome)
            if not helps(case, outcome):
                silent.append(f"{case.name}: {' '.join(outcome.said.split())[:300]}")
    assert not wrong, f"{len(wrong)} cases:\n" + "\n".join(wrong)
    assert refused > 0
    assert refused - helpful <= max(1, round((1 - NAMED) * refused)), (
        f"{refused - helpful} of {refused} refusals:\n" + "\n".join(silent)
    )
