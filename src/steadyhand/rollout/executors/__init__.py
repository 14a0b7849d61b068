"""What wraps a policy into a controller: history, chunks and timing.

A policy is without memory; an executor keeps it. Three ways of turning chunks into one action a step:
`RecedingHorizon` plays a chunk and predicts again, `TemporalEnsemble` predicts at every step and averages,
`RealTimeChunking` predicts while the old chunk still plays, and makes the new one agree with it.
"""

from typing import Any

from steadyhand.core.modules import listing
from steadyhand.core.parts import attribute
from steadyhand.rollout.executors.config import ExecutorConfig


def __getattr__(name: str) -> Any:
    return attribute(ExecutorConfig, name, module=__name__)


def __dir__() -> list[str]:
    return listing(ExecutorConfig, globals())
