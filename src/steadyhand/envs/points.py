"""What the envs share whose state is a point in the plane: a move, its endings, and the path so far."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped

from steadyhand.core.specs import STATE, EnvSpec
from steadyhand.envs.arrays import ArrayEnv, DrivenPaths
from steadyhand.envs.base import Start

INTENT = "privileged.intent"
"""(B, 1) what the start tells the demonstrator about its route; `NO_INTENT` where it tells nothing."""

NO_INTENT = -1.0


class PointEnv(ArrayEnv):
    """N points in the plane whose "observation.state" is all of their state.

    Subclasses say where a start is, how a point moves (`dynamics`), and what follows from a step (`_judge`).
    Everything is computed entry by entry, so a row never depends on its neighbours.

    Args:
        spec: What the env offers.
        num_rows: Number of points.
        num_memory: Whole numbers that a row remembers of its way, -1 at the start.
    """

    INTENT_OPTION: ClassVar[str]
    """Which option of a start only the demonstrator reads."""

    def __init__(self, spec: EnvSpec, *, num_rows: int, num_memory: int) -> None:
        super().__init__(spec, num_rows=num_rows)
        width = spec.observation[STATE].size
        self._values = self._declare("values", np.zeros((num_rows, width), dtype=np.float32))
        self._memory = self._declare("memory", np.full((num_rows, num_memory), -1, dtype=np.int64))
        self._intent = self._declare("intent", np.full((num_rows, 1), NO_INTENT, dtype=np.float32))
        self._touched = self._declare("touched", np.zeros(num_rows, dtype=bool))
        self._paths = self._followed(DrivenPaths(self._values, spec.max_episode_steps))
        self._low = np.array(spec.action.low, dtype=np.float32)
        self._high = np.array(spec.action.high, dtype=np.float32)

    def privileged(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return what the start tells the demonstrator about its route."""
        self._check_rows(rows)
        return {INTENT: self._intent[rows]}

    def place(self, observation: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into a state, with no way taken yet; see `BatchEnv.place`."""
        self._put({"values": observation[STATE].astype(np.float32)}, rows)

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return where the points are [m]."""
        self._check_rows(rows)
        return self._place(self._values[rows])

    def path(self, row: int) -> Float32[np.ndarray, "P 2"]:
        """Return where a row has been since its start, or since it was restored [m]."""
        return self._place(self._paths.of(row, int(self._steps[row]))[1])

    def _first(self, starts: Sequence[Start]) -> Mapping[str, np.ndarray]:
        intents = [start.options.get(self.INTENT_OPTION, NO_INTENT) for start in starts]
        values = np.array([self._begin(start) for start in starts], dtype=np.float32)
        return {"values": values, "intent": np.array(intents, dtype=np.float32)[:, None]}

    def _advance(
        self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]
    ) -> tuple[Float32[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        command = np.clip(actions.astype(np.float32, copy=False), self._low, self._high)
        old = self._values[rows]
        new = self.dynamics(old, command, params={}, xp=np)
        touched, arrived, memory, reward = self._judge(self._place(old), self._place(new), self._memory[rows])
        arrived &= ~touched
        self._values[rows] = new
        self._memory[rows] = memory
        self._touched[rows] = touched
        return reward, touched | arrived, arrived

    def _see(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        return {STATE: self._values[rows]}

    @abstractmethod
    def _begin(self, start: Start) -> Sequence[float]:
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
