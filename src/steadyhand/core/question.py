"""What a folder holds the answer to, so that nobody takes yesterday's answer for today's question.

    question.json    {"fit": {"numerics": 2, "version": "0.1.0", "parts": {"seed": 0, "data": {...}, ...}}}

The same question finds its answer; another one is refused, and the refusal names which part differs.
"""

import enum
import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steadyhand import __version__
from steadyhand.core.codec import read_json, write_json
from steadyhand.core.digests import Digest
from steadyhand.core.errors import ConfigError
from steadyhand.core.lock import QUESTION, working_in
from steadyhand.core.specs import EnvSpec

NUMERICS = 3
"""Raised whenever a change makes the same settings, data and seed give other numbers."""

_DEPTH = 8
_ANOTHER_FOLDER = "choose another folder, or delete this one"


@contextmanager
def answering(folder: Path, name: str, parts: Mapping[str, object], *, answers: str) -> Generator[None]:
    """Work in `folder`, alone, on the answer to one question; see `claim` and `core.lock.working_in`.

    Args:
        folder: The folder.
        name: As in `claim`.
        parts: As in `claim`.
        answers: Pattern of what the answer consists of: where there is any of it, there is an answer.
    """
    with working_in(folder):
        claim(folder, name, parts, answered=any(folder.glob(answers)))
        yield


def claim(folder: Path, name: str, parts: Mapping[str, object], *, answered: bool) -> None:
    """Write down what `folder` is to hold the answer to, or check that it is this.

    Args:
        folder: The folder; made if it is not there.
        name: What kind of question it is; a folder may hold the answers to one of each kind.
        parts: All that the answer depends on: settings, seeds, digests of data. Dataclasses, arrays, modules,
            envs and experts are described by `described`.
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


def is_claimed(folder: Path, name: str) -> bool:
    """Return whether a question of this kind was asked in `folder`."""
    return name in _held(folder)


def described(thing: object, *, depth: int = _DEPTH) -> Any:
    """Return JSON data that tell `thing` from others: its type, its settings, the content of its arrays.

    An object of no known kind is described by its type and by those of its attributes that are settings
    (frozen dataclasses), modules, functions or controllers; numbers and arrays may be memory, which is no
    part of a question. An object that knows better has a method `question` that returns a mapping.
    """
    inner = depth - 1
    match thing:
        case None | bool() | int() | str():
            return thing
        case enum.Enum():
            return thing.name
        case float():
            return thing if math.isfinite(thing) else repr(thing)
        case Path():
            return str(thing)
        case np.ndarray() | np.generic():
            return Digest().array("", np.asarray(thing)).hex()
        case Mapping():
            return {str(key): described(value, depth=inner) for key, value in thing.items()}
        case Sequence() | set() | frozenset():
            return [described(value, depth=inner) for value in thing]
        case _:
            return _type_name(thing) if depth <= 0 else _object(thing, inner)


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
        raise ConfigError(
            f"{folder} holds the answer to another question, as its {QUESTION} says.",
            got=differences(held.get("parts"), asked["parts"]),
            hint=_ANOTHER_FOLDER,
        )


def _object(thing: Any, depth: int) -> Any:
    name = _type_name(thing)
    if isinstance(thing, type):
        return name
    question = getattr(thing, "question", None)
    if callable(question):
        return {"type": name, **described(question(), depth=depth)}
    if isinstance(spec := getattr(thing, "spec", None), EnvSpec):
        config = getattr(thing, "config", None)
        return {"type": name, "spec": described(spec, depth=depth), "config": described(config, depth=depth)}
    if is_dataclass(thing):
        values = {field.name: getattr(thing, field.name) for field in fields(thing)}
        return {"type": name, **described(values, depth=depth)}
    if _is_module(thing):
        return {"type": name, "weights": _weights(thing)}
    if _is_function(thing):
        return {"function": f"{thing.__module__}.{thing.__qualname__}", **_closure(thing, depth)}
    settings = {key: value for key, value in vars(thing).items() if _is_setting(value)}
    return {"type": name, **described(settings, depth=depth)} if hasattr(thing, "__dict__") else name


def _closure(function: Any, depth: int) -> dict[str, Any]:
    held: dict[str, Any] = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            held[name] = cell.cell_contents
        except ValueError:  # a variable that is not set yet
            continue
    return described({name: value for name, value in held.items() if _is_setting(value)}, depth=depth)


def _is_setting(value: object) -> bool:
    frozen = is_dataclass(value) and not isinstance(value, type) and _is_frozen(value)
    return frozen or _is_module(value) or _is_function(value) or callable(getattr(value, "act", None))


def _is_frozen(value: Any) -> bool:
    return bool(value.__dataclass_params__.frozen)


def _is_module(value: object) -> bool:
    """Return whether it is a torch module, without importing torch."""
    return not isinstance(value, type) and callable(getattr(value, "state_dict", None))


def _is_function(value: object) -> bool:
    return hasattr(value, "__code__") and hasattr(value, "__qualname__")


def _weights(module: Any) -> str:
    state = module.state_dict()
    values = {name: value.detach().cpu() for name, value in state.items()}
    exact = {name: value.double() if value.is_floating_point() else value for name, value in values.items()}
    return Digest().arrays({name: value.numpy() for name, value in exact.items()}).hex()


def _type_name(thing: object) -> str:
    kind = thing if isinstance(thing, type) else type(thing)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("steadyhand.")
