"""The training loop: one for policies, dynamics models, critics and whatever else has a loss for each row."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError, SteadyhandError
from steadyhand.core.lock import working_in
from steadyhand.data.sampler import Sampler, WeightedSampler
from steadyhand.policies.threads import use_threads
from steadyhand.policies.trainable import Trainable
from steadyhand.training.checkpoint import Checkpoints
from steadyhand.training.compiling import CompiledNets
from steadyhand.training.config import TrainConfig
from steadyhand.training.metrics import Bar, Line, Metrics
from steadyhand.training.optim import Ema, adamw, learning_rate, set_learning_rate
from steadyhand.training.prepare import prepare
from steadyhand.training.source import Source, StepNoise, WeightedSource, device_of, source_digest

BatchT = TypeVar("BatchT")
Evaluate = Callable[[nn.Module, int], Mapping[str, float]]
"""(module, gradient steps so far) -> figures, such as the success rate of rollouts."""


class DivergedError(SteadyhandError):
    """The loss became NaN or infinite."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What came of a run.

    Attributes:
        steps: Gradient steps, those before a resume included; 1 where there is nothing to train, such as a
            policy in closed form.
        train_loss: Mean training loss over the last line of the history.
        validation_loss: Loss on the validation source at the end, of the averaged weights if there are any.
        wall_time_s: Time that this call took [s].
        history: The lines of metrics.jsonl.
    """

    steps: int
    train_loss: float
    validation_loss: float | None
    wall_time_s: float
    history: tuple[Line, ...]


def fit(
    trainable: Trainable[BatchT],
    train: Source[BatchT],
    *,
    config: TrainConfig,
    validation: Source[BatchT] | None = None,
    folder: Path | None = None,
    evaluate: Evaluate | None = None,
    resume: bool = False,
    progress: bool = False,
) -> FitResult:
    """Train in place; afterwards the module holds the averaged weights, if `config.ema` asks for them.

    A module without trainable parameters is prepared, its loss is taken once, and that is the whole run.
    The same arguments give the same weights, bit for bit on a CPU, also across a kill and a resume.

    Args:
        trainable: What is trained, on the device of its source; a policy needs `fit_statistics` first.
        train: The training data; only `train.steps` are drawn.
        config: How.
        validation: Held-out data, whose loss is taken at each validation.
        folder: Where metrics.jsonl and the checkpoints go; None keeps nothing.
        evaluate: Called at each validation with the module in evaluation mode; its figures are logged.
        resume: Continue from the last checkpoint in `folder`, if there is one.
        progress: Show a progress bar.

    Raises:
        DivergedError: The loss became NaN or infinite; it names the step and the last good checkpoint.
        ConfigError: `resume` finds a run with other settings or on other data, or somebody else trains there.
        CapabilityError: A policy has no statistics.
    """
    began = time.perf_counter()
    with use_threads(config.num_threads), nullcontext() if folder is None else working_in(folder):
        if not (resume and folder is not None and Checkpoints.exist(folder)):
            prepare(trainable, train, config)
        loop = _Loop(trainable, train, config, folder=folder, validation=validation, evaluate=evaluate)
        lines = loop.run(resume=resume, progress=progress)
    last = lines[-1]
    return FitResult(
        steps=int(last["step"]),
        train_loss=last["loss"],
        validation_loss=last.get("validation_loss"),
        wall_time_s=time.perf_counter() - began,
        history=tuple(lines),
    )


class _Loop(Generic[BatchT]):
    """One run."""

    def __init__(
        self,
        trainable: Trainable[BatchT],
        train: Source[BatchT],
        config: TrainConfig,
        *,
        folder: Path | None,
        validation: Source[BatchT] | None,
        evaluate: Evaluate | None,
    ) -> None:
        self._trainable = trainable
        self._train = train
        self._config = config
        self._folder = folder
        self._validation = validation
        self._evaluate = evaluate
        self._sampler = _sampler(train, config)
        self._noise = StepNoise(config.seed, "noise", device=device_of(trainable))
        self._optimizer = adamw(trainable, config)
        self._parameters = [p for p in trainable.parameters() if p.requires_grad]
        # Without parameters `prepare` was all of the training: the loss is taken once.
        self._num_steps = config.num_steps if self._parameters else 1
        self._nets = CompiledNets(trainable, is_on=config.compile)
        self._ema = None if config.ema is None or not self._parameters else Ema(trainable, config.ema)
        self._checkpoints = None if folder is None else self._make_checkpoints(folder)
        self._losses: list[Tensor] = []
        self._metrics: Mapping[str, Tensor] = {}
        self._norm = torch.zeros(())
        self._saved: Path | None = None

    def run(self, *, resume: bool, progress: bool) -> list[Line]:
        """Train to the end and return the lines of the history."""
        config, start = self._config, 0
        if self._checkpoints is not None:
            start = self._checkpoints.restore() if resume else self._checkpoints.clear()
        path = None if self._folder is None else self._folder / "metrics.jsonl"
        metrics = Metrics(path, resume_at=start)
        clock, since = time.perf_counter(), start
        self._trainable.train()
        with Bar(total=self._num_steps, done=start, is_on=progress) as bar:
            for done in range(start + 1, self._num_steps + 1):
                self._step(done - 1)
                if not self._is_due(done):
                    continue
                loss = self._mean_loss(done)
                rate = (done - since) / (time.perf_counter() - clock)
                metrics.add(self._line(done, loss=loss, rate=rate))
                bar.show(done, loss=loss, rate=rate)
                if self._checkpoints is not None and self._on_beat(done, config.checkpoint_every):
                    self._saved = self._checkpoints.save(done)
                clock, since = time.perf_counter(), done
        if self._ema is not None:
            self._ema.swap()
        self._trainable.eval()
        return metrics.lines

    def _step(self, step: int) -> None:
        """Take gradient step `step`, counted from 0, without waiting for the device."""
        config = self._config
        drawn = self._sampler.batch_indices(step)
        batch = self._train.batch(drawn)
        weight = self._weight_of(drawn)
        loss = self._nets.run(lambda: self._gradients(batch, step, weight))
        if config.clip_norm is not None:
            self._norm = nn.utils.clip_grad_norm_(self._parameters, config.clip_norm)
        set_learning_rate(self._optimizer, config, step)
        self._optimizer.step()
        if self._ema is not None:
            self._ema.update(step)
        self._losses.append(loss)

    def _weight_of(self, drawn: Int64[np.ndarray, " B"]) -> Tensor | None:
        """Return what a step was drawn in proportion to; None where all are drawn alike."""
        if self._config.sampling == "epochs":
            return None
        assert isinstance(self._train, WeightedSource)
        return torch.from_numpy(self._train.weight_of(drawn)).to(device_of(self._trainable))

    def _gradients(self, batch: BatchT, step: int, weight: Tensor | None) -> Tensor:
        """Put the gradients of a batch into the parameters and return its loss."""
        rows = self._trainable.loss_rows(batch, self._noise.at(step))
        rows = rows if weight is None else rows.over(weight)
        self._metrics = rows.metrics
        loss = rows.mean()
        for parameter in self._parameters:
            parameter.grad = None  # what zero_grad does, without its bookkeeping: 3 % of a small step
        if self._parameters:
            loss.backward()
        return loss.detach()

    def _on_beat(self, done: int, every: int) -> bool:
        return done == self._num_steps or (every > 0 and done % every == 0)

    def _is_due(self, done: int) -> bool:
        """Return whether to write a line: also at validations and checkpoints, so a resume repeats it."""
        config = self._config
        return any(
            self._on_beat(done, every)
            for every in (config.log_every, config.validation_every, config.checkpoint_every)
        )

    def _mean_loss(self, done: int) -> float:
        losses = torch.stack(self._losses).tolist()
        self._losses.clear()
        for index, loss in enumerate(losses):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"The loss of gradient step {done - len(losses) + index + 1} is not finite.",
                    got=loss,
                    expected="a finite number",
                    hint=f"lower learning_rate or set clip_norm; last good state: {self._saved or 'none'}",
                )
        return sum(losses) / len(losses)

    def _line(self, done: int, *, loss: float, rate: float) -> Line:
        config = self._config
        norm = self._norm
        if config.clip_norm is None:
            norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        line: Line = {
            "step": done,
            "loss": loss,
            "learning_rate": learning_rate(config, done - 1),
            "grad_norm": norm.item(),
            "steps_per_s": rate,
            "samples": done * config.batch_size,
        }
        line |= {name: value.mean().item() for name, value in self._metrics.items()}
        if self._on_beat(done, config.validation_every):
            line |= self._validate(done)
        return line

    def _validate(self, done: int) -> Line:
        figures: Line = {}
        self._trainable.eval()
        if self._ema is not None:
            self._ema.swap()
        try:
            if self._validation is not None:
                figures["validation_loss"] = self._validation_loss(self._validation)
            if self._evaluate is not None:
                figures |= self._evaluate(self._trainable, done)
        finally:
            if self._ema is not None:
                self._ema.swap()
            self._trainable.train()
        return figures

    @torch.no_grad()
    def _validation_loss(self, source: Source[BatchT]) -> float:
        """Return the weighted mean loss over all of `source`, with the same noise at every validation."""
        config = self._config
        noise = StepNoise(config.seed, "validation", device=device_of(self._trainable), augments=False)
        numerator, denominator = 0.0, 0.0
        for first in range(0, len(source.steps), config.batch_size):
            batch = source.batch(source.steps[first : first + config.batch_size])
            rows = self._trainable.loss_rows(batch, noise.at(first))
            numerator += rows.numerator.sum().item()
            denominator += rows.denominator.sum().item()
        return numerator / denominator

    def _make_checkpoints(self, folder: Path) -> Checkpoints:
        data = source_digest(self._train)
        return Checkpoints(
            folder,
            module=self._trainable,
            optimizer=self._optimizer,
            ema=self._ema,
            config=self._config,
            fingerprint=f"{data['steps']} steps of content {data['sha256']}",
        )


def _sampler(train: Source[BatchT], config: TrainConfig) -> Sampler | WeightedSampler:
    """Return what chooses the steps of each batch.

    Raises:
        ConfigError: Steps are to be drawn by their weight, and the source has none.
    """
    if config.sampling == "epochs":
        return Sampler(train.steps, batch_size=config.batch_size, seed=config.seed)
    if not isinstance(train, WeightedSource):
        raise ConfigError(
            "This training source cannot be sampled by weight.",
            got=type(train).__name__,
            hint='train with sampling="epochs"',
        )
    weight = train.weight_of(train.steps)
    return WeightedSampler(train.steps, weight, batch_size=config.batch_size, seed=config.seed)
