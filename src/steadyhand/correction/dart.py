"""DART (Laskey, Lee, Fox, Dragan and Goldberg, CoRL 2017): disturb the expert as the learner will err.

The expert drives in all rounds; what it executes is disturbed, the label stays what it intended. Before each
round the disturbance is fitted to the last iterate: its likelihood under the disturbed expert is largest for

    Sigma = (1 / T) E[ sum_t (pi_hat(o_t) - pi*(o_t)) (pi_hat(o_t) - pi*(o_t))^T ],

the second moment of its error about zero, on steps that it was not trained on. The paper then keeps only the
shape, Sigma^alpha = alpha / (T tr Sigma) Sigma with alpha a guess of the final robot's total error over T
steps; the released code does not. Both are here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from steadyhand.core.codec import load, save
from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive, short
from steadyhand.core.settings import Count, NotNegative, Positive, PositiveShare, Share, Whole
from steadyhand.core.specs import FeatureSpec
from steadyhand.correction.contract import RoundsConfig, Stage
from steadyhand.correction.dart_noise import (
    ESTIMATE,
    HeldOut,
    NoiseEstimate,
    Shape,
    WholeEpisodes,
    as_matrix,
    held_out_error,
    initial_estimate,
    scaled,
    second_moment,
    shaped,
)
from steadyhand.correction.learner import Learner
from steadyhand.correction.marks import Marks, plain
from steadyhand.correction.noise import CorrelatedNoise, NoisyExecution, RandomExecution
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv
from steadyhand.rollout.evaluate import evaluate


@dataclass(frozen=True, kw_only=True)
class DartConfig(RoundsConfig):
    """Settings of the method; see `RoundsConfig` for the others.

    Attributes:
        alpha: The paper's guess of the final robot's total squared error over an episode: the trace is set to
            alpha / horizon (for discrete actions, epsilon to it). None takes the estimate as it is.
        horizon: T of that formula [steps]; None means the longest episode of the env.
        shape: "full" covariance, "diagonal", or "isotropic" of the same trace.
        floor: Added to the variance of every dimension, after the scaling (to epsilon, for discrete actions):
            a learner that errs in few directions would leave the others undisturbed.
        initial_sigma: Deviation in the first round, before there is a learner; 0 means clean demonstrations.
        initial_epsilon: Rate of random actions in the first round, for discrete actions; 0 means clean
            demonstrations.
        theta: Share of the noise that is forgotten each step; 1, independent noise, is the paper's.
        clean_fraction: Share of episodes that are left undisturbed; 0 in the paper.
        held_out: Which steps the estimate is made on.
        train_on_held_out: Train the iterates on the held-out labels too; the estimate then comes from
            a second net, trained without them before each round. False: they serve the estimate alone.
        window: Number of last episodes with held-out steps that the estimate is made on; None means all.
        updates: Rounds before which the estimate is renewed, from 2; None means all.
        watch: Drives of the disturbed expert, whole ones from validation starts, before each round, only to
            record how many succeed. They count as nobody's labels.
    """

    name: ClassVar[str] = "dart"
    title: ClassVar[str] = "DART"
    summary: ClassVar[str] = (
        "disturb what the expert executes by noise that is shaped like the learner's own errors"
    )
    page: ClassVar[str] = "dart"
    example: ClassVar[str] = "--set method.shape=isotropic"

    alpha: Positive | None = None
    horizon: Count | None = None
    shape: Shape = "full"
    floor: NotNegative = 0.0
    initial_sigma: NotNegative = 0.0
    initial_epsilon: NotNegative = 0.0
    theta: PositiveShare = 1.0
    clean_fraction: Share = 0.0
    held_out: HeldOut = field(default_factory=WholeEpisodes)
    train_on_held_out: bool = True
    window: Count | None = None
    updates: tuple[int, ...] | None = None
    watch: Whole = 0

    @property
    def reads_iterate(self) -> bool:
        """The disturbance is fitted to the last iterate."""
        return True

    def expert_share(self, round: int) -> float:
        """Return 1: the expert drives in all rounds."""
        del round
        return 1.0

    def limits(self, stage: Stage) -> tuple[int, int | None]:
        """Return the length of an episode."""
        del stage
        return self.steps_per_episode, None

    def marks(self, episodes: Sequence[Episode]) -> Sequence[Marks] | None:
        """Return weights that leave held-out steps out, unless iterates are trained on them."""
        return None if self.train_on_held_out else self.without_held_out(episodes)

    def without_held_out(self, episodes: Sequence[Episode]) -> list[Marks]:
        """Return weights that leave held-out steps out."""
        kept = [
            plain(episode).weight * ~self.held_out.steps(i, len(episode))
            for i, episode in enumerate(episodes)
        ]
        return [Marks(weight=weight.astype(np.float32)) for weight in kept]

    def check(
        self, env: BatchEnv, expert: Controller, learner: Learner, *, initial: Sequence[Episode] = ()
    ) -> None:
        """Refuse, too, a first round that leaves no pair to estimate the learner's error on."""
        super().check(env, expert, learner, initial=initial)
        lengths = [len(e) for e in initial] or [self.steps_per_episode] * self.episodes_per_round
        needed = self.rounds > 1 or bool(initial)
        if needed and not any(self.held_out.steps(i, length).any() for i, length in enumerate(lengths)):
            raise ConfigError(
                "No pair is held out, so the learner's error cannot be estimated.",
                got=f"{len(lengths)} episodes of {max(lengths)} steps in the first round, {self.held_out}",
                hint="ask for more episodes in a round (on the command line --episodes), or hold out more of "
                "them (--set method.held_out.every=2)",
            )

    def driver(self, stage: Stage) -> Controller:
        """Return the expert, disturbed as the last iterate errs; writes the estimate down."""
        estimate = self._estimate(stage)
        noisy = self.disturbed(stage.expert, estimate, stage.env.spec.action)
        if self.watch:
            starts = stage.env.starts("validation", self.watch, seed=short(derive(stage.seed, "watch")))
            always = self.disturbed(stage.expert, estimate, stage.env.spec.action, clean_fraction=0.0)
            seen = evaluate(stage.env, always, starts, name="watch", seed=stage.seed, positions=False)
            if seen.success is not None:
                estimate = replace(estimate, watched_success=float(seen.success.mean()))
        save(stage.folder / ESTIMATE, estimate)
        return noisy

    def disturbed(
        self,
        expert: Controller,
        estimate: NoiseEstimate,
        action: FeatureSpec,
        *,
        clean_fraction: float | None = None,
    ) -> Controller:
        """Return the expert disturbed as an estimate says."""
        clean = self.clean_fraction if clean_fraction is None else clean_fraction
        if estimate.trace == 0.0:
            return expert
        if estimate.covariance is None:
            return RandomExecution(expert, epsilon=estimate.epsilon, action=action, clean_fraction=clean)
        noise = CorrelatedNoise(covariance=estimate.covariance, theta=self.theta)
        return NoisyExecution(expert, noise=noise, action=action, clean_fraction=clean)

    def _estimate(self, stage: Stage) -> NoiseEstimate:
        action = stage.env.spec.action
        if stage.iterate is None:
            return initial_estimate(action, self.initial_sigma**2, epsilon=self.initial_epsilon)
        previous = stage.iterate / "driver" / ESTIMATE
        if self.updates is not None and stage.round not in self.updates and previous.is_file():
            return load(previous, NoiseEstimate)
        iterate = stage.iterate
        if self.train_on_held_out:
            iterate = stage.folder / "probe"
            stage.learner.fit(
                stage.training,
                folder=iterate,
                seed=derive(stage.seed, "probe"),
                warm_start=None,
                marks=self.without_held_out(stage.training),
            )
        error = held_out_error(stage.learner, iterate, stage.training, self.held_out, window=self.window)
        horizon = self.horizon or stage.env.spec.max_episode_steps
        if action.num_classes is not None:
            rate = float((error != 0).any(axis=1).mean())
            epsilon = rate if self.alpha is None else self.alpha / horizon
            return NoiseEstimate(pairs=len(error), epsilon=min(1.0, epsilon + self.floor), error_trace=rate)
        moment = second_moment(error)
        covariance = shaped(moment, self.shape)
        if self.alpha is not None:
            covariance = scaled(covariance, self.alpha, horizon=horizon)
        covariance = covariance + self.floor * np.eye(len(covariance))
        return NoiseEstimate(
            covariance=as_matrix(covariance), pairs=len(error), error_trace=float(np.trace(moment))
        )
