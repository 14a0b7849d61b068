"""The controller contract: what decides which action is executed, and what it is labelled with.

A policy in its executor, an expert, the DAgger mixture, noise on the executed action, a gate and a human
are all controllers; most of them wrap another controller.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Int64, Shaped, UInt8

from steadyhand.core.seeding import RowStreams

Observation = Mapping[str, np.ndarray]
"""Feature name -> (B, *feature shape)."""


OutsideLabels = Literal["clipped", "meant"]
"""What becomes of a label outside the action's bounds: "clipped" to what the env would make of it, which is
what bounded policies can learn; or stored as "meant"."""


class Actor(IntEnum):
    """Who chose the executed action."""

    EXPERT = 0
    POLICY = 1
    HUMAN = 2
    NOISE = 3


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One control step of a batch of rows.

    Attributes:
        action: (B, A) what is executed; the session clips it to the action's bounds, as the env would.
        label: (B, A) the clean, intended expert action, stored whether it is executed or not. Controllers
            give it as it is meant, even outside the bounds; `OutsideLabels` says what is stored then.
        label_valid: (B,) whether an expert was asked; where False, `label` repeats `action`.
        actor: (B,) an `Actor` for each row.
        intervention: (B,) whether someone took over from the policy.
    """

    action: Shaped[np.ndarray, "B A"]
    label: Shaped[np.ndarray, "B A"]
    label_valid: Bool[np.ndarray, " B"]
    actor: UInt8[np.ndarray, " B"]
    intervention: Bool[np.ndarray, " B"]

    @classmethod
    def by(
        cls,
        actor: Actor,
        action: Shaped[np.ndarray, "B A"],
        *,
        label: Shaped[np.ndarray, "B A"] | None = None,
    ) -> "Decision":
        """Return a decision of one actor for all rows; with `label` it counts as labelled."""
        num_rows = len(action)
        return cls(
            action=action,
            label=action if label is None else label,
            label_valid=np.full(num_rows, label is not None),
            actor=np.full(num_rows, actor, dtype=np.uint8),
            intervention=np.zeros(num_rows, dtype=bool),
        )


class PerRow:
    """A memory with one value for each env row, such as a time or who drove; it grows with the rows.

    As an attribute of a controller or a gate it is reset, kept in snapshots and restored without further
    code; see `Remembering`.

    Args:
        fresh: Value of a row whose episode begins, a number or an array; it also sets dtype and shape.
    """

    def __init__(self, fresh: float | int | np.ndarray) -> None:
        self._fresh = np.asarray(fresh)
        self.values = np.empty((0, *self._fresh.shape), dtype=self._fresh.dtype)

    def __getitem__(self, rows: Int64[np.ndarray, " B"]) -> Shaped[np.ndarray, "B ..."]:
        """Return a copy of the values of `rows`, (B, ...)."""
        try:
            return self.values[rows]
        except IndexError:
            self._grow(rows)
            return self.values[rows]

    def __setitem__(self, rows: Int64[np.ndarray, " B"], value: float | int | np.ndarray) -> None:
        try:
            self.values[rows] = value
        except IndexError:
            self._grow(rows)
            self.values[rows] = value

    def forget(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Set `rows` back to the fresh value."""
        self[rows] = self._fresh

    def _grow(self, rows: Int64[np.ndarray, " B"]) -> None:
        missing = int(rows.max()) + 1 - len(self.values)
        self.values = np.concatenate([self.values, np.repeat(self._fresh[None], missing, axis=0)])


class Remembering(ABC):  # noqa: B024  a base class whose methods all have a default
    """Base of everything with a memory of env rows, which it keeps in attributes that are `PerRow`."""

    def begin(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Forget `rows`; called before their first step of a new episode."""
        for one in self._memories().values():
            one.forget(rows)

    def state(self) -> dict[str, np.ndarray]:
        """Return the memory kept between steps, for snapshots; empty where there is none."""
        return {name: one.values.copy() for name, one in self._memories().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        for name, one in self._memories().items():
            one.values = state[name].copy()

    def _memories(self) -> dict[str, PerRow]:
        return {name.lstrip("_"): one for name, one in vars(self).items() if isinstance(one, PerRow)}


class Controller(Remembering):
    """Chooses actions for rows of a batched env.

    Attributes:
        sees_privileged: Whether `act` reads what only experts may see; if not, it is given nothing.
        remembers: Whether `act` must see every step of a row, even where its answer is not needed, as a
            delayed expert must.
        memory: Names of attributes that change while it drives and are not settings, so that they are no
            part of the question that a result answers (`core.question`); those of base classes need not be
            repeated.
    """

    memory: ClassVar[tuple[str, ...]] = ()

    sees_privileged: bool = True
    remembers: bool = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__}, a controller>"

    @abstractmethod
    def act(
        self,
        observation: Observation,
        privileged: Observation,
        rows: Int64[np.ndarray, " B"],
        generator: RowStreams,
    ) -> Decision:
        """Decide for the rows of the env that are alive.

        Args:
            observation: What a policy may see, (B, ...) for each feature, in the order of `rows`.
            privileged: What only experts may see, likewise; empty where the env has none.
            rows: (B,) env rows, so that a controller can keep memory for each of them.
            generator: The random streams of these rows, in the same order.
        """

    def replan(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Drop what was planned for `rows`, not what was seen: somebody else drove the step before."""

    def finished(self, rows: Int64[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
        """Return which of `rows` should end with the step just decided; a session truncates them.

        Called once after each `act`, with the same rows. A wrapper passes the call on.
        """
        return np.zeros(len(rows), dtype=bool)


class Switch(Controller):
    """A controller around several others, one of which drives each row.

    `begin`, `replan` and `restore` reach all of them, and its state holds theirs. A subclass whose memory is
    more than `PerRow` calls `super()` in `begin`, `state` and `restore`.

    Args:
        controllers: The others, by the names under which `state` holds their memory; None is left out.
    """

    def __init__(self, **controllers: Controller | None) -> None:
        self._controllers = {name: one for name, one in controllers.items() if one is not None}
        self._told: dict[str, Remembering] = {**self._controllers}
        self.sees_privileged = any(one.sees_privileged for one in self._controllers.values())
        self.remembers = any(one.remembers for one in self._controllers.values())

    def begin(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Let all forget what they remember of `rows`."""
        super().begin(rows)
        for one in self._told.values():
            one.begin(rows)

    def replan(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Let all drop what they planned for `rows`."""
        for one in self._controllers.values():
            one.replan(rows)

    def finished(self, rows: Int64[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
        """Return where the controller that drove the step just decided has finished."""
        done = np.zeros(len(rows), dtype=bool)
        drivers, which = list(self._controllers.values()), self._driver(rows)
        for number in np.unique(which).tolist():
            here = which == number
            done[here] = drivers[number].finished(rows[here])
        return done

    def state(self) -> dict[str, np.ndarray]:
        """Return its own memory, and that of all as "name/key"."""
        inside = {f"{name}/{key}": v for name, one in self._told.items() for key, v in one.state().items()}
        return {**super().state(), **inside}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        super().restore(state)
        for name, one in self._told.items():
            prefix = f"{name}/"
            one.restore(
                {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            )

    @abstractmethod
    def _driver(self, rows: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """Return who drove the step just decided, as a position among the controllers."""


class Wrapper(Switch):
    """A controller around another one, to which it passes on everything that a subclass does not override.

    Args:
        inner: The wrapped controller.
    """

    def __init__(self, inner: Controller) -> None:
        super().__init__(inner=inner)
        self._inner = inner

    def finished(self, rows: Int64[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
        """Return where the wrapped controller has finished."""
        return self._inner.finished(rows)

    def _driver(self, rows: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        return np.zeros_like(rows)
