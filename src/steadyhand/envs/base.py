"""The env contract: N copies stepped at once, without auto-reset and without hidden random state."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped, UInt8

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.specs import ACTION, EnvSpec, table_of_shapes

if TYPE_CHECKING:
    from steadyhand.envs.judge import SuccessJudge
    from steadyhand.envs.problem import ControlProblem

Family = Literal["train", "validation", "test"]
"""Disjoint families of tracks, lighting, starts and seeds. Success figures are quoted on "test"."""
FAMILIES: tuple[Family, ...] = get_args(Family)

ReturnRule = Literal["pursuit", "return"]
"""How a displaced robot gets back; see `BatchEnv.displaced_action`."""


def require_family(family: object) -> None:
    """Raise SpecError unless there is such a family: seeds of any other name would be starts of their own."""
    if family not in FAMILIES:
        raise SpecError("There is no such family of starts.", got=repr(family), available=FAMILIES)


@dataclass(frozen=True, kw_only=True)
class Start:
    """One initial condition; the same start gives the same first state for every policy.

    Attributes:
        family: Family that it belongs to.
        seed: Seed of everything random at reset that `options` does not fix.
        options: Values that the env lets a caller choose, such as track number or lateral offset [m].
    """

    family: Family
    seed: int
    options: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """Outcome of one step for the stepped rows, in their order.

    Attributes:
        reward: (B,) rewards.
        terminated: (B,) whether the task ended by its own rules (off the road, fallen, done).
        truncated: (B,) whether max_episode_steps was reached.
        success: (B,) whether the task counts as done; only meaningful where terminated or truncated.
        told: (B,) whether success is known; where it is not, `success` means nothing. None: known everywhere.
    """

    reward: Float32[np.ndarray, " B"]
    terminated: Bool[np.ndarray, " B"]
    truncated: Bool[np.ndarray, " B"]
    success: Bool[np.ndarray, " B"]
    told: Bool[np.ndarray, " B"] | None = None

    @property
    def is_told(self) -> Bool[np.ndarray, " B"]:
        """(B,) whether success is known."""
        return np.ones(len(self.success), dtype=bool) if self.told is None else self.told

    def outcome(self, position: int) -> bool | None:
        """Return whether the row at `position` succeeded; None if that is not known."""
        return bool(self.success[position]) if self.told is None or self.told[position] else None


class BatchEnv(ABC):
    """N copies of a task. `rows` are sorted unique indices below `num_rows`.

    An ended row keeps its last state until it is reset; stepping it again is an error. A capability that an
    env lacks raises CapabilityError from the default methods below: callers never test for attributes.
    """

    spec: EnvSpec
    num_rows: int
    config: Any = None
    """The settings that it was built from; None where there are none."""
    checks_itself: bool = False
    """Whether what it returns is sure to fit its spec and to be finite; otherwise a session checks."""
    judge: "SuccessJudge | None" = None
    """Applies the success rule to the infos of its steps; None where the env itself knows of success."""

    @abstractmethod
    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        """Return `count` starts of a family; a longer list begins with the shorter one."""

    @abstractmethod
    def reset(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        """Put each of `rows` at its start."""

    @abstractmethod
    def step(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> StepResult:
        """Advance `rows` by control_dt. Actions out of bounds are clipped to the action spec."""

    @abstractmethod
    def observe(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the observation of `rows`, feature -> (B, ...).

        Args:
            rows: Which rows.
            view_offset: Displaces the sensors: "lateral" [m, left positive], "heading" [rad, left positive].

        Raises:
            CapabilityError: `view_offset` is given and the env cannot displace its sensors.
        """

    def privileged(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return what only experts may see, feature -> (B, ...); empty if the spec names nothing."""
        del rows
        return {}

    def tasks(self, rows: Int64[np.ndarray, " B"]) -> tuple[str, ...]:
        """Return what each row is to do, in words; an env whose episodes have instructions says each."""
        self._check_rows(rows)
        return (self.spec.task,) * len(rows)

    def state(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return a snapshot of `rows` that `restore` takes back exactly."""
        del rows
        raise self._lacks("snapshots (state / restore)")

    def restore(self, state: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into the state of a snapshot, bit for bit."""
        del state, rows
        raise self._lacks("snapshots (state / restore)")

    def place(self, observation: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into a state in which they see `observation`, ready to be stepped.

        What an observation does not determine, such as how far a runner has come, may be anything; the caller
        compares what the rows observe afterwards.

        Args:
            observation: Feature -> (B, ...), vectors at least.
            rows: (B,) rows to put there.

        Raises:
            CapabilityError: An observation does not determine the state.
        """
        del observation, rows
        raise self._lacks("a state from an observation (place)", such_as="pendulum")

    def dynamics(self, x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
        """Return the next state after one control step, in the array namespace `xp` (numpy or torch)."""
        del x, u, params, xp
        raise self._lacks("dynamics in closed form")

    def problem(self) -> "ControlProblem":
        """Return the task as a problem of optimal control, for planners."""
        raise self._lacks("its task as a problem of optimal control (problem)", such_as="arm")

    def x_of(self, observation: Mapping[str, np.ndarray]) -> Float64[np.ndarray, "B S"]:
        """Return the state of `problem` and `dynamics` at an observation, (B, S).

        Args:
            observation: Feature -> (B, ...).
        """
        del observation
        raise self._lacks("the state that an observation tells (x_of)", such_as="arm")

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return a picture of one row for people to watch, (height, width, 3)."""
        del row, width, height
        raise self._lacks("a picture (render)")

    def filmed(self, num_rows: int) -> "BatchEnv":
        """Return an env with the same starts, `num_rows` rows of which can be rendered.

        It is this one, unless rendering needs one that was made for it; the caller closes that one.
        """
        del num_rows
        return self

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return a 2-D position of each row for occupancy maps [m]."""
        del rows
        raise self._lacks("a 2-D position")

    def error(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return how far each row is from doing its task as the expert would, such as metres off the line."""
        del rows
        raise self._lacks("an error of the task")

    def outline(self, start: "Start | int") -> tuple[Float32[np.ndarray, "P 2"], ...]:
        """Return the lines that bound the task from a start, or from where a row is, (P, 2) each [m]."""
        del start
        raise self._lacks("an outline of where it is done")

    @property
    def road_width(self) -> float:
        """Width, edge to edge, of the road whose middle "privileged.lateral" is measured from [m]."""
        raise self._lacks("a road of known width")

    @property
    def num_modes(self) -> int:
        """Number of distinct ways in which the task can be done, such as routes round an obstacle."""
        raise self._lacks("modes (several right ways)", such_as="forks")

    def mode(self, rows: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """Return the mode of each row, 0 to `num_modes` - 1, and -1 while that is open.

        At the end of an episode it is the way that was taken. It may change on the way there: a policy that
        dithers between two ways shows as such changes.
        """
        del rows
        raise self._lacks("modes (several right ways)", such_as="forks")

    def rescue(self, rows: Int64[np.ndarray, " B"]) -> tuple[Start, ...]:
        """Return starts that put each row back where its task can go on, as a roadside helper would."""
        del rows
        raise self._lacks("a rescue (a start where a failed row can go on)")

    def displaced_action(
        self,
        rows: Int64[np.ndarray, " B"],
        action: Float32[np.ndarray, "B A"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]],
        lookahead: float,
        rule: ReturnRule = "pursuit",
    ) -> Float32[np.ndarray, "B A"]:
        """Return the action that leads from a displaced pose back to where `action` goes from here.

        Args:
            rows: Which rows.
            action: (B, A) action at the present pose: the only knowledge of the path that is used.
            view_offset: The displacement, as in `observe`.
            lookahead: How far ahead the two meet [m].
            rule: "pursuit": at the same place; "return": on the same path, in the same direction.
        """
        del rows, action, view_offset, lookahead, rule
        raise self._lacks("labels for displaced views (displaced_action)")

    def __repr__(self) -> str:
        spec = self.spec
        rate = f"every {spec.control_dt:g} s, at most {spec.max_episode_steps} steps"
        title = f"<{type(self).__name__} {spec.env_id}: {self.num_rows} rows, {rate}>"
        return table_of_shapes(title, {**spec.observation, **spec.privileged, ACTION: spec.action})

    def close(self) -> None:  # noqa: B027  optional
        """Free what the env holds."""

    def _check_rows(self, rows: Int64[np.ndarray, " B"]) -> tuple[int, int]:
        """Return the first and the last of some rows; raise SpecError unless the env has them."""
        if np.ndim(rows) != 1:
            raise SpecError("Rows are a list.", got=rows, expected="np.array([0]) for the first row")
        first, last = (int(rows[0]), int(rows[-1])) if len(rows) else (0, 0)
        if first < 0 or last >= self.num_rows:
            raise SpecError(
                "There is no such row.", got=f"{first} to {last}", expected=f"0 to {self.num_rows - 1}"
            )
        return first, last

    def _check_step(
        self, actions: np.ndarray, rows: Int64[np.ndarray, " B"], ended: Bool[np.ndarray, " B"]
    ) -> None:
        """Raise SpecError unless the actions fit and none of these rows has ended."""
        expected = (len(rows), *self.spec.action.shape)
        if actions.shape != expected:
            raise SpecError("Actions have the wrong shape.", got=actions.shape, expected=expected)
        if ended.any():
            raise SpecError(
                "A row that has ended was stepped.", got=f"row {rows[ended][0]}", hint="reset it first"
            )

    def _check_starts(
        self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"], *, options: Collection[str]
    ) -> None:
        """Raise SpecError unless there is a start for each row and none has an option that is not known."""
        if len(starts) != len(rows):
            raise SpecError("Each row needs one start.", got=len(starts), expected=len(rows))
        self._check_rows(rows)
        for name in (name for start in starts for name in start.options if name not in options):
            raise SpecError(
                f"A start of {self.spec.env_id} has no such option.", got=name, available=list(options)
            )

    def _lacks(self, capability: str, *, such_as: str = "car") -> CapabilityError:
        return CapabilityError(
            f"{self.spec.env_id} does not offer {capability}.",
            hint=f"use an env that does, such as {such_as!r}",
        )
