"""The state of a training run on disk, complete enough to continue bit for bit.

    state/step-00001000/
        weights.safetensors     the module as it would be delivered: the averaged weights, if there are any
        policy.json             of a policy: the folder is one, to be loaded and evaluated
        optimizer.safetensors   both moments and the step of every parameter
        moving.safetensors      the parameters that the optimiser moves, where they differ from their average
        state.json              step, config, a fingerprint of the data, the losses since the last line of
                                metrics.jsonl, the digest of every file and its own

There is no random state to keep: the order of the data and the noise of a step are functions of (seed, step).
"""

import os
import re
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from steadyhand.core.codec import read_json, to_data, write_json
from steadyhand.core.digests import check_files, file_digests, sealed, unsealed
from steadyhand.core.errors import ArtifactError, ConfigError, SteadyhandError
from steadyhand.core.lock import remove_leftovers
from steadyhand.core.question import NUMERICS
from steadyhand.policies.artifact import load_tensors, read_tensors, replace_folder, write_tensors
from steadyhand.training.config import TrainConfig
from steadyhand.training.kept import read_module, save_module
from steadyhand.training.optim import Ema, Optimizer

VERSION = 3
_KEPT = 2
_MOVING = "moving.safetensors"
_NAME = re.compile(r"step-(\d+)")
FREE_TO_CHANGE = {"validation_every", "checkpoint_every", "checkpoint_every_s", "log_every", "keep"}
"""Settings that change no number of the run."""


@dataclass(frozen=True, kw_only=True)
class _State:
    """The files of one state, read and whole."""

    header: dict[str, Any]
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    moving: dict[str, Tensor]


class Checkpoints:
    """Writes and reads the states of one run; the last two are kept.

    Args:
        folder: The run's folder; states lie in `folder/state`.
        module: What is trained.
        optimizer: Optimiser that trains it.
        ema: Moving average of its weights, if any.
        config: How it is trained.
        fingerprint: Identifies the training data; a run continues only on the same.
    """

    def __init__(
        self,
        folder: Path,
        *,
        module: nn.Module,
        optimizer: Optimizer,
        ema: Ema | None,
        config: TrainConfig,
        fingerprint: str,
    ) -> None:
        self._folder = folder / "state"
        self._module = module
        self._optimizer = optimizer
        self._ema = ema
        self._config = config
        self._fingerprint = fingerprint

    def save(self, step: int, *, losses: Sequence[float] = ()) -> Path:
        """Write the state after `step` gradient steps under a temporary name, then rename.

        Args:
            step: Gradient steps so far.
            losses: Losses of the steps that no line of metrics.jsonl speaks of yet.
        """
        folder = self._folder / f"step-{step:08d}"
        temporary = self._folder / f".{folder.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        if self._ema is None:
            save_module(self._module, temporary, step=step)
        else:
            moving = {name: value.cpu().contiguous() for name, value in self._ema.moving().items()}
            with self._ema.swapped():
                save_module(self._module, temporary, step=step)
            write_tensors(temporary / _MOVING, moving)
        write_tensors(temporary / "optimizer.safetensors", self._moments())
        state = {
            "version": VERSION,
            "numerics": NUMERICS,
            "step": step,
            "config": to_data(self._config),
            "data": self._fingerprint,
            "losses": list(losses),
            "files": file_digests(temporary, sorted(path.name for path in temporary.iterdir())),
        }
        write_json(temporary / "state.json", sealed(state))
        for path in temporary.iterdir():
            _flush(path)
        replace_folder(temporary, folder)
        for _, old in _states(self._folder)[:-_KEPT]:
            shutil.rmtree(old)
        return folder

    def restore(self) -> tuple[int, list[float]]:
        """Load the last state into module, optimiser and average; return its step and losses (see `save`).

        A state with a damaged file is passed over with a warning, and the one before it is loaded.

        Raises:
            ConfigError: It was written with other settings or on other data.
            ArtifactError: All states are damaged, or one does not fit.
        """
        remove_leftovers(self._folder)
        states = _states(self._folder)
        for step, folder in reversed(states):
            try:
                state = self._read(folder)
            except SteadyhandError as error:
                if folder == states[0][1]:
                    raise
                what = " ".join(str(error).split())
                warnings.warn(f"{folder} is damaged and passed over: {what}", stacklevel=2)
                continue
            self._check(state.header, folder)
            load_tensors(self._module, state.weights, source=folder)
            self._load_moments(state.moments, folder)
            if self._ema is not None:
                self._ema.resume(state.moving)
            return step, state.header["losses"]
        return 0, []

    def clear(self) -> tuple[int, list[float]]:
        """Remove every state, as a fresh run does first, and return step 0 and no losses."""
        shutil.rmtree(self._folder, ignore_errors=True)
        return 0, []

    @staticmethod
    def last(folder: Path) -> tuple[int, Path] | None:
        """Return step and folder of the last state of the run in `folder`, if it left one."""
        states = _states(folder / "state")
        return states[-1] if states else None

    def _read(self, folder: Path) -> _State:
        """Read all files of a state before anything is loaded.

        Raises:
            SteadyhandError: One is missing or damaged.
        """
        path = folder / "state.json"
        header = read_json(path)
        if isinstance(header, dict) and header.get("version", VERSION) != VERSION:
            raise ArtifactError(f"{folder} has another version.", got=header["version"], expected=VERSION)
        header = unsealed(header, path=path)
        check_files(folder, header["files"])
        moving = read_tensors(folder / _MOVING) if _MOVING in header["files"] else {}
        return _State(
            header=header,
            weights=read_module(self._module, folder),
            moments=read_tensors(folder / "optimizer.safetensors"),
            moving=moving,
        )

    def _check(self, state: dict[str, Any], folder: Path) -> None:
        if state.get("numerics") != NUMERICS:
            raise ConfigError(
                f"The run in {folder.parent.parent} was started by a version that computes other numbers.",
                got=f"numerics {NUMERICS}",
                expected=f"numerics {state.get('numerics')}",
                hint="start afresh in another folder",
            )
        now, then = to_data(self._config), state["config"]
        initial = to_data(type(self._config)())  # what a setting was before it could be chosen
        for name in (field.name for field in fields(self._config)):
            before = then.get(name, initial[name])
            if name == "num_steps" and now[name] > before:
                self._check_longer(before, folder)
                continue
            if name not in FREE_TO_CHANGE and _plain(now[name]) != _plain(before):
                raise ConfigError(
                    f"The run in {folder.parent.parent} was started with another {name}.",
                    got=now[name],
                    expected=before,
                    hint="resume with the same settings, or start afresh in another folder",
                )
        if state["data"] != self._fingerprint:
            raise ConfigError(
                f"The run in {folder.parent.parent} was started on other training data.",
                got=self._fingerprint,
                expected=state["data"],
                hint="resume on the same data, or start afresh in another folder",
            )

    def _check_longer(self, num_steps: int, folder: Path) -> None:
        """Refuse more steps where they would have changed the learning rate of those that are done."""
        config = self._config
        if not config.can_be_longer:
            raise ConfigError(
                f"The run in {folder.parent.parent} cannot be made longer than the num_steps it was started "
                f"with: its learning rate falls to the end of those ({config.schedule}).",
                got=config.num_steps,
                expected=num_steps,
                hint="start another run from its policy (steadyhand train --from RUN --out NEW), or train "
                'with schedule="constant" or fall_steps from the beginning',
            )

    def _moments(self) -> dict[str, Tensor]:
        state = self._optimizer.state_dict()["state"]
        return {
            f"{index}.{name}": value.contiguous()  # filters may lie channels last, and files know no layouts
            for index, entry in state.items()
            for name, value in entry.items()
        }

    def _load_moments(self, tensors: dict[str, Tensor], folder: Path) -> None:
        whole = self._optimizer.state_dict()
        entries: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            index, _, name = key.partition(".")
            entries.setdefault(int(index), {})[name] = value
        num_parameters = sum(len(group["params"]) for group in whole["param_groups"])
        if set(entries) - set(range(num_parameters)):
            raise ArtifactError(
                f"The optimiser in {folder} has other parameters.",
                got=len(entries),
                expected=num_parameters,
            )
        self._optimizer.load_state_dict({**whole, "state": entries})


def _states(folder: Path) -> list[tuple[int, Path]]:
    """Return (step, folder) of every finished state, in order; unfinished ones have other names."""
    if not folder.is_dir():
        return []
    matches = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _flush(path: Path) -> None:
    """Make sure that a file is on the disk before its folder gets its final name."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
