"""Disagreement of an ensemble."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float64, Shaped

from steadyhand.core.errors import ConfigError
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.scores.base import ActionScale, Score, Seen, proposals

Measure = Literal["norm", "mean"]


class Doubt(Score):
    """The variance between the answers of K policies, dimension by dimension, made into one number.

    "norm": the Euclidean norm of the covariance's diagonal, the doubt of HG-DAgger (Kelly et al., 2019, d_N).
    "mean": its mean, the novelty of ThriftyDAgger (Hoque et al., 2021). Members that differ neither in data
    nor in initial parameters agree, and then it is 0 whatever is seen.

    It takes two right answers for ignorance: where demonstrators go left or right, members that draw one of
    them differ, and members that average them differ by which ones they have seen more of.

    Deviation: dimensions are scaled (`ActionScale`) before their variances are put together.
    Deviation: policies that drive with samples all draw with the same noise, so that they differ by what they
    have learnt and not by luck; identical ones agree. With `noise="own"` each draws its own.

    Args:
        members: The policies; they read the same features.
        scale: Scale in which differences of actions are measured.
        measure: "norm" or "mean".
        noise: Whether members that draw samples do so with the "same" noise or each with its "own".
    """

    def __init__(
        self,
        members: Sequence[PolicyModule],
        scale: ActionScale,
        *,
        measure: Measure,
        noise: Literal["same", "own"] = "same",
    ) -> None:
        if len(members) < 2:
            raise ConfigError("Disagreement needs two policies.", got=f"{len(members)} members")
        self._members = [member.eval() for member in members]
        self._scale, self._measure, self._noise = scale, measure, noise

    def __call__(
        self, seen: Seen, action: Shaped[np.ndarray, "B A"], streams: RowStreams
    ) -> Float64[np.ndarray, " B"]:
        """Return the disagreement; the proposal itself is not looked at."""
        del action
        names = ["members" if self._noise == "same" else f"member {k}" for k in range(len(self._members))]
        answers = [
            self._scale(proposals(member, seen, streams.fork(name)))
            for member, name in zip(self._members, names, strict=True)
        ]
        variance = np.stack(answers).var(axis=0)
        return np.linalg.norm(variance, axis=1) if self._measure == "norm" else variance.mean(axis=1)
