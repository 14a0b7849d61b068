"""The `steadyhand` command: picks a verb and imports only what that verb needs."""

import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

VERBS: dict[str, tuple[str, str]] = {
    "tour": ("tour", "clone a car, watch it drift, correct it; writes a report (two minutes)"),
    "envs": ("envs", "list the envs, or describe one"),
    "parts": ("parts", "list what policies and remedies are made of, or describe one part"),
    "record": ("record", "let an expert drive and store the episodes"),
    "train": ("train", "train a policy on a data set"),
    "eval": ("evaluate", "run policies from the same starts and compare them"),
    "expert": ("expert", "train an expert by reinforcement learning, or convert one: train | convert"),
    "correct": ("correct", "teach with a remedy for compounding error: dagger, noise, 18 others"),
    "bench": ("bench", "compare remedies over seeds, on the same budget of labels: remedies"),
    "cite": ("cite", "print the BibTeX of the methods that a run used"),
    "data": ("data", "look at a data set: info | check | repair | compact | modes"),
    "runs": ("runs", "list the runs below a folder and what came of them"),
    "show": ("runs:show", "show the results of a run, or open its report"),
}
"""Verb -> its module, with its function where that is not `main`; and what it does."""

EXAMPLES = """
first steps:
  steadyhand tour                                         the whole loop on a small race car
  steadyhand record car --out demos --labels 1000         demonstrations by the built-in expert
  steadyhand train demos --out runs/clone                 clone them
  steadyhand eval runs/clone --env car --out runs/eval    drive from 64 test starts, write a report
  steadyhand correct dagger car --out runs/dagger         let the expert correct the learner

`steadyhand VERB --help` explains a verb. With any verb, --plugin MODULE imports parts of your own first.
"""


def overview() -> str:
    """Return the text of `steadyhand --help`."""
    lines = [
        "usage: steadyhand VERB [options]",
        "",
        "Teach a robot by showing it, and keep it on course.",
        "",
    ]
    lines += [f"  {verb:<9} {text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(lines) + "\n" + EXAMPLES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its status.

    0 done, 1 a check failed, 2 wrong input, 130 or 143 stopped by SIGINT or SIGTERM.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    from steadyhand.core.errors import SteadyhandError
    from steadyhand.core.strict import os_error

    try:
        with warnings.catch_warnings(), _ends_on_sigterm():
            warnings.showwarning = _note
            return _dispatch(*_without_plugins(arguments))
    except SteadyhandError as error:
        return _refuse(error)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; what was finished is kept\n")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _refuse(os_error(error))
    except (MemoryError, RecursionError, RuntimeError) as error:
        return _refuse(_exhausted(error, arguments))


def _exhausted(error: Exception, arguments: Sequence[str]) -> Exception:
    """Return what to say where memory or the stack ran out; an error of the code itself is raised again."""
    from steadyhand.core.errors import SteadyhandError

    command = " ".join(arguments)
    if isinstance(error, RecursionError):
        return SteadyhandError(
            "Something that was read is nested too deeply.",
            got=command,
            hint="look at the files that this command reads; none of ours is nested more than 20 deep",
        )
    if (
        isinstance(error, MemoryError)
        or "can't allocate memory" in str(error)
        or "out of memory" in str(error)
    ):
        return SteadyhandError(
            "There is not enough memory.",
            got=f"{' '.join(str(error).split()) or 'no word of how much was wanted'}, in: {command}",
            hint="take smaller batches or pictures, fewer episodes at a time, or another machine",
        )
    raise error


def _refuse(error: Exception) -> int:
    _complain(f"error: {error}")
    return 2


def _complain(text: str) -> None:
    """Write to stderr; a hint, which may hold a command, stays whole, what else is long is folded."""
    import shutil

    from steadyhand.cli.lines import folded
    from steadyhand.core.strict import plain

    width = shutil.get_terminal_size().columns
    for line in plain(text).split("\n"):
        indent = " " * 11 if line.startswith("  ") else "  "
        is_hint = line.startswith("  do this:")
        sys.stderr.write((line if is_hint else folded(line, width, indent=indent)) + "\n")


def _note(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    """Print a warning as a line, without the place in the code that only its authors can read."""
    if not issubclass(category, DeprecationWarning | FutureWarning):
        _complain(f"note: {message}")


@contextmanager
def _ends_on_sigterm() -> Generator[None]:
    """Let SIGTERM end the block by an exception, so that what must be put in order is."""
    from steadyhand.core.errors import Stopped

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        del frame
        raise Stopped(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _without_plugins(arguments: list[str]) -> list[str]:
    """Import what `--plugin MODULE` names, so that its parts are known, and return the other arguments."""
    left: list[str] = []
    waiting = iter(arguments)
    for text in waiting:
        flag, separator, module = text.partition("=")
        if flag != "--plugin":
            left.append(text)
            continue
        from steadyhand.core.errors import ConfigError
        from steadyhand.core.modules import imported

        module = module if separator else next(waiting, "")
        if not module or module.startswith("-"):
            raise ConfigError("--plugin names a module.", got=text, expected="--plugin my_package.parts")
        imported(module)
    return left


def _dispatch(verb: str = "help", *arguments: str) -> int:
    if verb in ("-h", "--help", "help"):
        sys.stdout.write(overview())
        return 0
    if verb == "--version":
        from steadyhand import __version__

        sys.stdout.write(f"steadyhand {__version__}\n")
        return 0
    if verb not in VERBS:
        from steadyhand.core.errors import ConfigError

        raise ConfigError("There is no such verb.", got=verb, available=VERBS)
    name, _, function = VERBS[verb][0].partition(":")
    module = importlib.import_module(f"steadyhand.cli.{name}")
    return getattr(module, function or "main")([*arguments])


if __name__ == "__main__":
    raise SystemExit(main())
