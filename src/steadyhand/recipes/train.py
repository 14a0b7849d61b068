"""Train a policy on a data set: the run behind `steadyhand train`."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from steadyhand.analysis.offline import OfflineAccuracy, OfflineError, offline_accuracies, offline_errors
from steadyhand.analysis.tables import Table
from steadyhand.core.codec import to_data, write_json
from steadyhand.core.errors import CapabilityError, ConfigError, DataError, SpecError
from steadyhand.core.lock import working_in
from steadyhand.core.seeding import derive, short
from steadyhand.core.strict import MOST_BYTES, replacing
from steadyhand.data.base import Dataset
from steadyhand.data.dataset import open_any
from steadyhand.data.frames import Frames
from steadyhand.data.stats import split_episodes
from steadyhand.policies.artifact import load_policy, save_policy
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.devices import chosen_device
from steadyhand.policies.encoders.config import picture_size
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.reading import check_frames
from steadyhand.policies.spec import PolicyConfig, PolicySpec, require_readable, resolved
from steadyhand.recipes.choices import full_name, refuse_depth
from steadyhand.recipes.folder import check_run, start_run, used
from steadyhand.recipes.in_brief import in_brief
from steadyhand.recipes.longer import taken_up
from steadyhand.recipes.policies import policy_folder
from steadyhand.recipes.train_report import (
    better_without_learning,
    held_out_table,
    notes_on_data,
    weights_line,
    write_page,
)
from steadyhand.recipes.train_run import TrainRun
from steadyhand.training.kept import BEST
from steadyhand.training.loop import FitResult, fit
from steadyhand.training.metrics import MetricsListener, Progress

TRAINING = "training"
"""Folder of metrics.jsonl, the checkpoints and the best weights, in the run folder."""


@dataclass(frozen=True, kw_only=True)
class TrainOutcome:
    """What a training run left behind.

    Attributes:
        folder: The run folder; the policy is in its `policy` folder.
        policy: The trained policy.
        fit: Losses, steps and time.
        num_train: Episodes trained on.
        num_validation: Episodes held out.
        errors: Error on held-out episodes beside trivial answers; empty for discrete actions or no hold-out.
        accuracies: Accuracy on held-out episodes beside trivial answers, for discrete actions.
        used: Device, threads and precision.
        warnings: What to beware of in the outcome: answers without learning that are better, and a held-out
            loss that has risen since its best.
        page: The path of report.html.
    """

    folder: Path
    policy: PolicyModule
    fit: FitResult
    num_train: int
    num_validation: int
    errors: tuple[OfflineError, ...]
    accuracies: tuple[OfflineAccuracy, ...]
    used: dict[str, object]
    warnings: tuple[str, ...]
    page: Path

    def __repr__(self) -> str:
        held_out = "" if self.fit.validation_loss is None else f", held out {self.fit.validation_loss:.4g}"
        return (
            f"<TrainOutcome {self.folder}: {self.fit.steps} steps, loss {self.fit.train_loss:.4g}{held_out}>"
        )

    @property
    def table(self) -> Table | None:
        """The policy beside answers that need no learning; None if nothing was held out."""
        return held_out_table(self.errors, self.accuracies, num_episodes=self.num_validation)

    def figures(self) -> dict[str, object]:
        """Return every number as JSON data, as result.json in the run folder holds them."""
        return {
            "steps": self.fit.steps,
            "train_loss": self.fit.train_loss,
            "validation_loss": self.fit.validation_loss,
            "best_validation_loss": self.fit.best_validation_loss,
            "best_step": self.fit.best_step,
            "kept_step": self.fit.kept_step,
            "wall_time_s": self.fit.wall_time_s,
            "num_train_episodes": self.num_train,
            "num_held_out_episodes": self.num_validation,
            "held_out_errors": [to_data(error) for error in self.errors],
            "held_out_accuracies": [to_data(accuracy) for accuracy in self.accuracies],
            "warnings": list(self.warnings),
            "used": self.used,
        }


def train(
    run: TrainRun,
    folder: Path,
    *,
    dataset: Dataset | None = None,
    resume: bool = False,
    cache: Path | None = None,
    on_progress: Progress | None = None,
    on_metrics: MetricsListener | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> TrainOutcome:
    """Train, and leave run.json, result.json, checkpoints and the policy in `folder`.

    Args:
        run: What to train on what, and how.
        folder: The run folder.
        dataset: The data, where they are open or in memory already; `run.data` then only says what they are.
        resume: Continue an interrupted run of the same settings, or a finished one with more steps.
        cache: Where decoded pictures are kept; see `open_dataset`.
        on_progress: Called now and then with (steps done, of how many, loss and rate).
        on_metrics: Called as often with (folder of metrics.jsonl, steps done, its line).
        say: Takes lines before training begins, such as what the policy sees.

    Raises:
        ConfigError: `folder` holds a run already and `resume` is False, or holds another run; or policy and
            data do not fit together (nothing is written then).
        DataError: The data set is malformed, or too small to hold an episode out.
    """
    # A folder with a run is held from here on; a new one is made once everything is known to fit.
    with ExitStack() as held:
        if (folder / "run.json").is_file():
            held.enter_context(working_in(folder))
            held.enter_context(_unless_refused(folder / "run.json"))
        return _train(
            run,
            folder,
            dataset=dataset,
            resume=resume,
            cache=cache,
            on_progress=on_progress,
            on_metrics=on_metrics,
            say=say,
        )


@contextmanager
def _unless_refused(path: Path) -> Generator[None]:
    """Put the file back as it was where the block refuses what it was given."""
    before = path.read_bytes() if path.stat().st_size <= MOST_BYTES else None
    try:
        yield
    except (ConfigError, DataError, SpecError, CapabilityError):
        if before is not None and path.read_bytes() != before:
            with replacing(path) as temporary:
                temporary.write_bytes(before)
        raise


def _train(
    run: TrainRun,
    folder: Path,
    *,
    dataset: Dataset | None,
    resume: bool,
    cache: Path | None,
    on_progress: Progress | None,
    on_metrics: MetricsListener | None,
    say: Callable[[str], None],
) -> TrainOutcome:
    require_readable(run.policy)
    run = taken_up(run, folder, resume=resume)
    check_run(run, folder, resume=resume)  # before pictures are decoded
    device = chosen_device(run.training.device)
    dataset = _opened(run, cache) if dataset is None else dataset
    ready = _ready(run, dataset, device)
    with working_in(folder):
        start_run(run, folder, resume=resume)
        brief = in_brief(ready.policy, dataset.observation, unread=dataset.unread)
        notes = notes_on_data(ready.policy, ready.frames)
        for line in (brief, *notes):
            say(line)
        result = fit(
            ready.policy,
            ready.source,
            config=replace(run.training, seed=short(derive(run.seed, "training"))),
            validation=ready.validation,
            folder=folder / TRAINING,
            resume=resume,
            on_progress=on_progress,
            on_metrics=on_metrics,
        )
        save_policy(ready.policy, folder / "policy", extra={"step": result.kept_step})
        outcome = _outcome(run, folder, ready, result, brief=brief, notes=notes)
        write_json(folder / "result.json", outcome.figures())
        return outcome


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """What a fit needs, once everything is known to fit together.

    Attributes:
        policy: The policy to train, on its device.
        frames: The data.
        source: Windows to train on.
        validation: Windows held out; None if there are none, or none with a label.
        num_train: Episodes to train on.
        num_held_out: Episodes held out.
    """

    policy: PolicyModule
    frames: Frames
    source: WindowSource
    validation: WindowSource | None
    num_train: int
    num_held_out: int


def _ready(run: TrainRun, dataset: Dataset, device: torch.device) -> _Ready:
    config, frames = _seen(run, dataset)
    train_episodes, held_out = _split(frames, run)
    steps, held_out_steps = frames.steps_of(train_episodes), frames.steps_of(held_out)
    policy = _policy(run, config, frames, steps)

    def windows(at: np.ndarray) -> WindowSource:
        return WindowSource(frames, policy.window, steps=at, features=policy.features, device=device)

    source = windows(steps)
    has_labels = len(held_out_steps) and (frames.weight[held_out_steps] > 0).any()
    policy.to(device).trained_on = source.digest()
    return _Ready(
        policy=policy,
        frames=frames,
        source=source,
        validation=windows(held_out_steps) if has_labels else None,
        num_train=len(train_episodes),
        num_held_out=len(held_out),
    )


def _outcome(
    run: TrainRun, folder: Path, ready: _Ready, result: FitResult, *, brief: str, notes: Sequence[str]
) -> TrainOutcome:
    """Take the errors on held-out episodes, write the page of the run, and return what it left behind."""
    errors, accuracies = _beside_trivial_answers(ready.policy, ready.frames, ready.source, ready.validation)
    weights = weights_line(result, best=folder / TRAINING / BEST, states=folder / TRAINING / "state")
    warnings = [*better_without_learning(errors, accuracies), *([weights] if weights else [])]
    computed_with = used(run)
    page = write_page(
        folder,
        data=run.data,
        fit=result,
        brief=brief,
        notes=[*warnings, *notes],
        table=held_out_table(errors, accuracies, num_episodes=ready.num_held_out),
        used=computed_with,
        num_train=ready.num_train,
        num_held_out=ready.num_held_out,
    )
    return TrainOutcome(
        folder=folder,
        policy=ready.policy,
        fit=result,
        num_train=ready.num_train,
        num_validation=ready.num_held_out,
        errors=tuple(errors),
        accuracies=tuple(accuracies),
        used=computed_with,
        warnings=tuple(warnings),
        page=page,
    )


def _opened(run: TrainRun, cache: Path | None) -> Dataset:
    return open_any(
        run.data,
        control_dt=run.control_dt,
        cache_dir=cache,
        rename=run.rename,
        episodes=run.episodes or None,
        classes=run.classes,
    )


def _seen(run: TrainRun, dataset: Dataset) -> tuple[PolicyConfig, Frames]:
    """Return the policy with everything that it leaves open decided by the data, and what it sees of them."""
    refuse_depth(run.policy.observation, dataset.depth)
    named = tuple(full_name(name, dataset.observation) for name in run.policy.observation)
    config = resolved(replace(run.policy, observation=named), dataset.observation)
    return config, dataset.frames(config.observation, picture_size=picture_size(config.encoder))


def _beside_trivial_answers(
    policy: PolicyModule, frames: Frames, source: WindowSource, validation: WindowSource | None
) -> tuple[list[OfflineError], list[OfflineAccuracy]]:
    """Return errors on held-out episodes, or accuracies for discrete actions; neither without a hold-out."""
    if validation is None:
        return [], []
    if frames.action_spec.kind == "discrete":
        return [], offline_accuracies(policy, frames, validation.steps, train_steps=source.steps)
    return offline_errors(policy, frames, validation.steps), []


def _policy(
    run: TrainRun, config: PolicyConfig, frames: Frames, steps: Int64[np.ndarray, " M"]
) -> PolicyModule:
    """Return a fresh policy with statistics, or the one that the run starts from.

    Raises:
        ConfigError: That one is made of other parts.
        SpecError: It reads or does something else than the data hold.
    """
    if run.start is None:
        policy = PolicyModule.build(config, PolicySpec.of_frames(frames), seed=derive(run.seed, "parameters"))
        policy.fit_statistics(frames, steps)
        return policy
    path = policy_folder(run.start)
    policy = load_policy(path)
    there, wanted = to_data(policy.config), to_data(config)
    different = [name for name in wanted if there[name] != wanted[name]]
    if different:
        name = different[0]
        raise ConfigError(
            f"The policy in {path} is made of other parts than the one to train: {', '.join(different)}.",
            got=f"{name} = {wanted[name]}",
            expected=f"{name} = {there[name]}",
            hint="leave encoder, head, horizon and --observation out: --from takes those of the policy",
        )
    check_frames(policy.spec, frames)
    if abs(policy.spec.control_dt - frames.control_dt) > 0.01 * frames.control_dt:
        raise SpecError(
            f"The policy in {path} was trained at another rate than these data have.",
            got=f"control_dt = {frames.control_dt:g} s",
            expected=f"control_dt = {policy.spec.control_dt:g} s",
            hint="train a fresh policy, or resample the data",
        )
    # Labels that its head cannot reach are refused here, before a folder is made.
    policy.adapt_statistics(frames, steps)
    return policy


def _split(frames: Frames, run: TrainRun) -> tuple[np.ndarray, np.ndarray]:
    everything = np.arange(frames.num_episodes)
    if run.validation_fraction == 0.0:
        return everything, everything[:0]
    if frames.num_episodes < 2:
        raise DataError(
            "One episode cannot be split into training and validation.",
            got=f"{frames.num_episodes} episode, validation_fraction = {run.validation_fraction}",
            hint="record more episodes, or set validation_fraction to 0",
        )
    return split_episodes(frames.num_episodes, run.validation_fraction, run.seed, branch=frames.branch)
