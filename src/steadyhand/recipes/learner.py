"""Policies as DAgger's learner: the place where correction meets training."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from steadyhand.core.description import described
from steadyhand.core.digests import contents_digest
from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.core.question import answering, claim
from steadyhand.core.seeding import short
from steadyhand.core.specs import EnvSpec
from steadyhand.correction.marks import Marks, check_marks
from steadyhand.data.digests import frames_digest
from steadyhand.data.episode import Episode
from steadyhand.data.frames import Frames
from steadyhand.data.store import EpisodeStore
from steadyhand.policies.artifact import load_policy, save_policy
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.devices import chosen_device
from steadyhand.policies.encoders.config import picture_size
from steadyhand.policies.heads.judging import Judging
from steadyhand.policies.kinds import EXPLICIT
from steadyhand.policies.noise import GeneratorNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.spec import PolicyConfig, PolicySpec, require_readable, resolved
from steadyhand.recipes.in_brief import in_brief
from steadyhand.rollout.executors.receding import RecedingHorizon
from steadyhand.training.checkpoint import FREE_TO_CHANGE
from steadyhand.training.config import TrainConfig
from steadyhand.training.loop import FitResult, fit
from steadyhand.training.metrics import MetricsListener, Progress

EVALUATION_BATCH = 1024


def fitted(
    frames: Frames,
    policy: PolicyConfig,
    training: TrainConfig,
    *,
    weights_seed: int,
    steps: Int64[np.ndarray, " M"] | None = None,
    folder: Path | None = None,
) -> tuple[PolicyModule, FitResult]:
    """Build a policy for frames, fit its statistics and train it.

    Args:
        frames: The data.
        policy: The policy.
        training: The loop; its seed counts.
        weights_seed: Seed of the initial parameters.
        steps: Steps to train on; all if None.
        folder: Where checkpoints are kept, and an interrupted run continues from; None keeps nothing.
    """
    built = PolicyModule.build(policy, PolicySpec.of_frames(frames), seed=weights_seed)
    device = chosen_device(training.device)
    source = WindowSource(frames, built.window, steps=steps, features=built.features, device=device)
    built.fit_statistics(frames, source.steps)
    built.to(device).trained_on = source.digest()
    if folder is None:
        return built, fit(built, source, config=training)
    question = {"policy": policy, "seed": weights_seed, "data": source.digest()}
    with answering(folder, "fitted", question, answers="state/step-*"):
        return built, fit(built, source, config=training, folder=folder, resume=True)


def marked(
    frames: Frames, episodes: Sequence[Episode], marks: Sequence[Marks] | None
) -> tuple[Frames, Int64[np.ndarray, " N"] | None]:
    """Return frames with the weights of `marks`, and the kind of each step if any of them names one."""
    if marks is None:
        return frames, None
    check_marks(episodes, marks)
    weight = np.concatenate([one.weight for one in marks]).astype(np.float32)
    kind = None
    if any(one.kind is not None for one in marks):
        kind = np.concatenate(
            [np.full(len(one.weight), EXPLICIT) if one.kind is None else one.kind for one in marks]
        )
    return replace(frames, weight=weight), kind


class PolicyLearner:
    """Fits policies of one configuration to growing sets of episodes; see `correction.contract.Learner`.

    Args:
        spec: What the env offers; the policy sees the features that its configuration names, or all that
            its encoder can read.
        policy: Configuration of the policy.
        training: Configuration of the training loop; its seed is replaced by the one that `fit` is given.
        on_fit: Given the name of a fit, returns what is called with its progress.
        on_metrics: Called at each line of metrics of a fit; see `training.loop.fit`.

    Attributes:
        in_brief: What its policies see, leave out and are made of, in one line.
    """

    def __init__(
        self,
        spec: EnvSpec,
        *,
        policy: PolicyConfig,
        training: TrainConfig,
        on_fit: Callable[[str], Progress] | None = None,
        on_metrics: MetricsListener | None = None,
    ) -> None:
        self._device = chosen_device(training.device)
        require_readable(policy)
        policy = resolved(policy, spec.observation)
        assert policy.encoder is not None, "`resolved` fills it in"
        policy.encoder.require_trainable()
        self._observation = {name: spec.observation[name] for name in policy.observation}
        self._env_spec = spec
        self._policy_spec = PolicySpec(
            observation=self._observation, action=spec.action, control_dt=spec.control_dt
        )
        # What does not fit fails here, before any label is asked for.
        built = PolicyModule.build(policy, self._policy_spec)
        self.in_brief = in_brief(built.to(self._device), spec.observation)
        self._closed_form = built.head.closed_form
        self._reads_numbers = any(f.kind == "continuous" for f in built.spec.observation.values())
        self._policy = policy
        self._training = training
        self._on_fit = on_fit
        self._on_metrics = on_metrics

    def question(self) -> dict[str, object]:
        """Return what its fits depend on beside data and seed, as far as it changes numbers."""
        training = described(self._training)
        return {
            "policy": self._policy,
            "training": {name: value for name, value in training.items() if name not in FREE_TO_CHANGE},
            "sees": self._policy_spec,
        }

    @property
    def updates(self) -> int:
        """Gradient updates of each fit."""
        return self._training.num_steps

    @property
    def policy_spec(self) -> PolicySpec:
        """What its policies are made for."""
        return self._policy_spec

    @property
    def policy_config(self) -> PolicyConfig:
        """What its policies are made of."""
        return self._policy

    def with_policy(self, policy: PolicyConfig) -> "PolicyLearner":
        """Return a learner that differs in the policy alone."""
        return PolicyLearner(
            self._env_spec,
            policy=policy,
            training=self._training,
            on_fit=self._on_fit,
            on_metrics=self._on_metrics,
        )

    def with_input_noise(self, sigma: float) -> "PolicyLearner":
        """Return a learner whose policies see disturbed inputs while they are trained (NoiseBC).

        Raises:
            CapabilityError: It would change nothing: the head is solved on clean inputs, or there is no input
                that a number could be added to.
        """
        if self._closed_form:
            raise CapabilityError(
                "A head in closed form is solved once, on clean inputs: noise on them would do nothing.",
                got=type(self._policy.head).__name__,
                expected="a head that is trained by gradients",
                hint="for Ridge, input noise of deviation s on N labels is Ridge(alpha=s * s * N)",
            )
        if not self._reads_numbers:
            raise CapabilityError(
                "Noise can only be added to inputs that are numbers.",
                got=", ".join(f"{name} ({spec.kind})" for name, spec in self._observation.items()),
                expected="a continuous observation feature",
                hint="let the policy see vectors, where the env has them (on the command line --observation "
                "state), use another remedy, or an image encoder's own augmentation",
            )
        return self.with_policy(replace(self._policy, input_noise=sigma))

    def judging(self) -> "PolicyLearner":
        """Return a learner whose head also learns from what was and what was not objected to (EIL).

        Raises:
            ConfigError: The head has no score for an action that it did not choose.
        """
        head = self._policy.head
        if head.judgement == "own":
            return self
        if head.judgement == "none":
            raise ConfigError(
                "EIL needs a head that can score any action.",
                got=type(head).__name__,
                expected="a head whose loss gradients can lower or raise for any action",
                hint="Primitives and Energy are made for it; the others are wrapped in Judging",
            )
        return self.with_policy(replace(self._policy, head=Judging(head=head)))

    def frames(self, episodes: Sequence[Episode]) -> Frames:
        """Lay the episodes end to end, with the features that the policy sees."""
        return Frames.from_episodes(
            episodes, observation_spec=self._observation, action_spec=self._env_spec.action
        ).with_pictures(picture_size(self._policy.encoder))

    def fit(
        self,
        episodes: Sequence[Episode],
        *,
        folder: Path,
        seed: int,
        warm_start: Path | None,
        marks: Sequence[Marks] | None = None,
    ) -> None:
        """Train, or continue training, and leave the policy in `folder`; nothing to do if it is there.

        Raises:
            ConfigError: `folder` holds a policy, or half of one, of other settings, other data, another seed
                or a version that computes other numbers; or somebody else is working there.
        """
        frames, kind = marked(self.frames(episodes), episodes, marks)
        done = folder / "policy"
        question = {
            **self.question(),
            "data": frames_digest(frames, kind=kind),
            "seed": seed,
            "warm_start": None if warm_start is None else contents_digest((warm_start / "policy").iterdir()),
        }
        if done.is_dir():
            claim(folder, "fit", question, answered=True)
            return
        with answering(folder, "fit", question, answers="training/state/step-*"):
            self._fit(frames, kind, folder=folder, seed=seed, warm_start=warm_start)

    def _fit(
        self,
        frames: Frames,
        kind: Int64[np.ndarray, " N"] | None,
        *,
        folder: Path,
        seed: int,
        warm_start: Path | None,
    ) -> None:
        if warm_start is None:
            policy = PolicyModule.build(self._policy, self._policy_spec, seed=seed)
        else:
            policy = load_policy(warm_start / "policy")
        source = WindowSource(frames, policy.window, kind=kind, device=self._device)
        if warm_start is None:
            policy.fit_statistics(frames, source.steps)
        policy.to(self._device).trained_on = source.digest()
        fit(
            policy,
            source,
            config=replace(self._training, seed=short(seed)),
            folder=folder / "training",
            resume=True,
            on_progress=None if self._on_fit is None else self._on_fit(f"{folder.parent.name}/{folder.name}"),
            on_metrics=self._on_metrics,
        )
        save_policy(policy, folder / "policy")

    def controller(self, folder: Path, *, num_rows: int) -> Controller:
        """Return the policy in `folder` as a controller that answers as its class does."""
        return RecedingHorizon(self.policy(folder), num_rows=num_rows, num_threads=self._training.num_threads)

    def policy(self, folder: Path) -> PolicyModule:
        """Return the policy in `folder`, on the device of the learner."""
        return load_policy(folder / "policy", device=self._device)

    def answers(self, folder: Path, episodes: Sequence[Episode]) -> list[np.ndarray]:
        """Return the policy's mode at every recorded observation, (T, A) for each episode."""
        policy = self.policy(folder)
        frames = self.frames(episodes)
        everything = replace(frames, weight=np.ones(len(frames), dtype=np.float32))
        source = WindowSource(everything, policy.window, features=policy.features, device=self._device)
        parts: list[np.ndarray] = []
        for first in range(0, len(frames), EVALUATION_BATCH):
            batch = source.batch(source.steps[first : first + EVALUATION_BATCH])
            chunk = policy.predict_chunk(batch.observation, batch.obs_is_pad)
            parts.append(chunk[:, 0].cpu().numpy())
        return np.split(np.concatenate(parts), frames.episode_ends[:-1])

    def loss(self, folder: Path, episodes: Sequence[Episode]) -> float:
        """Return the mean loss of the policy in `folder` over all labels of `episodes`."""
        policy = self.policy(folder)
        source = WindowSource(self.frames(episodes), policy.window, device=self._device)
        numerator = denominator = 0.0
        with torch.no_grad():
            for first in range(0, len(source.steps), EVALUATION_BATCH):
                batch = source.batch(source.steps[first : first + EVALUATION_BATCH])
                rows = policy.loss_rows(batch, GeneratorNoise.seeded(0, augments=False, device=self._device))
                numerator += float(rows.numerator.sum())
                denominator += float(rows.denominator.sum())
        return numerator / max(denominator, np.finfo(np.float64).tiny)

    def write(self, episodes: Sequence[Episode], folder: Path) -> None:
        """Store the episodes under a temporary name, then rename: all or nothing."""
        temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        spec = self._env_spec
        with EpisodeStore.create(
            temporary,
            observation=spec.observation,
            action=spec.action,
            control_dt=spec.control_dt,
            env_id=spec.env_id,
        ) as store:
            for episode in episodes:
                store.append(episode)
            store.compact()
        temporary.replace(folder)

    def read(self, folder: Path) -> list[Episode] | None:
        """Return the stored episodes, or None if they are not there."""
        if not folder.is_dir():
            return None
        with EpisodeStore.open(folder) as store:
            return store.episodes()
