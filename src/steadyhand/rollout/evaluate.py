"""Run a controller from a fixed list of starts and keep what a comparison needs.

All controllers that are compared run from the same starts, so differences can be taken start by start.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int64

from steadyhand.core.description import running
from steadyhand.core.errors import CapabilityError
from steadyhand.core.protocol import Controller
from steadyhand.core.specs import EnvSpec
from steadyhand.core.statistics import (
    PairedDifference,
    StatisticsError,
    bootstrap_mean,
    paired_difference,
    wilson,
)
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.rollout.session import Listener, Session, StepEvent


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Evaluation:
    """Outcome of n episodes, one for each start, in the order of the starts.

    Attributes:
        name: Name of the driver.
        starts: The starts.
        success: (n,) whether each episode succeeded; None unless that is known of every episode.
        returns: (n,) sum of rewards.
        lengths: (n,) steps until the end.
        terminated: (n,) whether an episode ended by the task's own rules rather than by time.
        error: (n, T) error of the task after each step, NaN after the end; None if the env names none.
        positions: One (t, 2) array for each episode [m]; None if the env has no position.
        control_dt: Time between steps [s].
        group: (n,) episodes of equal number began with the same observation; numbered as they first appear,
            so that controllers that ran from the same starts have the same numbers.
        num_modes: Number of ways in which the task can be done; None if the env does not know.
        modes: (n,) the way that was taken, as the env says at the end; -1 where it is open. None likewise.
        mode_track: (n, T) the way after each step, -1 while it was open and after the end. None likewise.
        num_told: Number of episodes of which it is known whether they succeeded.
        task: Env, time limit and success rule, in words; empty if they are not known.
    """

    name: str
    starts: tuple[Start, ...]
    success: Bool[np.ndarray, " n"] | None
    returns: Float64[np.ndarray, " n"]
    lengths: Int64[np.ndarray, " n"]
    terminated: Bool[np.ndarray, " n"]
    error: Float32[np.ndarray, "n T"] | None = None
    positions: tuple[Float32[np.ndarray, "_ 2"], ...] | None = None
    control_dt: float
    group: Int64[np.ndarray, " n"]
    num_modes: int | None = None
    modes: Int64[np.ndarray, " n"] | None = None
    mode_track: Int[np.ndarray, "n T"] | None = None
    num_told: int = 0
    task: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.outcome}"

    def __repr__(self) -> str:
        return f"<Evaluation {self}>"

    def __sub__(self, other: "Evaluation") -> PairedDifference:
        """Return by how much this one did better from the same starts, in success if known, else in return.

        Raises:
            StatisticsError: They did not run from the same starts, or had another task to do.
        """
        if self.task and other.task and self.task != other.task:
            raise StatisticsError(
                "Only what had the same task can be compared start by start.",
                got=f"{self.task} ({self.name}); {other.task} ({other.name})",
                expected="the same env, time limit and success rule",
                hint="evaluate both in envs that differ in nothing but what the policies see",
            )
        if self.starts != other.starts:
            both = len(set(map(repr, self.starts)) & set(map(repr, other.starts)))
            raise StatisticsError(
                "Only what ran from the same starts can be compared start by start.",
                got=f"{len(self.starts)} starts of {self.name}, {len(other.starts)} of {other.name}, "
                f"{both} in both",
                hint="evaluate both with the same env, starts, family and seed",
            )
        if self.success is None or other.success is None:
            return paired_difference(self.returns, other.returns, seed=0)
        return paired_difference(self.success, other.success, seed=0)

    @property
    def told(self) -> Bool[np.ndarray, " n"]:
        """`success`, for callers that cannot do without it.

        Raises:
            CapabilityError: It is not known of every episode.
        """
        if self.success is None:
            raise CapabilityError(
                f"Whether {self.name} succeeded was told of {self.num_told} of {len(self.starts)} episodes.",
                hint="say what success is (on the command line --success), or compare returns",
            )
        return self.success

    @property
    def outcome(self) -> str:
        """How many succeeded, or the mean return where nothing tells success, with a 95 % interval."""
        count = len(self.starts)
        if self.success is not None:
            kept = int(self.success.sum())
            interval = wilson(kept, count)
            return f"{kept} of {count} (95 % {100 * interval.low:.0f} to {100 * interval.high:.0f} %)"
        estimate = bootstrap_mean(self.returns, seed=0)
        spread = ""
        if estimate.interval is not None:
            spread = f" (95 % {estimate.interval.low:.4g} to {estimate.interval.high:.4g})"
        return f"return {estimate.value:.4g}{spread} from {count} starts"

    def columns(self) -> dict[str, np.ndarray]:
        """Return one entry for each start, by name: what a table of the episodes would hold.

        Returns:
            "start" and "family", each option of the starts, "success" (where it is told), "return", "length"
            [steps], "terminated", "first_failure" [s], "mean_error" and "mode" where the env has them.
        """
        options = sorted({name for start in self.starts for name in start.options})
        found: dict[str, np.ndarray] = {
            "start": np.arange(len(self.starts)),
            "family": np.array([start.family for start in self.starts]),
            **{name: np.array([one.options.get(name, np.nan) for one in self.starts]) for name in options},
            **({} if self.success is None else {"success": self.success}),
            "return": self.returns,
            "length": self.lengths,
            "terminated": self.terminated,
            "first_failure": self.first_failure,
        }
        if self.error is not None:
            found["mean_error"] = np.nanmean(self.error, axis=1)
        if self.modes is not None:
            found["mode"] = self.modes
        return found

    def to_pandas(self) -> Any:
        """Return `columns` as a pandas.DataFrame.

        Raises:
            CapabilityError: pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise CapabilityError(
                "pandas is not installed.", hint="pip install pandas, or use columns(), which needs none"
            ) from error
        return pandas.DataFrame(self.columns())

    @property
    def first_failure(self) -> Float64[np.ndarray, " n"]:
        """Time of the first failure [s]; infinite where the episode did not fail.

        An episode that ran out of time without success failed at its end. Where nothing tells success it is
        the time at which the env ended the episode by its own rules, whatever that meant.
        """
        failed = self.terminated if self.success is None else ~self.success
        return np.where(failed, self.lengths * self.control_dt, np.inf)


class _Log:
    """Listener that fills the arrays of an `Evaluation`."""

    def __init__(self, env: BatchEnv, count: int, *, positions: bool) -> None:
        self._env = env
        self._positions = positions and _offers(env.position)
        self._has_error = _offers(env.error)
        self._num_modes = env.num_modes if _offers(env.mode) else None
        horizon = env.spec.max_episode_steps
        self.error = np.full((count, horizon if self._has_error else 0), np.nan, dtype=np.float32)
        self.track = np.zeros((count, horizon if self._positions else 0, 2), dtype=np.float32)
        self.success = np.zeros(count, dtype=bool)
        self.told = np.zeros(count, dtype=bool)
        self.terminated = np.zeros(count, dtype=bool)
        self.returns = np.zeros(count)
        self.lengths = np.zeros(count, dtype=np.int64)
        self.group = np.zeros(count, dtype=np.int64)
        self._first_seen: dict[bytes, int] = {}
        self.modes = np.full(count, -1, dtype=np.int64)
        narrow = np.int8 if (self._num_modes or 0) <= np.iinfo(np.int8).max else np.int32
        self.mode_track = np.full((count, horizon if self._num_modes else 0), -1, dtype=narrow)

    def __call__(self, event: StepEvent) -> None:
        index, time = event.start_index, event.time
        self.returns[index] += event.result.reward
        self.lengths[index] = time + 1
        if self._has_error:
            self.error[index, time] = self._env.error(event.rows)
        if self._positions:
            self.track[index, time] = self._env.position(event.rows)
        self._note_beginnings(event)
        ended = event.ended
        if self._num_modes is not None:
            mode = self._env.mode(event.rows)
            self.mode_track[index, time] = mode
            self.modes[index[ended]] = mode[ended]
        self.success[index[ended]] = event.result.success[ended]
        self.told[index[ended]] = event.result.is_told[ended]
        self.terminated[index[ended]] = event.result.terminated[ended]

    def result(self, name: str, starts: tuple[Start, ...]) -> Evaluation:
        paths = None
        if self._positions:
            paths = tuple(path[:length].copy() for path, length in zip(self.track, self.lengths, strict=True))
        return Evaluation(
            name=name,
            starts=starts,
            success=self.success if self.told.all() else None,
            returns=self.returns,
            lengths=self.lengths,
            terminated=self.terminated,
            error=self.error if self._has_error else None,
            positions=paths,
            control_dt=self._env.spec.control_dt,
            group=self.group,
            num_modes=self._num_modes,
            modes=None if self._num_modes is None else self.modes,
            mode_track=None if self._num_modes is None else self.mode_track,
            num_told=int(self.told.sum()),
            task=_task(self._env.spec),
        )

    def _note_beginnings(self, event: StepEvent) -> None:
        for place in np.flatnonzero(event.time == 0):
            key = _digest(event.observation, int(place))
            # Rows are refilled in the order of the starts, so "first" does not depend on who drives.
            self.group[event.start_index[place]] = self._first_seen.setdefault(key, len(self._first_seen))


@running()
def evaluate(
    env: BatchEnv,
    controller: Controller,
    starts: Sequence[Start],
    *,
    name: str,
    seed: int = 0,
    positions: bool = True,
    listeners: Sequence[Listener] = (),
    on_step: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Run `controller` once from each start.

    Args:
        env: The env; its rows run in parallel.
        controller: The controller that drives.
        starts: The n starts.
        name: Name for tables and plots.
        seed: Seed of the controller's random streams.
        positions: Keep the path of each episode, where the env has one.
        listeners: Further listeners, such as a video camera.
        on_step: Called with (episodes ended, episodes in all) after each env step, for progress.
    """
    log = _Log(env, len(starts), positions=positions)
    session = Session(env, controller, starts, seed=seed, listeners=[log, *listeners])
    ended = 0
    while (event := session.step()) is not None:
        ended += int(event.ended.sum())
        if on_step is not None:
            on_step(ended, len(starts))
    return log.result(name, tuple(starts))


def _digest(observation: Mapping[str, np.ndarray], row: int) -> bytes:
    digest = blake2b(digest_size=16)
    for name in sorted(observation):
        digest.update(np.ascontiguousarray(observation[name][row]).tobytes())
    return digest.digest()


def _offers(capability: Callable[[np.ndarray], np.ndarray]) -> bool:
    try:
        capability(np.zeros(0, dtype=np.int64))
    except CapabilityError:
        return False
    return True


def _task(spec: EnvSpec) -> str:
    """Return what there was to do, in words."""
    return f"{spec.env_id}, at most {spec.max_episode_steps} steps, success: {spec.success.words}"
