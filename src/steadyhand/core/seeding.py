"""Random numbers without hidden state: named seeds, and one independent stream for each env row.

A rollout row must not depend on its neighbours: the same start and seed give the same episode whether
it is run alone or among a thousand. One NumPy generator per row would cost a Python call per row, so the
streams here are counter based: draw number `c` of a stream is a hash of (key, c), computed for all rows
at once (the finaliser of SplitMix64; Steele, Lea and Flood, OOPSLA 2014).
"""

import hashlib
from functools import cache

import numpy as np
from jaxtyping import Float, Int64, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def derive(seed: int, *path: str | int) -> int:
    """Return a 63-bit seed that is a pure function of `seed` and the names in `path`."""
    names = (str(part).replace("\\", "\\\\").replace("/", "\\/") for part in path)
    text = "/".join([str(int(seed)), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def short(seed: int) -> int:
    """Return the lowest 31 bits of a seed, for those who take no longer one: envs, and training settings."""
    return seed % 2**31


def generator(seed: int, *path: str | int) -> np.random.Generator:
    """Return a NumPy generator for the named purpose; different paths are independent."""
    return np.random.default_rng(derive(seed, *path))


@cache
def _salt(name: str) -> np.uint64:
    return np.uint64(derive(0, name))


def _mix(value: np.ndarray) -> np.ndarray:
    """Hash uint64 values (SplitMix64 finaliser); arithmetic wraps on purpose."""
    value = (value ^ (value >> np.uint64(30))) * _MIX_1
    value = (value ^ (value >> np.uint64(27))) * _MIX_2
    return value ^ (value >> np.uint64(31))


class RowStreams:
    """One random stream for each row of a batch.

    Args:
        keys: (B,) uint64, one key a row; equal keys give equal streams.

    `take` gives a view on some rows that advances their counters here. Everything is drawn batch first.
    """

    def __init__(self, keys: UInt64[np.ndarray, " B"]) -> None:
        self.keys = np.array(keys, dtype=np.uint64)
        self.counters = np.zeros(self.keys.shape, dtype=np.uint64)
        self._parent: tuple[RowStreams, np.ndarray] | None = None

    @classmethod
    def from_seed(cls, seed: int, num_rows: int) -> "RowStreams":
        """Return `num_rows` streams derived from one seed."""
        return cls(np.array([derive(seed, row) for row in range(num_rows)], dtype=np.uint64))

    def __len__(self) -> int:
        return len(self.keys)

    def begin(self, rows: Int64[np.ndarray, " R"], keys: UInt64[np.ndarray, " R"]) -> None:
        """Restart the streams of `rows` with new keys, as at the first step of an episode."""
        self.keys[rows] = keys
        self.counters[rows] = 0

    def take(self, rows: Int64[np.ndarray, " R"]) -> "RowStreams":
        """Return the streams of `rows`; drawing from them advances this object."""
        view = RowStreams(self.keys[rows])
        view.counters = self.counters[rows]
        view._parent = (self, rows)
        return view

    def fork(self, name: str) -> "RowStreams":
        """Return streams for a named purpose at the current point, independent of this one's draws.

        A controller that wraps another forks before drawing, so that adding a draw in one of them
        never shifts the numbers that the other sees.
        """
        return RowStreams(_mix(self._state() ^ _salt(name)))

    def uniform(self, *shape: int) -> Float[np.ndarray, "B ..."]:
        """Draw (B, *shape) float64 in [0, 1)."""
        bits = self._bits(int(np.prod(shape, dtype=np.int64)))
        return ((bits >> np.uint64(11)) * 2.0**-53).reshape(len(self), *shape)

    def normal(self, *shape: int) -> Float[np.ndarray, "B ..."]:
        """Draw (B, *shape) standard normal float64 (Box and Muller, 1958)."""
        count = int(np.prod(shape, dtype=np.int64))
        pairs = (count + 1) // 2
        flat = self.uniform(2 * pairs)
        radius = np.sqrt(-2.0 * np.log1p(-flat[:, :pairs]))
        angle = 2.0 * np.pi * flat[:, pairs:]
        both = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return both[:, :count].reshape(len(self), *shape)

    def advance(self) -> None:
        """Move every stream on by one, so that the next `fork` differs (once for each control step)."""
        self._advance(np.uint64(1))

    def state(self) -> dict[str, np.ndarray]:
        """Return copies of keys and counters, enough to continue exactly."""
        return {"keys": self.keys.copy(), "counters": self.counters.copy()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from what `state` returned."""
        self.keys[:] = state["keys"]
        self.counters[:] = state["counters"]

    def _state(self) -> np.ndarray:
        return _mix(self.keys + (self.counters + np.uint64(1)) * _GOLDEN)

    def _bits(self, count: int) -> np.ndarray:
        steps = np.arange(1, count + 1, dtype=np.uint64)
        bits = _mix(self.keys[:, None] + (self.counters[:, None] + steps) * _GOLDEN)
        self._advance(np.uint64(count))
        return bits

    def _advance(self, count: np.uint64) -> None:
        self.counters += count
        view = self
        while view._parent is not None:
            parent, rows = view._parent
            parent.counters[rows] = view.counters
            view = parent
