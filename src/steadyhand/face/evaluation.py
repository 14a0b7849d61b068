"""Evaluation of a policy, and comparison of several, from the same starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from steadyhand.analysis.page import framed
from steadyhand.analysis.results import Report
from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.core.question import answering
from steadyhand.envs.base import Family, require_family
from steadyhand.face.asked import require_controller, seed_of, whole
from steadyhand.face.drivers import Driver, as_driver
from steadyhand.face.envs import Drivable, as_env
from steadyhand.face.folders import Folder
from steadyhand.face.policy import Policy
from steadyhand.face.progress import progress
from steadyhand.recipes.compare import NamedController
from steadyhand.recipes.evaluate import compare_drivers
from steadyhand.recipes.runs import EvalRun
from steadyhand.rollout.evaluate import Evaluation
from steadyhand.rollout.evaluate import evaluate as drive
from steadyhand.rollout.executors.config import ExecutorConfig, Receding


def evaluate(
    who: Driver,
    env: Drivable,
    *,
    starts: int = 64,
    family: Family = "test",
    executor: ExecutorConfig | None = None,
    seed: int = 0,
    name: str = "",
    quiet: bool = False,
) -> Evaluation:
    """Let a policy drive once from each start of a list that is the same for every policy.

    Args:
        who: A policy, the folder of one, an expert, or any other controller.
        env: The env.
        starts: Number of starts; a longer list begins with the shorter one.
        family: Family of the starts; figures are quoted on "test".
        executor: How the policy's chunks become one action a step; None takes the policy's own executor.
        seed: Seed of the starts and of everything that is drawn.
        name: Name for tables.
        quiet: Show no progress.

    Returns:
        The outcome; `print` shows how many succeeded, `a - b` the paired difference.

    Raises:
        ConfigError: There is no start.
        SpecError: The policy does not fit the env.
    """
    starts, seed = whole("starts", starts), seed_of(seed)
    require_family(family)
    built = as_env(env)
    controller, own_name = as_driver(who, built, executor=executor)
    name = name or own_name
    with progress("driving", quiet=quiet) as bar:
        return drive(
            built,
            controller,
            built.starts(family, starts, seed=seed),
            name=name,
            seed=seed,
            on_step=bar(name),
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Comparison:
    """The drives of several policies from the same starts, and the report that compares them.

    Attributes:
        evaluations: Name -> evaluation: of the expert, if it drove, then of the policies, the baseline first.
        report: Every number of the report.
        page: The path of report.html; a temporary one lives as long as this comparison.
    """

    evaluations: dict[str, Evaluation]
    report: Report
    page: Path
    _folder: Folder

    def __getitem__(self, name: str) -> Evaluation:
        return self.evaluations[name]

    def __str__(self) -> str:
        policies = [self[one.name] for one in self.report.results if one.kind == "policy"]
        lines = [str(one) for one in self.evaluations.values()]
        lines += [f"{other.name} - {policies[0].name}: {other - policies[0]}" for other in policies[1:]]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.evaluations)}: {self.page}>"

    def _repr_html_(self) -> str:
        return framed(self.page.read_text(encoding="utf-8"), height=800)


def compare(
    drivers: Mapping[str, Driver] | Sequence[Driver] | Driver,
    env: Drivable,
    *,
    expert: Controller | None = None,
    starts: int = 64,
    family: Family = "test",
    executor: ExecutorConfig | None = None,
    films: int = 1,
    seed: int = 0,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Comparison:
    """Let several policies drive from the same starts, and compare them start by start.

    Args:
        drivers: The policies, by name or with names of their own; the first is the baseline. One alone is
            reported by itself.
        env: The env.
        expert: An expert that drives too, as the ceiling.
        starts: Number of starts.
        family: Family of the starts.
        executor: How the policies' chunks become one action a step; None takes each policy's own executor.
        films: Number of starts to film, if the env renders.
        seed: Seed of the starts and of everything that is drawn.
        out: Folder of the report; None makes a temporary one.
        quiet: Show no progress.

    Raises:
        ConfigError: Two have the same name, or `out` holds another comparison.
        SpecError: A policy does not fit the env.
    """
    starts, films, seed = whole("starts", starts), whole("films", films, least=0), seed_of(seed)
    require_family(family)
    expert = None if expert is None else require_controller(expert, role="expert")
    built, folder = as_env(env), Folder(out)
    entries = [NamedController(name="expert", controller=expert, kind="expert")] if expert is not None else []
    several = [drivers] if isinstance(drivers, Policy | Controller | str | Path) else drivers
    named = several.items() if isinstance(several, Mapping) else [("", one) for one in several]
    for name, who in named:
        controller, own_name = as_driver(who, built, executor=executor)
        entries.append(NamedController(name=name or own_name, controller=controller))
    names = [entry.name for entry in entries]
    if len({*names}) < len(names) or not names:
        raise ConfigError(
            "A comparison needs drivers with different names.",
            got=", ".join(names) or "none",
            hint='name them, as in compare({"small": a, "large": b}, env)',
        )
    run = EvalRun(
        num_starts=starts, family=family, num_videos=films, executor=executor or Receding(), seed=seed
    )
    question = {
        "env": built,
        "drivers": {entry.name: entry.controller for entry in entries},
        "settings": {"starts": starts, "family": family, "films": films},
        "seed": seed,
    }
    asked = answering(folder.path, "compare", question, answers="report.json")
    with asked, progress("driving", quiet=quiet) as bar:
        drives, report, page = compare_drivers(run, built, entries, folder.path, on_step=bar)
    evaluations = dict(zip(names, drives, strict=True))
    return Comparison(evaluations=evaluations, report=report, page=page, _folder=folder)
