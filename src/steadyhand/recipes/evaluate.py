"""Run policies from the same starts and compare them: the run behind `steadyhand eval`."""

import time
from collections.abc import Callable
from pathlib import Path

from steadyhand.analysis.results import Fact, Report
from steadyhand.core.errors import ConfigError
from steadyhand.recipes.compare import Contestant, Tick, compete, occupancy, publish, report_of
from steadyhand.recipes.experts import build_expert
from steadyhand.recipes.folder import start_run
from steadyhand.recipes.policies import open_policy
from steadyhand.recipes.runs import EvalRun
from steadyhand.rollout.executors import RecedingHorizon

MAX_ROWS = 64


def evaluate_policies(
    run: EvalRun, folder: Path, *, on_step: Callable[[str], Tick] | None = None
) -> tuple[Report, Path]:
    """Run every policy from every start; return the report and the path of report.html.

    Raises:
        ConfigError: There is nobody to run, no start, or `folder` holds another run.
        ArtifactError: A folder holds no policy.
        SpecError: A policy does not fit the env.
    """
    if run.num_starts < 1:
        raise ConfigError("A comparison needs at least one start.", got=run.num_starts, expected=">= 1")
    if not (run.policies or run.expert):
        raise ConfigError(
            "There is nobody to evaluate.",
            got="no policy and no expert",
            hint="steadyhand eval POLICY --env ENV",
        )
    began = time.perf_counter()
    env = run.env.build(min(run.num_starts, MAX_ROWS))
    contestants: list[Contestant] = []
    if run.expert is not None:
        expert = build_expert(run.expert, env)
        contestants.append(Contestant(name="expert", controller=expert, kind="expert"))
    for path in run.policies:
        policy = open_policy(path, env.spec)
        controller = RecedingHorizon(policy, num_rows=env.num_rows, deterministic=run.deterministic)
        contestants.append(Contestant(name=_name(path, run.policies), controller=controller))
    start_run(run, folder, resume=True)
    starts = env.starts(run.family, run.num_starts, seed=run.seed)
    outcomes = compete(env, contestants, starts, seed=run.seed, num_films=run.num_videos, on_step=on_step)
    evaluations = [outcome.evaluation for outcome in outcomes]
    report = report_of(
        env,
        outcomes,
        title=f"{env.spec.env_id}: {_counted(len(run.policies))} from {run.num_starts} starts",
        setting=(
            Fact(name="Env", value=env.spec.env_id),
            Fact(name="Starts", value=f"the same {run.num_starts} of family {run.family} for everyone"),
            Fact(name="Answers", value="modes" if run.deterministic else "samples"),
        ),
        seed=run.seed,
        wall_s=time.perf_counter() - began,
        maps=occupancy(env, evaluations, expert="expert") if run.expert is not None else None,
    )
    return report, publish(report, outcomes, folder)


def _counted(number: int) -> str:
    return {0: "the expert", 1: "one policy"}.get(number, f"{number} policies")


def _name(path: Path, among: tuple[Path, ...]) -> str:
    """Return the shortest end of a path that tells the policies apart."""
    parts = path.parts[:-1] if path.name == "policy" else path.parts
    for count in range(1, len(parts) + 1):
        name = "/".join(parts[-count:])
        others = [other for other in among if other != path]
        if not any("/".join(other.parts).removesuffix("/policy").endswith(name) for other in others):
            return name
    return str(path)
