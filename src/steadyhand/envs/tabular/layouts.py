"""The MDPs that the theory of imitation is told with.

Where the expert's way is told from a mistake, action 1 is the expert's and action 0 the mistake, which is
also what a table plays where it has no label.
"""

import numpy as np

from steadyhand.core.errors import SpecError
from steadyhand.envs.tabular.mdp import FiniteMDP

MISTAKE, RIGHT_WAY = 0, 1

GRID = (
    ".....",
    ".#...",
    ".#1#T",
    "S....",
    "CCCCC",
)
"""The lecture's grid: S start, # wall, 1 pays +1, T pays +10, C pays -10. Line 0 is the top one."""

_PAYS = {"1": 1.0, "T": 10.0, "C": -10.0}
_MOVES = (("north", -1, 0), ("east", 0, 1), ("south", 1, 0), ("west", 0, -1))


def grid(*, slip: float = 0.2, horizon: int = 32) -> FiniteMDP:
    """Return the 5 x 5 grid: walls at (1, 1), (2, 1), (2, 3); exits +1 at (2, 2), +10 at (2, 4), -10 below.

    A cell is (line, column), line 0 at the top; its state is 5 line + column, so "north" lowers the line.
    State 25 is the end. A move goes where it is meant to with probability 1 - slip, and slip / 2 to either
    side of that; into a wall or over the edge it stays. Acting in an exit pays once, whatever the action,
    and ends.

    Args:
        slip: Probability of a move to the side.
        horizon: Number of actions.

    Raises:
        SpecError: The slip is no probability.
    """
    if not 0.0 <= slip <= 1.0:
        raise SpecError("The slip is a probability.", got=slip, expected="0 to 1")
    side, end = len(GRID), len(GRID) ** 2
    transition = np.zeros((4, end + 1, end + 1))
    reward = np.zeros((end + 1, 4))
    transition[:, end, end] = 1.0
    for state in range(end):
        mark = GRID[state // side][state % side]
        if mark in _PAYS:
            reward[state] = _PAYS[mark]
            transition[:, state, end] = 1.0
            continue
        for action in range(4):
            for turn, share in ((0, 1.0 - slip), (1, slip / 2.0), (3, slip / 2.0)):
                transition[action, state, _moved(state, (action + turn) % 4)] += share
    start = np.zeros(end + 1)
    start["".join(GRID).index("S")] = 1.0
    place = np.array(
        [(state % side, -(state // side)) for state in range(end)] + [(side - 1, 1)], dtype=float
    )
    return FiniteMDP(
        name="grid",
        transition=transition,
        reward=reward,
        start=start,
        horizon=horizon,
        terminal=np.arange(end + 1) == end,
        place=place,
        state_names=(*(f"({state // side}, {state % side})" for state in range(end)), "end"),
        action_names=tuple(name for name, _, _ in _MOVES),
        par=1.0,
    )


def _moved(state: int, action: int) -> int:
    side = len(GRID)
    if GRID[state // side][state % side] == "#":
        return state
    line, column = state // side + _MOVES[action][1], state % side + _MOVES[action][2]
    inside = 0 <= line < side and 0 <= column < side
    return side * line + column if inside and GRID[line][column] != "#" else state


def tight(*, horizon: int) -> FiniteMDP:
    """Return the three-state example in which cloning's bound T^2 epsilon is met (Ross and Bagnell, 2010).

    State 0 is left at once: the right way leads to state 1, the mistake to state 2, and both keep what they
    have. A step costs 1 if its action is not the expert's. The expert never shows state 2, so a clone is
    wrong there for ever, though the right way would be free there, too: one mistake raises the expert's
    cost to go by u = 1.

    Args:
        horizon: Number of actions.
    """
    transition = np.zeros((2, 3, 3))
    transition[MISTAKE, 0, 2] = transition[RIGHT_WAY, 0, 1] = 1.0
    transition[:, 1, 1] = transition[:, 2, 2] = 1.0
    return _named(
        "tight",
        transition,
        reward=np.tile((-1.0, 0.0), (3, 1)),
        horizon=horizon,
        place=np.array(((0.0, 0.0), (1.0, 1.0), (1.0, -1.0))),
        names=("start", "shown", "never shown"),
    )


def cliff(*, horizon: int, recoverable: bool) -> FiniteMDP:
    """Return a narrow path on which every mistake is a fall; a step that ends or stays below costs 1.

    Two states, "path" and "below". Recoverable: the right way leads back up, at no cost, which an expert that
    never falls never shows (u = 1). Unrecoverable: nothing leads back (u = horizon).

    Args:
        horizon: Number of actions.
        recoverable: Whether there is a way back.
    """
    transition = np.zeros((2, 2, 2))
    transition[RIGHT_WAY, 0, 0] = transition[MISTAKE, 0, 1] = 1.0
    transition[MISTAKE, 1, 1] = 1.0
    transition[RIGHT_WAY, 1, 0 if recoverable else 1] = 1.0
    return _named(
        "cliff" if recoverable else "unrecoverable cliff",
        transition,
        reward=np.array(((-1.0, 0.0), (-1.0, 0.0 if recoverable else -1.0))),
        horizon=horizon,
        place=np.array(((0.0, 0.0), (0.0, -1.0))),
        names=("path", "below"),
        drift=(1.0, 0.0),
    )


def fall_once(*, horizon: int) -> FiniteMDP:
    """Return the unrecoverable cliff on which a fall costs 1 in all, so that returns lie in [-1, 0].

    Args:
        horizon: Number of actions.
    """
    steep = cliff(horizon=horizon, recoverable=False)
    return _named(
        "fall once",
        steep.transition,
        reward=np.array(((-1.0, 0.0), (0.0, 0.0))),
        horizon=horizon,
        place=steep.place,
        names=steep.state_names,
        drift=steep.drift,
        terminal=np.array((False, True)),
    )


def tree(*, horizon: int) -> FiniteMDP:
    """Return a path whose every step has a side branch of its own, in which the expert was never seen.

    States 0 .. H - 1 are the path by depth, H + t is the branch that a mistake at depth t leads into, and
    which is not left again. A step costs 1 if its action is not the expert's, on the path and in a branch
    (u = 1). What was learnt in one branch says nothing about another.

    Args:
        horizon: Number of actions, and of branches.
    """
    depth = np.arange(horizon)
    transition = np.zeros((2, 2 * horizon, 2 * horizon))
    transition[MISTAKE, depth, horizon + depth] = 1.0
    transition[RIGHT_WAY, depth, np.minimum(depth + 1, horizon - 1)] = 1.0
    transition[:, horizon + depth, horizon + depth] = 1.0
    place = np.concatenate([np.stack([depth, 0 * depth], axis=1), np.stack([depth, 0 * depth - 1], axis=1)])
    names = [f"depth {t}" for t in range(horizon)] + [f"branch {t}" for t in range(horizon)]
    return _named(
        "tree",
        transition,
        reward=np.tile((-1.0, 0.0), (2 * horizon, 1)),
        horizon=horizon,
        place=place.astype(np.float64),
        names=tuple(names),
    )


def _named(
    name: str,
    transition: np.ndarray,
    *,
    reward: np.ndarray,
    horizon: int,
    place: np.ndarray,
    names: tuple[str, ...],
    drift: tuple[float, float] = (0.0, 0.0),
    terminal: np.ndarray | None = None,
) -> FiniteMDP:
    num_states = transition.shape[1]
    return FiniteMDP(
        name=name,
        transition=transition,
        reward=reward,
        start=np.eye(num_states)[0],
        horizon=horizon,
        terminal=np.zeros(num_states, dtype=bool) if terminal is None else terminal,
        place=place,
        state_names=names,
        action_names=("mistake", "right way"),
        drift=drift,
    )
