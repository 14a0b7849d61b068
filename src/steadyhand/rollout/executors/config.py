"""The settings of executors: their base class, and ours."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from steadyhand.core.errors import ConfigError
from steadyhand.core.parts import Part, located
from steadyhand.core.settings import Count, NotNegative, Range, Whole

if TYPE_CHECKING:
    from steadyhand.policies.policy import PolicyModule
    from steadyhand.rollout.executors.base import PolicyExecutor
    from steadyhand.rollout.executors.ensemble import TemporalEnsemble
    from steadyhand.rollout.executors.realtime import RealTimeChunking
    from steadyhand.rollout.executors.receding import RecedingHorizon

Schedule = Literal["exponential", "linear"]


class ExecutorConfig(Part, ABC):
    """Settings of an executor, which makes a controller of a policy; `str` says them in words."""

    kind: ClassVar[str] = "executor"
    ours: ClassVar[Mapping[str, str]] = located(__name__, "Receding", "Ensemble", "RealTime")

    @abstractmethod
    def executor(self) -> "type[PolicyExecutor]":
        """Return the class that takes these settings, by their names."""

    def build(
        self,
        policy: "PolicyModule",
        *,
        num_rows: int,
        deterministic: bool | None = None,
        num_threads: int = 1,
    ) -> "PolicyExecutor":
        """Return the policy as a controller.

        Args:
            policy: The policy.
            num_rows: Rows of the env.
            deterministic: Whether it answers with its mode; None as its class does.
            num_threads: Number of torch's threads.
        """
        return self.executor()(
            policy, num_rows=num_rows, deterministic=deterministic, num_threads=num_threads, **vars(self)
        )

    def timed(self, *, n_action_steps: int | None, delay: int | None) -> "ExecutorConfig":
        """Return these settings with the steps from one prediction to the next, and with a delay.

        Args:
            n_action_steps: Steps; None leaves them.
            delay: Control steps that a prediction takes; None leaves it.

        Raises:
            ConfigError: It has no such choice.
        """
        if n_action_steps not in (None, 1) or delay:
            raise ConfigError(
                f"{type(self).__name__} predicts at every step, and has its answer at once.",
                got=f"n_action_steps = {n_action_steps or 1}, delay = {delay or 0}",
                hint="leave --n-action-steps and --delay out, or take another --executor",
            )
        return self


@dataclass(frozen=True, kw_only=True)
class Receding(ExecutorConfig):
    """Play a chunk, predict again; see `RecedingHorizon`.

    Attributes:
        n_action_steps: Number of steps from one prediction to the next; each policy's own number if None.
        delay: Number of control steps that a prediction takes.
    """

    n_action_steps: Annotated[Count, Range(ge="delay")] | None = None
    delay: Whole = 0

    def executor(self) -> "type[RecedingHorizon]":
        """Return the class."""
        from steadyhand.rollout.executors.receding import RecedingHorizon

        return RecedingHorizon

    def timed(self, *, n_action_steps: int | None, delay: int | None) -> "Receding":
        """Return these settings with other steps and another delay."""
        steps = self.n_action_steps if n_action_steps is None else n_action_steps
        return replace(self, n_action_steps=steps, delay=self.delay if delay is None else delay)

    def __str__(self) -> str:
        steps = "each policy's own steps" if self.n_action_steps is None else f"{self.n_action_steps} steps"
        return f"receding horizon, {steps} a chunk" + (f", delay {self.delay}" if self.delay else "")


@dataclass(frozen=True, kw_only=True)
class Ensemble(ExecutorConfig):
    """Predict at every step and average; see `TemporalEnsemble`.

    Attributes:
        decay: Decay rate m of the weights exp(-m i).
        newest_heaviest: Whether i counts from the newest prediction rather than from the oldest.
    """

    decay: NotNegative = 0.01
    newest_heaviest: bool = False

    def executor(self) -> "type[TemporalEnsemble]":
        """Return the class."""
        from steadyhand.rollout.executors.ensemble import TemporalEnsemble

        return TemporalEnsemble

    def __str__(self) -> str:
        heaviest = "newest" if self.newest_heaviest else "oldest"
        return f"temporal ensemble, m = {self.decay:g}, {heaviest} heaviest"


@dataclass(frozen=True, kw_only=True)
class RealTime(ExecutorConfig):
    """Predict while the old chunk plays, in agreement with it; see `RealTimeChunking`.

    Attributes:
        delay: Number d of control steps that a prediction takes.
        execution_horizon: Number s of steps from one prediction to the next; each policy's n_action_steps if
            None.
        schedule: How agreement with the old chunk falls off over its steps.
    """

    delay: Whole = 1
    execution_horizon: Annotated[Count, Range(ge="delay")] | None = None
    schedule: Schedule = "exponential"

    def executor(self) -> "type[RealTimeChunking]":
        """Return the class."""
        from steadyhand.rollout.executors.realtime import RealTimeChunking

        return RealTimeChunking

    def timed(self, *, n_action_steps: int | None, delay: int | None) -> "RealTime":
        """Return these settings with other steps and another delay."""
        steps = self.execution_horizon if n_action_steps is None else n_action_steps
        return replace(self, execution_horizon=steps, delay=self.delay if delay is None else delay)

    def __str__(self) -> str:
        steps = "each policy's own" if self.execution_horizon is None else str(self.execution_horizon)
        return f"real-time chunking, delay {self.delay}, execution horizon {steps}, {self.schedule}"
