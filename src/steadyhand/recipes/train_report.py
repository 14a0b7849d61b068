"""What `train` says beside its numbers: what to beware of in data and outcome, and the page of the run."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from steadyhand.analysis.offline import OfflineAccuracy, OfflineError
from steadyhand.analysis.results import Fact
from steadyhand.analysis.tables import Table
from steadyhand.analysis.training_page import (
    TrainingReport,
    learning_rate,
    losses,
    write_training_report,
)
from steadyhand.core.listing import listed
from steadyhand.core.provenance import versions
from steadyhand.data.checks.content import set_by_few
from steadyhand.data.frames import Frames
from steadyhand.policies.policy import PolicyModule
from steadyhand.training.loop import FitResult

REPEAT = "repeat last command"
_FEW = 64
"""Whole numbers of no more different values than this may be meant as choices."""
_SAMPLE = 100_000
"""Actions of which quantiles are taken, spread evenly over the data."""
_LISTED = 6
"""Most things that one line lists; of more it says how many there are."""


def notes_on_data(policy: PolicyModule, frames: Frames) -> list[str]:
    """Return what to beware of, a line each: several tasks, still or far values, whole numbers."""
    return [*_tasks(frames), *_still(policy), *_few(frames), *_whole_numbers(frames)]


def _tasks(frames: Frames) -> list[str]:
    if len(frames.tasks) < 2:
        return []
    shares = [f'"{text}" ({number} steps)' for text, number in frames.steps_by_task.items()]
    return [
        f"note: there are {len(frames.tasks)} tasks, and the policy is not told which one is asked for: "
        f"{listed(shares, most=_LISTED)}"
    ]


def _still(policy: PolicyModule) -> list[str]:
    still = policy.hardly_moving()
    if not still:
        return []
    return [
        f"note: {listed(still, most=_LISTED)}; such dimensions are divided by their floor, not by "
        "their spread (docs/training.md)"
    ]


def _few(frames: Frames) -> list[str]:
    """Return a line about actions of which few values set the range; none otherwise."""
    if frames.action_spec.kind != "continuous":
        return []
    action = frames.action.reshape(len(frames.action), -1)
    low, high = action.min(axis=0), action.max(axis=0)
    sample = action[:: max(1, len(action) // _SAMPLE)]
    places = set_by_few(low, high, sample)
    if not places:
        return []
    first = places[0]
    usual = np.quantile(sample[:, first], [0.01, 0.99])
    return [
        f"note: few values set the range of the action in dimension {listed(places, most=_LISTED)}: "
        f"{low[first]:.4g} to {high[first]:.4g}, where 98 % lie within {usual[0]:.4g} to {usual[1]:.4g}; "
        "look at them (steadyhand data check), since heads that scale by the range see little of the others"
    ]


def _whole_numbers(frames: Frames) -> list[str]:
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


def better_without_learning(
    errors: Sequence[OfflineError], accuracies: Sequence[OfflineAccuracy]
) -> list[str]:
    """Return a line for each answer without learning that is better than the policy, which comes first."""
    lines: list[str] = []
    for kind, rows in (
        ("error", [(one.name, one.relative) for one in errors]),
        ("accuracy", [(one.name, one.accuracy) for one in accuracies]),
    ):
        for name, value in rows[1:]:
            own = rows[0][1]
            if (value < own) if kind == "error" else (value > own):
                known = ", which is handed the expert's own last command" if name == REPEAT else ""
                shown = f"{value:.3f} against {own:.3f}" + (" of one std" if kind == "error" else "")
                lines.append(f'warning: "{name}" is better than the policy{known}: {kind} {shown}')
    return lines


def weights_line(fit: FitResult, *, best: Path, states: Path) -> str:
    """Say which weights were delivered where they are not the best, or not the last; empty otherwise."""
    if fit.kept_step != fit.steps:
        return (
            f"the weights are those of step {fit.kept_step}, where the held-out loss was lowest "
            f"({fit.best_validation_loss:.4g}); the last ones are a policy too: {states}"
        )
    if fit.rise <= 0:
        return ""
    rise = f"{100 * fit.rise:.2g}" if fit.rise < 0.1 else f"{100 * fit.rise:.0f}"
    return (
        f"the held-out loss was lowest at step {fit.best_step} ({fit.best_validation_loss:.4g}) and has "
        f"risen by {rise} % since: {best} is that policy (--keep best delivers it)"
    )


def held_out_table(
    errors: Sequence[OfflineError], accuracies: Sequence[OfflineAccuracy], *, num_episodes: int
) -> Table | None:
    """Return the table of the policy beside answers that need no learning; None if nothing was compared."""
    where = f"on {num_episodes} held-out {'episode' if num_episodes == 1 else 'episodes'}"
    if errors:
        return Table(
            caption=f"mean absolute error {where}",
            headers=("", "action units", "of one std", "first step", "last step"),
            rows=tuple(
                (
                    one.name,
                    f"{one.mean:.4g}",
                    f"{one.relative:.3f}",
                    f"{one.by_step[0]:.4g}",
                    f"{one.by_step[-1]:.4g}",
                )
                for one in errors
            ),
        )
    if accuracies:
        return Table(
            caption=f"right answers {where}",
            headers=("", "all steps", "mean of classes", "first step", "last step"),
            rows=tuple(
                (
                    one.name,
                    *(f"{100 * value:.1f} %" for value in (one.accuracy, one.by_class)),
                    *(f"{100 * value:.1f} %" for value in (one.by_step[0], one.by_step[-1])),
                )
                for one in accuracies
            ),
        )
    return None


def write_page(
    folder: Path,
    *,
    data: Path,
    fit: FitResult,
    brief: str,
    notes: Sequence[str],
    table: Table | None,
    used: Mapping[str, object],
    num_train: int,
    num_held_out: int,
) -> Path:
    """Write report.html of a run into its folder and return its path."""
    held_out = "" if fit.validation_loss is None else f", {fit.validation_loss:.4g} on held-out episodes"
    facts = (
        Fact(name="Policy", value=brief),
        Fact(name="Data", value=f"{data}: {num_train} episodes to train on, {num_held_out} held out"),
        Fact(name="Computed with", value=", ".join(f"{name}: {value}" for name, value in used.items())),
        Fact(name="Training time", value=f"{fit.wall_time_s:.1f} s (of the last start)"),
        Fact(name="Versions", value=", ".join(f"{name} {number}" for name, number in versions().items())),
    )
    report = TrainingReport(
        title=f"A policy from {data.name}",
        verdict=f"After {fit.steps} gradient steps the loss is {fit.train_loss:.4g}{held_out}.",
        notes=tuple(note.removeprefix("note: ").removeprefix("warning: ") for note in notes),
        curves=losses(fit.history),
        learning_rate=learning_rate(fit.history),
        best_step=fit.best_step,
        comparison=table,
        facts=facts,
        command=" ".join(["steadyhand", *sys.argv[1:]]),
    )
    return write_training_report(report, folder)
