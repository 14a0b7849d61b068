"""Model-based reinforcement learning in the small: act, fit the dynamics, plan on them, and again.

    rounds = learn_by_planning(problem, collect, ModelBased(), chart=chart, seed=0)

The model is CCIL's (`policies.dynamics`), the planner MPPI; the costs are known, the motion is not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from jaxtyping import Float64

from steadyhand.core.seeding import RowStreams, derive, generator
from steadyhand.core.settings import Count, NotNegative, Range, Settings
from steadyhand.correction.ccil import learnt_dynamics
from steadyhand.correction.ccil_config import CcilConfig
from steadyhand.envs.problem import ControlProblem
from steadyhand.experts.control.learned import Chart, learned_problem
from steadyhand.experts.control.sampling import Mppi, plan_by_sampling, shifted
from steadyhand.policies.dynamics import Transitions
from steadyhand.policies.dynamics_config import DynamicsConfig
from steadyhand.policies.residual_map import ResidualMap
from steadyhand.training.config import TrainConfig

Act = Callable[[Float64[np.ndarray, "B S"]], Float64[np.ndarray, "B U"]]
"""What to do in states (B, S), always of the same rows in the same order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Driven:
    """N steps that were driven in the true env.

    Attributes:
        state: (N, S) states before them.
        action: (N, U) what was done.
        next_state: (N, S) states after them.
        total: The return of the drive.
    """

    state: Float64[np.ndarray, "N S"]
    action: Float64[np.ndarray, "N U"]
    next_state: Float64[np.ndarray, "N S"]
    total: float


Collect = Callable[[Act, int], Driven]
"""(act, round) -> one drive in the true env, of one row."""


@dataclass(frozen=True, kw_only=True)
class ModelBased(Settings):
    """How a model is learnt and planned on.

    Attributes:
        rounds: Drives that are planned; one of random inputs comes before them.
        num_nets: Nets that are fitted to the same steps, each from its own seed and bootstrap sample; one
            net learns from all.
        disagreement: Cost of what they disagree about; see `learned_problem`.
        horizon: Steps that a plan looks ahead.
        rule: How a plan follows from rollouts.
        dynamics: The nets.
        training: How each is fitted, anew after every drive.
    """

    rounds: Count = 8
    num_nets: Annotated[int, Range(ge=1, le=32)] = 5
    disagreement: NotNegative = 1.0
    horizon: Count = 20
    rule: Mppi = field(default_factory=lambda: Mppi(num_samples=128))
    dynamics: DynamicsConfig = field(default_factory=lambda: DynamicsConfig(hidden=(64, 64)))
    training: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            num_steps=1000, batch_size=128, learning_rate=3e-3, weight_decay=1e-5, log_every=1000
        )
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """A drive, and what the model was when it was planned.

    Attributes:
        number: 0 for the one of random inputs.
        steps: Env steps until its end, all drives together.
        driven: The drive.
        nets: The nets after it: fitted to this drive and all before.
    """

    number: int
    steps: int
    driven: Driven
    nets: tuple[ResidualMap, ...]


class ModelPlanner:
    """MPPI on a problem, for rows that are asked in the same order at every step; new for every drive.

    Args:
        problem: The task, with true or learnt dynamics.
        rule: How a plan follows from rollouts.
        horizon: Steps that it looks ahead.
        num_rows: Number of rows.
        seed: Seed of the noise.
    """

    def __init__(
        self, problem: ControlProblem, rule: Mppi, *, horizon: int, num_rows: int, seed: int
    ) -> None:
        self._problem, self._rule = problem, rule
        self._streams = RowStreams.from_seed(seed, num_rows)
        self.plan = np.tile(problem.rest, (num_rows, horizon, 1))
        """(B, T, U) what is planned from the states that were asked about last."""

    def __call__(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, "B U"]:
        """Return what to do in states."""
        before = shifted(self.plan, self._problem.rest)
        self.plan, _ = plan_by_sampling(self._problem, self._rule, x, before, self._streams)
        return self.plan[:, 0]


def learn_by_planning(
    problem: ControlProblem, collect: Collect, settings: ModelBased, *, chart: Chart, seed: int
) -> Iterator[Round]:
    """Drive, fit, plan and drive again; yield each round as soon as its nets are fitted.

    Args:
        problem: The task; its dynamics are not looked at.
        collect: Drives once in the true env.
        settings: How a model is learnt and planned on.
        chart: How states are told to the nets.
        seed: Seed of everything random.
    """
    random = generator(seed, "random inputs")
    drives: list[Driven] = []
    nets: tuple[ResidualMap, ...] = ()
    for number in range(settings.rounds + 1):
        act: Act
        if number == 0:
            act = lambda x: random.uniform(problem.low, problem.high, (len(x), problem.num_inputs))  # noqa: E731
        else:
            model = learned_problem(problem, nets, chart=chart, disagreement=settings.disagreement)
            act = ModelPlanner(
                model,
                settings.rule,
                horizon=settings.horizon,
                num_rows=1,
                seed=derive(seed, "drive", number),
            )
        drives.append(collect(act, number))
        nets = fitted(drives, settings, chart=chart, seed=derive(seed, "nets", number))
        steps = sum(len(drive.state) for drive in drives)
        yield Round(number=number, steps=steps, driven=drives[-1], nets=nets)


def fitted(drives: list[Driven], settings: ModelBased, *, chart: Chart, seed: int) -> tuple[ResidualMap, ...]:
    """Return nets fitted to all steps of drives, each from its own seed and bootstrap sample."""
    state, action, after = (
        np.concatenate([getattr(drive, name) for drive in drives])
        for name in ("state", "action", "next_state")
    )
    told, came = chart.enter(state, state), chart.enter(state, after)
    steps = Transitions(
        state=told.astype(np.float32), action=action.astype(np.float32), next_state=came.astype(np.float32)
    )
    config = CcilConfig(dynamics=settings.dynamics, training=settings.training)
    nets: list[ResidualMap] = []
    for number in range(settings.num_nets):
        one = derive(seed, "net", number)
        index = np.arange(len(steps))
        if settings.num_nets > 1:
            index = generator(one, "bootstrap").integers(len(steps), size=len(steps))
        nets.append(learnt_dynamics(steps.rows(index), config, seed=one))
    return tuple(nets)
