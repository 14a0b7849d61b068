"""`steadyhand correct REMEDY`: teach a policy with a remedy for compounding error."""

from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import tyro

from steadyhand.cli import terminal
from steadyhand.cli.arguments import parse, with_overrides
from steadyhand.cli.flags import (
    Device,
    EnvName,
    ExpertName,
    Learner,
    LearnerFlags,
    Log,
    Overrides,
    SuccessText,
    Threads,
)
from steadyhand.face.progress import progress

if TYPE_CHECKING:
    from steadyhand.correction.record import RoundRecord
    from steadyhand.correction.remedy import Remedy
    from steadyhand.recipes.runs import CorrectRun


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Arguments of all remedies; `arguments_of` adds those of one."""

    env: EnvName
    out: Path = Path("runs/correct")
    """Folder of the run; the policy is written to its `policy` folder."""
    expert: ExpertName = "auto"
    """The expert that labels and takes over."""
    success: SuccessText = "auto"
    learner: LearnerFlags = field(default_factory=Learner)
    starts: int = 64
    """Test starts of the final comparison."""
    videos: int = 1
    """Test starts to film."""
    device: Device = "cpu"
    threads: Threads = 1
    no_clone: bool = False
    """Leave out the baseline: cloning as many labels from as many drives as the method plans."""
    seed: int = 0
    """Seed of everything random."""
    set: Overrides = ()
    """Change any field of run.json, as path=value; an example is above."""
    log: Log = "none"


def main(arguments: list[str]) -> int:
    """Run the verb."""
    from steadyhand.recipes.remedies import remedies, remedy

    if not arguments or arguments[0] in ("-h", "--help"):
        terminal.say("usage: steadyhand correct REMEDY ENV [options]\n")
        for one in remedies():
            terminal.say(f"  {one.name:<16} {one.summary}", indent=17)
        terminal.say("\n`steadyhand correct REMEDY --help` explains a remedy.")
        return 0
    one = remedy(arguments[0])
    if "--help" not in arguments:  # which reads the other remedies
        _refuse_strangers(one, arguments[1:])
    chosen = parse(
        arguments_of(one), arguments[1:], verb=f"correct {arguments[0]}", description=_described(one)
    )
    run = with_overrides(_run(one, chosen), chosen.set)
    from steadyhand.recipes.correct import correct
    from steadyhand.recipes.logs import logging_to

    with (
        progress("") as bar,
        logging_to(chosen.log, chosen.out, run) as on_metrics,
    ):
        report, page = correct(
            run,
            chosen.out,
            on_stage=terminal.heading,
            on_step=lambda name: bar(f"driving {name}"),
            on_fit=lambda name: bar(f"training {name}"),
            on_round=_say_round,
            on_metrics=on_metrics,
        )
    terminal.results(report)
    terminal.say(f"\n{report.verdict}\n\npolicy: {chosen.out / 'policy'}\nreport: {page.resolve()}")
    return 0


def _say_round(record: "RoundRecord") -> None:
    outcome = f"validation return {record.validation_return:.4g}"
    if record.validation_success is not None:
        outcome = f"{100 * record.validation_success:.0f} % of the validation starts succeeded"
    terminal.say(
        f"  round {record.round}: {record.total_labels} labels, {terminal.online(record)}, {outcome}"
    )


def _described(one: "type[Remedy]") -> str:
    from steadyhand.core.parts import summary

    lines = [
        f"{one.title or one.__name__}: {summary(one)}.",
        "An interrupted run goes on where it stopped when the same command is given again.",
    ]
    if one.example:
        lines.append(f"example: steadyhand correct {one.name} car {one.example}")
    if one.page:
        lines.append(f"page: docs/methods/{one.page}.md")
    return "\n\n".join(lines)


def arguments_of(one: "type[Remedy]") -> type[Arguments]:
    """Return what a remedy reads: its share of the budget and its shortcuts, as the settings say it."""
    from steadyhand.correction.budget import Budget

    own = [_argument(name, Budget(), name) for name in one.spends]
    own += [
        _argument(name.replace("-", "_"), one.from_budget(Budget()), path)
        for name, path in one.shortcuts.items()
    ]
    return make_dataclass("Arguments", own, bases=(Arguments,), frozen=True, kw_only=True)


def _argument(name: str, settings: Any, path: str) -> tuple[str, Any, Any]:
    """Return the field of an option that stands for a setting."""
    from steadyhand.recipes.parts import settings_of

    *parents, last = path.split(".")
    owner = reduce(getattr, parents, settings)
    kind = get_type_hints(type(owner))[last]
    text = next(one.text for one in settings_of(type(owner)) if one.name == last)
    return name, Annotated[kind, tyro.conf.arg(help=text)], field(default=getattr(owner, last))


def _refuse_strangers(one: "type[Remedy]", words: list[str]) -> None:
    """Say that an option is another remedy's, where tyro would only say that it does not know it.

    Raises:
        ConfigError: There is such an option.
    """
    from steadyhand.core.errors import ConfigError
    from steadyhand.recipes.remedies import remedies

    own = _own_flags(one)
    others = {flag: other for other in reversed(remedies()) for flag in _own_flags(other) if flag not in own}
    for word in words:
        flag = word.partition("=")[0].replace("_", "-")
        if flag in others:
            raise ConfigError(
                f"{one.name} has no such option; {others[flag].name} has it.",
                got=flag,
                hint=f"leave {flag} out; `steadyhand correct {one.name} --help` lists what {one.name} takes",
            )


def _own_flags(one: "type[Remedy]") -> set[str]:
    return {f"--{name}" for name in (*one.spends, *one.shortcuts)}


def _method(one: "type[Remedy]", chosen: Arguments) -> "Remedy":
    """Return the remedy's settings for what was chosen."""
    from steadyhand.correction.budget import Budget

    method = one.from_budget(Budget(**{name: getattr(chosen, name) for name in one.spends}))
    values = {path: getattr(chosen, name.replace("-", "_")) for name, path in one.shortcuts.items()}
    return _changed(method, values)


def _changed(settings: Any, values: Mapping[str, object]) -> Any:
    """Return settings with the values of some paths, all at once: each alone might not fit the others."""
    here = {path: value for path, value in values.items() if "." not in path}
    for inner in {path.partition(".")[0] for path in values.keys() - here.keys()}:
        below = {
            path.removeprefix(f"{inner}."): values[path] for path in values if path.startswith(f"{inner}.")
        }
        here[inner] = _changed(getattr(settings, inner), below)
    return replace(settings, **here)


def _run(one: "type[Remedy]", chosen: Arguments) -> "CorrectRun":
    from steadyhand.cli.flags import env_and_learner
    from steadyhand.recipes.experts import expert_from_text
    from steadyhand.recipes.runs import CorrectRun
    from steadyhand.training.config import TrainConfig

    env, policy, training = env_and_learner(
        chosen.env,
        chosen.learner,
        success=chosen.success,
        overrides=chosen.set,
        default=TrainConfig(num_steps=3000, batch_size=64),
    )
    return CorrectRun(
        env=env,
        expert=expert_from_text(chosen.expert, env),
        policy=policy,
        training=replace(training, device=chosen.device, num_threads=chosen.threads),
        method=_method(one, chosen),
        evaluation_starts=chosen.starts,
        clone=not chosen.no_clone,
        num_videos=chosen.videos,
        seed=chosen.seed,
    )
