"""Where remedies are tried out at toy size: an env, an expert, and settings that take a blink."""

from dataclasses import dataclass, replace

from steadyhand.core.protocol import Controller
from steadyhand.correction.budget import Budget
from steadyhand.correction.ccil_config import CorrectiveLabels
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
from steadyhand.correction.human import Discrepancy, SimulatedHuman
from steadyhand.correction.offline import NoiseBC
from steadyhand.correction.remedy import Remedy
from steadyhand.correction.view_config import AlvinnViews, SideCameras
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.tabular.config import TabularConfig
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.experts.tabular import DynamicProgramming
from steadyhand.policies.dynamics_config import DynamicsConfig
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.tabular import Tabular
from steadyhand.policies.risk_config import RiskConfig
from steadyhand.testing.line import Homing, Line
from steadyhand.training.config import TrainConfig

BUDGET = Budget(
    labels=24,
    rounds=2,
    episodes=4,
    validation_starts=2,
    human=SimulatedHuman(
        risk=Discrepancy(threshold=0.05, smoothing=0.0),
        reaction_delay=0.1,
        calm=0.1,
        min_hold=0.2,
    ),
)
_ROWS = 4
_STEPS = 8
_BRIEF = TrainConfig(num_steps=3, batch_size=8, warmup_steps=0, learning_rate=1e-3)


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """An env and who shows the way in it.

    Attributes:
        env: The env.
        expert: The expert.
    """

    env: BatchEnv
    expert: Controller


def place_of(method: Remedy, head: HeadConfig, *, is_discrete: bool) -> Place:
    """Return the cheapest env that fits: the car for numbers; for classes an MDP, or the line.

    The table of frequencies lives in a finite MDP. Other heads that choose among classes do so there too,
    but on the line where a remedy disturbs or displaces states: that needs states that are numbers.
    """
    if not is_discrete:
        config = CarConfig(
            observation=("state",),
            num_tracks=1,
            num_held_out_tracks=1,
            control_dt=0.1,
            max_episode_steps=_STEPS,
        )
        return Place(env=config.build(_ROWS), expert=PurePursuit(config))
    if isinstance(method, NoiseBC | CorrectiveLabels) and not isinstance(head, Tabular):
        return Place(env=Line(_ROWS, max_episode_steps=_STEPS), expert=Homing())
    env = TabularConfig(horizon=_STEPS).build(_ROWS)
    return Place(env=env, expert=DynamicProgramming(env.mdp))


def small(remedy: type[Remedy], *, budget: Budget = BUDGET) -> Remedy:
    """Return a remedy's settings with everything that is trained on the way cut to a few steps."""
    match remedy.from_budget(budget):
        case GatedConfig() as method:
            return replace(method, gate=_small_gate(method.gate), stretch=2.0, patience=4.0)
        case CorrectiveLabels() as method:
            return replace(method, dynamics=DynamicsConfig(hidden=(8,)), training=_BRIEF)
        case AlvinnViews() as method:
            return replace(method, num_views=2)
        case SideCameras() as method:
            return replace(method, num_random=1)
        case method:
            return method


def _small_gate(gate: GateConfig) -> GateConfig:
    match gate:
        case SafeGate() | LazyGate():
            return replace(gate, classifier=_BRIEF, drives=2)
        case EnsembleGate():
            return replace(gate, members=2, drives=2)
        case ThriftyGate():
            risk = RiskConfig(num_steps=3, batch_size=8, hidden=(8,))
            return replace(gate, share=0.2, members=2, drives=2, risk=risk)
        case LossGate():
            return replace(gate, level=0.5, patience=1, draws=2)
        case NearestGate():
            return replace(gate, level=0.5)
        case _:
            return gate
