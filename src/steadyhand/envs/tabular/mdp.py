"""A finite Markov decision process as a value, and the contexts in which its states are seen."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int64

from steadyhand.core.errors import SpecError

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, eq=False)
class FiniteMDP:
    """S states, A actions, a horizon.

    Attributes:
        name: For messages and the task text.
        transition: (A, S, S) probability of the next state, P[a, s, s'].
        reward: (S, A) reward for acting in a state; a cost is a negative reward.
        start: (S,) probability of the first state.
        horizon: Number of actions.
        terminal: (S,) states in which the episode is over; they keep to themselves and pay nothing.
        place: (S, 2) where a state is on a map, in cells.
        drift: What is added to the place with every step, for states that stand for a stretch of road.
        par: Return from which an episode counts as a success.
        state_names: One for each state.
        action_names: One for each action.

    Raises:
        SpecError: Shapes that do not fit, probabilities that do not add up, a terminal state that is left
            or pays.
    """

    name: str
    transition: Float64[np.ndarray, "A S S"]
    reward: Float64[np.ndarray, "S A"]
    start: Float64[np.ndarray, " S"]
    horizon: int
    terminal: Bool[np.ndarray, " S"]
    place: Float64[np.ndarray, "S 2"]
    state_names: tuple[str, ...]
    action_names: tuple[str, ...]
    drift: tuple[float, float] = (0.0, 0.0)
    par: float = 0.0

    def __post_init__(self) -> None:
        actions, states = self.transition.shape[0], self.transition.shape[1]
        shapes = {
            "transition": (self.transition.shape, (actions, states, states)),
            "reward": (self.reward.shape, (states, actions)),
            "start": (self.start.shape, (states,)),
            "terminal": (self.terminal.shape, (states,)),
            "place": (self.place.shape, (states, 2)),
            "state_names": ((len(self.state_names),), (states,)),
            "action_names": ((len(self.action_names),), (actions,)),
        }
        for part, (got, expected) in shapes.items():
            if got != expected:
                raise SpecError(f"{part} of the MDP has the wrong shape.", got=got, expected=expected)
        if self.horizon < 1:
            raise SpecError("An MDP needs at least one step.", got=self.horizon, expected=">= 1")
        _check_probabilities(self.transition, "transition")
        _check_probabilities(self.start, "start")
        ends = np.flatnonzero(self.terminal)
        stays = (self.transition[:, ends, ends] > 1.0 - _ROUNDING).all(axis=0)
        if not (stays & (self.reward[ends] == 0.0).all(axis=1)).all():
            raise SpecError("A terminal state must keep to itself and pay nothing.", got=self.name)

    @property
    def num_states(self) -> int:
        """S."""
        return self.transition.shape[1]

    @property
    def num_actions(self) -> int:
        """A."""
        return self.transition.shape[0]

    def state(self, name: str) -> int:
        """Return the number of a state.

        Raises:
            SpecError: There is none of this name.
        """
        if name not in self.state_names:
            raise SpecError("The MDP has no such state.", got=name, available=self.state_names)
        return self.state_names.index(name)


@dataclass(frozen=True, kw_only=True, eq=False)
class Contexts:
    """What a state happens to look like: drawn anew at every step, without any effect on what follows.

    A learner that keeps a row for each (state, context) cannot act in a context that was never demonstrated,
    though the state is a familiar one. That is an error which comes from finite data alone.

    Attributes:
        probability: (C,) of each context.
    """

    probability: Float64[np.ndarray, " C"]

    def __post_init__(self) -> None:
        _check_probabilities(self.probability, "context")

    @classmethod
    def geometric(cls, count: int, *, ratio: float = 0.8) -> "Contexts":
        """Return `count` contexts, each `ratio` times as frequent as the one before.

        After n draws the unseen ones have the probability sum_c p_c (1 - p_c)^n, which is close to
        1 / (n ln(1 / ratio)) as long as rarer contexts are left: the usual 1/n of statistics.

        Raises:
            SpecError: There is no context, or the ratio lies outside (0, 1].
        """
        if count < 1 or not 0.0 < ratio <= 1.0:
            raise SpecError(
                "Contexts need a count >= 1 and a ratio in (0, 1].", got=f"count={count}, ratio={ratio}"
            )
        weight = ratio ** np.arange(count, dtype=np.float64)
        return cls(probability=weight / weight.sum())

    def marginal(self, policy: Float[np.ndarray, "*lead S C A"]) -> Float64[np.ndarray, "*lead S A"]:
        """Return pi(a | s) = sum_c p_c pi(a | s, c), which is exact since contexts are drawn at each step."""
        return np.einsum("c,...sca->...sa", self.probability, policy)

    def missing(self, count: int) -> float:
        """Return the expected probability of the contexts that `count` draws leave unseen."""
        return float((self.probability * (1.0 - self.probability) ** count).sum())


def one_hot(
    action: Int[np.ndarray, "*lead S"] | Int64[np.ndarray, "*lead S"], num_actions: int
) -> Float64[np.ndarray, "*lead S A"]:
    """Return a deterministic policy as probabilities."""
    return np.eye(num_actions)[action]


def _check_probabilities(value: np.ndarray, name: str) -> None:
    if not ((value >= 0.0).all() and np.abs(value.sum(axis=-1) - 1.0).max() <= _ROUNDING):
        raise SpecError(
            f"The {name} probabilities must not be negative and add up to 1.",
            got=f"sums from {value.sum(axis=-1).min():.9g} to {value.sum(axis=-1).max():.9g}",
        )
