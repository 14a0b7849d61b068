"""Forward training and SMILe (Ross and Bagnell, 2010), DAgger's ancestors, for any policy class.

Forward training fits one policy for each step of the task, on the states to which the policies before it
lead. SMILe keeps one policy for all steps and moves from the expert to the learner a little each round:

    pi^n = (1 - alpha)^n pi* + alpha sum_{j=1..n} (1 - alpha)^(j-1) pi_hat^j,   drawn anew at each step

pi_hat^j is fitted to the expert's answers in the states of pi^(j-1), and to nothing older. In the end the
expert's share is removed and the rest scaled to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float64, Int64

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.protocol import Actor, Controller, Decision, Observation, PerRow, Switch
from steadyhand.core.question import answering
from steadyhand.core.seeding import RowStreams, derive, short
from steadyhand.core.settings import Count, PositiveShare, Range, Settings
from steadyhand.correction.collect import collect
from steadyhand.correction.learner import Learner
from steadyhand.correction.mixture import BetaMixture
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Family


class ByStep(Switch):
    """Plays its first controller at the first step of an episode, its second at the second, and so on.

    After the last one's step the last one goes on. A controller is asked at its own step only, so policies
    that look back see nothing before it.

    Args:
        controllers: One for each step; at least one.
    """

    def __init__(self, controllers: Sequence[Controller]) -> None:
        if not controllers:
            raise ConfigError("ByStep needs a controller for the first step.", got="none")
        super().__init__(**{str(number): one for number, one in enumerate(controllers)})
        self._in_turn = tuple(controllers)
        self._time = PerRow(0)

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Ask for each row the controller of its step."""
        which = np.minimum(self._time[rows], len(self._in_turn) - 1)
        self._time[rows] += 1
        streams = generator.fork("step")
        parts: list[tuple[np.ndarray, Decision]] = []
        for number in np.unique(which).tolist():
            here = np.flatnonzero(which == number)
            seen = {name: value[here] for name, value in observation.items()}
            known = {name: value[here] for name, value in privileged.items()}
            answer = self._in_turn[number].act(seen, known, rows[here], streams.take(here))
            parts.append((here, answer))
        return _joined(parts, len(rows))

    def _driver(self, rows: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        return np.minimum(self._time[rows] - 1, len(self._in_turn) - 1)


class Blend(Switch):
    """Draws at each step which of its controllers acts. All are asked, so that each keeps its own memory.

    Args:
        controllers: At least one.
        weights: Probability of each; scaled to 1.
    """

    def __init__(self, controllers: Sequence[Controller], weights: Sequence[float]) -> None:
        if not controllers or len(controllers) != len(weights):
            raise ConfigError(
                "Each blended controller needs one weight.", got=f"{len(controllers)}, {len(weights)}"
            )
        scaled = np.array(weights, dtype=np.float64)
        if not (scaled >= 0.0).all() or not scaled.sum() > 0.0:
            raise ConfigError("Weights must not be negative, nor all 0.", got=list(weights))
        super().__init__(**{str(number): one for number, one in enumerate(controllers)})
        self._which = PerRow(0)
        self.weights: Float64[np.ndarray, " K"] = scaled / scaled.sum()

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Ask all, draw one for each row."""
        answers = [
            controller.act(observation, privileged, rows, generator.fork(f"part {number}"))
            for number, controller in self._controllers.items()
        ]
        edges = self.weights.cumsum()[:-1]
        which = np.searchsorted(edges, generator.fork("blend").uniform(), side="right")
        self._which[rows] = which
        parts: list[tuple[np.ndarray, Decision]] = []
        for number in np.unique(which).tolist():
            here, answer = np.flatnonzero(which == number), answers[number]
            chosen = Decision(
                action=answer.action[here],
                label=answer.label[here],
                label_valid=answer.label_valid[here],
                actor=answer.actor[here],
                intervention=answer.intervention[here],
            )
            parts.append((here, chosen))
        return _joined(parts, len(rows))

    def _driver(self, rows: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        return self._which[rows]


def forward_training(
    env: BatchEnv,
    expert: Controller,
    learner: Learner,
    *,
    steps: int,
    labels_per_step: int,
    folder: Path,
    seed: int,
    family: Family = "train",
) -> tuple[Path, ...]:
    """Fit `steps` policies, each in the states which those before it lead to; algorithm 3.1 of the paper.

    Every label needs a drive of its own. Call again with the same arguments to continue an interrupted run.

    Args:
        env: Where to drive.
        expert: The expert that labels.
        learner: Fits policies; they are asked at one step only, so they should look at one step only.
        steps: Number of policies.
        labels_per_step: Labels of each. Rows are asked together: where their number does not divide this one,
            the last answers are asked for and thrown away.
        folder: One folder for each step is kept here.
        seed: Seed of drives and training.
        family: Family of starts.

    Returns:
        The folder of each policy; `ByStep` over their controllers is the result.

    Raises:
        CapabilityError: The expert must see every step.
        ConfigError: `folder` holds the answer to another question, or somebody else works there.
    """
    if expert.remembers:
        raise CapabilityError(
            "Forward training asks the expert at one step of a drive only.",
            got=f"{type(expert).__name__}, which must see every step",
            hint="use DAgger",
        )
    question = {  # not of `steps`: more of them go on from those that are there
        "env": env,
        "expert": expert,
        "learner": learner,
        "labels_per_step": labels_per_step,
        "seed": seed,
        "family": family,
    }
    with answering(folder, "forward training", question, answers="step-*"):
        folders: list[Path] = []
        for step in range(steps):
            here = folder / f"step-{step:03d}"
            episodes = learner.read(here / "episodes")
            if episodes is None:
                before = [learner.controller(done, num_rows=env.num_rows) for done in folders]
                episodes = _labels_at(env, expert, before, count=labels_per_step, seed=seed, family=family)
                learner.write(episodes, here / "episodes")
            learner.fit(episodes, folder=here, seed=derive(seed, "fit", step), warm_start=None)
            folders.append(here)
        return tuple(folders)


def _labels_at(
    env: BatchEnv,
    expert: Controller,
    before: Sequence[Controller],
    *,
    count: int,
    seed: int,
    family: Family,
) -> list[Episode]:
    """Return drives of the policies of all steps before, with the expert's answer at the step after them."""
    step = len(before)
    # Spare starts stand in for drives that end before the step.
    starts = env.starts(family, 20 * count, seed=short(derive(seed, "starts", step)))
    episodes = collect(
        env,
        # The expert takes over at the step in question: its answer there is the only label.
        ByStep([*before, expert]),
        starts,
        source="correction" if step else "demonstration",
        seed=derive(seed, "collect", step),
        num_labels=count,
        num_rows=count,
        max_steps=step + 1,
        round=step,
    )
    return [episode for episode in episodes if episode.num_labels > 0]


@dataclass(frozen=True, kw_only=True)
class SmileConfig(Settings):
    """Settings of SMILe.

    Attributes:
        rounds: Number of policies that are fitted.
        labels_per_round: Labels of each.
        episodes_per_round: Starts over which a round's labels are spread.
        alpha: Share that moves from the old mixture to the newest policy; the theory wants the order of
            1 / H^2 and as many rounds as that takes, practice uses 0.1.
        family: Family of starts.
    """

    rounds: Count = 10
    labels_per_round: Count = 100
    episodes_per_round: Annotated[Count, Range(le="labels_per_round")] = 4
    alpha: PositiveShare = 0.1
    family: Family = "train"

    def weights(self, count: int) -> list[float]:
        """Return the share of each of the first `count` policies; the expert has what is missing to 1."""
        return [self.alpha * (1.0 - self.alpha) ** number for number in range(count)]


@dataclass(frozen=True, kw_only=True)
class SmileResult:
    """The policies and their shares of the final mixture.

    Attributes:
        folders: Folder of each policy, in order.
        weights: Share of each, the expert's removed and the rest scaled to 1.
    """

    folders: tuple[Path, ...]
    weights: tuple[float, ...]


def smile(
    env: BatchEnv, expert: Controller, learner: Learner, *, config: SmileConfig, folder: Path, seed: int
) -> SmileResult:
    """Run SMILe; `Blend` over the controllers of the result, with its weights, is the policy.

    Call again with the same arguments to continue an interrupted run.

    Args:
        env: Where to drive.
        expert: Who labels, and drives with probability (1 - alpha)^(n - 1) in round n.
        learner: Fits policies.
        config: Settings.
        folder: One folder for each round is kept here.
        seed: Seed of drives and training.

    Raises:
        ConfigError: `folder` holds the rounds of another question, or somebody else works there.
    """
    question = {"method": config, "env": env, "expert": expert, "learner": learner, "seed": seed}
    with answering(folder, "rounds", question, answers="round-*"):
        folders: list[Path] = []
        for number in range(1, config.rounds + 1):
            here = folder / f"round-{number:02d}"
            episodes = learner.read(here / "episodes")
            if episodes is None:
                episodes = _smile_round(env, expert, learner, config=config, folders=folders, seed=seed)
                learner.write(episodes, here / "episodes")
            learner.fit(episodes, folder=here, seed=derive(seed, "fit", number), warm_start=None)
            folders.append(here)
        shares = np.array(config.weights(config.rounds))
        return SmileResult(folders=tuple(folders), weights=tuple((shares / shares.sum()).tolist()))


def _smile_round(
    env: BatchEnv,
    expert: Controller,
    learner: Learner,
    *,
    config: SmileConfig,
    folders: Sequence[Path],
    seed: int,
) -> list[Episode]:
    number = len(folders) + 1
    policy = None
    if folders:
        parts = [learner.controller(done, num_rows=env.num_rows) for done in folders]
        policy = Blend(parts, config.weights(len(parts)))
    count = config.episodes_per_round + config.labels_per_round
    return collect(
        env,
        BetaMixture(policy, expert, beta=(1.0 - config.alpha) ** (number - 1)),
        env.starts(config.family, count, seed=short(derive(seed, "starts", number))),
        source="correction" if folders else "demonstration",
        seed=derive(seed, "collect", number),
        num_labels=config.labels_per_round,
        num_rows=config.episodes_per_round,
        max_steps=-(-config.labels_per_round // config.episodes_per_round),
        round=number,
    )


def _joined(parts: Sequence[tuple[np.ndarray, Decision]], count: int) -> Decision:
    """Put the decisions of disjoint groups of rows together."""
    first = parts[0][1]
    action = np.zeros((count, *first.action.shape[1:]), dtype=first.action.dtype)
    label, valid = action.copy(), np.zeros(count, dtype=bool)
    actor = np.full(count, Actor.POLICY, dtype=np.uint8)
    intervention = np.zeros(count, dtype=bool)
    for here, answer in parts:
        action[here], label[here] = answer.action, answer.label
        valid[here], actor[here] = answer.label_valid, answer.actor
        intervention[here] = answer.intervention
    return Decision(action=action, label=label, label_valid=valid, actor=actor, intervention=intervention)
