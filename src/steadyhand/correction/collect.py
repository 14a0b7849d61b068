"""Collect labelled episodes until a budget of labels is spent."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from steadyhand.core.description import running
from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller, OutsideLabels
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.rollout.recorder import EpisodeRecorder
from steadyhand.rollout.session import Listener, Session

if TYPE_CHECKING:
    from steadyhand.correction.view_config import ViewConfig


@running()
def collect(
    env: BatchEnv,
    controller: Controller,
    starts: Sequence[Start],
    *,
    source: str,
    seed: int,
    num_labels: int | None = None,
    num_rows: int | None = None,
    max_steps: int | None = None,
    max_env_steps: int | None = None,
    round: int = 0,
    outside_labels: OutsideLabels = "clipped",
    views: "ViewConfig | None" = None,
) -> list[Episode]:
    """Run `controller` from `starts` and return the episodes.

    Args:
        env: The env; its rows run in parallel.
        controller: The controller that drives and labels.
        starts: Taken in order until the labels are spent.
        source: Stored with the episodes: "demonstration", "correction" or "rollout".
        seed: Seed of the controller's random streams.
        num_labels: Stop at exactly this many labelled steps; None runs every start to its end.
        num_rows: Episodes that run at the same time; all rows of the env if None.
        max_steps: Steps after which an episode is cut.
        max_env_steps: Stop after so many steps of all rows together, or when the starts are used up, with the
            labels that there are: a gate that never asks would otherwise drive for ever.
        round: Round of an iterative correction.
        outside_labels: What becomes of labels outside the action's bounds. A warning says their share.
        views: Displaced views that are taken of each labelled step. The drives are the same as without, bit
            for bit; the views follow them as branch episodes, whose parents are positions in the returned
            list. They are nobody's answers, so they do not count as labels that were asked.

    Raises:
        CapabilityError: The env has no displaced views.
        ConfigError: All starts were used up before `num_labels` labels were collected.
    """
    recorder = EpisodeRecorder(
        env, tuple(starts), source=source, seed=seed, round=round, label_budget=num_labels
    )
    listeners: list[Listener] = [recorder]
    camera = None
    if views is not None:
        from steadyhand.correction.views import ViewCamera

        controller = camera = ViewCamera(env, controller, views)
        listeners.append(camera.listen)
    session = Session(
        env,
        controller,
        starts,
        seed=seed,
        num_rows=num_rows,
        max_steps=max_steps,
        listeners=listeners,
        outside_labels=outside_labels,
    )
    while not recorder.full and session.step() is not None:
        if max_env_steps is not None and session.num_steps >= max_env_steps:
            break
    if num_labels is not None and not recorder.full and max_env_steps is None:
        raise ConfigError(
            "The starts were used up before the labels were collected.",
            got=f"{recorder.num_labels} labels from {len(starts)} starts",
            expected=f"{num_labels} labels",
            hint="give more starts, longer episodes or fewer labels",
        )
    episodes = recorder.finish()
    if recorder.num_outside:
        warnings.warn(outside_in_words(recorder, outside_labels), stacklevel=3)  # past the decorator
    return episodes if camera is None else [*episodes, *camera.branches(episodes, recorder.numbers)]


def outside_in_words(recorder: EpisodeRecorder, outside_labels: OutsideLabels) -> str:
    """Return a sentence about the labels that lay outside the action's bounds."""
    share = 100.0 * recorder.num_outside / recorder.num_labels
    stored = "are clipped to them" if outside_labels == "clipped" else "are stored as they were meant"
    return f"{share:.3g} % of the labels lay outside the action's bounds and {stored}"
