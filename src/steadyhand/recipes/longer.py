"""Making a finished run of training longer: the same run with more steps."""

from dataclasses import replace
from pathlib import Path

from steadyhand.core.codec import load, save
from steadyhand.core.errors import ConfigError
from steadyhand.recipes.train_run import TrainRun


def taken_up(run: TrainRun, folder: Path, *, resume: bool) -> TrainRun:
    """Return the run to do: `run`, or the one in `folder` with more steps if that is what `run` is.

    Args:
        run: What was asked for.
        folder: The run folder; its run.json is rewritten if the run is made longer.
        resume: Whether a run that is there may be continued.

    Raises:
        ConfigError: The schedule of the run that is there does not allow more steps, or `resume` is False.
    """
    longer = _longer(run, folder)
    return run if longer is None else _made_longer(run, longer, folder, resume=resume)


def _longer(run: TrainRun, folder: Path) -> TrainRun | None:
    """Return the run in `folder` with more steps if that is what `run` is, otherwise None.

    What the number of steps alone decides (cadences, and a warm-up that a short run cut) is taken from the
    run that is there or from the new number, so that the steps that are done stay as they were.
    """
    try:
        held = load(folder / "run.json", TrainRun)
    except ConfigError:
        return None  # there is none, or `start_run` refuses it
    old, new = held.training, run.training
    warmup = old.warmup_steps if old.warmup_steps == old.num_steps // 10 else new.warmup_steps
    training = replace(new, warmup_steps=warmup)
    free = ("num_steps", "validation_every", "checkpoint_every", "checkpoint_every_s", "log_every", "keep")
    same = replace(training, **{name: getattr(old, name) for name in free}) == old
    if not (same and replace(run, training=old) == held and new.num_steps > old.num_steps):
        return None
    return replace(run, training=training)


def _made_longer(run: TrainRun, longer: TrainRun, folder: Path, *, resume: bool) -> TrainRun:
    """Take up the run in `folder` with more steps.

    Raises:
        ConfigError: The run's schedule does not allow more steps, or nobody asked to resume.
    """
    path = folder / "run.json"
    old, new = load(path, TrainRun).training, longer.training
    if not old.can_be_longer:
        raise ConfigError(
            f"The run in {folder} cannot be made longer: its learning rate falls to the end of its steps.",
            got=f"num_steps = {new.num_steps}, schedule = {old.schedule}",
            expected=f"num_steps = {old.num_steps}, or a run of schedule constant or with fall_steps",
            hint=f"steadyhand train {run.data} --from {folder} --out NEW starts another run from its policy; "
            "for runs that can be made longer add --set training.schedule=constant",
        )
    if not resume:
        raise ConfigError(
            f"{folder} holds this run already, with fewer steps.",
            got=f"num_steps = {new.num_steps}",
            expected=f"num_steps = {old.num_steps}",
            hint="add --resume to make it longer, or choose another folder with --out",
        )
    save(path, longer)
    return longer
