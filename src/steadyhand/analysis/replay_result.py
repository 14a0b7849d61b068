"""What replaying recorded actions in an env found, and what to say of it."""

from dataclasses import dataclass
from typing import Literal

from steadyhand.core.listing import listed
from steadyhand.data.problems import Problem

PAIRINGS = (-1, 0, 1)
Verdict = Literal["follows", "shifted", "other"]
Method = Literal["stored states", "seeds"]

FOLLOWS = 1e-3
"""Error up to which data count as the env's own, in usual changes of a step; float32 alone makes 1e-5."""
_BETTER = 0.1
"""Another pairing must have at most this share of the recorded pairing's error."""


@dataclass(frozen=True, kw_only=True)
class Replay:
    """Result of `replay`.

    Attributes:
        env_id: Id of the env.
        control_dt: Time between steps of the env [s].
        method: From stored states, one step each; or whole episodes from their seeds.
        num_steps: Steps that were compared.
        errors: Pairing -> error that three quarters of the telling steps stay below, each that of its worst
            dimension, in usual changes of a step. Steps in which the pairings do not differ tell nothing.
        worst: Feature and dimension that is most often the worst one in the recorded pairing.
        off: Episodes that do not follow although most do.
        outside: Share of the steps whose action lies outside the env's bounds.
        unseen: What was not compared: pictures, features that the env does not show, and dimensions that it
            could not be put into.
    """

    env_id: str
    control_dt: float
    method: Method
    num_steps: int
    errors: dict[int, float]
    worst: str
    off: tuple[int, ...]
    outside: float = 0.0
    unseen: tuple[str, ...] = ()

    @property
    def pairing(self) -> int:
        """The pairing that fits best."""
        return min(self.errors, key=lambda pairing: (self.errors[pairing], abs(pairing)))

    @property
    def verdict(self) -> Verdict:
        """What the errors say."""
        if self.errors[0] <= FOLLOWS:
            return "follows"
        best = self.errors[self.pairing]
        return "shifted" if best <= max(FOLLOWS, _BETTER * self.errors[0]) else "other"

    @property
    def table(self) -> str:
        """The errors of the three pairings in one line."""
        named = {-1: "t - 1", 0: "t", 1: "t + 1"}
        return ", ".join(f"{named[pairing]}: {error:.2g}" for pairing, error in self.errors.items())

    def problems(self, *, data: str = "DATA") -> tuple[Problem, ...]:
        """Return the findings, as `check` reports them.

        Args:
            data: How the data are named on the command line, and how they are opened there.
        """
        found = self._answers(data)
        if self.unseen:
            left_out = Problem(
                code="replay",
                severity="note",
                where=listed(self.unseen),
                what="not compared by replay: pictures, what the env does not show or cannot be put into",
            )
            found = (*found, left_out)
        if self.outside:
            outside = Problem(
                code="action-outside",
                severity="warning",
                where=self.env_id,
                what=f"{self.outside:.1%} of the steps hold an action outside the env's bounds",
                hint="the env clips them, if it takes them at all: another unit or scale, or another env",
            )
            found = (*found, outside)
        return found

    def _answers(self, data: str) -> tuple[Problem, ...]:
        where = f"{self.env_id}, {self.num_steps} steps from {self.method}"
        errors = f"error of the pairings with the action of step {self.table}"
        if self.verdict == "shifted":
            side = "before" if self.pairing < 0 else "after"
            shifted = Problem(
                code="pairing",
                severity="error",
                where=where,
                what="action and observation are paired one step apart: what follows observation t "
                f"came of the action one step {side} it; {errors}",
                hint=f"steadyhand data repair {data} --out NEW --shift {self.pairing}",
            )
            return (shifted,)
        if self.verdict == "other":
            other = Problem(
                code="dynamics",
                severity="warning",
                where=where,
                what=f"these data follow other dynamics, most in {self.worst}; {errors}",
                hint="compare masses, lengths, time step and version of the simulator; "
                "a policy cloned from them is judged in another world",
            )
            return (other,)
        follows = Problem(
            code="replay",
            severity="note",
            where=where,
            what=f"the env answers the recorded actions as recorded; {errors}",
        )
        return (follows, *self._episodes_off())

    def _episodes_off(self) -> tuple[Problem, ...]:
        if not self.off:
            return ()
        found = Problem(
            code="dynamics",
            severity="warning",
            where=f"episodes {listed(self.off, most=8)}",
            what="these episodes follow other dynamics than the env and the other episodes",
            hint="leave them out, or find out what was different when they were recorded",
        )
        return (found,)
