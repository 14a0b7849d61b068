"""The run folder: run.json says what was asked, provenance.json with what it was done."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from steadyhand.core.codec import load, save, to_data, write_json
from steadyhand.core.errors import ConfigError

PACKAGES = ("steadyhand", "torch", "numpy", "gymnasium", "pyarrow", "av", "mujoco")


def start_run(run: object, folder: Path, *, resume: bool) -> None:
    """Write run.json and provenance.json, or check that `folder` holds this very run.

    Raises:
        ConfigError: There is a run already and `resume` is False, or it is another run.
    """
    path = folder / "run.json"
    if path.is_file():
        try:
            held = load(path, type(run))
        except ConfigError as error:
            raise ConfigError(
                f"{folder} holds a run of another kind, or of another version.",
                expected=f"a {type(run).__name__}, or an empty folder",
                hint="choose another folder with --out, or delete this one",
            ) from error
        if held != run:
            raise ConfigError(
                f"{folder} holds another run.",
                got=_differences(to_data(held), to_data(run)),
                hint="choose another folder with --out, or delete this one",
            )
        if not resume:
            raise ConfigError(
                f"{folder} holds this run already.",
                hint="add --resume to continue it, or choose another folder with --out",
            )
        return
    save(path, run)
    write_json(folder / "provenance.json", provenance())


def provenance() -> dict[str, object]:
    """Return versions of what a run depends on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "command": " ".join(sys.argv),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Return the installed version of each package that matters for the numbers."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _differences(old: object, new: object, path: str = "") -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return "; ".join(_differences(old.get(key), new.get(key), f"{path}.{key}".strip(".")) for key in keys)
    return f"{path}: {old!r} there, {new!r} asked for"
