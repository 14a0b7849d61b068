"""The run folder: run.json says what was asked, provenance.json with what it was done."""

import platform
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

import torch

from steadyhand.analysis.results import Fact
from steadyhand.core.codec import load, save, to_data, write_json
from steadyhand.core.digests import contents_digest
from steadyhand.core.errors import ConfigError
from steadyhand.core.provenance import Provenance, versions
from steadyhand.core.question import claim, differences
from steadyhand.policies.devices import chosen_device, device_name
from steadyhand.recipes.train_run import TrainRun
from steadyhand.training.config import Device, TrainConfig


def start_run(run: object, folder: Path, *, resume: bool) -> None:
    """Write run.json, provenance.json and question.json, or check that `folder` holds this very run.

    What a run reads is compared by its content: an expert's weights, the policies that are evaluated. The
    data of `train` are compared by the training itself.

    Raises:
        ConfigError: There is a run already and `resume` is False, or it is another run, or one of a version
            that computes other numbers.
    """
    if check_run(run, folder, resume=resume):
        return
    claim(folder, "run", {"files": _contents(run)}, answered=False)
    save(folder / "run.json", run)
    write_json(folder / "provenance.json", {**provenance(), "used": used(run)})


def check_run(run: object, folder: Path, *, resume: bool) -> bool:
    """Return whether `folder` holds this very run already; nothing is written.

    Raises:
        ConfigError: The folder holds another run, or one that may not be continued; see `start_run`.
    """
    path = folder / "run.json"
    if not path.is_file():
        return False
    try:
        held = load(path, type(run))
    except ConfigError as error:
        raise ConfigError(
            f"{folder} holds a run of another kind, or of another version: see {path.name} in it.",
            expected=f"a {type(run).__name__}, or an empty folder",
            hint="choose another folder with --out, or delete this one",
        ) from error
    if held != run:
        raise ConfigError(
            f"{folder} holds another run, as its {path.name} says.",
            got=differences(to_data(held), to_data(run)),
            hint="choose another folder with --out, or delete this one",
        )
    if not resume:
        raise ConfigError(
            f"{folder} holds this run already.",
            hint="add --resume to continue it, or choose another folder with --out",
        )
    claim(folder, "run", {"files": _contents(run)}, answered=True)
    return True


def used(run: object) -> dict[str, object]:
    """Return what a run computes with, as provenance.json and result.json say it."""
    training = getattr(run, "training", None)
    if not isinstance(training, TrainConfig):
        asked: Device | None = getattr(run, "device", None)  # of an EvalRun
        threads = torch.get_num_threads() if asked is None else getattr(run, "num_threads", 1)
        device = device_name(chosen_device(asked or "cpu"))
        return {"device": device, "threads": threads, "precision": "float32"}
    return {
        "device": device_name(chosen_device(training.device)),
        "threads": training.num_threads,
        "precision": training.precision,
        "batch_parts": training.accumulate,
        "compiled": training.compile,
    }


def computed_on(run: object) -> Fact:
    """Return the line of a report that says what a run computes with."""
    what = used(run)
    threads = "1 thread" if what["threads"] == 1 else f"{what['threads']} threads"
    return Fact(name="Computed on", value=f"{what['device']}, {threads}, {what['precision']}")


def provenance() -> dict[str, object]:
    """Return the code of this run and the versions of what it depends on."""
    return {**asdict(Provenance.of_this_process()), "processor": platform.machine(), "versions": versions()}


def _contents(run: object) -> dict[str, str]:
    """Return the digest of each policy and file of weights that a run names."""
    found: dict[str, str] = {}
    for path in _paths(run):
        inner = path / "policy" if (path / "policy").is_dir() else path
        names = ("policy.json", "weights.safetensors")
        files = [path] if path.is_file() else [inner / name for name in names if (inner / name).is_file()]
        if files:
            found[str(path)] = contents_digest(files)
    return found


def _paths(value: object) -> Iterator[Path]:
    match value:
        case Path():
            yield value
        case tuple():
            for item in value:
                yield from _paths(item)
        case _ if is_dataclass(value):
            for field in fields(value):
                if not (isinstance(value, TrainRun) and field.name == "data"):
                    yield from _paths(getattr(value, field.name))
        case _:
            return
