"""Cloning, forward training, SMILe and DAgger with a table for a policy, for many data sets at once.

The policy class is a table with one entry for each (state, context): the expert's action where one was
shown, action 0 where none was. It is deterministic, so every error comes from a context that the finite data
lack. Data are drawn (X independent data sets side by side); costs are then computed exactly, see
`steadyhand.envs.tabular`. Only MDPs with deterministic transitions and one start.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from steadyhand.core.seeding import generator
from steadyhand.envs.tabular.config import TabularConfig
from steadyhand.envs.tabular.exact import (
    backward_induction,
    disagreement,
    expected_cost,
    occupancy,
)
from steadyhand.envs.tabular.layouts import MISTAKE, RIGHT_WAY
from steadyhand.envs.tabular.mdp import one_hot


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What X data sets led to.

    Attributes:
        cost: (X,) exact expected cost of each policy over the horizon.
        epsilon: (X,) its exact probability per step of differing from the expert in the expert's states.
        labels: Labels in each data set.
    """

    cost: np.ndarray
    epsilon: np.ndarray
    labels: int


class LawProblem:
    """One MDP, its expert, and X data sets to be drawn.

    Args:
        config: The MDP and its contexts.
        num_sets: Number X of data sets.
        seed: Seed of the data.
        name: Name of the purpose; other names draw other data.
    """

    def __init__(self, config: TabularConfig, *, num_sets: int, seed: int, name: str) -> None:
        self.mdp, self.look = config.mdp(), config.contexts()
        assert set(np.unique(self.mdp.transition)) <= {0.0, 1.0}, "transitions must be deterministic"
        self.num_sets = num_sets
        self.expert = self._expert()
        self.next = self.mdp.transition.argmax(axis=2)
        self.first = int(self.mdp.start.argmax())
        self.random = generator(seed, "law", config.layout, config.horizon, name)
        self._cumulative = self.look.probability.cumsum()

    def _expert(self) -> np.ndarray:
        """The right way in every state: checked to be best by dynamic programming."""
        plan = backward_induction(self.mdp)
        loss = plan.value[:-1] - plan.action_value[:, :, RIGHT_WAY]
        assert np.abs(loss).max() == 0.0, "the right way must be a best action everywhere"
        return np.full(self.mdp.num_states, RIGHT_WAY)

    def unknown(self, *lead: int) -> np.ndarray:
        """A table in which nothing was shown yet, (*lead, X, S, C)."""
        return np.zeros((*lead, self.num_sets, self.mdp.num_states, len(self.look.probability)), dtype=bool)

    def contexts(self, *shape: int) -> np.ndarray:
        """Draw contexts."""
        drawn = np.searchsorted(self._cumulative, self.random.random(shape) * self._cumulative[-1], "right")
        return drawn.astype(np.int64)

    def shown(self, counts: np.ndarray) -> np.ndarray:
        """Return which contexts appear among (X, S) independent visits, (X, S, C)."""
        return self.random.multinomial(counts, self.look.probability) > 0

    def demonstrations(self, count: int) -> np.ndarray:
        """Return what `count` demonstrations show, (X, S, C)."""
        visits = occupancy(self.mdp, one_hot(self.expert, self.mdp.num_actions)).sum(axis=0)
        counts = np.rint(count * visits).astype(np.int64)
        counts[self.mdp.terminal] = 0
        return self.shown(np.broadcast_to(counts, (self.num_sets, len(counts))))

    def policy(self, known: np.ndarray) -> np.ndarray:
        """Return pi(a | s) of tables, contexts taken into account exactly, (..., S, A)."""
        right = np.einsum("c,...sc->...s", self.look.probability, known)
        action = one_hot(self.expert, self.mdp.num_actions)
        mistake = np.eye(self.mdp.num_actions)[MISTAKE]
        return right[..., None] * action + (1.0 - right[..., None]) * mistake

    def outcome(self, policies: np.ndarray, *, labels: int) -> Outcome:
        """Evaluate (X, ..., S, A) policies exactly."""
        expert = one_hot(self.expert, self.mdp.num_actions)
        return Outcome(
            cost=np.array([expected_cost(self.mdp, policy) for policy in policies]),
            epsilon=np.array([disagreement(self.mdp, policy, expert=expert) for policy in policies]),
            labels=labels,
        )


def cloning(problem: LawProblem, *, trajectories: int) -> Outcome:
    """Behaviour cloning: everything from the expert's own drives."""
    known = problem.demonstrations(trajectories)
    return problem.outcome(problem.policy(known), labels=trajectories * problem.mdp.horizon)


def dagger(problem: LawProblem, *, at: Sequence[int]) -> list[Outcome]:
    """DAgger with beta_i = I(i = 1) and one drive a round; outcomes after each number of rounds in `at`."""
    known = problem.demonstrations(1)
    rows, horizon = np.arange(problem.num_sets), problem.mdp.horizon
    outcomes: list[Outcome] = []
    for number in range(1, max(at) + 1):
        if number > 1:
            state = np.full(problem.num_sets, problem.first)
            drawn = problem.contexts(horizon, problem.num_sets)
            visited: list[np.ndarray] = []
            for context in drawn:
                visited.append(state)
                action = np.where(known[rows, state, context], problem.expert[state], MISTAKE)
                state = problem.next[action, state]
            # The policy stays as it is during a drive; its labels count from the next round on.
            for where, context in zip(visited, drawn, strict=True):
                known[rows, where, context] = True
        if number in at:
            outcomes.append(problem.outcome(problem.policy(known), labels=number * horizon))
    return outcomes


def forward_training(problem: LawProblem, *, labels_per_step: int) -> Outcome:
    """One table for each step, trained in the states which those before it lead to.

    The visits of a step are drawn from their exact distribution, as fresh drives would draw them.
    """
    known = np.moveaxis(problem.unknown(problem.mdp.horizon), 1, 0)
    at = np.tile(problem.mdp.start, (problem.num_sets, 1))
    for step in range(problem.mdp.horizon):
        visits = problem.random.multinomial(np.full(problem.num_sets, labels_per_step), at)
        known[:, step] = problem.shown(visits)
        flow = at[..., None] * problem.policy(known[:, step])
        at = np.einsum("xsa,asn->xn", flow, problem.mdp.transition)
        at /= at.sum(axis=1, keepdims=True)
    return problem.outcome(problem.policy(known), labels=labels_per_step * problem.mdp.horizon)


def smile(problem: LawProblem, *, trajectories: int, rounds: int, alpha: float) -> Outcome:
    """SMILe: pi^n = (1 - alpha)^n pi* + alpha sum_j (1 - alpha)^(j - 1) pi_hat^j, drawn anew at each step.

    pi_hat^j sees the labels of the states of pi^(j-1) only. In the end the expert's share is removed and the
    rest scaled to 1.
    """
    each = trajectories // rounds
    known = problem.unknown(rounds)
    known[0] = problem.demonstrations(each)
    share = alpha * (1.0 - alpha) ** np.arange(rounds)
    for number in range(1, rounds):
        # Component 0 is the expert, component j is pi_hat^j.
        mixture = np.array([(1.0 - alpha) ** number, *share[:number]]).cumsum()
        _drive_mixture(problem, known, number, mixture / mixture[-1], each)
    policies = np.einsum("j,jxsa->xsa", share / share.sum(), problem.policy(known))
    return problem.outcome(policies, labels=each * rounds * problem.mdp.horizon)


def _drive_mixture(
    problem: LawProblem, known: np.ndarray, number: int, mixture: np.ndarray, drives: int
) -> None:
    """Put what `drives` drives of the mixture show into known[number]."""
    rows = np.repeat(np.arange(problem.num_sets), drives)
    state = np.full(len(rows), problem.first)
    for _ in range(problem.mdp.horizon):
        context = problem.contexts(len(rows))
        part = np.searchsorted(mixture, problem.random.random(len(rows)), "right")
        knows = (part == 0) | known[np.maximum(part - 1, 0), rows, state, context]
        known[number, rows, state, context] = True
        state = problem.next[np.where(knows, problem.expert[state], MISTAKE), state]
