"""The gated remedies that have names: a gate, and what the steps of a drive are worth."""

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from steadyhand.correction.budget import Budget
from steadyhand.correction.contract import RoundsConfig
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
from steadyhand.correction.human import HumanGate
from steadyhand.correction.weighting import EilMarks, InterventionWeighting, Sirius, WeightingConfig
from steadyhand.policies.heads.config import HeadConfig


@dataclass(frozen=True, kw_only=True)
class WatchedByHuman(GatedConfig, ABC):
    """Remedies with a person who takes over, simulated here."""

    shortcuts: ClassVar[Mapping[str, str]] = {
        "reaction-delay": "gate.human.reaction_delay",
        "miss-rate": "gate.human.miss_rate",
    }

    @classmethod
    def from_budget(cls, budget: Budget) -> RoundsConfig:
        """Return its settings with the labels shared evenly by the rounds, and the human of the budget."""
        return replace(super().from_budget(budget), gate=HumanGate(human=budget.human))


@dataclass(frozen=True, kw_only=True)
class HgDagger(WatchedByHuman):
    """HG-DAgger (Kelly et al., 2019): a person takes over when it becomes dangerous."""

    name: ClassVar[str] = "hg-dagger"
    title: ClassVar[str] = "HG-DAgger"
    summary: ClassVar[str] = "a simulated human takes over when it becomes dangerous"
    page: ClassVar[str] = "simulated-human"
    example: ClassVar[str] = "--set method.gate.human.risk.type=RoadEdge"


@dataclass(frozen=True, kw_only=True)
class Iwr(WatchedByHuman):
    """IWR (Mandlekar et al., 2020); see `InterventionWeighting`."""

    name: ClassVar[str] = "iwr"
    title: ClassVar[str] = "IWR"
    summary: ClassVar[str] = "HG-DAgger whose interventions are half of what is trained on"
    page: ClassVar[str] = "weighting"
    example: ClassVar[str] = "--set method.weighting.share=0.3"

    weighting: WeightingConfig = field(default_factory=InterventionWeighting)


@dataclass(frozen=True, kw_only=True)
class SiriusRemedy(WatchedByHuman):
    """Sirius (Liu et al., 2023); see `weighting.Sirius`."""

    name: ClassVar[str] = "sirius"
    title: ClassVar[str] = "Sirius"
    summary: ClassVar[str] = "IWR that leaves out what the robot did before a takeover"
    page: ClassVar[str] = "weighting"
    example: ClassVar[str] = "--set method.weighting.windows.before=0.5"

    weighting: WeightingConfig = field(default_factory=Sirius)


@dataclass(frozen=True, kw_only=True)
class Eil(WatchedByHuman):
    """EIL (Spencer et al., 2020); see `EilMarks`."""

    name: ClassVar[str] = "eil"
    title: ClassVar[str] = "EIL"
    summary: ClassVar[str] = "learn also from when the human did not take over, and from what made them"
    page: ClassVar[str] = "eil"
    example: ClassVar[str] = "--set method.weighting.reaction=ignored"

    weighting: WeightingConfig = field(default_factory=EilMarks)

    @classmethod
    def why_not(cls, head: HeadConfig, *, is_discrete: bool) -> str | None:
        """Return why no judgement moves the head's loss of an action."""
        unmoved = "no gradient raises or lowers its loss of an action" if head.judgement == "none" else None
        return super().why_not(head, is_discrete=is_discrete) or unmoved


@dataclass(frozen=True, kw_only=True)
class SafeDagger(GatedConfig):
    """SafeDAgger (Zhang and Cho, 2016); see `SafeGate`."""

    name: ClassVar[str] = "safe-dagger"
    title: ClassVar[str] = "SafeDAgger"
    summary: ClassVar[str] = "a classifier predicts where the policy is off, and the expert drives there"
    example: ClassVar[str] = "--set method.gate.share=0.1"

    gate: GateConfig = field(default_factory=SafeGate)


@dataclass(frozen=True, kw_only=True)
class EnsembleDagger(GatedConfig):
    """EnsembleDAgger (Menda et al., 2019); see `EnsembleGate`."""

    name: ClassVar[str] = "ensemble-dagger"
    title: ClassVar[str] = "EnsembleDAgger"
    summary: ClassVar[str] = "the expert drives where policy and expert differ, or an ensemble does"
    example: ClassVar[str] = "--set method.gate.members=3"

    gate: GateConfig = field(default_factory=EnsembleGate)


@dataclass(frozen=True, kw_only=True)
class LazyDagger(GatedConfig):
    """LazyDAgger (Hoque et al., 2021); see `LazyGate`."""

    name: ClassVar[str] = "lazy-dagger"
    title: ClassVar[str] = "LazyDAgger"
    summary: ClassVar[str] = "SafeDAgger that hands back only when the policy agrees with the expert again"
    example: ClassVar[str] = "--set method.gate.back=0.3"

    gate: GateConfig = field(default_factory=LazyGate)


@dataclass(frozen=True, kw_only=True)
class ThriftyDagger(GatedConfig):
    """ThriftyDAgger (Hoque et al., 2021); see `ThriftyGate`."""

    name: ClassVar[str] = "thrifty-dagger"
    title: ClassVar[str] = "ThriftyDAgger"
    summary: ClassVar[str] = "the expert drives where it is new or risky, within a budget"
    example: ClassVar[str] = "--set method.gate.share=0.05"

    gate: GateConfig = field(default_factory=ThriftyGate)


@dataclass(frozen=True, kw_only=True)
class DiffDagger(GatedConfig):
    """Diff-DAgger (Lee and Kuo, 2024); see `LossGate`."""

    name: ClassVar[str] = "diff-dagger"
    title: ClassVar[str] = "Diff-DAgger"
    summary: ClassVar[str] = "the expert drives where a generative policy finds its own answer unlikely"
    example: ClassVar[str] = "--head Gaussian --set method.gate.level=0.95"

    gate: GateConfig = field(default_factory=LossGate)

    @classmethod
    def why_not(cls, head: HeadConfig, *, is_discrete: bool) -> str | None:
        """Return why the loss of the head's own answer says nothing."""
        return super().why_not(head, is_discrete=is_discrete) or head.why_silent()


@dataclass(frozen=True, kw_only=True)
class Crsail(GatedConfig):
    """CRSAIL (2025); see `NearestGate`."""

    name: ClassVar[str] = "crsail"
    title: ClassVar[str] = "CRSAIL"
    summary: ClassVar[str] = "the expert drives far from everything that was demonstrated"
    example: ClassVar[str] = "--set method.gate.num_neighbours=3"

    gate: GateConfig = field(default_factory=NearestGate)
