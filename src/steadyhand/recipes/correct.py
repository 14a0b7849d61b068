"""Teach a policy with one remedy, against cloning at the same labels: the run behind `steadyhand correct`."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from steadyhand.analysis.results import Fact, Report
from steadyhand.core.lock import working_in
from steadyhand.core.seeding import derive
from steadyhand.correction.offline import Cloning
from steadyhand.correction.record import RoundRecord
from steadyhand.correction.remedy import Remedy, TrainedPolicy
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.compare import Tick, compete, entrants_of, occupancy, publish, report_of, rounds_of
from steadyhand.recipes.folder import computed_on, start_run
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.recipes.runs import CorrectRun
from steadyhand.recipes.teach import Trainer
from steadyhand.training.metrics import MetricsListener, Progress

MAX_ROWS = 64


def correct(
    run: CorrectRun,
    folder: Path,
    *,
    on_stage: Callable[[str], None] = lambda _: None,
    on_step: Callable[[str], Tick] | None = None,
    on_fit: Callable[[str], Progress] | None = None,
    on_round: Callable[[RoundRecord], None] | None = None,
    on_metrics: MetricsListener | None = None,
) -> tuple[Report, Path]:
    """Teach, compare on test starts, and write the report; an interrupted run in `folder` is continued.

    Returns:
        The report, and the path of report.html. The policy is left in `folder`/policy.

    Raises:
        SteadyhandError: Env, expert, policy and method do not fit together (nothing is written then), or
            `folder` holds another run.
    """
    env = run.env.build(min(run.evaluation_starts, MAX_ROWS))
    expert = run.expert.build(env)
    learner = PolicyLearner(
        env.spec, policy=run.policy, training=run.training, on_fit=on_fit, on_metrics=on_metrics
    )
    trainer = Trainer(env=env, expert=expert, learner=learner, folder=folder, seed=run.seed)
    trainer.check(run.method)

    def told(record: RoundRecord) -> None:
        if on_round is not None:
            on_round(record)
        if on_metrics is not None:
            on_metrics(folder / "rounds", record.round, record.figures)

    with working_in(folder):
        start_run(run, folder, resume=True)
        on_stage(f"The policy {learner.in_brief}")
        return _correct(run, trainer, on_stage=on_stage, on_step=on_step, on_round=told)


def _correct(
    run: CorrectRun,
    trainer: Trainer,
    *,
    on_stage: Callable[[str], None],
    on_step: Callable[[str], Tick] | None,
    on_round: Callable[[RoundRecord], None] | None,
) -> tuple[Report, Path]:
    began = time.perf_counter()
    env, folder = trainer.env, trainer.folder
    taught = _teach(run, trainer, on_stage, on_round)
    corrected = taught[-1]
    if caveat := shortfall(corrected, run.method.num_labels):
        on_stage(caveat)
    shutil.copytree(corrected.folder / "policy", folder / "policy", dirs_exist_ok=True)
    on_stage(f"Driving: {run.evaluation_starts} test starts each")
    starts = env.starts("test", run.evaluation_starts, seed=0)
    drivers, seed = entrants_of(trainer.expert, taught, env), derive(run.seed, "test")
    outcomes = compete(env, drivers, starts, seed=seed, num_films=run.num_videos, on_step=on_step)
    report = report_of(
        env,
        outcomes,
        title=f"{env.spec.env_id}: {corrected.name}",
        setting=(
            Fact(name="Env", value=env.spec.env_id),
            Fact(name="Starts", value=f"the same {run.evaluation_starts} test starts for everyone"),
            Fact(name="Budget", value=f"at most {run.method.num_labels} expert labels for each method"),
            *((Fact(name="Baseline", value=_baseline(run.method)),) if len(taught) > 1 else ()),
            Fact(name="Learner", value=describe(trainer.learner.policy_config)),
            computed_on(run),
        ),
        seed=run.seed,
        caveats=(caveat,) if caveat else (),
        wall_s=time.perf_counter() - began,
        rounds=rounds_of(corrected),
        maps=occupancy(env, [outcome.evaluation for outcome in outcomes], expert="expert"),
    )
    return report, publish(report, outcomes, folder)


def shortfall(taught: TrainedPolicy, budget: int) -> str:
    """Return why a method used fewer labels than it had, in words; empty if it used them all."""
    rounds = taught.rounds
    if taught.labels >= budget or rounds is None:
        return ""
    corrected = rounds.rounds[1:]
    steps = sum(record.burden.env_steps for record in corrected)
    times = sum(record.burden.interventions for record in corrected)
    took = {0: "nobody took over", 1: "there was 1 intervention"}.get(
        times, f"there were {times} interventions"
    )
    text = (
        f"{taught.name} asked for {taught.labels} of {budget} labels: {took} in {steps} steps after round 1."
    )
    if rounds.best == 1:
        text += " The policy that it returns is round 1's, a clone of the demonstrations of that round."
    return text


def _baseline(method: Remedy) -> str:
    """Return which demonstrations are cloned: beside a method that plans other drives they are others."""
    return (
        f"{method.num_labels} labels of the expert's own driving in {method.num_episodes} drives, as many as "
        "this method plans; beside a method with another plan other demonstrations are cloned"
    )


def describe(policy: PolicyConfig) -> str:
    """Return what a policy is made of, in words."""
    return f"{type(policy.encoder).__name__} + {type(policy.head).__name__}"


def _teach(
    run: CorrectRun,
    trainer: Trainer,
    on_stage: Callable[[str], None],
    on_round: Callable[[RoundRecord], None] | None,
) -> list[TrainedPolicy]:
    """Return the clone, if one is wanted, and then the corrected policy."""
    method, taught = run.method, list[TrainedPolicy]()
    if run.clone and not isinstance(method, Cloning):
        on_stage(f"Cloning: {_baseline(method)}")
        same = Cloning(num_labels=method.num_labels, num_episodes=method.num_episodes, family=method.family)
        taught.append(trainer.teach(same))
    name = run.name or method.in_tables
    on_stage(f"{name}: {method.num_labels} labels")
    return [*taught, trainer.teach(method, name=name, on_round=on_round)]
