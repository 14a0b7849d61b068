"""Autonomy: how much of the time nobody had to help (Bojarski et al., 2016, section 7.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import RowStreams
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.envs.faults import observed, read_only

RESCUE_SECONDS = 6.0
"""Time that an intervention is counted with in the paper [s]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Autonomy:
    """Virtual interventions of n drives of equal length.

    Attributes:
        interventions: (n,) times that the row had to be put back.
        seconds: Length of each drive [s].
        penalty: Time that each intervention counts [s].
    """

    interventions: Int64[np.ndarray, " n"]
    seconds: float
    penalty: float = RESCUE_SECONDS

    @property
    def each(self) -> Float64[np.ndarray, " n"]:
        """(n,) 1 - interventions * penalty / seconds, not below 0."""
        return np.maximum(0.0, 1.0 - self.interventions * self.penalty / self.seconds)

    @property
    def value(self) -> float:
        """The paper's figure over all drives: 1 - (interventions * penalty) / elapsed, not below 0."""
        elapsed = self.seconds * len(self.interventions)
        return float(max(0.0, 1.0 - self.interventions.sum() * self.penalty / elapsed))


def autonomy(
    env: BatchEnv,
    controller: Controller,
    starts: Sequence[Start],
    *,
    seconds: float,
    seed: int = 0,
    penalty: float = RESCUE_SECONDS,
) -> Autonomy:
    """Drive from each start for `seconds`; a row that fails is put back where it failed and goes on.

    Unlike success, this does not let one early failure hide what would have followed, and unlike the time to
    the first failure it can be compared with the paper's 90 or 98 %. It is kinder than success: each rescue
    undoes the errors that had piled up.

    Args:
        env: An env that can rescue rows (`BatchEnv.rescue`), with a row for each start.
        controller: The controller that drives.
        starts: The n starts.
        seconds: Length of a drive [s].
        seed: Seed of the controller's random streams.
        penalty: Time that each intervention counts [s].

    Raises:
        SpecError: There are fewer rows than starts, or the env's time limit would end a drive, after which a
            row would begin anew on the centre line without having been rescued.
        CapabilityError: The env cannot rescue, or ended a drive without telling whether it failed.
    """
    num_steps = _steps(env, len(starts), seconds)
    rows = np.arange(len(starts))
    streams = RowStreams.from_seed(seed, len(rows))
    interventions = np.zeros(len(rows), dtype=np.int64)
    env.reset(list(starts), rows)
    controller.begin(rows)
    for _ in range(num_steps):
        privileged = read_only(env.privileged(rows)) if controller.sees_privileged else {}
        decision = controller.act(observed(env, rows), privileged, rows, streams)
        result = env.step(decision.action, rows)
        streams.advance()
        if (result.terminated & ~result.is_told).any():
            raise CapabilityError(
                "Autonomy counts failures, and this env does not tell them.",
                got=f"{env.spec.env_id} ended a drive: {env.spec.success.words}",
                hint="use an env that tells success, or compare returns",
            )
        interventions += result.terminated & ~result.success
        ended = rows[result.terminated | result.truncated]
        if len(ended):
            env.reset(env.rescue(ended), ended)
            controller.begin(ended)
    return Autonomy(interventions=interventions, seconds=seconds, penalty=penalty)


def _steps(env: BatchEnv, num_starts: int, seconds: float) -> int:
    """Return the steps of a drive; raises SpecError as `autonomy` says."""
    if not 1 <= num_starts <= env.num_rows:
        raise SpecError(
            "Autonomy needs a row for each start.", got=num_starts, expected=f"1 to {env.num_rows}"
        )
    num_steps = round(seconds / env.spec.control_dt)
    if num_steps > env.spec.max_episode_steps:
        raise SpecError(
            "The drive is longer than the env's time limit.",
            got=f"{seconds:g} s are {num_steps} steps",
            expected=f"at most {env.spec.max_episode_steps} steps",
            hint="drive for less time, or raise max_episode_steps of the env",
        )
    return num_steps
