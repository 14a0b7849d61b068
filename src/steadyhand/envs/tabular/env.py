"""A batch of copies of a finite MDP."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped, UInt8

from steadyhand.core.errors import SpecError
from steadyhand.core.seeding import RowStreams, derive
from steadyhand.core.specs import STATE
from steadyhand.envs.arrays import ArrayEnv, DrivenPaths
from steadyhand.envs.base import Family, Start
from steadyhand.envs.tabular.config import CONTEXT, STEP, TabularConfig
from steadyhand.envs.tabular.exact import backward_induction
from steadyhand.envs.tabular.render import render_tabular


class TabularEnv(ArrayEnv):
    """N copies; see `TabularConfig` for what can be chosen.

    Observation: the number of the state, and that of its context where there are several. An episode ends in
    a terminal state or with the horizon, and succeeds if its return has reached the MDP's `par`. Everything
    random is drawn from the start's seed, so that a row does not depend on its neighbours.

    Args:
        config: Settings of the env.
        num_rows: Number of copies.
    """

    OPTIONS = ("state",)

    def __init__(self, config: TabularConfig | None = None, *, num_rows: int) -> None:
        self.config = config or TabularConfig()
        super().__init__(self.config.spec(), num_rows=num_rows)
        self.mdp = self.config.mdp()
        self.contexts = self.config.contexts()
        self._best = backward_induction(self.mdp).value
        self._next = self.mdp.transition.cumsum(axis=2)
        self._begin = self.mdp.start.cumsum()
        self._looks = self.contexts.probability.cumsum()
        self._state = self._declare("state", np.zeros(num_rows, dtype=np.int64))
        self._begun = self._declare("begun", np.zeros(num_rows, dtype=np.int64))
        self._context = self._declare("context", np.zeros(num_rows, dtype=np.int64))
        self._earned = self._declare("earned", np.zeros(num_rows))
        self._streams = RowStreams(np.zeros(num_rows, dtype=np.uint64))
        self._declare("keys", self._streams.keys)
        self._declare("counters", self._streams.counters)
        self._paths = self._followed(DrivenPaths(self._state, self.mdp.horizon))

    def privileged(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return the number of steps so far; the last one once the horizon is over."""
        self._check_rows(rows)
        return {STEP: np.minimum(self._steps[rows, None], self.mdp.horizon - 1)}

    def position(self, rows: Int64[np.ndarray, " B"]) -> Float32[np.ndarray, "B 2"]:
        """Return the place of each row's state on the map [cells]."""
        self._check_rows(rows)
        return self._places(self._state[rows], self._steps[rows])

    def path(self, row: int) -> Float32[np.ndarray, "P 2"]:
        """Return where a row has been since its start, or since it was restored [cells]."""
        steps, states = self._paths.of(row, int(self._steps[row]))
        return self._places(states, steps)

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

    def _options(self, family: Family, count: int, seed: int) -> Sequence[dict[str, float]]:
        """Return none: each seed stands for one first state and one course of chance."""
        del family, seed
        return [{} for _ in range(count)]

    def _first(self, starts: Sequence[Start]) -> Mapping[str, np.ndarray]:
        for start in starts:
            self._check_start(start)
        streams = RowStreams(np.array([derive(start.seed, "tabular") for start in starts], dtype=np.uint64))
        draw = streams.uniform(2)
        state = _pick(np.broadcast_to(self._begin, (len(starts), self.mdp.num_states)), draw[:, 0])
        for place, start in enumerate(starts):
            if "state" in start.options:
                state[place] = int(start.options["state"])
        return {"state": state, "begun": state, "context": self._look(draw[:, 1]), **streams.state()}

    def _advance(
        self, actions: Shaped[np.ndarray, "B A"], rows: Int64[np.ndarray, " B"]
    ) -> tuple[Float32[np.ndarray, " B"], Bool[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        action = actions[:, 0]
        self.spec.action.check_form(actions, name="The action")
        here = self._state[rows]
        reward = self.mdp.reward[here, action]
        draw = self._streams.take(rows).uniform(2)
        there = _pick(self._next[action, here], draw[:, 0])
        self._state[rows] = there
        self._context[rows] = self._look(draw[:, 1])
        self._earned[rows] += reward
        return reward.astype(np.float32), self.mdp.terminal[there], self._earned[rows] >= self.mdp.par

    def _see(self, rows: Int64[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        seen = {STATE: self._state[rows, None]}
        if self.config.num_contexts > 1:
            seen[CONTEXT] = self._context[rows, None]
        return seen

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
