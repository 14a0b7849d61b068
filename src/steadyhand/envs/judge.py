"""Applies a success rule to the steps of a Gymnasium env, row by row."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from steadyhand.core.errors import SpecError
from steadyhand.core.success import SuccessRule
from steadyhand.envs.faults import as_truth


class SuccessJudge:
    """Remembers of each row what its rule needs, from the reset on.

    Args:
        rule: When an episode counts as a success.
        env_id: Named in errors.
        num_rows: Rows of the env.
        limit: Steps after which an episode is truncated.

    Attributes:
        counted: The rule's keys that the info had, in so far as they counted: of two at once the first does.
        ignored: Keys of the rule that the info had beside one that counted.
    """

    def __init__(self, rule: SuccessRule, *, env_id: str, num_rows: int, limit: int) -> None:
        self.rule = rule
        self.counted: set[str] = set()
        self.ignored: set[str] = set()
        self._env_id = env_id
        self._limit = limit
        self._said = np.zeros(num_rows, dtype=bool)
        self._told = np.zeros(num_rows, dtype=bool)
        self._total = np.zeros(num_rows)

    def begin(self, rows: Int64[np.ndarray, " B"]) -> None:
        """Forget the past of `rows`."""
        self._said[rows] = False
        self._told[rows] = False
        self._total[rows] = 0.0

    def judge(
        self,
        rows: Int64[np.ndarray, " B"],
        *,
        rewards: Float64[np.ndarray, " B"],
        infos: Sequence[Any],
        terminated: Bool[np.ndarray, " B"],
        steps: Int64[np.ndarray, " B"],
    ) -> tuple[Bool[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """Return (B,) whether the episodes so far are successes, and (B,) whether anybody can say so.

        Args:
            rows: The stepped rows.
            rewards: Rewards of this step.
            infos: What the env said beside it.
            terminated: Whether the env ended the episode by its own rules.
            steps: Steps of each row since its reset, this one included.

        Raises:
            SpecError: The info holds something that is neither true nor false.
        """
        rule, told = self.rule, np.ones(len(rows), dtype=bool)
        threshold = np.inf if rule.threshold is None else rule.threshold
        self._total[rows] += rewards
        match rule.kind:
            case "ever" | "last":
                for row, info, step in zip(rows.tolist(), infos, steps.tolist(), strict=True):
                    self._listen(row, info, step)
                return self._said[rows], self._told[rows] | (rule.absent == "failure")
            case "terminated":
                return terminated.copy(), told
            case "survived":
                return ~terminated & (steps >= self._limit), told
            case "return":
                return self._total[rows] >= threshold, told
            case "mean_reward":
                return self._total[rows] / steps >= threshold, told
            case "own" | "unknown":
                return np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)

    def _listen(self, row: int, info: Any, step: int) -> None:
        if not isinstance(info, Mapping):
            raise SpecError(
                f"{self._env_id} returned no info.",
                got=type(info).__name__,
                expected="a dict as the last of the five parts that step returns",
            )
        if self.rule.kind == "last":
            self._said[row] = self._told[row] = False
        keys = self.rule.keys
        for place, key in enumerate(keys):
            if key in info and info[key] is not None:
                self.counted.add(key)
                self.ignored.update(other for other in keys[place + 1 :] if other in info)
                self._told[row] = True
                self._said[row] |= self._truth(key, info[key], step)
                return

    def _truth(self, key: str, value: Any, step: int) -> bool:
        truth = as_truth(value)
        if truth is None:
            raise SpecError(
                f"{self._env_id} does not say whether it succeeded, in step {step} of an episode.",
                got=f"info[{key!r}] = {value!r:.60}",
                expected="one value that is true or false (or 0 or 1)",
                hint="where it is a degree of success, return whether that is enough; or name another rule, "
                'such as --success "return>=200", or --success none',
            )
        return truth
