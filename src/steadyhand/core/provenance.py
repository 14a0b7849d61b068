"""Which code made a result: its commit, its version, and the versions of what computes with it."""

import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from steadyhand import __version__
from steadyhand.core.errors import ConfigError
from steadyhand.core.question import NUMERICS
from steadyhand.core.strict import parse_json

PACKAGES = ("steadyhand", "torch", "numpy", "gymnasium", "pyarrow", "av", "mujoco")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The code that made a result.

    Attributes:
        commit: Commit of the source tree, with "+" behind it where tracked files differ from the commit.
            Empty where the package was installed without its history.
        version: Version of this package.
        numerics: `core.question.NUMERICS` at the time: it rises with every change that alters numbers.
        python: Version of Python.
        platform: Operating system and processor.
        torch: Version of PyTorch.
        numpy: Version of NumPy.
        command: The command line.
    """

    commit: str
    version: str
    numerics: int
    python: str
    platform: str
    torch: str
    numpy: str
    command: str

    @classmethod
    def of_this_process(cls) -> "Provenance":
        """Return the provenance of what this process computes."""
        found = versions()
        return cls(
            commit=_commit(),
            version=__version__,
            numerics=NUMERICS,
            python=platform.python_version(),
            platform=platform.platform(),
            torch=found.get("torch", ""),
            numpy=found.get("numpy", ""),
            command=" ".join(sys.argv),
        )

    @property
    def is_stale(self) -> bool:
        """Whether numbers have been altered since."""
        return self.numerics < NUMERICS


def versions() -> dict[str, str]:
    """Return the installed version of each package that matters for the numbers."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def _commit() -> str:
    here = Path(__file__)
    # A file that git does not track lies in somebody else's repository: their commit would say nothing.
    if _git(here.parent, "ls-files", "--error-unmatch", here.name):
        changed = _git(here.parents[1], "status", "--porcelain", "--untracked-files=no", "--", ".")
        return _git(here.parent, "rev-parse", "HEAD") + ("+" if changed else "")
    return _installed_commit()


def _git(folder: Path, *words: str) -> str:
    """Return what git says, or nothing where it has nothing to say."""
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, check=False, capture_output=True, text=True, timeout=10.0
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _installed_commit() -> str:
    """Return the commit that pip noted when it installed from a repository."""
    try:
        noted = distribution("steadyhand").read_text("direct_url.json")
        said = parse_json(noted, source="direct_url.json") if noted else {}
    except (PackageNotFoundError, ConfigError):
        return ""
    return str(said.get("vcs_info", {}).get("commit_id", ""))
