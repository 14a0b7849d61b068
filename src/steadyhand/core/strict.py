"""Files and texts that may surprise: every surprise is an error that names the file.

Only regular files are read (a pipe would wait for ever, a device may never end), none larger than a limit.
JSON must not say a thing twice, since readers differ in which of the two they take.
"""

import errno
import json
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steadyhand.core.errors import ConfigError, SteadyhandError

MOST_BYTES = 1 << 28
"""Largest text that is read: 256 MiB. Numbers in quantity belong into Parquet or safetensors."""

_RESTORE = "restore it from a copy, or write it anew"


def require_file(path: Path, *, error: type[SteadyhandError] = ConfigError, most: int | None = None) -> None:
    """Raise unless `path` is a regular file that can be opened, and no larger than `most` bytes.

    Raises:
        SteadyhandError: An `error`, if the file is missing, a folder, pipe, socket or device, or too large.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as cause:
        raise error(f"There is no file {path}.", hint="check the path") from cause
    except (OSError, ValueError) as cause:
        raise _unreadable(path, cause, error) from cause
    if not stat.S_ISREG(found.st_mode):
        raise error(
            f"{path} is no file.", got=kind_of(found.st_mode), expected="a regular file", hint=_RESTORE
        )
    if most is not None and found.st_size > most:
        raise error(
            f"{path} is too large.",
            got=f"{found.st_size} bytes",
            expected=f"at most {most} bytes",
            hint="check that it is the file that you mean",
        )


def read_text(path: Path, *, error: type[SteadyhandError] = ConfigError, most: int = MOST_BYTES) -> str:
    """Return the text of a file in UTF-8, a byte order mark left out.

    Raises:
        SteadyhandError: An `error`, if `require_file` raises one, or it cannot be read, or is not UTF-8.
    """
    require_file(path, error=error, most=most)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as cause:
        raise error(f"{path} is not text in UTF-8.", got=cause, hint=_RESTORE) from cause
    except OSError as cause:
        raise _unreadable(path, cause, error) from cause


def parse_json(
    text: str, *, source: str, error: type[SteadyhandError] = ConfigError, allows_nan: bool = False
) -> Any:
    """Return what a JSON text says.

    Args:
        text: The text.
        source: What it is, as the beginning of a sentence.
        error: The kind of error.
        allows_nan: Take NaN and Infinity, which are no JSON, but which Python writes.

    Raises:
        SteadyhandError: An `error`, if the text is not JSON, says a key twice, or is nested too deeply.
    """
    try:
        constant = None if allows_nan else _refuse_constant
        return json.loads(text, parse_constant=constant, object_pairs_hook=_once)
    except RecursionError as cause:
        raise error(f"{source} is nested too deeply.", hint=_RESTORE) from cause
    except ValueError as cause:
        raise error(f"{source} is not JSON.", got=cause, hint=_RESTORE) from cause


def load_json(path: Path, *, error: type[SteadyhandError] = ConfigError, allows_nan: bool = False) -> Any:
    """Return what a JSON file says; see `read_text` and `parse_json` for what is refused."""
    return parse_json(read_text(path, error=error), source=str(path), error=error, allows_nan=allows_nan)


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Give `path` to every OSError of the block that names no file, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Yield a path to write to, which takes the place of `path` when the block is done.

    So no reader sees half a file, and a block that fails leaves the old one and nothing else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path):
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def plain(text: str) -> str:
    """Return text that does nothing to a terminal: control characters are written out as escapes.

    Line feeds and tabs stay. Marks that turn the direction of writing, and halves of characters, are written
    out too: a name must not look like another one.
    """
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in "\n\t" or character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return found


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _unreadable(path: Path, cause: Exception, error: type[SteadyhandError]) -> SteadyhandError:
    hint = _RESTORE
    if isinstance(cause, OSError) and cause.errno in (errno.EACCES, errno.EPERM):
        hint = f"ask for the right to read it: ls -l {path.parent}"
    what = cause.strerror if isinstance(cause, OSError) and cause.strerror else cause
    return error(f"{path} cannot be read.", got=what, hint=hint)


def kind_of(mode: int) -> str:
    """Return in words what lies at a path, by its `st_mode`."""
    if stat.S_ISREG(mode):
        return "a file"
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISFIFO(mode):
        return "a named pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def os_error(error: OSError) -> SteadyhandError:
    """Return what the system refused as an error that names the file and what to do."""
    names = [os.fspath(name) for name in (error.filename, error.filename2) if name is not None]
    where = " -> ".join(str(name) for name in names)
    what = f"The system refused to work with {where}." if where else "The system refused to read or write."
    # pyarrow has longer words for it.
    told = os.strerror(error.errno) if error.errno else str(error)
    return SteadyhandError(what, got=told, hint=_ADVICE.get(error.errno or 0, _OTHER))


_OTHER = "check the path, its permissions and the disk; what was finished is kept"
_ADVICE = {
    errno.ENOSPC: "free space on that disk, then run the same command again; what was finished is kept",
    errno.EFBIG: "files may not be that large here: raise the limit with ulimit -f, or use another disk",
    errno.EDQUOT: "free space within your quota, then run the same command again; what was finished is kept",
    errno.EROFS: "that disk is read-only: choose another folder with --out",
    errno.EACCES: "choose a folder in which you may write with --out, or change the permissions",
    errno.EPERM: "choose a folder in which you may write with --out, or change the permissions",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of that path is a file, not a folder: choose another path",
    errno.EISDIR: "that is a folder, and a file is wanted",
    errno.EEXIST: "something of that name is there already: choose another path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "too many files are open: raise the limit with ulimit -n",
    errno.ELOOP: "a link leads back to itself: remove it",
}
