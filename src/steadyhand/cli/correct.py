"""`steadyhand correct METHOD`: teach a policy with a remedy for compounding error."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from steadyhand.cli import terminal
from steadyhand.cli.arguments import EnvName, Overrides, is_terminal, listed, optional, parse, with_overrides

if TYPE_CHECKING:
    from steadyhand.recipes.runs import CorrectRun, MethodConfig


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Arguments of all methods."""

    env: EnvName
    """`car`, `forks`, `avoiding`, or a Gymnasium id such as Walker2d-v5."""
    out: Path = Path("runs/correct")
    """Folder of the run; the policy is written to its `policy` folder."""
    expert: str = "auto"
    """Who labels: `pure-pursuit` (car), `scripted` (forks, avoiding), a file of weights, or the folder of a
    policy; auto takes the one that comes along with the env."""
    observation: Annotated[tuple[str, ...], listed("SENSE", default="retina")] = ()
    """For the car: any of state, lidar, retina, camera."""
    recipe: Annotated[str, optional("NAME", default="none")] = ""
    """A published method, such as flow_unet or act, instead of encoder and head; see docs/recipes.md."""
    size: Literal["small", "paper"] = "small"
    """Of the recipe: for a laptop, or with the paper's constants."""
    encoder: str = "auto"
    """How observations are read; auto takes SmallConv for pictures, StateMLP otherwise."""
    head: str = "auto"
    """The policy class; auto takes Categorical for discrete actions, Regression otherwise."""
    steps: Annotated[int | None, optional("INT", default="3000, or the recipe's")] = None
    """Gradient steps of each fit."""
    batch_size: Annotated[int | None, optional("INT", default="64, or the recipe's")] = None
    """Windows in a batch."""
    starts: int = 64
    """Test starts of the final comparison."""
    videos: int = 1
    """Test starts to film."""
    no_clone: bool = False
    """Leave out the plain clone on as many labels, the baseline of the report."""
    seed: int = 0
    """Seed of everything random."""
    set: Overrides = ()
    """Change any field of run.json, as path=value; for example training.learning_rate=3e-4."""


@dataclass(frozen=True, kw_only=True)
class DaggerArguments(Shared):
    """DAgger: let the policy drive, let the expert label every state it visits, train on everything.

    An interrupted run goes on where it stopped when the same command is given again.
    """

    rounds: int = 5
    """Rounds; each ends with a new policy, and the best on validation starts is kept."""
    labels_per_round: int = 200
    """Labels asked in each round."""
    episodes_per_round: int = 4
    """Starts over which a round's labels are spread."""
    query_every: int = 1
    """While the policy drives, ask the expert at every so many steps: fewer labels from longer drives."""
    training: Literal["refit", "fine_tune"] = "refit"
    """Train each iterate from fresh weights, or from the last iterate's."""
    set: Overrides = ()
    """Change any field of run.json, as path=value; for example method.beta.type=Exponential."""


@dataclass(frozen=True, kw_only=True)
class NoiseArguments(Shared):
    """Noise injection: disturb what the expert executes, keep its intended action as the label.

    An interrupted run goes on where it stopped when the same command is given again.
    """

    labels: int = 1000
    """Labels to collect."""
    episodes: int = 4
    """Starts over which they are spread."""
    sigma: float = 0.3
    """Standard deviation of the disturbance, in units of the action."""
    clean_fraction: float = 0.5
    """Share of episodes left undisturbed."""


@dataclass(frozen=True, kw_only=True)
class RemedyArguments(Shared):
    """Teach with one remedy on a budget of labels that is the same for all.

    An interrupted run goes on where it stopped when the same command is given again.
    """

    labels: int = 1000
    """Labels in all."""
    rounds: int = 5
    """Rounds of the interactive remedies; the labels are shared evenly among them."""
    episodes: int = 4
    """Drives in a round; the others get as many in all."""
    reaction_delay: float = 0.3
    """Of the simulated human [s]."""
    miss_rate: float = 0.0
    """Share of dangers that the simulated human does not notice."""
    set: Overrides = ()
    """Change any field of run.json, as path=value; for example method.gate.share=0.05."""


REMEDIES = {
    "cloning": "no remedy: clone the expert's own driving",
    "noise-bc": "disturb the inputs of the policy while it is trained",
    "noise": "disturb what the expert executes, keep its intended action as the label",
    "dart": "the same with noise that is shaped like the learner's own errors",
    "side-cameras": "views from the left and the right that return to the road in two seconds",
    "alvinn-views": "14 shifted and turned views of each frame, relabelled by pure pursuit",
    "ccil": "corrective labels from learnt, locally Lipschitz dynamics",
    "ccil-implicit": "the same, with labels found by solving the model backwards",
    "dagger": "let the policy drive, let the expert label every state that it visits",
    "dagger-beta": "the same while the expert still drives half, a quarter, ... of the steps",
    "hg-dagger": "a simulated human takes over when it becomes dangerous",
    "iwr": "HG-DAgger whose interventions are half of what is trained on",
    "sirius": "the same, and what the robot did before a takeover is left out",
    "eil": "learn also from when the human did not take over, and from what made him",
    "safe-dagger": "a classifier predicts where the policy is off, and the expert drives there",
    "ensemble-dagger": "the expert drives where policy and expert differ, or an ensemble does",
    "lazy-dagger": "SafeDAgger that hands back only when the policy agrees with the expert again",
    "thrifty-dagger": "the expert drives where it is new or risky, within a budget",
    "diff-dagger": "the expert drives where a generative policy finds its own answer unlikely",
    "crsail": "the expert drives far from everything that was demonstrated",
}
"""As `recipes.remedies` has them; here too, because that imports torch and help must not."""
OWN = {"dagger": DaggerArguments, "noise": NoiseArguments}
"""Methods with arguments of their own."""


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
    chosen = parse(OWN.get(method, RemedyArguments), arguments[1:], verb=f"correct {method}")
    run = with_overrides(_run(method, chosen), chosen.set)
    from steadyhand.recipes.correct import correct

    with terminal.progress("driving", enabled=is_terminal()) as bar:
        report, page = correct(run, chosen.out, on_stage=terminal.heading, on_step=bar)
    terminal.results(report)
    terminal.say(f"\n{report.verdict}\n\npolicy: {chosen.out / 'policy'}\nreport: {page.resolve()}")
    return 0


def _method(name: str, chosen: DaggerArguments | NoiseArguments | RemedyArguments) -> "MethodConfig":
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
        case RemedyArguments():
            human = SimulatedHuman(reaction_delay=chosen.reaction_delay, miss_rate=chosen.miss_rate)
            budget = Budget(labels=chosen.labels, rounds=chosen.rounds, episodes=chosen.episodes, human=human)
            return remedy(name).make(budget)


def _run(name: str, chosen: DaggerArguments | NoiseArguments | RemedyArguments) -> "CorrectRun":
    from steadyhand.recipes.choices import Wish, env_from_text, learner_of
    from steadyhand.recipes.experts import expert_from_text
    from steadyhand.recipes.remedies import remedy
    from steadyhand.recipes.runs import CorrectRun
    from steadyhand.training.config import TrainConfig

    env = env_from_text(chosen.env, observation=chosen.observation)
    one = env.build(1)
    spec = one.spec
    one.close()
    method = _method(name, chosen)
    wish = Wish(
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
        training=replace(training, checkpoint_every=max(1, training.num_steps // 5)),
        method=method,
        name=remedy(name).title,
        evaluation_starts=chosen.starts,
        clone=not chosen.no_clone,
        num_videos=chosen.videos,
        seed=chosen.seed,
    )
