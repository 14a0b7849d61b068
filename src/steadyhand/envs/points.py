"""What the envs share whose state is a point in the plane: stepping, endings, snapshots, the path so far."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped

from steadyhand.core.errors import SpecError
from steadyhand.core.specs import STATE, EnvSpec
from steadyhand.envs.base import BatchEnv, Start, StepResult

INTENT = "privileged.intent"
"""(B, 1) what the start tells the demonstrator about its route; `NO_INTENT` where it tells nothing."""

NO_INTENT = -1.0


class PointEnv(BatchEnv):
    """N points in the plane whose "observation.state" is all of their state.

    Subclasses say where a start is, how a point moves (`dynamics`), and what follows from a step (`_judge`).
    Everything is computed entry by entry, so a row never depends on its neighbours.

    Args:
        spec: What the env offers.
        num_rows: Number of points.
        num_memory: Whole numbers that a row remembers of its way, -1 at the start.
    """

    checks_itself = True

    OPTIONS: ClassVar[tuple[str, ...]]
    """What a start may name."""

    INTENT_OPTION: ClassVar[str]
    """Which of them only the demonstrator reads."""

    def __init__(self, spec: EnvSpec, *, num_rows: int, num_memory: int) -> None:
        if num_rows < 1:
            raise SpecError("An env needs at least one row.", got=num_rows, expected=">= 1")
        self.spec = spec
        self.num_rows = num_rows
        width = spec.observation[STATE].size
        self._values = np.zeros((num_rows, width), dtype=np.float32)
        self._memory = np.full((num_rows, num_memory), -1, dtype=np.int64)
        self._intent = np.full((num_rows, 1), NO_INTENT, dtype=np.float32)
        self._steps = np.zeros(num_rows, dtype=np.int64)
        self._ended = np.ones(num_rows, dtype=bool)
        self._touched = np.zeros(num_rows, dtype=bool)
        # For pictures: places by step, known from step `_known_from` on (a snapshot brings no path along).
        self._path = np.zeros((num_rows, spec.max_episode_steps + 1, 2), dtype=np.float32)
        self._known_from = np.zeros(num_rows, dtype=np.int64)
        self._low = np.array(spec.action.low, dtype=np.float32)
        self._high = np.array(spec.action.high, dtype=np.float32)

    def reset(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        """Put each of `rows` at its start."""
        self._check_starts(starts, rows, options=self.OPTIONS)
        if not starts:
            return
        intents = [start.options.get(self.INTENT_OPTION, NO_INTENT) for start in starts]
        self._values[rows] = np.array([self._first(start) for start in starts], dtype=np.float32)
        self._memory[rows] = -1
        self._intent[rows] = np.array(intents, dtype=np.float32)[:, None]
        self._steps[rows] = 0
        self._ended[rows] = False
        self._touched[rows] = False
        self._known_from[rows] = 0
        self._path[rows, 0] = self._place(self._values[rows])

    def step(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> StepResult:
        """Advance `rows` by control_dt.

        Raises:
            SpecError: A row has ended, or the actions have the wrong shape.
        """
        self._check_step(actions, rows, self._ended)
        command = np.clip(actions.astype(np.float32, copy=False), self._low, self._high)
        old = self._values[rows]
        new = self.dynamics(old, command, params={}, xp=np)
        here, there = self._place(old), self._place(new)
        touched, arrived, memory, reward = self._judge(here, there, self._memory[rows])
        steps = self._steps[rows] + 1
        arrived &= ~touched
        terminated = touched | arrived
        truncated = (steps >= self.spec.max_episode_steps) & ~terminated
        self._values[rows] = new
        self._memory[rows] = memory
        self._steps[rows] = steps
        self._ended[rows] = terminated | truncated
        self._touched[rows] = touched
        self._path[rows, steps] = there
        return StepResult(reward=reward, terminated=terminated, truncated=truncated, success=arrived)

    def observe(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return the state of `rows`; see `BatchEnv.observe`."""
        if view_offset is not None:
            raise self._lacks("displaced sensors (view_offset)")
        self._check_rows(rows)
        return {STATE: self._values[rows]}

    def privileged(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return what the start tells the demonstrator about its route."""
        self._check_rows(rows)
        return {INTENT: self._intent[rows]}

    def state(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return a snapshot of `rows`; it may be restored into another env of the same config."""
        self._check_rows(rows)
        return {
            "values": self._values[rows],
            "memory": self._memory[rows],
            "intent": self._intent[rows],
            "steps": self._steps[rows],
            "ended": self._ended[rows],
            "touched": self._touched[rows],
        }

    def restore(self, state: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into the snapshot `state`, bit for bit."""
        self._check_rows(rows)
        self._values[rows] = state["values"]
        self._memory[rows] = state["memory"]
        self._intent[rows] = state["intent"]
        self._steps[rows] = state["steps"]
        self._ended[rows] = state["ended"]
        self._touched[rows] = state["touched"]
        self._known_from[rows] = state["steps"]
        self._path[rows, state["steps"]] = self._place(state["values"])

    def place(self, observation: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into a state, with no way taken yet; see `BatchEnv.place`."""
        count = len(rows)
        self.restore(
            {
                "values": observation[STATE].astype(np.float32),
                "memory": np.full((count, *self._memory.shape[1:]), -1, dtype=self._memory.dtype),
                "intent": np.full((count, *self._intent.shape[1:]), NO_INTENT, dtype=self._intent.dtype),
                "steps": np.zeros(count, dtype=np.int64),
                "ended": np.zeros(count, dtype=bool),
                "touched": np.zeros(count, dtype=bool),
            },
            rows,
        )

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return where the points are [m]."""
        self._check_rows(rows)
        return self._place(self._values[rows])

    def path(self, row: int) -> Float32[np.ndarray, "P 2"]:
        """Return where a row has been since its start, or since it was restored [m]."""
        return self._path[row, self._known_from[row] : self._steps[row] + 1].copy()

    @abstractmethod
    def _first(self, start: Start) -> Sequence[float]:
        """Return the state at a start."""

    @abstractmethod
    def _place(self, values: Float32[np.ndarray, "B S"]) -> Float32[np.ndarray, "B 2"]:
        """Return the position in a state [m]."""

    @abstractmethod
    def _judge(
        self,
        here: Float32[np.ndarray, "B 2"],
        there: Float32[np.ndarray, "B 2"],
        memory: Int64[np.ndarray, "B M"],
    ) -> tuple[
        Bool[np.ndarray, " B"], Bool[np.ndarray, " B"], Int64[np.ndarray, "B M"], Float32[np.ndarray, " B"]
    ]:
        """Return whether a move touches, whether it arrives, what is remembered after it, and its reward."""

    @abstractmethod
    def dynamics(self, x: Any, u: Any, *, params: Mapping[str, Any], xp: Any) -> Any:
        """Return the next state after one control step, in the array namespace `xp` (numpy or torch)."""


def touches(
    here: Float32[np.ndarray, "B 2"],
    there: Float32[np.ndarray, "B 2"],
    centres: Float32[np.ndarray, "K 2"],
    radii: Float32[np.ndarray, " K"],
) -> Bool[np.ndarray, "B K"]:
    """Whether the straight move from `here` to `there` comes within each disc's radius of its centre [m]."""
    move = (there - here)[:, None]
    to_centre = centres - here[:, None]
    length = move[..., 0] * move[..., 0] + move[..., 1] * move[..., 1]
    along = to_centre[..., 0] * move[..., 0] + to_centre[..., 1] * move[..., 1]
    share = np.clip(along / np.maximum(length, np.float32(1e-12)), 0.0, 1.0)
    x, y = to_centre[..., 0] - share * move[..., 0], to_centre[..., 1] - share * move[..., 1]
    return x * x + y * y <= radii * radii
