"""Planning by sampling: roll out many input sequences with the model, and keep what was cheap.

Three rules share one loop of rollouts: the weighted mean of model-predictive path integral control (MPPI;
Williams et al., "Information theoretic MPC for model-based reinforcement learning", 2017), the refitted
Gaussian of the cross-entropy method (CEM), and the single best sample of predictive sampling (Howell et al.,
2022). They plan for B rows at once, each with random numbers of its own, so that a row's plan never depends
on its neighbours.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Float64

from steadyhand.core.errors import ConfigError
from steadyhand.core.seeding import RowStreams
from steadyhand.core.settings import Count, NotNegative, Positive, Range, Rate, Settings, Whole
from steadyhand.envs.problem import ControlProblem


@dataclass(frozen=True, kw_only=True)
class SamplingRule(Settings, ABC):
    """How a plan follows from rollouts.

    Attributes:
        num_samples: Input sequences that are rolled out for each row; the first one is the plan as it was.
        sigma: Standard deviation of the noise, as a share of half an input's range.
        num_nodes: Steps of the horizon at which noise is drawn, with straight lines between them; 0 draws
            it at every step, 1 once.
    """

    num_samples: Annotated[int, Range(ge=2)] = 256
    sigma: Positive = 0.5
    num_nodes: Whole = 0

    @property
    def num_rounds(self) -> int:
        """How often a plan is improved before it is used."""
        return 1

    @abstractmethod
    def improved(
        self,
        plan: Float64[np.ndarray, "B T U"],
        deviation: Float64[np.ndarray, "B T U"],
        samples: Float64[np.ndarray, "B K T U"],
        costs: Float64[np.ndarray, "B K"],
    ) -> tuple[Float64[np.ndarray, "B T U"], Float64[np.ndarray, "B T U"]]:
        """Return the better plan, and the deviation of the next round's noise.

        Inputs are shares of half their range here: -1 and 1 are the bounds.

        Args:
            plan: (B, T, U) the plan as it was.
            deviation: (B, T, U) the deviation of the noise.
            samples: (B, K, T, U) what was rolled out: clipped inputs, the plan first.
            costs: (B, K) what they cost.
        """


@dataclass(frozen=True, kw_only=True)
class Mppi(SamplingRule):
    """The mean of all samples, weighted by exp(-cost / temperature).

    The noise that enters the mean is the clipped one, and the least cost is taken off before the exponential.

    Attributes:
        temperature: Lambda: small follows the best sample, large averages all; in units of the cost.
    """

    temperature: Positive = 1.0

    def improved(
        self,
        plan: Float64[np.ndarray, "B T U"],
        deviation: Float64[np.ndarray, "B T U"],
        samples: Float64[np.ndarray, "B K T U"],
        costs: Float64[np.ndarray, "B K"],
    ) -> tuple[Float64[np.ndarray, "B T U"], Float64[np.ndarray, "B T U"]]:
        """Return the weighted mean; see `SamplingRule.improved`."""
        del plan
        weights = path_weights(costs, self.temperature)
        return (weights[:, :, None, None] * samples).sum(axis=1), deviation


@dataclass(frozen=True, kw_only=True)
class Cem(SamplingRule):
    """The cross-entropy method: a Gaussian for each input, refitted to the cheapest samples.

    Attributes:
        num_elites: How many samples it is refitted to.
        rounds: How often.
        smoothing: Share of the old Gaussian that is kept.
        least: Least deviation, as a share of half an input's range.
    """

    num_elites: Annotated[int, Range(ge=1, le="num_samples")] = 16
    rounds: Count = 3
    smoothing: Rate = 0.1
    least: NotNegative = 0.05

    @property
    def num_rounds(self) -> int:
        """How often a plan is improved before it is used."""
        return self.rounds

    def improved(
        self,
        plan: Float64[np.ndarray, "B T U"],
        deviation: Float64[np.ndarray, "B T U"],
        samples: Float64[np.ndarray, "B K T U"],
        costs: Float64[np.ndarray, "B K"],
    ) -> tuple[Float64[np.ndarray, "B T U"], Float64[np.ndarray, "B T U"]]:
        """Return mean and deviation of the elites; see `SamplingRule.improved`."""
        order = np.argsort(costs, axis=1, kind="stable")[:, : self.num_elites]
        elites = np.take_along_axis(samples, order[:, :, None, None], axis=1)
        mean = self.smoothing * plan + (1.0 - self.smoothing) * elites.mean(axis=1)
        spread = self.smoothing * deviation + (1.0 - self.smoothing) * elites.std(axis=1)
        return mean, np.maximum(spread, self.least)


@dataclass(frozen=True, kw_only=True)
class PredictiveSampling(SamplingRule):
    """The cheapest sample, as it is; the plan as it was competes."""

    num_samples: Annotated[int, Range(ge=2)] = 32
    num_nodes: Whole = 6

    def improved(
        self,
        plan: Float64[np.ndarray, "B T U"],
        deviation: Float64[np.ndarray, "B T U"],
        samples: Float64[np.ndarray, "B K T U"],
        costs: Float64[np.ndarray, "B K"],
    ) -> tuple[Float64[np.ndarray, "B T U"], Float64[np.ndarray, "B T U"]]:
        """Return the cheapest sample; see `SamplingRule.improved`."""
        del plan
        best = costs.argmin(axis=1)
        return samples[np.arange(len(samples)), best], deviation


def path_weights(costs: Float64[np.ndarray, "B K"], temperature: float) -> Float64[np.ndarray, "B K"]:
    """Return exp(-(cost - least) / temperature), divided by their sum; 0 for costs that are not finite."""
    costs = np.where(np.isfinite(costs), costs, np.inf)
    least = np.minimum(costs.min(axis=1, keepdims=True), np.finfo(np.float64).max)
    weights = np.exp(-(costs - least) / temperature)
    return weights / weights.sum(axis=1, keepdims=True)


def shifted(plan: Float64[np.ndarray, "B T U"], rest: Float64[np.ndarray, " U"]) -> np.ndarray:
    """Return the plan of the next step: what was to come, and rest at its end."""
    return np.concatenate([plan[:, 1:], np.broadcast_to(rest, plan[:, :1].shape)], axis=1)


def plan_by_sampling(
    problem: ControlProblem,
    rule: SamplingRule,
    start: Float64[np.ndarray, "B S"],
    plan: Float64[np.ndarray, "B T U"],
    streams: RowStreams,
) -> tuple[Float64[np.ndarray, "B T U"], Float64[np.ndarray, " B"]]:
    """Return a better plan for each row, and the cost of the cheapest rollout.

    Args:
        problem: Dynamics, costs and bounds.
        rule: How a plan follows from rollouts.
        start: (B, S) where the rows are.
        plan: (B, T, U) the plans as they were.
        streams: Random numbers of each row.
    """
    if not np.isfinite([problem.low, problem.high]).all():
        raise ConfigError(
            "Planning by sampling needs bounds of the input.", got=f"{problem.low} to {problem.high}"
        )
    middle, half = 0.5 * (problem.high + problem.low), 0.5 * (problem.high - problem.low)
    share = np.clip((plan - middle) / half, -1.0, 1.0)
    deviation = np.full(plan.shape, rule.sigma)
    best = np.full(len(plan), np.inf)
    for _ in range(rule.num_rounds):
        noise = _noise(rule, plan.shape, streams)
        samples = np.clip(share[:, None] + noise * deviation[:, None], -1.0, 1.0)
        costs = _costs(problem, start, middle + half * samples)
        best = np.minimum(best, costs.min(axis=1))
        share, deviation = rule.improved(share, deviation, samples, costs)
    return middle + half * share, best


def _noise(rule: SamplingRule, shape: tuple[int, ...], streams: RowStreams) -> np.ndarray:
    """Return (B, K, T, U) standard noise, none for the first sample."""
    num_steps, num_inputs = shape[1:]
    nodes = min(rule.num_nodes, num_steps) or num_steps
    drawn = streams.normal(rule.num_samples - 1, nodes, num_inputs)
    if nodes < num_steps:
        place = np.linspace(0.0, nodes - 1.0, num_steps)
        node = place.astype(int)
        share = (place - node)[:, None]
        drawn = (1.0 - share) * drawn[:, :, node] + share * drawn[:, :, np.minimum(node + 1, nodes - 1)]
    return np.concatenate([np.zeros((len(drawn), 1, num_steps, num_inputs)), drawn], axis=1)


def _costs(problem: ControlProblem, start: np.ndarray, samples: np.ndarray) -> Float64[np.ndarray, "B K"]:
    """Return what samples cost, step by step, so that the memory is that of one step."""
    x = np.repeat(start[:, None], samples.shape[1], axis=1)
    total = np.zeros(samples.shape[:2])
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(samples.shape[2]):
            felt = problem.running(x, samples[:, :, step], np)
            total += (felt * felt).sum(-1)
            x = problem.dynamics(x, samples[:, :, step], np)
        felt = problem.terminal(x, np)
    return 0.5 * (total + (felt * felt).sum(-1))
