"""Run controllers from the same starts and make the report that compares them."""

import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from steadyhand.analysis.multimodality import Ways, summarise_modes
from steadyhand.analysis.occupancy import occupancy_maps
from steadyhand.analysis.page import Video
from steadyhand.analysis.report import completed, write_report
from steadyhand.analysis.results import (
    Cost,
    Fact,
    Kind,
    MeanTest,
    OccupancyMaps,
    PolicyResult,
    Report,
    Rounds,
    Wording,
)
from steadyhand.analysis.summary import summarise
from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Controller
from steadyhand.core.provenance import versions
from steadyhand.core.strict import replacing
from steadyhand.core.success import SuccessRule
from steadyhand.correction.remedy import TrainedPolicy
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.recipes.films import FILM_SECONDS, shoot, why_no_films
from steadyhand.rollout.evaluate import Evaluation, evaluate
from steadyhand.rollout.random_actions import RandomActions
from steadyhand.training.metrics import updates_of_fits

WORDING = {"car": Wording(outcome="kept {k} of {n} cars on the road", surviving="Still on the road")}
"""How the tasks of some envs are spoken of, by id."""
Tick = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class NamedController:
    """One controller in a comparison.

    Attributes:
        name: Name for tables and plots.
        controller: The controller that drives.
        kind: "expert" or "policy".
        cost: What making it took.
        note: A remark for the table.
    """

    name: str
    controller: Controller
    kind: Kind = "policy"
    cost: Cost = field(default_factory=Cost)
    note: str = ""


def entrants_of(expert: Controller, taught: Sequence[TrainedPolicy], env: BatchEnv) -> list[NamedController]:
    """Return who drives: the expert, and each taught policy with what it cost."""
    policies = [_entrant(one, env) for one in taught]
    return [NamedController(name="expert", controller=expert, kind="expert"), *policies]


def _entrant(taught: TrainedPolicy, env: BatchEnv) -> NamedController:
    """Return a taught policy as an entrant; its folders say how many updates were made for it."""
    fits = updates_of_fits(taught.folder if taught.rounds is None else taught.folder.parent)
    cost = Cost(
        labels=taught.labels,
        trained_labels=taught.trained_labels,
        updates=fits.get(taught.folder / "training", taught.updates),
        all_updates=sum(fits.values()) if fits else None,
        fits=len(fits) or None,
        wall_s=taught.wall_s,
    )
    controller = taught.learner.controller(taught.folder, num_rows=env.num_rows)
    return NamedController(name=taught.name, controller=controller, cost=cost, note=taught.note)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An entrant's episodes, their summary, and its films as MP4; if there are none, why."""

    evaluation: Evaluation
    result: PolicyResult
    films: tuple[Video, ...]
    no_films: str = ""


def compete(
    env: BatchEnv,
    entrants: Sequence[NamedController],
    starts: Sequence[Start],
    *,
    seed: int,
    num_films: int = 1,
    on_step: Callable[[str], Tick] | None = None,
) -> list[Outcome]:
    """Run every entrant from every start.

    Args:
        env: The env; its rows run in parallel.
        entrants: The expert first, then the baseline.
        starts: Starts, the same for all.
        seed: Seed of the controllers' random streams.
        num_films: How many starts to film, if the env renders; see `worth_filming`.
        on_step: Given a name, returns what is called with (ended, all) after each step.
    """
    evaluations: list[Evaluation] = []
    walls: list[float] = []
    for entrant in entrants:
        began = time.perf_counter()
        tick = None if on_step is None else on_step(entrant.name)
        evaluation = evaluate(env, entrant.controller, starts, name=entrant.name, seed=seed, on_step=tick)
        evaluations.append(evaluation)
        walls.append(time.perf_counter() - began)
    filmed: list[int] = []
    hindered = why_no_films(env) if num_films else ""
    if hindered is None:
        filmed = worth_filming(entrants, evaluations, num_films)
    longest = max((one.lengths[filmed].max() for one in evaluations if filmed), default=0)
    seconds = min(FILM_SECONDS, longest * env.spec.control_dt + 1.0)  # the same for all, side by side
    experts = [e for c, e in zip(entrants, evaluations, strict=True) if c.kind == "expert"]
    reference = ways_of(experts[0]) if experts else None
    return [
        Outcome(
            evaluation=evaluation,
            result=_summary(entrant, evaluation, wall, seed, reference),
            films=filmed_drives(env, entrant, starts, filmed, seed, seconds=seconds, known=evaluation)
            if filmed
            else (),
            no_films=hindered or "",
        )
        for entrant, evaluation, wall in zip(entrants, evaluations, walls, strict=True)
    ]


def ways_of(evaluation: Evaluation) -> Ways | None:
    """Return which way each episode took; None if the env does not know ways, or nothing tells success."""
    if evaluation.modes is None or evaluation.success is None:
        return None
    return Ways(
        modes=evaluation.modes,
        success=evaluation.success,
        group=evaluation.group,
        track=evaluation.mode_track,
        paths=evaluation.positions,
    )


def worth_filming(
    entrants: Sequence[NamedController], evaluations: Sequence[Evaluation], num_films: int
) -> list[int]:
    """Return the first starts from which the first policy soon failed, then the first starts of all."""
    policies = [e for c, e in zip(entrants, evaluations, strict=True) if c.kind == "policy"]
    baseline = policies[0] if policies else evaluations[0]
    failed = np.flatnonzero(baseline.first_failure < FILM_SECONDS - 2.0).tolist()
    order = [*failed, *(index for index in range(len(baseline.starts)) if index not in failed)]
    return sorted(order[:num_films])


def filmed_drives(
    env: BatchEnv,
    entrant: NamedController,
    starts: Sequence[Start],
    filmed: Sequence[int],
    seed: int,
    *,
    seconds: float = FILM_SECONDS,
    known: Evaluation | None = None,
) -> tuple[Video, ...]:
    """Drive once more from the chosen starts, before the camera.

    Captions say how the known drives went, whose films are all `seconds` long. Where each start has an
    instruction of its own, it stands beside the number of the start.
    """
    chosen = [starts[index] for index in filmed]
    clips = shoot(env, entrant.controller, chosen, seed=seed, seconds=seconds, holds=known is not None)
    return tuple(
        Video(
            name=entrant.name,
            mp4=clip.mp4,
            group=f"start {index + 1}" + (f": {clip.task}" if clip.task else ""),
            poster=clip.poster,
            caption="" if known is None else _ending(known, index),
        )
        for index, clip in zip(filmed, clips, strict=True)
    )


def _ending(known: Evaluation, index: int) -> str:
    """Say how an episode goes within the time of a film."""
    failed, took = known.first_failure[index], known.lengths[index] * known.control_dt
    if failed <= FILM_SECONDS:
        return f"{'ended' if known.success is None else 'failed'} after {failed:.1f}\u00a0s"
    if known.success is not None and known.success[index] and took <= FILM_SECONDS:
        return f"succeeded after {took:.1f}\u00a0s"
    return f"still going after {min(took, FILM_SECONDS):.1f}\u00a0s"


def occupancy(env: BatchEnv, evaluations: Sequence[Evaluation], *, expert: str) -> OccupancyMaps | None:
    """Return where each controller drove, on the first start's track; None if the env has no positions."""
    first = evaluations[0]
    if first.positions is None:
        return None
    track = first.starts[0].options.get("track")
    paths = {
        one.name: [
            path
            for path, start in zip(one.positions, one.starts, strict=True)
            if start.options.get("track") == track
        ]
        for one in evaluations
        if one.positions is not None
    }
    try:
        outline = list(env.outline(first.starts[0]))
    except CapabilityError:
        outline = []
    return occupancy_maps(expert, paths, outline=outline)


def report_of(
    env: BatchEnv,
    outcomes: Sequence[Outcome],
    *,
    title: str,
    setting: Sequence[Fact],
    seed: int,
    wall_s: float,
    rounds: Rounds | None = None,
    maps: OccupancyMaps | None = None,
    regime: Sequence[Fact] = (),
    caveats: Sequence[str] = (),
    mean_tests: Sequence[MeanTest] = (),
) -> Report:
    """Return the report of a comparison; where nothing tells success, random actions give its scale."""
    rule = _rule(env)
    evaluations = [outcome.evaluation for outcome in outcomes]
    no_films = dict.fromkeys(f"No films: {one.no_films}" for one in outcomes if one.no_films)
    report = Report(
        title=title,
        command="steadyhand " + " ".join(sys.argv[1:]),
        env=env.spec.env_id,
        setting=(*setting, Fact(name="Success", value=rule.words)),
        seed=seed,
        results=tuple(outcome.result for outcome in outcomes),
        rounds=rounds,
        occupancy=maps,
        regime=tuple(regime),
        caveats=(*caveats, *_untold(env, evaluations), *no_films),
        versions=versions(),
        wall_s=wall_s,
        wording=WORDING.get(env.spec.env_id, Wording()),
        mean_tests=tuple(mean_tests),
        success=rule,
    )
    return completed(report, random_returns=_random_returns(env, outcomes, seed))


def _rule(env: BatchEnv) -> SuccessRule:
    """Return the rule of success, with the one key that counted where the infos had one only."""
    rule = env.spec.success
    counted = env.judge.counted if env.judge else set[str]()
    return replace(rule, keys=tuple(counted)) if len(counted) == 1 else rule


def _untold(env: BatchEnv, evaluations: Sequence[Evaluation]) -> list[str]:
    """Say where success was told of some episodes only, or of none although a rule looks for it."""
    caveats = [
        f"The env told whether {one.name} succeeded in {one.num_told} of {len(one.starts)} episodes only, so "
        "that success is left open; --success ever counts the others as failures."
        for one in evaluations
        if 0 < one.num_told < len(one.starts)
    ]
    caveats += [
        f"Every episode of {one.name} was truncated before the limit of {env.spec.max_episode_steps} "
        "steps, so that none counts as survived: the env has a limit of its own. Make the env with that "
        "limit (max_episode_steps)."
        for one in evaluations
        if env.spec.success.kind == "survived"
        and not one.terminated.any()
        and (one.lengths < env.spec.max_episode_steps).all()
    ]
    if env.judge and env.judge.ignored:
        ignored = ", ".join(sorted(env.judge.ignored))
        caveats.append(
            f"The infos of the env hold {', '.join(sorted(env.judge.counted))} and beside it {ignored}, "
            f"which did not count; --success ever:{min(env.judge.ignored)} counts that."
        )
    if env.judge and env.spec.success.absent == "failure" and not env.judge.counted:
        keys = ", ".join(env.spec.success.keys)
        caveats.append(
            f"No info of the env ever held {keys}: every episode counts as a failure for that reason."
        )
    return caveats


def _random_returns(env: BatchEnv, outcomes: Sequence[Outcome], seed: int) -> list[float] | None:
    """Return what random actions return from the same starts, where only returns are compared."""
    if all(outcome.result.kind != "expert" for outcome in outcomes):
        return None
    if all(outcome.evaluation.success is not None for outcome in outcomes):
        return None
    try:
        controller = RandomActions(env.spec.action)
    except CapabilityError:
        return None
    starts = outcomes[0].evaluation.starts
    tried = evaluate(env, controller, starts, name="random", seed=seed, positions=False)
    return tried.returns.tolist()


def rounds_of(taught: TrainedPolicy) -> Rounds | None:
    """Return the rounds of DAgger for the report; None for other methods."""
    if taught.rounds is None:
        return None
    return Rounds(
        name=taught.name,
        records=taught.rounds.rounds,
        returned=taught.rounds.best,
        validation_starts=taught.rounds.validation_starts,
    )


def publish(report: Report, outcomes: Sequence[Outcome], folder: Path) -> Path:
    """Write report.html, report.json and the films; return the path of the page."""
    for outcome in outcomes:
        for video in outcome.films:
            with replacing(folder / "videos" / film_name(video.group, outcome.result.name)) as temporary:
                temporary.write_bytes(video.mp4)
    by_group = sorted(
        (video for outcome in outcomes for video in outcome.films), key=lambda video: video.group
    )
    return write_report(report, folder, videos=by_group)


def film_name(group: str, name: str) -> str:
    """Return the name of a film's file, from which nothing of a policy's name leads elsewhere."""
    kept = re.sub(r"[^\w.()+=,^-]+", "-", f"{group}-{name}".lower())
    return f"{kept.strip('.-')[:100]}.mp4"


def _summary(
    entrant: NamedController, evaluation: Evaluation, wall: float, seed: int, reference: Ways | None
) -> PolicyResult:
    ways, num_modes, modes = ways_of(evaluation), evaluation.num_modes, None
    if ways is not None and num_modes is not None:
        other = None if entrant.kind == "expert" else reference
        modes = summarise_modes(ways, num_modes=num_modes, reference=other, seed=seed)
    return summarise(
        evaluation,
        kind=entrant.kind,
        cost=entrant.cost,
        rollout_wall_s=wall,
        note=entrant.note,
        modes=modes,
        seed=seed,
    )
