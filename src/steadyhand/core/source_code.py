"""What the code of a function or a class does, reads around it, and writes to its object while it runs."""

import ast
import inspect
import sys
import textwrap
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from steadyhand.core.digests import Digest

_OURS = __name__.partition(".")[0]
_RUNS = ("begin", "reset", "step", "observe", "render", "restore", "place", "close")
"""Methods by which an env or a controller runs; `act` is none: what it changes may be how it acts."""
_CHANGES = {"add", "append", "appendleft", "clear", "discard", "extend", "fill", "insert"}
_ADDS = {"add", "append", "appendleft", "extend"}
_TAKES = {"pop", "popitem", "popleft", "remove", "setdefault", "update"}


@dataclass(frozen=True, kw_only=True)
class Written:
    """Names of attributes that code writes to its object.

    Attributes:
        assigned: Assigned, or an item of them is: `self.x = 1`, `self.x[rows] += 1`.
        mutated: Something is done to them that changes lists, dicts, sets and arrays: `self.x.append(1)`.
    """

    assigned: frozenset[str] = frozenset()
    mutated: frozenset[str] = frozenset()

    def __or__(self, other: "Written") -> "Written":
        return Written(assigned=self.assigned | other.assigned, mutated=self.mutated | other.mutated)


def is_ours(value: Any) -> bool:
    """Return whether a class, function or module is one of this library."""
    return _module_name(value).partition(".")[0] == _OURS


def is_library(value: Any) -> bool:
    """Return whether a class, function or module comes with Python, with us or with an installed package."""
    name = _module_name(value)
    file = str(getattr(sys.modules.get(name), "__file__", ""))
    return name.partition(".")[0] in {*sys.stdlib_module_names, _OURS} or "-packages" in file


def is_function(value: object) -> bool:
    """Return whether it is a function that Python code defines."""
    return hasattr(value, "__code__") and hasattr(value, "__qualname__")


def closed_over(function: Any) -> dict[str, Any]:
    """Return the variables around a function that it keeps."""
    held: dict[str, Any] = {}
    logs = _logs(function) if function.__closure__ else set[str]()
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value: Any = cell.cell_contents
        except ValueError:  # a variable that is not set yet
            continue
        if not (name in logs and isinstance(value, list | set | deque)):
            held[name] = value
    return held


def _logs(function: Any) -> set[str]:
    """Return the variables outside a function to which it adds, as in `calls.append(1)`."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return set()
    added = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in _ADDS]
    return {node.value.id for node in added if isinstance(node.value, ast.Name)}


def code_digest(code: CodeType) -> Digest:
    """Return the digest of what a function does; where it stands and what its texts say is not part of it."""
    digest = Digest().text(code.co_code.hex(), code.co_names, code.co_varnames)
    for place, value in enumerate(code.co_consts):
        if isinstance(value, CodeType):
            digest.text(code_digest(value).hex())
        elif isinstance(value, frozenset):
            digest.text(sorted(map(repr, value)))
        elif place or not isinstance(value, str):  # the first text is the docstring
            digest.text(repr(value))
    return digest


def around(functions: Iterable[Any]) -> dict[str, Any]:
    """Return what functions read of their modules, and of other modules and classes of the same author.

    Lists and sets that they only add to are logs, and left out.
    """
    found: dict[str, Any] = {}
    for function in functions:
        inside, names, logs = function.__globals__, _names(function.__code__), _logs(function)
        for name in names & inside.keys():
            value = inside[name]
            if name in logs and isinstance(value, list | set | deque):
                continue
            if not isinstance(value, ModuleType):
                found[name] = value
            elif not is_library(value):
                found |= {f"{name}.{inner}": vars(value)[inner] for inner in names & vars(value).keys()}
    kept = {name: found[name] for name in sorted(found) if not isinstance(found[name], ModuleType)}
    return {
        name: value for name, value in kept.items() if not (isinstance(value, type) and is_library(value))
    }


def methods(kind: type) -> dict[str, Any]:
    """Return the functions of a class that are neither ours nor those of a library."""
    return {f"{base.__qualname__}.{name}": function for base, name, function in _functions(_foreign(kind))}


def class_values(kind: type) -> dict[str, Any]:
    """Return what a class itself holds beside its functions, as far as its author wrote it."""
    return {
        f"{base.__qualname__}.{name}": value
        for base in _foreign(kind)
        for name, value in sorted(vars(base).items())
        if not name.startswith(("__", "_abc_")) and name != "memory" and _bare(value) is None
        if not hasattr(type(value), "__get__")
    }


def class_digest(functions: Mapping[str, Any]) -> str:
    """Return the digest of what the methods of a class do."""
    digest = Digest()
    for name, function in sorted(functions.items()):
        digest.text(name, code_digest(function.__code__).hex())
    return digest.hex()


def written_by_ours(kind: type) -> frozenset[str]:
    """Return the attributes that code of this library assigns to objects of a class derived from its own."""
    ours = [base for base in kind.__mro__ if is_ours(base)]
    return frozenset().union(*(_writes(function, base)[0].assigned for base, _, function in _functions(ours)))


_known_writes: WeakKeyDictionary[Any, tuple[Written, set[str]]] = WeakKeyDictionary()


def written_by_running(kind: type) -> Written:
    """Return what the methods write by which an object of this class runs, and those that they call."""
    by_name: dict[str, list[tuple[type, Any]]] = {}
    for base, name, function in _functions(kind.__mro__):
        by_name.setdefault(name, []).append((base, function))
    written, seen, ahead = Written(), set[str](), [name for name in _RUNS if name in by_name]
    while ahead:
        name = ahead.pop()
        seen.add(name)
        for base, function in by_name[name]:
            writes, calls = _writes(function, base)
            written |= writes
            ahead += [called for called in calls if called in by_name and called not in seen]
    return written


def _writes(function: Any, owner: type) -> tuple[Written, set[str]]:
    """Return what a method writes to its object and which names of it it reads; nothing without its text."""
    if (known := _known_writes.get(function)) is None:
        known = _known_writes[function] = _parsed(function, owner)
    return known


def _parsed(function: Any, owner: type) -> tuple[Written, set[str]]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return Written(), set()
    if not isinstance(tree, ast.FunctionDef) or not (arguments := [*tree.args.posonlyargs, *tree.args.args]):
        return Written(), set()
    own = arguments[0].arg
    assigned, mutated, read = set[str](), set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
            assigned |= {_attribute(node, own)}
        elif isinstance(node, ast.Attribute):
            read |= {_attribute(node, own)} if _of_object(node.value, own) else set()
            mutated |= {_attribute(node.value, own)} if node.attr in _CHANGES | _TAKES else set()
    private = f"_{owner.__name__.lstrip('_')}"

    def full(names: set[str]) -> frozenset[str]:
        inner = (name for name in names if name)
        return frozenset(f"{private}{n}" if n[:2] == "__" and n[-2:] != "__" else n for n in inner)

    return Written(assigned=full(assigned), mutated=full(mutated)), read


def _attribute(node: ast.expr, own: str) -> str:
    """Return the attribute of `own` of which `node` is an item, or which it is; empty if it is neither."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) and _of_object(node.value, own) else ""


def _of_object(node: ast.expr, own: str) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "super"
    return isinstance(node, ast.Name) and node.id == own


def _foreign(kind: type) -> list[type]:
    return [base for base in kind.__mro__ if not is_library(base)]


def _functions(bases: Iterable[type]) -> Iterator[tuple[type, str, Any]]:
    for base in bases:
        for name, value in vars(base).items():
            if (function := _bare(value)) is not None:
                yield base, name, function


def _bare(value: Any) -> Any:
    """Return the function inside a method, a property or a cache; None if there is none."""
    inside = (getattr(value, name, None) for name in ("__func__", "fget", "func", "__wrapped__"))
    return next((one for one in (value, *inside) if one is not None and is_function(one)), None)


def _names(code: CodeType) -> set[str]:
    inner = (_names(value) for value in code.co_consts if isinstance(value, CodeType))
    return set(code.co_names).union(*inner)


def _module_name(value: Any) -> str:
    return str(value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None))
