"""Metrics of a run in TensorBoard, Weights & Biases or Trackio, by their own packages where installed.

`metrics.jsonl` is written in any case. Figures are called source/name: "training/loss",
"dagger/round-02/loss", "rounds/validation_success".
"""

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, final

from steadyhand.core.errors import ConfigError
from steadyhand.training.metrics import MetricsListener

LogName = Literal["none", "tensorboard", "wandb", "trackio"]
_MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "trackio": "trackio"}


class _Log(ABC):
    """Where figures go; it begins with the first ones, since a run that is refused leaves nothing.

    Args:
        module: The package.
        folder: The run folder.
        settings: What is run.
    """

    def __init__(self, module: Any, folder: Path, settings: object) -> None:
        self._module = module
        self._folder = folder
        self._settings = settings
        self._writer: Any = None

    def __call__(self, where: Path, step: int, figures: Mapping[str, float | int]) -> None:
        """Take the figures of one step of a training, or of one round."""
        if self._writer is None:
            self._writer = self._begun()
        source = where.relative_to(self._folder).as_posix()
        self._take(source if source == "training" else source.removesuffix("/training"), step, figures)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._end()

    @abstractmethod
    def _begun(self) -> Any: ...

    @abstractmethod
    def _take(self, source: str, step: int, figures: Mapping[str, float | int]) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...


@final
class _TensorBoard(_Log):
    """Event files in the run folder; `tensorboard --logdir RUN` shows them."""

    def _begun(self) -> Any:
        return self._module.SummaryWriter(log_dir=str(self._folder / "tensorboard"))

    def _take(self, source: str, step: int, figures: Mapping[str, float | int]) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(f"{source}/{name}", value, step)

    def _end(self) -> None:
        self._writer.close()


@final
class _Tracker(_Log):
    """Weights & Biases, or Trackio, which has the same interface; each source counts steps of its own."""

    def _begun(self) -> Any:
        from steadyhand.core.codec import to_data

        self._sources = set[str]()
        options = {"dir": str(self._folder)} if self._module.__name__ == "wandb" else {}
        try:
            return self._module.init(
                project="steadyhand", name=self._folder.name, config=to_data(self._settings), **options
            )
        except Exception as error:
            raise ConfigError(
                f"{self._module.__name__} does not begin a run.",
                got=f"{type(error).__name__}: {error}",
                hint="log in (wandb login), or keep it here (WANDB_MODE=offline); then give the command "
                "again, with --resume where it is `train`",
            ) from error

    def _take(self, source: str, step: int, figures: Mapping[str, float | int]) -> None:
        if source not in self._sources and self._module.__name__ == "wandb":
            self._writer.define_metric(f"{source}/*", step_metric=f"{source}/step")
        self._sources.add(source)
        self._writer.log({f"{source}/{name}": value for name, value in {"step": step, **figures}.items()})

    def _end(self) -> None:
        self._writer.finish()


@contextmanager
def logging_to(name: LogName, folder: Path, settings: object) -> Generator[MetricsListener | None]:
    """Yield what takes the metrics of a run while the block runs; None for "none".

    Args:
        name: Name of the log: "none" or a tracker.
        folder: The run folder; its name is that of the run.
        settings: What is run; trackers keep it beside the figures.

    Raises:
        ConfigError: The package is not installed, or does not begin a run.
    """
    if name == "none":
        yield None
        return
    try:
        module = import_module(_MODULES[name])
    except ImportError as error:
        raise ConfigError(
            f"--log {name} needs the package {name}.",
            got=str(error),
            hint=f"pip install {name}, or leave --log out: metrics.jsonl is written in any case",
        ) from error
    log = (_TensorBoard if name == "tensorboard" else _Tracker)(module, folder, settings)
    try:
        yield log
    finally:
        log.close()
