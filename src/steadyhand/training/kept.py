"""Weights that a run keeps beside its last ones: those of its best validation."""

import shutil
from pathlib import Path

from torch import Tensor, nn

from steadyhand.policies.artifact import (
    load_tensors,
    read_policy_tensors,
    read_tensors,
    replace_folder,
    save_policy,
    tensors_of,
    write_tensors,
)
from steadyhand.policies.policy import PolicyModule
from steadyhand.training.metrics import Line

BEST = "best"
"""Folder of the best weights, in the folder of the run."""


def save_module(module: nn.Module, folder: Path, *, step: int) -> None:
    """Write a module's tensors, replacing what is there; a policy can be loaded and evaluated from there."""
    if isinstance(module, PolicyModule):
        save_policy(module, folder, extra={"step": step})
        return
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    write_tensors(temporary / "weights.safetensors", tensors_of(module))
    replace_folder(temporary, folder)


def read_module(module: nn.Module, folder: Path) -> dict[str, Tensor]:
    """Return the tensors that `save_module` wrote of a module of this kind.

    Raises:
        ArtifactError: A file is missing, corrupt or does not fit.
    """
    if isinstance(module, PolicyModule):
        return read_policy_tensors(folder, module)
    return read_tensors(folder / "weights.safetensors")


class BestWeights:
    """The weights with the lowest validation loss so far.

    Args:
        module: What is trained.
        folder: The run's folder, where they are kept as a policy; None keeps a copy in memory.

    Attributes:
        step: Gradient steps at the best validation; None before the first.
        loss: Validation loss of the best weights.
    """

    def __init__(self, module: nn.Module, folder: Path | None) -> None:
        self.step: int | None = None
        self.loss = float("inf")
        self._module = module
        self._folder = None if folder is None else folder / BEST
        self._copy: dict[str, Tensor] = {}

    def recall(self, lines: list[Line]) -> None:
        """Take up the validations of the history that a run is resumed with."""
        for line in lines:
            if line.get("validation_loss", float("inf")) < self.loss:
                self.step, self.loss = int(line["step"]), line["validation_loss"]

    def offer(self, step: int, loss: float) -> None:
        """Keep the module's weights if their validation loss is the lowest so far."""
        if not loss < self.loss:
            return
        self.step, self.loss = step, loss
        if self._folder is None:
            self._copy = {name: value.clone() for name, value in tensors_of(self._module).items()}
        else:
            save_module(self._module, self._folder, step=step)

    def take(self) -> None:
        """Put the best weights into the module.

        Raises:
            ArtifactError: Their files are gone or damaged.
        """
        if self._folder is None:
            load_tensors(self._module, self._copy, source=Path(BEST))
        else:
            load_tensors(self._module, read_module(self._module, self._folder), source=self._folder)
