"""Train a policy on a data set: the run behind `steadyhand train`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from steadyhand.analysis.offline import OfflineError, offline_errors
from steadyhand.core.codec import to_data, write_json
from steadyhand.core.errors import DataError
from steadyhand.core.seeding import derive
from steadyhand.data.dataset import open_any
from steadyhand.data.frames import Frames
from steadyhand.data.stats import split_episodes
from steadyhand.policies.artifact import save_policy
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.encoders.config import picture_size
from steadyhand.policies.policy import Policy
from steadyhand.policies.spec import PolicySpec, resolved
from steadyhand.recipes.choices import full_name
from steadyhand.recipes.folder import start_run
from steadyhand.recipes.in_brief import in_brief
from steadyhand.recipes.runs import TrainRun
from steadyhand.training.loop import FitResult, fit

_FEW = 64
"""Whole numbers of no more different values than this may be meant as choices."""


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
    """

    folder: Path
    policy: Policy
    fit: FitResult
    num_train: int
    num_validation: int
    errors: tuple[OfflineError, ...]

    def figures(self) -> dict[str, object]:
        """Return every number as JSON data, as result.json in the run folder holds them."""
        return {
            "steps": self.fit.steps,
            "train_loss": self.fit.train_loss,
            "validation_loss": self.fit.validation_loss,
            "wall_time_s": self.fit.wall_time_s,
            "num_train_episodes": self.num_train,
            "num_held_out_episodes": self.num_validation,
            "held_out_errors": [to_data(error) for error in self.errors],
        }


def train(
    run: TrainRun,
    folder: Path,
    *,
    resume: bool = False,
    progress: bool = False,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> TrainOutcome:
    """Train, and leave run.json, result.json, checkpoints and the policy in `folder`.

    Args:
        run: What to train on what, and how.
        folder: The run folder.
        resume: Continue an interrupted run of the same settings.
        progress: Show a progress bar.
        cache: Where decoded pictures are kept; see `open_dataset`.
        say: Takes lines before training begins, such as what the policy sees.

    Raises:
        ConfigError: `folder` holds a run already and `resume` is False, or holds another run; or policy and
            data do not fit together (nothing is written then).
        DataError: The data set is malformed, or too small to hold an episode out.
    """
    dataset = open_any(
        run.data,
        control_dt=run.control_dt,
        cache_dir=cache,
        rename=run.rename,
        episodes=run.episodes or None,
        classes=run.classes,
    )
    named = tuple(full_name(name, dataset.observation) for name in run.policy.observation)
    config = resolved(replace(run.policy, observation=named), dataset.observation)
    frames = dataset.frames(config.observation, picture_size=picture_size(config.encoder))
    train_episodes, held_out = _split(frames, run)
    policy = Policy.build(config, PolicySpec.of_frames(frames), seed=derive(run.seed, "parameters"))
    steps = frames.steps_of(train_episodes)
    source = WindowSource(frames, policy.window, steps=steps, features=policy.features)
    policy.fit_statistics(frames, source.steps)
    validation = None
    held_out_steps = frames.steps_of(held_out)
    if len(held_out_steps) and (frames.weight[held_out_steps] > 0).any():
        validation = WindowSource(frames, policy.window, steps=held_out_steps, features=policy.features)
    start_run(run, folder, resume=resume)
    say(in_brief(policy, dataset.observation))
    for doubt in whole_numbers(frames):
        say(doubt)
    result = fit(
        policy,
        source,
        config=replace(run.training, seed=derive(run.seed, "training") % 2**31),
        validation=validation,
        folder=folder / "training",
        resume=resume,
        progress=progress,
    )
    save_policy(policy, folder / "policy")
    errors: list[OfflineError] = []
    if validation is not None and frames.action_spec.kind != "discrete":
        errors = offline_errors(policy, frames, validation.steps)
    outcome = TrainOutcome(
        folder=folder,
        policy=policy,
        fit=result,
        num_train=len(train_episodes),
        num_validation=len(held_out),
        errors=tuple(errors),
    )
    write_json(folder / "result.json", outcome.figures())
    return outcome


def whole_numbers(frames: Frames) -> list[str]:
    """Return a line about actions that are few whole numbers and are learnt as numbers; none otherwise."""
    if frames.action_spec.kind != "continuous" or frames.action_spec.size != 1:
        return []
    action = frames.action
    values = np.unique(action) if (action == np.rint(action)).all() else action[:0]
    if not 0 < len(values) <= _FEW:
        return []
    first, last = int(values[0]), int(values[-1])
    return [
        f"note: the action is one whole number, {first} to {last}, and is learnt as a number; "
        f"if it is a choice, say so with --classes {first}..{last}"
    ]


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
