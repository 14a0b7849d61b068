"""Mechanical systems as envs: one equation of motion serves stepping, planning and differentiation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped

from steadyhand.core.seeding import generator
from steadyhand.core.settings import Count, NotNegative, Range, Share
from steadyhand.core.specs import STATE, EnvSpec, FeatureSpec
from steadyhand.core.success import SuccessRule
from steadyhand.envs.arrays import ArrayEnv, Trails
from steadyhand.envs.base import Family, Start
from steadyhand.envs.config import EnvConfig
from steadyhand.envs.problem import ControlProblem, rk4

TRAIL_TIME = 1.2
"""How far back a picture shows where a system has been [s]."""


@dataclass(frozen=True, kw_only=True)
class MechanismConfig(EnvConfig, ABC):
    """Settings that all mechanical systems have. SI units throughout.

    Attributes:
        control_dt: Time between two actions [s].
        substeps: Runge-Kutta steps in that time.
        max_episode_steps: Steps after which an episode ends.
        hold_time: Success asks for the goal to be held through this last part of the episode [s].
        start_scale: Starts are spread over this share of the usual region.
    """

    control_dt: Annotated[float, Range(ge=0.001, le=0.2)] = 0.02
    substeps: Count = 2
    max_episode_steps: Count = 250
    hold_time: NotNegative = 1.0
    start_scale: Share = 1.0

    @property
    def hold_steps(self) -> int:
        """Last steps of an episode at which the goal must be held, at least one."""
        return max(1, round(self.hold_time / self.control_dt))


@dataclass(frozen=True, kw_only=True)
class Described:
    """What a mechanical system is, in words and names.

    Attributes:
        env_id: Name of the env.
        states: Names of the entries of its state.
        angles: Which of these are angles [rad].
        observed: Names of what a policy sees, and their units.
        inputs: Names of the inputs, and their units.
        task: What there is to do.
        success: What counts as done.
        tolerance: Distance below which the goal counts as reached, in the unit of `Mechanism.distance`.
    """

    env_id: str
    states: tuple[str, ...]
    angles: tuple[int, ...] = ()
    observed: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, str], ...]
    task: str
    success: str
    tolerance: float


C = TypeVar("C", bound=MechanismConfig)


class Mechanism(ArrayEnv, Generic[C]):
    """N copies of a mechanical system whose state is x, in double precision.

    A subclass gives its equation of motion, its costs, where episodes begin, what a policy sees of x (all
    that there is to know: `x_of` finds x again), and how far x is from the goal. The reward of a step is
    minus its running cost, of the state in which the input was chosen.

    Args:
        config: What was chosen.
        said: What it is.
        num_rows: Number of copies.
    """

    config: C

    def __init__(self, config: C, said: Described, *, num_rows: int) -> None:
        self.config = config
        self.said = said
        low, high = self.bounds()
        super().__init__(
            EnvSpec(
                env_id=said.env_id,
                observation={STATE: _feature(said.observed)},
                action=_feature(said.inputs, low=low, high=high),
                control_dt=config.control_dt,
                max_episode_steps=config.max_episode_steps,
                task=said.task,
                success=SuccessRule(said=said.success),
            ),
            num_rows=num_rows,
        )
        self._x = self._declare("x", np.zeros((num_rows, len(said.states))))
        self._u = self._declare("u", np.zeros((num_rows, len(low))))
        self._held = self._declare("held", np.zeros(num_rows, dtype=np.int64))
        self._trails = self._followed(Trails(self._x, length=round(TRAIL_TIME / config.control_dt)))

    @abstractmethod
    def bounds(self) -> tuple[Float64[np.ndarray, " U"], Float64[np.ndarray, " U"]]:
        """Return the least and the greatest inputs."""

    @abstractmethod
    def parameters(self) -> Mapping[str, Any]:
        """Return the numbers that `derivative` reads."""

    @abstractmethod
    def derivative(self, x: Any, u: Any, params: Mapping[str, Any], xp: Any) -> Any:
        """Return x', (..., S), for a state (..., S) and an input (..., U) within bounds."""

    @abstractmethod
    def running(self, x: Any, u: Any, xp: Any) -> Any:
        """Return the residuals of a step, (..., R)."""

    @abstractmethod
    def terminal(self, x: Any, xp: Any) -> Any:
        """Return the residuals of a last state, (..., Q)."""

    @abstractmethod
    def goal(self) -> tuple[Float64[np.ndarray, " S"], Float64[np.ndarray, " U"]]:
        """Return the state to be reached, and the input that keeps it."""

    @abstractmethod
    def drawn(self, random: np.random.Generator) -> Sequence[float]:
        """Return the state at a start."""

    @abstractmethod
    def seen(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, "B O"]:
        """Return what a policy sees."""

    @abstractmethod
    def x_of(self, observation: Mapping[str, np.ndarray]) -> Float64[np.ndarray, "B S"]:
        """Return the state that an observation tells."""

    @abstractmethod
    def distance(self, x: Float64[np.ndarray, "B S"]) -> Float64[np.ndarray, " B"]:
        """Return how far states are from the goal."""

    def is_lost(self, x: Float64[np.ndarray, "B S"]) -> Bool[np.ndarray, " B"]:
        """Return whether states end an episode as failures."""
        return np.zeros(len(x), dtype=bool)

    def dynamics(self, x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
        """Return the next (..., S) state; inputs are clipped, and `params` overrides single parameters."""
        numbers = {**self.parameters(), **params}
        low, high = (xp.asarray(bound, dtype=u.dtype) for bound in self.bounds())
        held = xp.clip(u, low, high)
        step = rk4(
            lambda state: self.derivative(state, held, numbers, xp),
            x,
            dt=numbers.get("control_dt", self.config.control_dt),
            substeps=self.config.substeps,
        )
        return self.tidied(step, xp)

    def tidied(self, x: Any, xp: Any) -> Any:
        """Return a state after a step as it should be kept, such as with a quaternion of length one."""
        del xp
        return x

    def problem(self) -> ControlProblem:
        """Return the task as a problem of optimal control; see `BatchEnv.problem`."""
        low, high = self.bounds()
        goal, rest = self.goal()
        return ControlProblem(
            dynamics=lambda x, u, xp: self.dynamics(x, u, params={}, xp=xp),
            running=self.running,
            terminal=self.terminal,
            low=low,
            high=high,
            goal=goal,
            rest=rest,
            angles=self.said.angles,
            control_dt=self.config.control_dt,
        )

    def place(self, observation: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into the state that an observation tells; see `BatchEnv.place`."""
        self._put({"x": self.x_of(observation)}, rows)

    def error(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return how far each row is from its goal."""
        self._check_rows(rows)
        return self.distance(self._x[rows]).astype(np.float32)

    def _option_names(self) -> tuple[str, ...]:
        return self.said.states

    def _options(self, family: Family, count: int, seed: int) -> Sequence[dict[str, float]]:
        """Return the state, by the names of its entries."""
        name = self.spec.env_id
        drawn = [self.drawn(generator(seed, name, family, index)) for index in range(count)]
        return [{part: float(v) for part, v in zip(self.said.states, one, strict=True)} for one in drawn]

    def _first(self, starts: Sequence[Start]) -> Mapping[str, np.ndarray]:
        goal, _ = self.goal()
        rest = dict(zip(self.said.states, goal, strict=True))
        return {
            "x": np.array(
                [[one.options.get(part, rest[part]) for part in self.said.states] for one in starts]
            )
        }

    def _advance(
        self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]
    ) -> tuple[Float32[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        low, high = self.bounds()
        u = np.clip(actions.astype(np.float64), low, high)
        old = self._x[rows]
        felt = self.running(old, u, np)
        new = self.dynamics(old, u, params={}, xp=np)
        lost = self.is_lost(new)
        held = np.where(self.distance(new) <= self.said.tolerance, self._held[rows] + 1, 0)
        self._x[rows], self._u[rows], self._held[rows] = new, u, held
        reward = (-0.5 * (felt * felt).sum(-1)).astype(np.float32)
        return reward, lost, ~lost & (held >= self.config.hold_steps)

    def _see(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        return {STATE: self.seen(self._x[rows]).astype(np.float32)}


def _feature(
    named: Sequence[tuple[str, str]], *, low: np.ndarray | None = None, high: np.ndarray | None = None
) -> FeatureSpec:
    names, units = (tuple(column) for column in zip(*named, strict=True))
    if low is None or high is None:
        return FeatureSpec(shape=(len(names),), names=names, units=units)
    return FeatureSpec(
        shape=(len(names),), names=names, units=units, low=tuple(low.tolist()), high=tuple(high.tolist())
    )


def wrapped(angle: Any, xp: Any) -> Any:
    """Return angles in [-pi, pi)."""
    return angle - 2.0 * np.pi * xp.floor((angle + np.pi) / (2.0 * np.pi))


def chord(angle: Any, xp: Any) -> Any:
    """Return 2 sin(angle / 2): an angle without a kink at pi, for costs."""
    return 2.0 * xp.sin(0.5 * angle)
