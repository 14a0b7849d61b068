"""A batch of copies of a finite MDP."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32, Int64, Shaped, UInt8

from steadyhand.core.errors import SpecError
from steadyhand.core.seeding import RowStreams, derive
from steadyhand.core.specs import STATE
from steadyhand.envs.base import BatchEnv, Family, Start, StepResult
from steadyhand.envs.tabular.config import CONTEXT, STEP, TabularConfig
from steadyhand.envs.tabular.exact import backward_induction
from steadyhand.envs.tabular.render import render_tabular


class Tabular(BatchEnv):
    """N copies; see `TabularConfig` for what can be chosen.

    Observation: the number of the state, and that of its context where there are several. An episode ends in
    a terminal state or with the horizon, and succeeds if its return has reached the MDP's `par`. Everything
    random is drawn from the start's seed, so that a row does not depend on its neighbours.

    Args:
        config: What was chosen.
        num_rows: Number of copies.
    """

    checks_itself = True

    def __init__(self, config: TabularConfig | None = None, *, num_rows: int) -> None:
        if num_rows < 1:
            raise SpecError("An env needs at least one row.", got=num_rows, expected=">= 1")
        self.config = config or TabularConfig()
        self.spec = self.config.spec()
        self.num_rows = num_rows
        self.mdp = self.config.mdp()
        self.contexts = self.config.contexts()
        self._best = backward_induction(self.mdp).value
        self._next = self.mdp.transition.cumsum(axis=2)
        self._first = self.mdp.start.cumsum()
        self._looks = self.contexts.probability.cumsum()
        self._state = np.zeros(num_rows, dtype=np.int64)
        self._begun = np.zeros(num_rows, dtype=np.int64)
        self._context = np.zeros(num_rows, dtype=np.int64)
        self._steps = np.zeros(num_rows, dtype=np.int64)
        self._earned = np.zeros(num_rows)
        self._ended = np.ones(num_rows, dtype=bool)
        self._streams = RowStreams(np.zeros(num_rows, dtype=np.uint64))
        # For pictures: states by step, known from step `_known_from` on (a snapshot brings no path along).
        self._path = np.zeros((num_rows, self.mdp.horizon + 1), dtype=np.int64)
        self._known_from = np.zeros(num_rows, dtype=np.int64)

    def starts(self, family: Family, count: int, *, seed: int = 0) -> tuple[Start, ...]:
        """Return `count` starts; each seed stands for one first state and one course of chance."""
        return tuple(
            Start(family=family, seed=derive(seed, "tabular", family, "start", index))
            for index in range(count)
        )

    def reset(self, starts: Sequence[Start], rows: Int64[np.ndarray, " B"]) -> None:
        """Put each of `rows` at its start; the option "state" names the first state."""
        self._check_starts(starts, rows, options=("state",))
        if not starts:
            return
        for start in starts:
            self._check_start(start)
        keys = np.array([derive(start.seed, "tabular") for start in starts], dtype=np.uint64)
        self._streams.begin(rows, keys)
        draw = self._streams.take(rows).uniform(2)
        state = _pick(np.broadcast_to(self._first, (len(rows), self.mdp.num_states)), draw[:, 0])
        for place, start in enumerate(starts):
            if "state" in start.options:
                state[place] = int(start.options["state"])
        self._state[rows] = self._begun[rows] = self._path[rows, 0] = state
        self._context[rows] = self._look(draw[:, 1])
        self._steps[rows] = 0
        self._earned[rows] = 0.0
        self._ended[rows] = False
        self._known_from[rows] = 0

    def step(self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]) -> StepResult:
        """Advance `rows` by one step.

        Raises:
            SpecError: A row has ended, or the actions have the wrong shape or are none of the MDP's.
        """
        self._check_step(actions, rows, self._ended)
        action = actions[:, 0]
        self.spec.action.check_form(actions, name="The action")
        here = self._state[rows]
        reward = self.mdp.reward[here, action]
        draw = self._streams.take(rows).uniform(2)
        there = _pick(self._next[action, here], draw[:, 0])
        steps = self._steps[rows] + 1
        self._state[rows] = self._path[rows, steps] = there
        self._context[rows] = self._look(draw[:, 1])
        self._steps[rows] = steps
        self._earned[rows] += reward
        terminated = self.mdp.terminal[there]
        truncated = (steps >= self.mdp.horizon) & ~terminated
        self._ended[rows] = terminated | truncated
        return StepResult(
            reward=reward.astype(np.float32),
            terminated=terminated,
            truncated=truncated,
            success=(terminated | truncated) & (self._earned[rows] >= self.mdp.par),
        )

    def observe(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        view_offset: Mapping[str, Float32[np.ndarray, " B"]] | None = None,
    ) -> dict[str, np.ndarray]:
        """Return state and context of `rows`; see `BatchEnv.observe`."""
        if view_offset is not None:
            raise self._lacks("displaced sensors (view_offset)")
        self._check_rows(rows)
        seen = {STATE: self._state[rows, None]}
        if self.config.num_contexts > 1:
            seen[CONTEXT] = self._context[rows, None]
        return seen

    def privileged(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return the number of steps so far; the last one once the horizon is over."""
        self._check_rows(rows)
        return {STEP: np.minimum(self._steps[rows, None], self.mdp.horizon - 1)}

    def state(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return a snapshot of `rows`; it may be restored into another env of the same config."""
        self._check_rows(rows)
        return {
            "state": self._state[rows],
            "begun": self._begun[rows],
            "context": self._context[rows],
            "steps": self._steps[rows],
            "earned": self._earned[rows],
            "ended": self._ended[rows],
            "keys": self._streams.keys[rows],
            "counters": self._streams.counters[rows],
        }

    def restore(self, state: Mapping[str, np.ndarray], rows: Int64[np.ndarray, " B"]) -> None:
        """Put `rows` into the snapshot `state`, bit for bit: chance takes the same course again."""
        self._check_rows(rows)
        self._state[rows] = state["state"]
        self._begun[rows] = state["begun"]
        self._context[rows] = state["context"]
        self._steps[rows] = state["steps"]
        self._earned[rows] = state["earned"]
        self._ended[rows] = state["ended"]
        self._streams.keys[rows] = state["keys"]
        self._streams.counters[rows] = state["counters"]
        self._known_from[rows] = state["steps"]
        self._path[rows, state["steps"]] = state["state"]

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return the place of each row's state on the map [cells]."""
        self._check_rows(rows)
        return self._places(self._state[rows], self._steps[rows])

    def path(self, row: int) -> Float32[np.ndarray, "P 2"]:
        """Return where a row has been since its start, or since it was restored [cells]."""
        steps = np.arange(self._known_from[row], self._steps[row] + 1)
        return self._places(self._path[row, steps], steps)

    def error(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, " B"]:
        """Return what has been lost: the start's optimal value less what was earned and can still be.

        Its mean over chance never falls with time; good luck can take it below 0.
        """
        self._check_rows(rows)
        still = self._best[self._steps[rows], self._state[rows]]
        return (self._best[0, self._begun[rows]] - self._earned[rows] - still).astype(np.float32)

    def render(self, row: int, *, width: int = 640, height: int = 480) -> UInt8[np.ndarray, "h w 3"]:
        """Return the map of the states, the path so far, and where the row is."""
        self._check_rows(np.array([row]))
        return render_tabular(self.mdp, self.path(row), width=width, height=height)

    def _places(
        self, state: Int64[np.ndarray, " B"], steps: Int64[np.ndarray, " B"]
    ) -> Float32[np.ndarray, "B 2"]:
        drift = steps[:, None] * np.array(self.mdp.drift)
        return (self.mdp.place[state] + drift).astype(np.float32)

    def _look(self, draw: np.ndarray) -> Int64[np.ndarray, " B"]:
        return _pick(np.broadcast_to(self._looks, (len(draw), len(self._looks))), draw)

    def _check_start(self, start: Start) -> None:
        for value in start.options.values():
            if not 0 <= value < self.mdp.num_states or self.mdp.terminal[int(value)]:
                raise SpecError(
                    "An episode cannot begin in this state.",
                    got=value,
                    expected=f"0 to {self.mdp.num_states - 1}, not terminal",
                )


def _pick(cumulative: np.ndarray, draw: np.ndarray) -> Int64[np.ndarray, " B"]:
    """Return the first entry of each row of cumulative probabilities that exceeds the draw."""
    # The last entry may fall short of 1 by rounding; scaling the draw keeps it inside.
    return (cumulative <= (draw * cumulative[:, -1])[:, None]).sum(axis=1)
