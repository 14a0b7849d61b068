"""Run policies from the same starts and compare them: the run behind `steadyhand eval`."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from steadyhand.analysis.results import Fact, MeanTest, Report
from steadyhand.core.errors import ConfigError
from steadyhand.core.lock import working_in
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.policies.devices import chosen_device
from steadyhand.recipes.compare import NamedController, Tick, compete, occupancy, publish, report_of
from steadyhand.recipes.folder import computed_on, start_run
from steadyhand.recipes.policies import open_policy
from steadyhand.recipes.runs import EvalRun
from steadyhand.rollout.evaluate import Evaluation
from steadyhand.rollout.executors.base import PolicyExecutor
from steadyhand.rollout.executors.config import Receding
from steadyhand.rollout.samples import mean_versus_sample

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
    device = chosen_device(run.device)
    env = run.env.build(min(run.num_starts, MAX_ROWS))
    entrants: list[NamedController] = []
    if run.expert is not None:
        expert = run.expert.build(env)
        entrants.append(NamedController(name="expert", controller=expert, kind="expert"))
    for path in run.policies:
        policy = open_policy(path, env.spec).to(device)
        controller = run.executor.build(
            policy, num_rows=env.num_rows, deterministic=run.deterministic, num_threads=run.num_threads
        )
        entrants.append(NamedController(name=_name(path, run.policies), controller=controller))
    with working_in(folder):
        start_run(run, folder, resume=True)
        _, report, page = compare_drivers(run, env, entrants, folder, on_step=on_step)
        return report, page


def compare_drivers(
    run: EvalRun,
    env: BatchEnv,
    entrants: Sequence[NamedController],
    folder: Path,
    *,
    on_step: Callable[[str], Tick] | None = None,
) -> tuple[list[Evaluation], Report, Path]:
    """Run everybody from every start, and write the report to `folder`.

    Args:
        run: How; who drives, and in which env, is given beside it.
        env: The env.
        entrants: Who drives: the expert first, if at all, then the policies, the baseline first.
        folder: Where the report is written.
        on_step: Given a name, returns what is called with (ended, all) after each step.

    Returns:
        Everybody's episodes, the report, and the path of its page.
    """
    began = time.perf_counter()
    has_expert = any(entry.kind == "expert" for entry in entrants)
    num_policies = len(entrants) - has_expert
    starts = env.starts(run.family, run.num_starts, seed=run.seed)
    outcomes = compete(env, entrants, starts, seed=run.seed, num_films=run.num_videos, on_step=on_step)
    evaluations = [outcome.evaluation for outcome in outcomes]
    mean_tests = _mean_tests(env, entrants, starts, run, on_step=on_step) if run.mean_of else ()
    report = report_of(
        env,
        outcomes,
        title=f"{env.spec.env_id}: {_counted(num_policies)} from {run.num_starts} starts",
        setting=(
            Fact(name="Env", value=env.spec.env_id),
            Fact(name="Starts", value=f"the same {run.num_starts} of family {run.family} for everyone"),
            Fact(name="Execution", value=str(run.executor)),
            Fact(name="Answers", value=_answers(entrants)),
            computed_on(run),
        ),
        seed=run.seed,
        wall_s=time.perf_counter() - began,
        maps=occupancy(env, evaluations, expert=entrants[0].name) if has_expert else None,
        mean_tests=mean_tests,
    )
    return evaluations, report, publish(report, outcomes, folder)


def _mean_tests(
    env: BatchEnv,
    entrants: Sequence[NamedController],
    starts: Sequence[Start],
    run: EvalRun,
    *,
    on_step: Callable[[str], Tick] | None,
) -> tuple[MeanTest, ...]:
    """Run the mean-versus-sample test of every policy whose class draws; the others have one answer.

    Chunks are played in the receding horizon, with the run's number of steps if that is its executor.
    """
    steps = run.executor.n_action_steps if isinstance(run.executor, Receding) else None
    tests: list[MeanTest] = []
    for entry in entrants:
        if not isinstance(entry.controller, PolicyExecutor) or not entry.controller.policy.head.draws:
            continue
        tick = None if on_step is None else on_step(f"{entry.name}, mean against sample")
        policy = entry.controller.policy
        found = mean_versus_sample(
            env,
            policy,
            starts,
            seed=run.seed,
            num_samples=run.mean_of,
            n_action_steps=steps,
            on_step=tick,
        )
        tests.append(
            MeanTest(
                name=entry.name,
                num_samples=run.mean_of,
                returns=found.returns,
                mean_return=float(found.mean.returns.mean()),
                sample_return=float(found.sample.returns.mean()),
                mean_successes=_count(found.mean),
                sample_successes=_count(found.sample),
                success=found.success,
            )
        )
    return tuple(tests)


def _count(evaluation: Evaluation) -> int | None:
    return None if evaluation.success is None else int(evaluation.success.sum())


def _answers(entrants: Sequence[NamedController]) -> str:
    """Say whether modes or samples were driven with; each policy's own where they differ."""
    kinds = {
        entry.name: "modes" if entry.controller.deterministic else "samples"
        for entry in entrants
        if isinstance(entry.controller, PolicyExecutor)
    }
    if len(set(kinds.values())) <= 1:
        return next(iter(kinds.values()), "none")
    return ", ".join(f"{kind} of {name}" for name, kind in kinds.items())


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
