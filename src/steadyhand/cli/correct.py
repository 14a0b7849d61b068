"""`steadyhand correct METHOD`: teach a policy with a remedy for compounding error."""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from steadyhand.cli import terminal
from steadyhand.cli.arguments import is_terminal, parse, with_overrides
from steadyhand.cli.correct_arguments import (
    Chosen,
    DaggerArguments,
    HumanArguments,
    NoiseArguments,
    OfflineArguments,
    RoundsArguments,
)

if TYPE_CHECKING:
    from steadyhand.correction.rounds import RoundRecord
    from steadyhand.recipes.runs import CorrectRun, MethodConfig


@dataclass(frozen=True, kw_only=True)
class Method:
    """How the command line shows a method.

    Attributes:
        title: Its name in prose.
        summary: One line of the list, as `recipes.remedies` has it.
        about: The line of its own help, if `summary` leans on the line above it.
        arguments: What it reads.
        page: Its page in docs/methods.
        example: Options that work on the car, with a `--set` of its own.
    """

    title: str
    summary: str
    about: str = ""
    arguments: type[Chosen]
    page: str
    example: str


METHODS = {
    "cloning": Method(
        title="Cloning",
        summary="no remedy: clone the expert's own driving",
        arguments=OfflineArguments,
        page="behaviour-cloning",
        example="--set training.learning_rate=3e-4",
    ),
    "noise-bc": Method(
        title="NoiseBC",
        summary="disturb the inputs of the policy while it is trained",
        arguments=OfflineArguments,
        page="noise-bc",
        example="--observation state --set method.remedy.sigma=0.3",
    ),
    "noise": Method(
        title="Noise injection",
        summary="disturb what the expert executes, keep its intended action as the label",
        arguments=NoiseArguments,
        page="noise-injection",
        example="--set method.noise.theta=0.3",
    ),
    "dart": Method(
        title="DART",
        summary="the same with noise that is shaped like the learner's own errors",
        about="disturb what the expert executes by noise that is shaped like the learner's own errors",
        arguments=RoundsArguments,
        page="dart",
        example="--set method.shape=isotropic",
    ),
    "side-cameras": Method(
        title="Side cameras",
        summary="views from the left and the right that return to the road in two seconds",
        arguments=OfflineArguments,
        page="views",
        example="--set method.remedy.num_random=0",
    ),
    "alvinn-views": Method(
        title="ALVINN's views",
        summary="14 shifted and turned views of each frame, relabelled by pure pursuit",
        arguments=OfflineArguments,
        page="views",
        example="--set method.remedy.num_views=7",
    ),
    "ccil": Method(
        title="CCIL",
        summary="corrective labels from learnt, locally Lipschitz dynamics",
        arguments=OfflineArguments,
        page="ccil",
        example="--observation state --set method.remedy.rejection.share=0.5",
    ),
    "ccil-implicit": Method(
        title="CCIL, implicit",
        summary="the same, with labels found by solving the model backwards",
        about="corrective labels from learnt dynamics as CCIL's, found by solving the model backwards",
        arguments=OfflineArguments,
        page="ccil",
        example="--observation state --set method.remedy.rejection.type=KeepAll",
    ),
    "dagger": Method(
        title="DAgger",
        summary="let the policy drive, let the expert label every state that it visits",
        arguments=DaggerArguments,
        page="dagger",
        example="--set method.beta.type=Exponential",
    ),
    "dagger-beta": Method(
        title="DAgger, beta = .5^(i-1)",
        summary="the same while the expert still drives half, a quarter, ... of the steps",
        about="the expert labels every state, and still drives half, a quarter, ... of the steps",
        arguments=RoundsArguments,
        page="dagger",
        example="--set method.beta.p=0.7",
    ),
    "hg-dagger": Method(
        title="HG-DAgger",
        summary="a simulated human takes over when it becomes dangerous",
        arguments=HumanArguments,
        page="simulated-human",
        example="--set method.gate.human.risk.type=RoadEdge",
    ),
    "iwr": Method(
        title="IWR",
        summary="HG-DAgger whose interventions are half of what is trained on",
        arguments=HumanArguments,
        page="weighting",
        example="--set method.weighting.share=0.3",
    ),
    "sirius": Method(
        title="Sirius",
        summary="the same, and what the robot did before a takeover is left out",
        about="IWR that leaves out what the robot did before a takeover",
        arguments=HumanArguments,
        page="weighting",
        example="--set method.weighting.windows.before=0.5",
    ),
    "eil": Method(
        title="EIL",
        summary="learn also from when the human did not take over, and from what made him",
        arguments=HumanArguments,
        page="eil",
        example="--set method.weighting.reaction=ignored",
    ),
    "safe-dagger": Method(
        title="SafeDAgger",
        summary="a classifier predicts where the policy is off, and the expert drives there",
        arguments=RoundsArguments,
        page="gates",
        example="--set method.gate.share=0.1",
    ),
    "ensemble-dagger": Method(
        title="EnsembleDAgger",
        summary="the expert drives where policy and expert differ, or an ensemble does",
        arguments=RoundsArguments,
        page="gates",
        example="--set method.gate.members=3",
    ),
    "lazy-dagger": Method(
        title="LazyDAgger",
        summary="SafeDAgger that hands back only when the policy agrees with the expert again",
        arguments=RoundsArguments,
        page="gates",
        example="--set method.gate.back=0.3",
    ),
    "thrifty-dagger": Method(
        title="ThriftyDAgger",
        summary="the expert drives where it is new or risky, within a budget",
        arguments=RoundsArguments,
        page="gates",
        example="--set method.gate.share=0.05",
    ),
    "diff-dagger": Method(
        title="Diff-DAgger",
        summary="the expert drives where a generative policy finds its own answer unlikely",
        arguments=RoundsArguments,
        page="gates",
        example="--head Gaussian --set method.gate.level=0.95",
    ),
    "crsail": Method(
        title="CRSAIL",
        summary="the expert drives far from everything that was demonstrated",
        arguments=RoundsArguments,
        page="gates",
        example="--set method.gate.num_neighbours=3",
    ),
}
"""As `recipes.remedies` has them; here too, because that imports torch and help must not."""
REMEDIES = {name: method.summary for name, method in METHODS.items()}
COUNTERPARTS = {
    "--labels": "--labels-per-round, the labels of each round",
    "--labels-per-round": "--labels, the labels of all rounds together",
    "--episodes": "--episodes-per-round",
    "--episodes-per-round": "--episodes",
}
"""What one method calls so, another calls so."""


def main(arguments: list[str]) -> int:
    """Run the verb."""
    from steadyhand.core.errors import ConfigError

    if not arguments or arguments[0] in ("-h", "--help"):
        terminal.say("usage: steadyhand correct METHOD ENV [options]\n")
        for name, summary in REMEDIES.items():
            terminal.say(f"  {name:<16} {summary}")
        terminal.say("\n`steadyhand correct METHOD --help` explains a method.")
        return 0
    method = arguments[0]
    if method not in REMEDIES:
        raise ConfigError("There is no such method.", got=method, available=REMEDIES)
    _refuse_strangers(method, arguments[1:])
    chosen = parse(
        METHODS[method].arguments, arguments[1:], verb=f"correct {method}", description=_described(method)
    )
    run = with_overrides(_run(method, chosen), chosen.set)
    from steadyhand.recipes.correct import correct

    with terminal.progress("", enabled=is_terminal()) as bar:
        report, page = correct(
            run,
            chosen.out,
            on_stage=terminal.heading,
            on_step=lambda name: bar(f"driving {name}"),
            on_fit=lambda name: bar(f"training {name}"),
            on_round=_say_round,
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


def _described(name: str) -> str:
    method = METHODS[name]
    return (
        f"{method.title}: {method.about or method.summary}.\n\n"
        "An interrupted run goes on where it stopped when the same command is given again.\n\n"
        f"example: steadyhand correct {name} car {method.example}\n\n"
        f"page: docs/methods/{method.page}.md"
    )


def _flags(arguments: type[Chosen]) -> set[str]:
    return {"--" + field.name.replace("_", "-") for field in fields(arguments)}


def _refuse_strangers(name: str, words: list[str]) -> None:
    """Say what a flag of other methods is called here, where tyro would only say that it does not know it.

    Raises:
        ConfigError: There is such a flag.
    """
    from steadyhand.core.errors import ConfigError

    own = _flags(METHODS[name].arguments)
    for word in words:
        flag = word.partition("=")[0].replace("_", "-")
        if flag in own:
            continue
        if any(flag in _flags(method.arguments) for method in METHODS.values()):
            counterpart = COUNTERPARTS.get(flag, "")
            raise ConfigError(
                f"{name} has no such option; other methods have it.",
                got=flag,
                hint=f"give {counterpart}"
                if counterpart.partition(",")[0] in own
                else f"leave {flag} out; `steadyhand correct {name} --help` lists what {name} takes",
            )


def _method(name: str, chosen: Chosen) -> "MethodConfig":
    from steadyhand.correction.dagger import DaggerConfig
    from steadyhand.correction.human import SimulatedHuman
    from steadyhand.correction.noise import OrnsteinUhlenbeck
    from steadyhand.recipes.remedies import Budget, remedy
    from steadyhand.recipes.runs import NoiseConfig

    match chosen:
        case DaggerArguments():
            return DaggerConfig(
                rounds=chosen.rounds,
                labels_per_round=chosen.labels_per_round,
                episodes_per_round=chosen.episodes_per_round,
                query_every=chosen.query_every,
                training=chosen.training,
            )
        case NoiseArguments():
            return NoiseConfig(
                num_labels=chosen.labels,
                num_episodes=chosen.episodes,
                noise=OrnsteinUhlenbeck(sigma=chosen.sigma),
                clean_fraction=chosen.clean_fraction,
            )
        case OfflineArguments() | RoundsArguments():
            human = SimulatedHuman()
            if isinstance(chosen, HumanArguments):
                human = replace(human, reaction_delay=chosen.reaction_delay, miss_rate=chosen.miss_rate)
            budget = Budget(labels=chosen.labels, rounds=chosen.rounds, episodes=chosen.episodes, human=human)
            return remedy(name).make(budget)


def _run(name: str, chosen: Chosen) -> "CorrectRun":
    from steadyhand.recipes.choices import Wish, env_that_shows, learner_of
    from steadyhand.recipes.experts import expert_from_text
    from steadyhand.recipes.remedies import remedy
    from steadyhand.recipes.runs import CorrectRun
    from steadyhand.training.config import TrainConfig

    env, shown = env_that_shows(chosen.env, chosen.observation, success=chosen.success)
    one = env.build(1)
    spec = one.spec
    one.close()
    method = _method(name, chosen)
    wish = Wish(
        observation=shown,
        recipe=chosen.recipe,
        size=chosen.size,
        encoder=chosen.encoder,
        head=chosen.head,
        steps=chosen.steps,
        batch_size=chosen.batch_size,
    )
    policy, training = learner_of(
        wish,
        observation=spec.observation,
        action=spec.action,
        default=TrainConfig(num_steps=3000, batch_size=64),
    )
    return CorrectRun(
        env=env,
        expert=expert_from_text(chosen.expert, env),
        policy=policy,
        training=replace(
            training,
            checkpoint_every=max(1, training.num_steps // 5),
            device=chosen.device,
            num_threads=chosen.threads,
        ),
        method=method,
        name=remedy(name).title,
        evaluation_starts=chosen.starts,
        clone=not chosen.no_clone,
        num_videos=chosen.videos,
        seed=chosen.seed,
    )
