"""What a folder holds the answer to, so that nobody takes yesterday's answer for today's question.

    question.json    {"fit": {"numerics": 2, "version": "0.1.0", "parts": {"seed": 0, "data": {...}, ...}}}

The same question finds its answer; another one is refused, and the refusal names which part differs.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steadyhand import __version__
from steadyhand.core.codec import read_json, write_json
from steadyhand.core.description import described, running
from steadyhand.core.errors import ConfigError
from steadyhand.core.lock import QUESTION, working_in

NUMERICS = 3
"""Raised whenever a change makes the same settings, data and seed give other numbers."""

_ANOTHER_FOLDER = "choose another folder, or delete this one"
_SETTINGS = (
    "; if it is the same expert or env: a class names attributes that are no settings in memory = (...), or "
    "has a method question() that returns all its settings"
)


@contextmanager
def answering(folder: Path, name: str, parts: Mapping[str, object], *, answers: str) -> Generator[None]:
    """Work in `folder`, alone, on the answer to one question; see `claim` and `core.lock.working_in`.

    Args:
        folder: The folder.
        name: Name of the kind of work, for errors.
        parts: Everything that the answer depends on, by name.
        answers: Pattern of what the answer consists of: where there is any of it, there is an answer.
    """
    with working_in(folder):
        claim(folder, name, parts, answered=any(folder.glob(answers)))
        with running():
            yield


def claim(folder: Path, name: str, parts: Mapping[str, object], *, answered: bool) -> None:
    """Write down what `folder` is to hold the answer to, or check that it is this.

    Args:
        folder: The folder; made if it is not there.
        name: What kind of question it is; a folder may hold the answers to one of each kind.
        parts: All that the answer depends on: settings, seeds, digests of data. Dataclasses, arrays, modules,
            envs and experts are described by `core.description`.
        answered: Whether an answer, or a part of one, is there already.

    Raises:
        ConfigError: The folder holds the answer to another question, or does not say to which.
    """
    asked = {"numerics": NUMERICS, "version": __version__, "parts": described(dict(parts))}
    held = _held(folder)
    if name in held:
        _compare(folder, held[name], asked)
        return
    if answered:
        raise ConfigError(
            f"{folder} holds a result that does not say to which question.",
            got=f"no {name!r} in {folder / QUESTION}: another version wrote it, or the file was removed",
            hint=_ANOTHER_FOLDER,
        )
    write_json(folder / QUESTION, {**held, name: asked})


def differences(there: object, asked: object, path: str = "") -> str:
    """Return in words where two pieces of JSON data differ."""
    if isinstance(there, Mapping) and isinstance(asked, Mapping):
        if {"steps", "sha256"} <= there.keys() & asked.keys():
            return f"{path}: {_data_words(there)} there, {_data_words(asked)} asked for"
        keys = [key for key in {**there, **asked} if there.get(key) != asked.get(key)]
        return "; ".join(
            differences(there.get(key), asked.get(key), f"{path}.{key}".strip(".")) for key in keys
        )
    return f"{path}: {there!r} there, {asked!r} asked for"


def _data_words(data: Mapping[str, Any]) -> str:
    return f"{data['steps']} steps of content {data['sha256']}"


def _held(folder: Path) -> dict[str, Any]:
    path = folder / QUESTION
    held = read_json(path) if path.exists() else {}
    if not isinstance(held, dict):
        raise ConfigError(
            f"{path} does not describe a question.", got=type(held).__name__, hint=_ANOTHER_FOLDER
        )
    return held


def _compare(folder: Path, held: Any, asked: dict[str, Any]) -> None:
    numerics = held.get("numerics") if isinstance(held, dict) else None
    if numerics != NUMERICS:
        raise ConfigError(
            f"{folder / QUESTION} is of a version that computes other numbers.",
            got=f"numerics {numerics}, of version {held.get('version') if isinstance(held, dict) else None}",
            expected=f"numerics {NUMERICS}, of version {__version__}",
            hint=_ANOTHER_FOLDER,
        )
    if held.get("parts") != asked["parts"]:
        what = differences(held.get("parts"), asked["parts"])
        raise ConfigError(
            f"{folder} holds the answer to another question, as its {QUESTION} says.",
            got=what,
            hint=_ANOTHER_FOLDER + (_SETTINGS if ".attributes." in what or ".code" in what else ""),
        )
