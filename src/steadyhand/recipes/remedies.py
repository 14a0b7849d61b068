"""Every remedy by name, with the settings that a comparison at an equal budget starts from."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypedDict

from steadyhand.core.errors import ConfigError
from steadyhand.correction.ccil import CcilConfig
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.dart import DartConfig
from steadyhand.correction.gated import GatedConfig
from steadyhand.correction.gates import (
    EnsembleGate,
    GateConfig,
    LazyGate,
    LossGate,
    NearestGate,
    SafeGate,
    ThriftyGate,
)
from steadyhand.correction.human import HumanGate, SimulatedHuman
from steadyhand.correction.mixture import Exponential
from steadyhand.correction.noise import OrnsteinUhlenbeck
from steadyhand.correction.view_config import AlvinnViews, SideCameras
from steadyhand.correction.weighting import (
    EilMarks,
    InterventionWeighting,
    Sirius,
    Unweighted,
    WeightingConfig,
)
from steadyhand.recipes.runs import InputNoise, MethodConfig, NoiseConfig, OfflineConfig


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every remedy may spend.

    Attributes:
        labels: Expert labels, held-out ones included.
        rounds: Rounds of the interactive ones; they share the labels evenly.
        episodes: Drives in each round; offline remedies get `rounds` times as many, of the same length.
        long_episodes: Drives of noise injection: a disturbance takes time to displace a robot.
        query_every: DAgger asks at every so many steps; see `DaggerConfig`.
        sigma: Disturbance of executed actions, in units of the action.
        input_sigma: Disturbance of inputs (NoiseBC), in units of the normalised features.
        human: The simulated human of the remedies that have one.
        validation_starts: Starts by which a round is chosen.
    """

    labels: int = 1000
    rounds: int = 5
    episodes: int = 4
    long_episodes: int = 4
    query_every: int = 1
    sigma: float = 0.3
    input_sigma: float = 0.1
    human: SimulatedHuman = field(default_factory=SimulatedHuman)
    validation_starts: int = 32

    def __post_init__(self) -> None:
        if min(self.rounds, self.labels, self.episodes, self.long_episodes) < 1:
            raise ConfigError(
                "Rounds, labels and episodes must be positive.",
                got=f"{self.labels} labels, {self.rounds} rounds, {self.episodes} episodes in each",
                expected="1 or more of each",
            )
        if self.labels % self.rounds:
            below = self.labels - self.labels % self.rounds
            raise ConfigError(
                "The labels must be a multiple of the rounds, or the remedies would not get as many.",
                got=f"{self.labels} labels, {self.rounds} rounds",
                hint=f"ask for {below} or {below + self.rounds} labels" if below else "ask for fewer rounds",
            )


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """One named remedy.

    Attributes:
        name: For the command line.
        title: For tables.
        summary: One line.
        make: Its settings for a budget.
    """

    name: str
    title: str
    summary: str
    make: Callable[[Budget], MethodConfig]


class _Rounds(TypedDict):
    rounds: int
    labels_per_round: int
    episodes_per_round: int
    validation_starts: int


def _rounds(budget: Budget) -> _Rounds:
    return {
        "rounds": budget.rounds,
        "labels_per_round": budget.labels // budget.rounds,
        "episodes_per_round": budget.episodes,
        "validation_starts": budget.validation_starts,
    }


def _offline(budget: Budget, remedy: CcilConfig | AlvinnViews | SideCameras | None = None) -> OfflineConfig:
    return OfflineConfig(
        num_labels=budget.labels, num_episodes=budget.rounds * budget.episodes, remedy=remedy
    )


def _input_noise(budget: Budget) -> OfflineConfig:
    return OfflineConfig(
        num_labels=budget.labels,
        num_episodes=budget.rounds * budget.episodes,
        remedy=InputNoise(sigma=budget.input_sigma),
    )


def _noise(budget: Budget) -> NoiseConfig:
    return NoiseConfig(
        num_labels=budget.labels,
        num_episodes=budget.long_episodes,
        noise=OrnsteinUhlenbeck(sigma=budget.sigma),
    )


def _gated(
    gate: Callable[[Budget], GateConfig], weighting: WeightingConfig | None = None
) -> Callable[[Budget], MethodConfig]:
    return lambda budget: GatedConfig(
        **_rounds(budget), gate=gate(budget), weighting=weighting or Unweighted()
    )


def _human(budget: Budget) -> HumanGate:
    return HumanGate(human=budget.human)


REMEDIES: tuple[Remedy, ...] = (
    Remedy(
        name="cloning",
        title="cloning",
        summary="no remedy: clone the expert's own driving",
        make=_offline,
    ),
    Remedy(
        name="noise-bc",
        title="NoiseBC",
        summary="disturb the inputs of the policy while it is trained",
        make=_input_noise,
    ),
    Remedy(
        name="noise",
        title="noise injection",
        summary="disturb what the expert executes, keep its intended action as the label",
        make=_noise,
    ),
    Remedy(
        name="dart",
        title="DART",
        summary="the same with noise that is shaped like the learner's own errors",
        make=lambda budget: DartConfig(**_rounds(budget)),
    ),
    Remedy(
        name="side-cameras",
        title="side cameras",
        summary="views from the left and the right that return to the road in two seconds",
        make=lambda budget: _offline(budget, SideCameras()),
    ),
    Remedy(
        name="alvinn-views",
        title="ALVINN's views",
        summary="14 shifted and turned views of each frame, relabelled by pure pursuit",
        make=lambda budget: _offline(budget, AlvinnViews()),
    ),
    Remedy(
        name="ccil",
        title="CCIL",
        summary="corrective labels from learnt, locally Lipschitz dynamics",
        make=lambda budget: _offline(budget, CcilConfig()),
    ),
    Remedy(
        name="ccil-implicit",
        title="CCIL, implicit",
        summary="the same, with labels found by solving the model backwards",
        make=lambda budget: _offline(budget, CcilConfig(label="implicit")),
    ),
    Remedy(
        name="dagger",
        title="DAgger",
        summary="let the policy drive, let the expert label every state that it visits",
        make=lambda budget: DaggerConfig(**_rounds(budget), query_every=budget.query_every),
    ),
    Remedy(
        name="dagger-beta",
        title="DAgger, beta = .5^(i-1)",
        summary="the same while the expert still drives half, a quarter, ... of the steps",
        make=lambda budget: DaggerConfig(
            **_rounds(budget), query_every=budget.query_every, beta=Exponential(p=0.5)
        ),
    ),
    Remedy(
        name="hg-dagger",
        title="HG-DAgger",
        summary="a simulated human takes over when it becomes dangerous",
        make=_gated(_human),
    ),
    Remedy(
        name="iwr",
        title="IWR",
        summary="HG-DAgger whose interventions are half of what is trained on",
        make=_gated(_human, InterventionWeighting()),
    ),
    Remedy(
        name="sirius",
        title="Sirius",
        summary="the same, and what the robot did before a takeover is left out",
        make=_gated(_human, Sirius()),
    ),
    Remedy(
        name="eil",
        title="EIL",
        summary="learn also from when the human did not take over, and from what made him",
        make=_gated(_human, EilMarks()),
    ),
    Remedy(
        name="safe-dagger",
        title="SafeDAgger",
        summary="a classifier predicts where the policy is off, and the expert drives there",
        make=_gated(lambda _: SafeGate()),
    ),
    Remedy(
        name="ensemble-dagger",
        title="EnsembleDAgger",
        summary="the expert drives where policy and expert differ, or an ensemble does",
        make=_gated(lambda _: EnsembleGate()),
    ),
    Remedy(
        name="lazy-dagger",
        title="LazyDAgger",
        summary="SafeDAgger that hands back only when the policy agrees with the expert again",
        make=_gated(lambda _: LazyGate()),
    ),
    Remedy(
        name="thrifty-dagger",
        title="ThriftyDAgger",
        summary="the expert drives where it is new or risky, within a budget",
        make=_gated(lambda _: ThriftyGate()),
    ),
    Remedy(
        name="diff-dagger",
        title="Diff-DAgger",
        summary="the expert drives where a generative policy finds its own answer unlikely",
        make=_gated(lambda _: LossGate()),
    ),
    Remedy(
        name="crsail",
        title="CRSAIL",
        summary="the expert drives far from everything that was demonstrated",
        make=_gated(lambda _: NearestGate()),
    ),
)
"""All remedies, the cheap ones first."""


def remedy(name: str) -> Remedy:
    """Return a remedy by name.

    Raises:
        ConfigError: There is none of that name.
    """
    for one in REMEDIES:
        if one.name == name:
            return one
    raise ConfigError("There is no such remedy.", got=name, available=[one.name for one in REMEDIES])
