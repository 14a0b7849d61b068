"""What gates are built from: drives, discrepancies, and the nets that some scores need."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Float64

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.seeding import derive, generator, short
from steadyhand.correction.contract import Stage
from steadyhand.correction.gates.calibration import (
    ScoreRecorder,
    answers,
    scored,
    threshold_at,
    windows_of,
)
from steadyhand.correction.learner import net_learner
from steadyhand.correction.marks import Marks, plain
from steadyhand.data.episode import Episode
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.risk_config import RiskConfig
from steadyhand.policies.scores import ActionScale, Score, Seen
from steadyhand.policies.scores.predicted import SAFE, UNSAFE, classifier_of, classifier_spec
from steadyhand.policies.scores.risk import Critics, RiskTransitions, fit_critics, pairs
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import fit


class GateFitter:
    """Makes, for one round, what the gates' thresholds and scores are made of; each at most once.

    Raises:
        ConfigError: There is no policy to gate yet.
        CapabilityError: The learner does not make policies that scores could look into.
    """

    def __init__(self, stage: Stage) -> None:
        if stage.iterate is None:
            raise ConfigError("There is no policy to gate yet.", got=f"round {stage.round}")
        self._stage, self._learner = stage, net_learner(stage.learner)
        self.policy = self._learner.policy(stage.iterate).eval()
        known = np.concatenate([episode.expert_action for episode in (*stage.training, *stage.held_out)])
        self.scale = ActionScale.of(stage.env.spec.action, known)
        self._driven: list[Episode] | None = None

    def seed(self, name: str) -> int:
        """Return the seed of a purpose, 63 bits."""
        return derive(self._stage.seed, "gate", name)

    def watch(self, **scores: Score) -> ScoreRecorder:
        """Return what gives these scores at run time."""
        return ScoreRecorder(self.policy, scores, num_rows=self._stage.env.num_rows)

    def drives(self, count: int) -> list[Episode]:
        """Return `count` drives of the policy alone, to their ends: unlabelled, and filtered by nobody."""
        if self._driven is None:
            self._driven = self._stage.drive(count, max_steps=self._stage.env.spec.max_episode_steps)
        return self._driven

    @cached_property
    def held_out(self) -> Sequence[Episode]:
        """Demonstrations that the policy was not trained on."""
        if not self._stage.held_out:
            raise ConfigError(
                "The gate's threshold is set on demonstrations that were kept from training; there are none.",
                hint="num_held_out of the gate must be 1 or more",
            )
        return self._stage.held_out

    def on_drives(self, score: Score, count: int) -> Float64[np.ndarray, " N"]:
        """Return a score at each step of the drives, of the action that the policy executed there."""
        episodes = self.drives(count)
        executed = [episode.action for episode in episodes]
        return scored(score, self.policy, episodes, executed, seed=self.seed("drives"))

    def limit(self, score: Score, count: int, share: float) -> float:
        """Return what a score exceeds at no more than a share of the steps of `count` drives."""
        return threshold_at(self.on_drives(score, count), 1.0 - share)

    def on_held_out(self, score: Score) -> Float64[np.ndarray, " N"]:
        """Return a score at each step of the held-out demonstrations, of the policy's own proposal there."""
        proposed = self.proposed(self.held_out)
        return scored(score, self.policy, self.held_out, proposed, seed=self.seed("held out"))

    def proposed(self, episodes: Sequence[Episode]) -> list[np.ndarray]:
        """Return the policy's proposals along episodes, drawn as it drives: (T, A) for each."""
        return answers(self.policy, episodes, seed=self.seed("proposals"))

    def discrepancy(self, episodes: Sequence[Episode]) -> Float64[np.ndarray, " N"]:
        """Return |pi - pi*|^2 at each labelled step of the episodes, end to end."""
        parts = [
            self.scale.discrepancy(action, episode.expert_action)[episode.expert_action_valid]
            for episode, action in zip(episodes, self.proposed(episodes), strict=True)
        ]
        return np.concatenate(parts)

    def held_out_discrepancy(self, level: float) -> float:
        """Return a quantile of |pi - pi*|^2 at the steps of the held-out demonstrations."""
        return threshold_at(self.discrepancy(self.held_out), level)

    def bank(self) -> Seen:
        """Return the labelled windows of the training data: what the policy knows."""
        parts: list[Seen] = []
        for episode in self._stage.training:
            seen, valid = windows_of(self.policy, episode), plain(episode).weight > 0
            if valid.any():
                pad = None if seen.is_pad is None else seen.is_pad[valid]
                parts.append(Seen(observation={k: v[valid] for k, v in seen.observation.items()}, is_pad=pad))
        return Seen.joined(parts)

    def members(self, count: int) -> list[PolicyModule]:
        """Fit `count` policies to resampled labels, from other initial parameters each.

        The labels are drawn with replacement, step by step (the bootstrap of Thrifty- and EnsembleDAgger), by
        giving each step as much more weight as it was drawn. Kept in the round's folder.
        """
        stage, policies = self._stage, []
        weights = [plain(episode).weight for episode in stage.training]
        labelled = np.flatnonzero(np.concatenate(weights) > 0)
        ends = np.cumsum([len(part) for part in weights])[:-1]
        for number in range(count):
            random = generator(stage.seed, "gate", "bootstrap", number)
            drawn = np.zeros(sum(map(len, weights)), dtype=np.float32)
            np.add.at(drawn, labelled[random.integers(0, len(labelled), len(labelled))], 1.0)
            folder = stage.folder / f"member-{number}"
            self._learner.fit(
                stage.training,
                folder=folder,
                seed=self.seed(f"member {number}"),
                warm_start=None,
                marks=[
                    Marks(weight=weight * times)
                    for weight, times in zip(weights, np.split(drawn, ends), strict=True)
                ],
            )
            policies.append(self._learner.policy(folder))
        return policies

    def tau(self, unsafe: float) -> float:
        """Return the discrepancy that the share `unsafe` of the held-out steps lies above.

        At least one step is above it, if they differ at all: a class without examples cannot be learnt.
        """
        values = self.discrepancy(self.held_out)
        tau = threshold_at(values, 1.0 - unsafe)
        below = values[values < values.max()]
        return min(tau, float(below.max())) if len(below) else tau

    def classifier(self, tau: float, training: TrainConfig) -> PolicyModule:
        """Fit a classifier of discrepancy > tau to held-out demonstrations and what later rounds labelled.

        In the demonstrations that it was trained on the policy differs from nobody, so those are left out. It
        has meanwhile been trained on the collected steps, too, as in Zhang and Cho's algorithm 1: most of
        them count as safe now.
        """
        collected = [episode for episode in self._stage.training if episode.provenance.source == "correction"]
        episodes = [*self.held_out, *collected]
        labels = np.concatenate(
            [
                np.where(self.scale.discrepancy(action, episode.expert_action) > tau, UNSAFE, SAFE)
                for episode, action in zip(episodes, self.proposed(episodes), strict=True)
            ]
        )[:, None]
        spec = classifier_spec(self.policy.spec)
        frames = replace(
            self._learner.frames(episodes),
            action_spec=spec.action,
            action=labels,
            expert_action=labels,
            weight=np.concatenate([episode.expert_action_valid for episode in episodes]).astype(np.float32),
        )
        seed = short(self.seed("classifier"))
        built = PolicyModule.build(classifier_of(self.policy.config), spec, seed=seed)
        source = WindowSource(frames, built.window, features=built.features)
        built.fit_statistics(frames, source.steps)
        fit(built, source, config=replace(training, seed=seed))
        return built

    def critics(self, count: int, config: RiskConfig) -> Critics:
        """Fit the chance of success to `count` drives and all demonstrations.

        Raises:
            CapabilityError: The env never says whether a drive succeeded.
        """
        driven = self.drives(count)
        if all(episode.success is None for episode in driven):
            raise CapabilityError(
                "Risk is the chance of success, and this env does not say what success is.",
                got=self._stage.env.spec.env_id,
                hint="use another gate",
            )
        shown = [
            *(episode for episode in self._stage.training if episode.provenance.source != "correction"),
            *self._stage.held_out,
        ]
        parts = [
            *self._transitions(driven, [episode.action for episode in driven]),
            *self._transitions(shown, self.proposed(shown) if shown else []),
        ]
        data = RiskTransitions(
            pair=np.concatenate([part.pair for part in parts]),
            next_pair=np.concatenate([part.next_pair for part in parts]),
            success=np.concatenate([part.success for part in parts]),
            ends=np.concatenate([part.ends for part in parts]),
        )
        return fit_critics(data, config=config, seed=short(self.seed("critics")))

    def _transitions(self, episodes: Sequence[Episode], own: Sequence[np.ndarray]) -> list[RiskTransitions]:
        """Return one batch for each episode; where nobody told how it ended, its last step is left out."""
        out: list[RiskTransitions] = []
        for episode, would in zip(episodes, own, strict=True):
            seen, length = windows_of(self.policy, episode), len(episode)
            kept = length if episode.success is not None else length - 1
            last = np.arange(kept) == length - 1
            ahead = pairs(self.policy, self.scale, seen, would)
            out.append(
                RiskTransitions(
                    pair=pairs(self.policy, self.scale, seen, episode.action)[:kept],
                    next_pair=np.concatenate([ahead[1:], np.zeros_like(ahead[:1])])[:kept],
                    success=last & (episode.success is True),
                    ends=last,
                )
            )
        return out
