"""Weights that somebody else trained, from a local safetensors file; nothing is ever downloaded."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError
from steadyhand.core.listing import listed
from steadyhand.core.strict import require_file

_wanted = ContextVar("_wanted", default=True)


@contextmanager
def without_pretrained() -> Generator[None]:
    """Leave pretrained files unread inside: a saved policy has its weights, and travels without the file."""
    token = _wanted.set(False)
    try:
        yield
    finally:
        _wanted.reset(token)


def load_pretrained(
    module: nn.Module, path: Path, *, unused: tuple[str, ...] = (), hint: str | None = None
) -> None:
    """Load a file's tensors into `module`: all of them, and nothing else.

    Args:
        module: What to fill.
        path: The safetensors file.
        unused: Beginnings of names of tensors that may be in the file and are not read, such as "fc.".
        hint: Advice for the error of a file that does not fit.

    Raises:
        ConfigError: The file is missing or corrupt, or its names or shapes differ.
    """
    if not _wanted.get():
        return
    given = {name: value for name, value in _read(path).items() if not _is_unused(name, unused)}
    own = module.state_dict(keep_vars=True)
    missing, unexpected = sorted(own.keys() - given.keys()), sorted(given.keys() - own.keys())
    if missing or unexpected:
        raise ConfigError(
            f"{path} does not hold the weights of this network.",
            got=f"missing: {listed(missing) or 'none'}; unexpected: {listed(unexpected) or 'none'}",
            expected=f"{len(own)} tensors, from {next(iter(own))}",
            hint=hint,
        )
    for name, value in given.items():
        if own[name].shape != value.shape:
            raise ConfigError(
                f"{name} in {path} has the wrong shape.",
                got=tuple(value.shape),
                expected=tuple(own[name].shape),
                hint=hint,
            )
    with torch.no_grad():
        for name, value in given.items():
            own[name].copy_(value)


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.exists():
        raise ConfigError(
            f"There is no file {path} with pretrained weights.",
            hint="nothing is downloaded: put the file there, or leave `weights` out",
        )
    require_file(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ConfigError(f"{path} is not a safetensors file, or is cut short.", got=error) from error


def _is_unused(name: str, unused: tuple[str, ...]) -> bool:
    return name.startswith(unused) or name.endswith("num_batches_tracked")
