"""The training loop: one for policies, dynamics models, critics and whatever else has a loss for each row."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from steadyhand.core.errors import ConfigError, SteadyhandError
from steadyhand.core.lock import working_in
from steadyhand.policies.noise import Noise
from steadyhand.policies.threads import use_threads
from steadyhand.policies.trainable import TINY, LossRows, Trainable
from steadyhand.training.checkpoint import Checkpoints
from steadyhand.training.compiling import CompiledNets
from steadyhand.training.config import TrainConfig
from steadyhand.training.kept import BestWeights
from steadyhand.training.metrics import NAME, Line, Metrics, MetricsListener, Progress
from steadyhand.training.optim import Ema, adamw, learning_rate, set_learning_rate
from steadyhand.training.prepare import prepare
from steadyhand.training.source import Source, StepNoise, WeightedSource, device_of, sampler_of, source_digest
from steadyhand.training.stopping import StopSignals

BatchT = TypeVar("BatchT")
Evaluate = Callable[[nn.Module, int], Mapping[str, float]]
"""(module, gradient steps so far) -> figures, such as the success rate of rollouts."""


class DivergedError(SteadyhandError):
    """The loss became NaN or infinite."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What came of a run.

    Attributes:
        steps: Gradient steps, those before a resume included; 1 for a policy in closed form.
        train_loss: Mean training loss over the last line of the history.
        validation_loss: Loss on the validation source at the end, of the averaged weights if there are any.
        best_step, best_validation_loss: Where it was lowest, and how low; None without validation.
        kept_step: Gradient steps of the weights that the module holds now.
        wall_time_s: Time that this call took [s].
        history: The lines of metrics.jsonl.
    """

    steps: int
    train_loss: float
    validation_loss: float | None
    wall_time_s: float
    history: tuple[Line, ...]
    kept_step: int
    best_step: int | None = None
    best_validation_loss: float | None = None

    @property
    def rise(self) -> float:
        """Share by which the validation loss has risen since its best; 0 where it has not, or is unknown."""
        if self.validation_loss is None or self.best_validation_loss is None:
            return 0.0
        scale = max(abs(self.best_validation_loss), 1e-12)  # a log-likelihood may be negative
        return (self.validation_loss - self.best_validation_loss) / scale


def fit(
    trainable: Trainable[BatchT],
    train: Source[BatchT],
    *,
    config: TrainConfig,
    validation: Source[BatchT] | None = None,
    folder: Path | None = None,
    evaluate: Evaluate | None = None,
    resume: bool = False,
    on_progress: Progress | None = None,
    on_metrics: MetricsListener | None = None,
) -> FitResult:
    """Train in place; afterwards the module holds the averaged weights, if `config.ema` asks for them.

    A module without trainable parameters is prepared, its loss is taken once, and that is the whole run.
    The same arguments give the same weights, bit for bit on a CPU, also across a kill and a resume. More
    steps of a run whose schedule allows it give what that many steps at once would have given. With a
    folder, SIGINT and SIGTERM wait until the step in hand is done and the state is saved.

    Args:
        trainable: What is trained, on the device of its source; a policy needs `fit_statistics` first.
        train: The training data; only `train.steps` are drawn.
        config: Settings.
        validation: Held-out data, whose loss is taken at each validation.
        folder: Where metrics.jsonl and the checkpoints go; None keeps nothing.
        evaluate: Called at each validation with the module in evaluation mode; its figures are logged.
        resume: Continue from the last checkpoint in `folder`, if there is one.
        on_progress: Called at each line of the history with (steps done, of how many, loss and rate).
        on_metrics: Called at each line of the history with (`folder`, steps done, the line).

    Raises:
        DivergedError: The loss became NaN or infinite; it names the step and the last good checkpoint.
        ConfigError: `resume` finds a run with other settings or on other data, somebody else trains there,
            or the best weights are to be kept and there is nothing to validate on.
        CapabilityError: A policy has no statistics.
    """
    began = time.perf_counter()
    if config.keep == "best" and validation is None:
        raise ConfigError(
            "Without validation no weights are the best.",
            got='keep = "best"',
            hint='hold episodes out (validation_fraction), or keep="last"',
        )
    with use_threads(config.num_threads), nullcontext() if folder is None else working_in(folder):
        if not (resume and folder is not None and Checkpoints.last(folder)):
            prepare(trainable, train, config)
        loop = _Loop(trainable, train, config, folder=folder, validation=validation, evaluate=evaluate)
        lines = loop.run(resume=resume, on_progress=on_progress, on_metrics=on_metrics)
    if not lines:
        raise ConfigError(
            "The training is at its end, and its history is gone.",
            got=f"no line in {None if folder is None else folder / NAME}",
            hint="restore metrics.jsonl from a copy, or train in another folder",
        )
    last, best = lines[-1], loop.best
    return FitResult(
        steps=int(last["step"]),
        train_loss=last["loss"],
        validation_loss=last.get("validation_loss"),
        wall_time_s=time.perf_counter() - began,
        history=tuple(lines),
        kept_step=best.step if config.keep == "best" and best.step is not None else int(last["step"]),
        best_step=best.step,
        best_validation_loss=None if best.step is None else best.loss,
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
        self._sampler = sampler_of(train, config)
        self._noise = StepNoise(config.seed, "noise", device=device_of(trainable))
        self._optimizer = adamw(trainable, config)
        self._parameters = [p for p in trainable.parameters() if p.requires_grad]
        # Without parameters `prepare` was all of the training: the loss is taken once.
        self._num_steps = config.num_steps if self._parameters else 1
        self._nets = CompiledNets(trainable, is_on=config.compile)
        self._ema = None if config.ema is None or not self._parameters else Ema(trainable, config.ema)
        self._checkpoints = None if folder is None else self._make_checkpoints(folder)
        self.best = BestWeights(trainable, folder)
        self._losses: list[Tensor] = []
        self._known_losses: list[float] = []
        self._metrics: Mapping[str, Tensor] = {}
        self._norm = torch.zeros(())
        self._saved: Path | None = None

    def run(
        self, *, resume: bool, on_progress: Progress | None, on_metrics: MetricsListener | None
    ) -> list[Line]:
        """Train to the end and return the lines of the history."""
        config, start = self._config, 0
        if self._checkpoints is not None:
            checkpoints = self._checkpoints
            start, self._known_losses = checkpoints.restore() if resume else checkpoints.clear()
        path = None if self._folder is None else self._folder / NAME
        metrics = Metrics(path, resume_at=start, listener=on_metrics)
        self.best.recall(metrics.lines)
        self._saved_at = clock = time.perf_counter()
        since = start
        self._trainable.train()
        with StopSignals(is_on=self._checkpoints is not None) as signals:
            for done in range(start + 1, self._num_steps + 1):
                self._step(done - 1)
                if self._is_due(done):
                    loss = self._mean_loss(done)
                    rate = (done - since) / (time.perf_counter() - clock)
                    metrics.add(self._line(done, loss=loss, rate=rate))
                    if on_progress is not None:
                        on_progress(done, self._num_steps, f"loss {loss:.4g}  {rate:.0f} steps/s")
                    clock, since = time.perf_counter(), done
                self._keep_state(done, is_stopping=signals.received is not None)
                if signals.received is not None:
                    signals.deliver()
        if config.keep == "best" and self._parameters:
            self.best.take()
        elif self._ema is not None:
            self._ema.swap()
        self._trainable.eval()
        return metrics.lines

    def _keep_state(self, done: int, *, is_stopping: bool) -> None:
        """Save the state where steps, time or a signal ask for it."""
        if self._checkpoints is None:
            return
        every_s, now = self._config.checkpoint_every_s, time.perf_counter()
        is_late = every_s > 0 and now - self._saved_at >= every_s
        if is_stopping or is_late or self._on_beat(done, self._config.checkpoint_every):
            self._settle(done)
            self._saved = self._checkpoints.save(done, losses=self._known_losses)
            self._saved_at = time.perf_counter()

    def _step(self, step: int) -> None:
        """Take gradient step `step`, counted from 0, without waiting for the device."""
        config = self._config
        drawn = self._sampler.batch_indices(step)
        if config.accumulate == 1:
            batch, weight = self._train.batch(drawn), self._weight_of(drawn)
            loss = self._nets.run(lambda: self._gradients(batch, step, weight))
        else:
            parts = np.array_split(drawn, config.accumulate)
            loss = self._nets.run(lambda: self._gradients_in_parts(parts, step))
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
        rows = self._rows(batch, self._noise.at(step), weight)
        self._metrics = rows.metrics
        loss = rows.mean()
        self._forget_gradients()
        if self._parameters:
            loss.backward()
        return loss.detach()

    def _gradients_in_parts(self, parts: Sequence[np.ndarray], step: int) -> Tensor:
        """Do the same part by part: sums of gradients, divided by the weight of the whole batch at the end.

        The noise of a step goes on from part to part.
        """
        noise = self._noise.at(step)
        self._forget_gradients()
        numerator = denominator = torch.zeros((), device=device_of(self._trainable))
        metrics: list[Mapping[str, Tensor]] = []
        for drawn in parts:
            rows = self._rows(self._train.batch(drawn), noise, self._weight_of(drawn))
            metrics.append(rows.metrics)
            total = rows.numerator.sum()
            if self._parameters:
                total.backward()
            numerator = numerator + total.detach()
            denominator = denominator + rows.denominator.detach().sum()
        self._metrics = {name: torch.cat([part[name] for part in metrics]) for name in metrics[0]}
        denominator = denominator.clamp(min=TINY)
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad.div_(denominator)
        return numerator / denominator

    def _rows(self, batch: BatchT, noise: Noise, weight: Tensor | None) -> LossRows:
        if self._config.precision == "float32":
            rows = self._trainable.loss_rows(batch, noise)
        else:
            with torch.autocast(device_of(self._trainable).type, dtype=torch.bfloat16):
                rows = self._trainable.loss_rows(batch, noise)
            rows = replace(rows, numerator=rows.numerator.float(), denominator=rows.denominator.float())
        return rows if weight is None else rows.over(weight)

    def _forget_gradients(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None  # what zero_grad does, without its bookkeeping: 3 % of a small step

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
        """Return the mean loss of the steps since the last line."""
        self._settle(done)
        losses, self._known_losses = self._known_losses, []
        return sum(losses) / len(losses)

    def _settle(self, done: int) -> None:
        """Wait for the losses of the steps up to `done`.

        Raises:
            DivergedError: One of them is not finite.
        """
        if not self._losses:
            return
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
        self._known_losses += losses

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
                self.best.offer(done, figures["validation_loss"])
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
