"""A controller of your own: the expert, answering late. How much delay does the car bear?

A controller around another is a `Wrapper`: whatever it is told and asked it passes on, so that a policy with
plans may be inside. What it remembers of each row is a `PerRow`, which is forgotten and kept by itself.
"""

import sys
from dataclasses import replace

import numpy as np

from steadyhand import Controller, Wrapper, make
from steadyhand.core.protocol import Decision, Observation, PerRow
from steadyhand.core.seeding import RowStreams
from steadyhand.experts.pure_pursuit import PurePursuit
from steadyhand.rollout.evaluate import evaluate
from steadyhand.testing import check_wrapper


class Delayed(Wrapper):
    """Executes what `inner` decided `delay` steps ago, at first nothing; the label is what it means now."""

    def __init__(self, inner: Controller, *, delay: int, action_dim: int) -> None:
        super().__init__(inner)
        self._queue = PerRow(np.zeros((delay + 1, action_dim), dtype=np.float32))

    def act(  # noqa: D102
        self, observation: Observation, privileged: Observation, rows: np.ndarray, generator: RowStreams
    ) -> Decision:
        decision = self._inner.act(observation, privileged, rows, generator.fork("inner"))
        self._queue[rows] = np.concatenate([self._queue[rows][:, 1:], decision.action[:, None]], axis=1)
        return replace(decision, action=self._queue[rows][:, 0])


def main(*, smoke: bool) -> None:
    check_wrapper(lambda inner: Delayed(inner, delay=2, action_dim=1))  # is anything forgotten?
    count, seconds = (4, 2) if smoke else (32, 20)
    env = make("car", num_rows=count, observation=("state",), max_episode_steps=20 * seconds)
    for lookahead in (0.6, 1.0):
        for delay in (0, 2) if smoke else range(5):
            driver = Delayed(PurePursuit(lookahead=lookahead), delay=delay, action_dim=1)
            kept = evaluate(env, driver, env.starts("test", count), name=f"delay {delay}").success.sum()
            print(f"look-ahead {lookahead} m, {50 * delay:>3} ms late: {kept:>2} of {count} stay on the road")


if __name__ == "__main__":
    main(smoke="--smoke" in sys.argv)
