"""Planners as experts: they plan from wherever a row is, and say what to do there.

A planner labels *any* state, also one that nobody planned for: where a row has left its plan, it plans anew.
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float64, Int64

from steadyhand.core.protocol import Actor, Controller, Decision, Observation, PerRow
from steadyhand.core.seeding import RowStreams
from steadyhand.envs.base import BatchEnv
from steadyhand.experts.control.ilqr import IlqrSettings, Trajectories, ilqr_with_restarts
from steadyhand.experts.control.riccati import balance_gain, ending_held
from steadyhand.experts.control.sampling import SamplingRule, plan_by_sampling, shifted

NOISE_STEPS = 16
"""Pieces of constant input that a search begins with."""

NEAR_GOAL = 0.5
"""Largest entry of the state's difference from the goal at which the regulator may take over."""

AT_GOAL = 0.1
"""Largest entry of it that a plan's length of regulation may leave for the regulator to take over."""

ENDING = 5.0
"""Weight of what the regulator would pay from the end of a plan on: plans end where it holds."""

LOOK_AHEAD = 8
"""How many steps of its plan a row may have gone on since it was asked."""


class Planner(Controller, ABC):
    """What planners share: they read the state from what is seen, and keep a plan for each row.

    They look at what only experts may see where the env shows them such a thing.

    Attributes:
        num_queries: Steps that it was asked about.
        cost: What the plan of each row costs from where it was made on, nan where there is none.

    Args:
        env: Which env they plan in; it must offer `problem` and `x_of`.
    """

    memory: ClassVar[tuple[str, ...]] = ("num_queries",)

    def __init__(self, env: BatchEnv) -> None:
        self.problem = env.problem()
        self._env = env
        self.sees_privileged = bool(env.spec.privileged)
        self.num_queries = 0
        self.cost = PerRow(np.nan)

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Plan where it is needed, and return the input of each plan, labelled with itself."""
        self.num_queries += len(rows)
        x = self._env.x_of({**observation, **privileged})
        wish = self._input(x, rows, generator)
        action = np.clip(wish, self.problem.low, self.problem.high).astype(np.float32)
        return Decision.by(Actor.EXPERT, action, label=action)

    @abstractmethod
    def _input(
        self, x: Float64[np.ndarray, "B S"], rows: Int64[np.ndarray, " B"], generator: RowStreams
    ) -> Float64[np.ndarray, "B U"]:
        """Return what to do in states `x` of `rows`."""


class SamplingPlanner(Planner):
    """Plans anew at every step, from the plan of the step before.

    Args:
        env: Which env.
        rule: How a plan follows from rollouts.
        horizon: Steps that it looks ahead.
    """

    def __init__(self, env: BatchEnv, rule: SamplingRule, *, horizon: int) -> None:
        super().__init__(env)
        self._rule = rule
        self._plan = PerRow(np.tile(self.problem.rest, (horizon, 1)))

    def _input(
        self, x: Float64[np.ndarray, "B S"], rows: Int64[np.ndarray, " B"], generator: RowStreams
    ) -> Float64[np.ndarray, "B U"]:
        plan, self.cost[rows] = plan_by_sampling(
            self.problem, self._rule, x, self._plan[rows], generator.fork("planner")
        )
        self._plan[rows] = shifted(plan, self.problem.rest)
        return plan[:, 0]


class IlqrPlanner(Planner):
    """Plans to the goal by iLQR, follows the plan by its feedback, and holds the goal by a regulator.

    A row plans when it has no plan, when it is farther from its plan than `trust`, and when the plan has
    ended away from the goal.

    Args:
        env: Which env.
        horizon: Steps of a plan.
        attempts: How often a plan is begun until it reaches the goal.
        settings: How long each search goes on.
        noise: Deviation of the inputs that a search begins with, as a share of half their range.
        trust: Farthest that feedback is trusted: the largest entry of the state's difference from the plan.
    """

    def __init__(
        self,
        env: BatchEnv,
        *,
        horizon: int,
        attempts: int,
        settings: IlqrSettings,
        noise: float,
        trust: float,
    ) -> None:
        super().__init__(env)
        self._horizon, self._attempts, self._settings = horizon, attempts, settings
        self._noise, self._trust = noise, trust
        self._regulator = balance_gain(self.problem)
        self._searched_problem = ending_held(self.problem, weight=ENDING)
        states, inputs = self.problem.num_states, self.problem.num_inputs
        self._x = PerRow(np.full((horizon + 1, states), np.nan))
        self._u = PerRow(np.zeros((horizon, inputs)))
        self._gain = PerRow(np.zeros((horizon, inputs, states)))
        self._step = PerRow(horizon)
        self._holds = PerRow(np.zeros((), dtype=bool))

    def _input(
        self, x: Float64[np.ndarray, "B S"], rows: Int64[np.ndarray, " B"], generator: RowStreams
    ) -> Float64[np.ndarray, "B U"]:
        problem = self.problem
        held = self._is_held(x, rows)
        step, apart = self._place(x, rows)
        lost = ~held & ~((step < self._horizon) & (np.abs(apart).max(-1) <= self._trust))
        if lost.any():
            noise = generator.fork("planner").normal(self._attempts, NOISE_STEPS, problem.num_inputs)
            self._plan(
                x[lost],
                rows[lost],
                noise[lost],
            )
            step[lost], apart[lost] = 0, 0.0
        now = np.minimum(step, self._horizon - 1)
        each = np.arange(len(rows))
        apart = np.where(np.isfinite(apart), apart, 0.0)  # of rows that are held and have no plan
        planned = self._u[rows][each, now] + (self._gain[rows][each, now] @ apart[..., None])[..., 0]
        balanced = problem.rest + problem.difference(x, problem.goal) @ self._regulator.T
        self._step[rows] = step + 1
        return np.where(held[:, None], balanced, planned)

    def _is_held(
        self, x: Float64[np.ndarray, "B S"], rows: Int64[np.ndarray, " B"]
    ) -> Bool[np.ndarray, " B"]:
        """Return whether the regulator has `rows`, from where it can bring them to the goal on."""
        near = self._is_near(x)
        ask = near & ~self._holds[rows]
        near[ask] = self._can_hold(x[ask])
        self._holds[rows] = near
        return near

    def _is_near(self, x: Float64[np.ndarray, "B S"]) -> Bool[np.ndarray, " B"]:
        return np.abs(self.problem.difference(x, self.problem.goal)).max(axis=1) <= NEAR_GOAL

    def _can_hold(self, x: Float64[np.ndarray, "B S"]) -> Bool[np.ndarray, " B"]:
        """Return whether the regulator brings states that are near the goal to it, within its bounds."""
        can = self._is_near(x)
        if can.any():
            last = self._regulated(x[can]).x[:, -1]
            with np.errstate(invalid="ignore"):
                can[can] = np.abs(self.problem.difference(last, self.problem.goal)).max(axis=1) <= AT_GOAL
        return can

    def _place(
        self, x: Float64[np.ndarray, "B S"], rows: Int64[np.ndarray, " B"]
    ) -> tuple[Int64[np.ndarray, " B"], Float64[np.ndarray, "B S"]]:
        """Return the step of its plan that each row is nearest to, and how far it is from there."""
        last = self._horizon
        window = np.minimum(self._step[rows][:, None] + np.arange(LOOK_AHEAD), last)
        each = np.arange(len(rows))
        apart = self.problem.difference(x[:, None], self._x[rows][each[:, None], window])
        away = np.abs(apart).max(-1)
        nearest = np.where(np.isnan(away), np.inf, away).argmin(axis=1)
        return window[each, nearest], np.where(np.isnan(apart), np.inf, apart)[each, nearest]

    def _plan(
        self,
        x: Float64[np.ndarray, "B S"],
        rows: Int64[np.ndarray, " B"],
        noise: Float64[np.ndarray, "B N K U"],
    ) -> None:
        """Make new plans: what the regulator would do where that arrives, and what is searched elsewhere."""
        plain = self._regulated(x)
        arrives = self._arrives(plain)
        self._keep(rows[arrives], plain.take(arrives))
        rest = np.flatnonzero(~arrives)
        if len(rest):
            self._keep(rows[rest], self._searched(x[rest], noise[rest]))

    def _searched(self, x: Float64[np.ndarray, "B S"], noise: Float64[np.ndarray, "B N K U"]) -> Trajectories:
        problem = self.problem
        half = 0.5 * (problem.high - problem.low)
        hold = -(-self._horizon // noise.shape[2])

        def guess(some: Int64[np.ndarray, " B"], attempt: int) -> Float64[np.ndarray, "B T U"]:
            pushed = np.repeat(noise[some, attempt], hold, axis=1)[:, : self._horizon]
            return problem.rest + self._noise * half * pushed

        found, _ = ilqr_with_restarts(
            self._searched_problem,
            x,
            guess,
            is_solved=self._arrives,
            attempts=self._attempts,
            settings=self._settings,
        )
        return replace(found, cost=problem.cost(found.x, found.u))

    def _regulated(self, x: Float64[np.ndarray, "B S"]) -> Trajectories:
        """Return what becomes of states under the regulator."""
        problem = self.problem
        states, inputs = [x], []
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(self._horizon):
                wish = problem.rest + problem.difference(states[-1], problem.goal) @ self._regulator.T
                inputs.append(np.clip(wish, problem.low, problem.high))
                states.append(problem.dynamics(states[-1], inputs[-1], np))
            path, u = np.stack(states, axis=1), np.stack(inputs, axis=1)
            cost = problem.cost(path, u)
        free = (u > problem.low) & (u < problem.high)
        return Trajectories(
            x=path,
            u=u,
            gain=np.where(free[..., None], self._regulator, 0.0),
            cost=cost,
            is_converged=np.ones(len(x), dtype=bool),
            iterations=np.zeros(len(x), dtype=np.int64),
        )

    def _keep(self, rows: Int64[np.ndarray, " B"], found: Trajectories) -> None:
        self._x[rows], self._u[rows], self._gain[rows] = found.x, found.u, found.gain
        self.cost[rows] = found.cost

    def _arrives(self, found: Trajectories) -> Bool[np.ndarray, " B"]:
        return self._can_hold(found.x[:, -1])


class Regulator(Planner):
    """Plays u = rest + K (x - goal): the best feedback of the system linearised at its goal.

    Args:
        env: Which env.
        state_cost: Weight of each entry of the state's difference; those of the env's own costs if empty.
        input_cost: Weight of each input; those of the env's own costs if empty.
    """

    def __init__(
        self, env: BatchEnv, *, state_cost: tuple[float, ...] = (), input_cost: tuple[float, ...] = ()
    ) -> None:
        super().__init__(env)
        self.gain = balance_gain(
            self.problem,
            state_cost=np.diag(state_cost) if state_cost else None,
            input_cost=np.diag(input_cost) if input_cost else None,
        )

    def _input(
        self, x: Float64[np.ndarray, "B S"], rows: Int64[np.ndarray, " B"], generator: RowStreams
    ) -> Float64[np.ndarray, "B U"]:
        del rows, generator
        apart = self.problem.difference(x, self.problem.goal)
        # Entry by entry, so that a row does not depend on how many there are.
        return self.problem.rest + (apart[:, None, :] * self.gain).sum(axis=-1)
