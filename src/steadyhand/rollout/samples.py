"""The mean-versus-sample test: does it matter that a policy answers with one of several right ways?

A policy that draws its chunks is driven twice from the same starts: by single samples, and by the mean of N
samples, which is what the best regression would answer. Where the demonstrator was of one mind the mean
is as good or better, for it has less noise. Where the mean fails and the sample does not, the ways are
several and their average is none of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Shaped

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.protocol import Observation
from steadyhand.core.seeding import RowStreams
from steadyhand.core.statistics import PairedDifference, paired_difference
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.policies.contract import Prefix
from steadyhand.policies.policy import PolicyModule
from steadyhand.rollout.evaluate import Evaluation, evaluate
from steadyhand.rollout.executors.receding import RecedingHorizon

NUM_SAMPLES = 16


class MeanOfSamples(RecedingHorizon):
    """Executes the mean of N sampled chunks: an estimate of E[chunk | observation].

    Args:
        policy: The policy.
        num_rows: Rows of the env that will be driven.
        num_samples: N; the first is the one that a single sample would have been.
        n_action_steps: Executed steps of each chunk; the policy's own number if None.
        num_threads: Threads of torch while predicting.

    Raises:
        CapabilityError: The actions are classes, which have no mean.
    """

    def __init__(
        self,
        policy: PolicyModule,
        *,
        num_rows: int,
        num_samples: int = NUM_SAMPLES,
        n_action_steps: int | None = None,
        num_threads: int = 1,
    ) -> None:
        if num_samples < 1:
            raise ConfigError("A mean needs samples.", got=num_samples, expected=">= 1")
        if policy.spec.action.kind == "discrete":
            raise CapabilityError("Discrete actions have no mean.", hint="compare modes with samples")
        super().__init__(
            policy,
            num_rows=num_rows,
            n_action_steps=n_action_steps,
            deterministic=False,
            num_threads=num_threads,
        )
        self.num_samples = num_samples

    def _predict(
        self,
        observation: Observation,
        rows: Int64[np.ndarray, " B"],
        places: Int64[np.ndarray, " D"],
        generator: RowStreams,
        prefix: Prefix | None = None,
    ) -> Shaped[np.ndarray, "D F A"]:
        total = super()._predict(observation, rows, places, generator, prefix)
        for number in range(1, self.num_samples):
            fork = generator.fork(f"sample {number}")
            total = total + super()._predict(observation, rows, places, fork, prefix)
        return total / self.num_samples


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanVersusSample:
    """Outcome of the test: the mean minus the sample; `success` is None where nothing tells it."""

    mean: Evaluation
    sample: Evaluation
    returns: PairedDifference
    success: PairedDifference | None


def mean_versus_sample(
    env: BatchEnv,
    policy: PolicyModule,
    starts: Sequence[Start],
    *,
    seed: int = 0,
    num_samples: int = NUM_SAMPLES,
    n_action_steps: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> MeanVersusSample:
    """Drive a policy by means and by single samples from the same starts.

    Args:
        env: The env; its rows run in parallel.
        policy: The policy; it should be one that draws, otherwise both answers are the same.
        starts: The n starts.
        seed: Seed of the samples.
        num_samples: Number N of samples, whose mean is the answer.
        n_action_steps: Executed steps of each chunk; the policy's own number if None.
        on_step: Called with (episodes ended, episodes in all) after each env step.
    """
    single = RecedingHorizon(
        policy, num_rows=env.num_rows, n_action_steps=n_action_steps, deterministic=False
    )
    mean = MeanOfSamples(
        policy, num_rows=env.num_rows, num_samples=num_samples, n_action_steps=n_action_steps
    )
    sampled = evaluate(env, single, starts, name="sample", seed=seed, positions=False, on_step=on_step)
    averaged = evaluate(
        env, mean, starts, name=f"mean of {num_samples}", seed=seed, positions=False, on_step=on_step
    )
    success = None
    if averaged.success is not None and sampled.success is not None:
        success = paired_difference(averaged.success, sampled.success, seed=seed)
    returns = paired_difference(averaged.returns, sampled.returns, seed=seed)
    return MeanVersusSample(mean=averaged, sample=sampled, returns=returns, success=success)
