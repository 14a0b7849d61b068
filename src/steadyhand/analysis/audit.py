"""Seed audit: were n episodes n different tests, and did the seed change them?

Two quiet ways to an interval that is too narrow: an env that ignores its seed, so that a hundred episodes are
one episode a hundred times, and seeds that all give the same starts, so that "five seeds" are one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from steadyhand.core.errors import ConfigError
from steadyhand.envs.base import BatchEnv, Family


@dataclass(frozen=True, kw_only=True)
class SeedAudit:
    """What the starts of an env are worth as a sample.

    Attributes:
        family: Family of the starts.
        seeds: The seeds that were compared.
        num_starts: Starts asked for with each seed.
        distinct: Different first observations among them, for each seed.
        shared: First observations that a pair of seeds has in common, at most over all pairs.
    """

    family: Family
    seeds: tuple[int, ...]
    num_starts: int
    distinct: tuple[int, ...]
    shared: int

    @property
    def all_distinct(self) -> bool:
        """Whether n episodes had n distinct starts, with every seed."""
        return min(self.distinct) == self.num_starts

    @property
    def seed_matters(self) -> bool:
        """Whether the seed changed the starts."""
        return self.shared < min(self.distinct)

    @property
    def verdict(self) -> str:
        """One sentence for a report."""
        if not self.seed_matters:
            return "The seed does not change the starts: seeds repeat the same test."
        if not self.all_distinct:
            fewest = min(self.distinct)
            return f"{self.num_starts} starts begin in only {fewest} different ways: count {fewest}."
        return f"{self.num_starts} starts are {self.num_starts} different ones, and the seed changes them."


def audit_seeds(
    env: BatchEnv, *, family: Family = "test", num_starts: int = 64, seeds: Sequence[int] = (0, 1, 2)
) -> SeedAudit:
    """Reset `env` to `num_starts` starts with each seed and compare what it shows first, to experts too.

    Raises:
        ConfigError: Fewer than two seeds, or no starts.
    """
    if len(seeds) < 2 or num_starts < 1:
        raise ConfigError(
            "An audit compares seeds.", got=f"{len(seeds)} seeds, {num_starts} starts", expected=">= 2, >= 1"
        )
    found = [_beginnings(env, family, num_starts, seed) for seed in seeds]
    pairs = [(a, b) for index, a in enumerate(found) for b in found[:index]]
    return SeedAudit(
        family=family,
        seeds=tuple(seeds),
        num_starts=num_starts,
        distinct=tuple(len(one) for one in found),
        shared=max(len(a & b) for a, b in pairs),
    )


def _beginnings(env: BatchEnv, family: Family, count: int, seed: int) -> set[bytes]:
    starts = env.starts(family, count, seed=seed)
    keys: set[bytes] = set()
    for first in range(0, count, env.num_rows):
        some = starts[first : first + env.num_rows]
        rows = np.arange(len(some))
        env.reset(some, rows)
        shown = {**env.observe(rows), **env.privileged(rows)}
        for row in rows:
            digest = blake2b(digest_size=16)
            for name in sorted(shown):
                digest.update(np.ascontiguousarray(shown[name][row]).tobytes())
            keys.add(digest.digest())
    return keys
