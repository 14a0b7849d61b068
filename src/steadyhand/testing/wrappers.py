"""The laws of every controller around others: whoever is inside hears and keeps what it would alone."""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Int64

from steadyhand.core.protocol import Actor, Controller, Decision, Observation
from steadyhand.core.seeding import RowStreams
from steadyhand.core.specs import STATE, FeatureSpec

BOX = FeatureSpec(shape=(1,), low=(-1.0,), high=(1.0,))
_ROWS = np.array([0, 1])
_STEPS = 3


class Spy(Controller):
    """Answers with the number of its steps in a row, notes what it is told, and finishes in row 1 alone.

    Args:
        action: Spec of what it answers, continuous or a class.
    """

    def __init__(self, action: FeatureSpec = BOX) -> None:
        self.heard: list[str] = []
        self.count = np.zeros(len(_ROWS), dtype=np.int64)
        self._action = action

    def begin(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Note it, and count anew."""
        self.heard.append(f"begin {rows.tolist()}")
        self.count[rows] = 0

    def replan(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Note it."""
        self.heard.append(f"replan {rows.tolist()}")

    def finished(self, rows: Int64[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
        """Return True of row 1."""
        return rows == 1

    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Return how often each row was asked about, scaled to the action."""
        del observation, privileged, generator
        self.count[rows] += 1
        shape = (len(rows), *self._action.shape)
        if self._action.num_classes is not None:
            number = self._action.start + self.count[rows] % self._action.num_classes
        else:
            number = 0.1 * (self.count[rows] % 10)
        answer = np.broadcast_to(number.reshape(-1, *[1] * (len(shape) - 1)), shape)
        answer = answer.astype(self._action.dtype)
        return Decision.by(Actor.EXPERT, answer, label=answer)

    def state(self) -> dict[str, np.ndarray]:
        """Return the counts."""
        return {"count": self.count.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from the counts."""
        self.count = state["count"].copy()


def check_wrapper(
    wrap: Callable[[Controller], Controller], *, action: FeatureSpec = BOX, drives: bool = True
) -> None:
    """Check a controller around another one, on two rows.

    Args:
        wrap: Returns it around the controller that is given, anew at each call.
        action: What the one inside answers.
        drives: Whether that one drives both rows, so that an episode ends where it has finished; False where
            it is only asked.

    Raises:
        AssertionError: A law is broken; the message says which.
    """
    _hears(wrap, action)
    if drives:
        _ends_where_it_has_finished(wrap, action)
    _goes_on_from_a_snapshot(wrap, action)
    _says_what_it_must_see(wrap, action)


def _hears(wrap: Callable[[Controller], Controller], action: FeatureSpec) -> None:
    spy = Spy(action)
    wrapper = wrap(spy)
    wrapper.begin(_ROWS)
    assert spy.heard == ["begin [0, 1]"], f"passes on begin: heard {spy.heard}"
    wrapper.replan(np.array([1]))
    assert spy.heard[1:] == ["replan [1]"], f"passes on replan: heard {spy.heard[1:]}"


def _ends_where_it_has_finished(wrap: Callable[[Controller], Controller], action: FeatureSpec) -> None:
    wrapper = wrap(Spy(action))
    wrapper.begin(_ROWS)
    _decide(wrapper, 0)
    done = wrapper.finished(_ROWS)
    assert done.tolist() == [False, True], f"passes on finished: {done.tolist()}, not [False, True]"
    assert wrapper.finished(np.array([1])).tolist() == [True], "passes on finished: not of single rows"


def _goes_on_from_a_snapshot(wrap: Callable[[Controller], Controller], action: FeatureSpec) -> None:
    spy = Spy(action)
    wrapper = wrap(spy)
    wrapper.begin(_ROWS)
    _decide(wrapper, 0)
    state, count = {name: value.copy() for name, value in wrapper.state().items()}, spy.count.copy()
    first = [_decide(wrapper, step) for step in range(1, _STEPS)]
    wrapper.restore(state)
    assert spy.count.tolist() == count.tolist(), "passes on state and restore: what is inside went on"
    again = [_decide(wrapper, step) for step in range(1, _STEPS)]
    for one, two in zip(first, again, strict=True):
        same = np.array_equal(one.action, two.action) and np.array_equal(one.label, two.label)
        assert same, "goes on from a snapshot: decides otherwise; its own memory is missing in state"
    other = wrap(Spy(action))
    other.begin(_ROWS)
    other.restore(state)
    third = _decide(other, 1)
    assert np.array_equal(first[0].action, third.action), "goes on from a snapshot: not in another one"


def _says_what_it_must_see(wrap: Callable[[Controller], Controller], action: FeatureSpec) -> None:
    for remembers in (True, False):
        spy = Spy(action)
        spy.remembers = remembers
        seen = wrap(spy).remembers
        assert seen or not remembers, "passes on remembers: what is inside must see every step"
    assert wrap(Spy(action)).sees_privileged, "passes on sees_privileged: what is inside looks at it"


def _decide(controller: Controller, step: int) -> Decision:
    streams = RowStreams.from_seed(step, len(_ROWS))
    return controller.act({STATE: np.zeros((len(_ROWS), 1), dtype=np.float32)}, {}, _ROWS, streams)
