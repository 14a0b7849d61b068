"""Policy = normaliser + encoder + head: raw observations in, raw actions out, no memory."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn

from steadyhand.core.errors import CapabilityError, SpecError
from steadyhand.core.specs import FeatureSpec
from steadyhand.data.digests import DataDigest
from steadyhand.data.frames import Frames, WindowSpec
from steadyhand.data.stats import Still
from steadyhand.policies.answers import built, checked_chunk, checked_context, checked_loss
from steadyhand.policies.batch import Batch, WindowSource
from steadyhand.policies.choices import Mode
from steadyhand.policies.contract import ChunkSpec, Context, Encoder, Head, Prefix, Target
from steadyhand.policies.encoders.config import as_encoded, picture_size
from steadyhand.policies.kinds import EXPLICIT
from steadyhand.policies.noise import Noise, NoNoise, scoped
from steadyhand.policies.normaliser import Affine, Role, mode_of
from steadyhand.policies.padding import copy_pad
from steadyhand.policies.reading import Reader, check_frames
from steadyhand.policies.representation import ActionRepresentation
from steadyhand.policies.shortcuts import call
from steadyhand.policies.spec import PolicyConfig, PolicySpec, resolved
from steadyhand.policies.trainable import BatchFit, LossRows, Trainable
from steadyhand.policies.widening import widen

_STATISTICS_ROWS = 1 << 22
"""Most action steps held at once for statistics; above it, windows are thinned evenly."""


class PolicyModule(Trainable[Batch]):
    """A policy; make one with `PolicyModule.build`.

    Attributes:
        config: What it is made of; `normalisation` names the mode of every feature.
        spec: What it is made for: only the features that it reads.
        encoder: Observation window -> context.
        head: Context -> chunk.
        affines: Feature name, or "action", -> how it is normalised; what is not normalised is not there.
        trained_on: Episodes, steps and digest of its training data; None where nobody said.
    """

    def __init__(self, config: PolicyConfig, spec: PolicySpec, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.config = config
        self.spec = spec
        self.trained_on: DataDigest | None = None
        self.encoder = encoder
        self.head = head
        self._first_class = spec.action.start  # heads count classes from 0, envs from anywhere
        self.representation = ActionRepresentation(
            config.action_representation,
            action=spec.action,
            state=spec.observation.get(config.state_feature),
            state_name=config.state_feature,
            state_dims=config.state_dims,
        )
        size = picture_size(config.encoder)
        self._reader = Reader(spec.observation, num_steps=config.n_obs_steps, size=size)
        self.normaliser = nn.ModuleDict()
        self.affines: dict[str, Affine] = {}
        modes = {} if config.encoder is None else config.encoder.modes(spec.observation)
        for name, feature in spec.observation.items():
            self._add_normaliser(name, feature, default=modes.get(name, "z_score"), role="input")
        self._add_normaliser("action", spec.action, default="min_max", role="output")
        self.config = replace(config, normalisation={name: one.mode for name, one in self.affines.items()})
        unknown = set(config.normalisation) - {*spec.observation, "action"}
        if unknown:
            raise SpecError(
                "normalisation names a feature that the policy does not read.",
                got=sorted(unknown)[0],
                available=[*spec.observation, "action"],
            )

    @classmethod
    def build(cls, config: PolicyConfig, spec: PolicySpec, *, seed: int = 0) -> "PolicyModule":
        """Return an untrained policy.

        Args:
            config: What it is made of.
            spec: What it is made for; features that it does not read are dropped.
            seed: Seed of the initial parameters.

        Raises:
            ConfigError: Features, encoder and head do not fit together.
            SpecError: Actions and head, or actions and state, do not fit together.
        """
        config = resolved(config, spec.observation)
        spec = spec.select(config.observation)
        mode = mode_of("action", spec.action, overrides=config.normalisation, default="min_max")
        chunk = ChunkSpec(
            horizon=config.horizon,
            action_dim=spec.action.size,
            start=config.chunk_start,
            num_classes=spec.action.num_classes,
            is_bounded=mode == "min_max",
        )
        if len(spec.action.shape) != 1:
            raise SpecError("An action must be a vector.", got=spec.action.shape, expected="(A,)")
        config.head.require_actions(spec.action)
        assert config.encoder is not None, "`resolved` fills it in"
        with scoped(seed):
            seen = as_encoded(spec.observation, picture_size(config.encoder))
            encoder = built(config.encoder.build(seen, n_obs_steps=config.n_obs_steps), Encoder)
            head = built(config.head.build(encoder.spec, chunk), Head)
        if head.closed_form:
            encoder.requires_grad_(requires_grad=False)
        return cls(config, spec, encoder, head)

    @property
    def window(self) -> WindowSpec:
        """Which steps make one training example."""
        return self.config.window

    @property
    def features(self) -> tuple[str, ...]:
        """Observation features that the policy reads."""
        return tuple(self.spec.observation)

    @property
    def device(self) -> torch.device:
        """Where the policy's tensors are."""
        for affine in self.affines.values():  # at hand, where a search through all modules takes 10 us
            return affine.scale.device
        first = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if first is None else first.device

    def fit_statistics(self, frames: Frames, steps: Int64[np.ndarray, " M"] | None = None) -> None:
        """Fit the normaliser to the windows around `steps`; give only training steps.

        Action statistics are those of the represented chunks (absolute, delta or relative), padded and
        unlabelled steps left out. They are exact up to 4 million action steps; above that, windows are
        thinned evenly.

        Args:
            frames: The data.
            steps: (M,) training steps; all if None.

        Raises:
            SpecError: The data's features differ from those of the policy.
            DataError: No step has an expert's label.
            ConfigError: The encoder could not learn.
        """
        if self.config.encoder is not None:
            self.config.encoder.require_trainable()
        check_frames(self.spec, frames)
        rule = self.config.spread_floor
        source = WindowSource(frames, self.window, steps=steps, features=self._state_features())
        for name in self.features:
            if (affine := self.affines.get(name)) is not None:
                values = frames.observation[name][source.steps]
                affine.fit(values, floor=rule, spec=self.spec.observation[name])
        if (affine := self.affines.get("action")) is not None:
            is_bounded = self.representation.kind == "absolute"
            values = self._represented(source)
            affine.fit(values, floor=rule, spec=self.spec.action, is_bounded=is_bounded)

    def adapt_statistics(self, frames: Frames, steps: Int64[np.ndarray, " M"] | None = None) -> bool:
        """Make room for the labels of further training; the training loop calls it before a run.

        Statistics stay those of the data that a policy began with, but a head that could not answer labels
        outside their range widens it, and every answer stays what it was: see `Head.widen`.

        Returns:
            Whether labels of `steps` (all if None) lay outside.

        Raises:
            CapabilityError: The head cannot answer such labels unless it is trained from the start.
            SpecError: The data's features differ from those of the policy.
        """
        check_frames(self.spec, frames)
        affine = self.affines.get("action")
        if affine is None or self.head.closed_form:
            return False
        source = WindowSource(frames, self.window, steps=steps, features=self._state_features())
        return widen(self.head, affine, self.spec.action, self._represented(source))

    def adapt(self, source: object) -> None:
        """Make room for the labels of the data, see `adapt_statistics`."""
        if isinstance(source, WindowSource):
            self.adapt_statistics(source.frames, source.steps)

    def hardly_moving(self) -> tuple[Still, ...]:
        """Return the dimensions that hardly moved in the data of `fit_statistics`, actions as represented."""
        specs = {**self.spec.observation, "action": self.spec.action}
        return tuple(still for name, one in self.affines.items() for still in one.still(specs[name]))

    def loss_rows(self, batch: Batch, noise: Noise) -> LossRows:
        """Return the loss of each window; see `LossRows`.

        A head's loss for each step is weighted step by step; a loss for the window as a whole by the mean
        weight of the steps inside the episode.
        """
        context, target = self.context_and_target(batch, noise)
        loss = checked_loss(self.head.loss(context, target, noise), self.head, target)
        weight = target.weight
        if loss.value.shape[1] != weight.shape[1]:
            inside = (~target.is_pad).sum(1, keepdim=True).clamp(min=1)
            weight = weight.sum(1, keepdim=True) / inside
        weighted = loss.value * weight
        if weight.shape[1] == 1:
            return LossRows(numerator=weighted[:, 0], denominator=weight[:, 0], metrics=loss.metrics)
        return LossRows(numerator=weighted.sum(1), denominator=weight.sum(1), metrics=loss.metrics)

    def prepare(self, batches: Callable[[], Iterator[Batch]], fit: BatchFit[Batch], noise: Noise) -> None:
        """Prepare the head (k-means, closed forms, a codebook) on encoded training data."""

        def data() -> Iterator[tuple[Context, Target]]:
            for batch in batches():
                with torch.no_grad():
                    pair = self.context_and_target(batch, None)
                yield pair

        def fit_head(
            module: nn.Module,
            loss: Callable[[Context, Target, Noise], Tensor],
            *,
            num_steps: int,
            learning_rate: float,
        ) -> None:
            def on_batch(batch: Batch, noise: Noise) -> Tensor:
                with torch.no_grad():
                    context, target = self.context_and_target(batch, None)
                return loss(context, target, noise)

            fit(module, on_batch, num_steps=num_steps, learning_rate=learning_rate)

        self.head.prepare(data, fit_head, noise)

    @torch.no_grad()
    def predict_chunk(
        self,
        window: Mapping[str, Shaped[Tensor, "B O ..."] | Shaped[np.ndarray, "B O ..."]],
        is_pad: Bool[Tensor, "B O"] | Bool[np.ndarray, "B O"] | None = None,
        *,
        noise: Noise | None = None,
        prefix: Prefix | None = None,
    ) -> Shaped[Tensor, "B F A"]:
        """Predict from the current step on.

        Args:
            window: Feature name -> (B, O, ...) raw, as tensors or arrays, the current step last.
            is_pad: (B, O) True where a step lies before the episode's start; None means nowhere.
            noise: What a sample is drawn with; None asks for the head's mode.
            prefix: Actions already committed, in raw units, for the steps that are returned.

        Returns:
            (B, horizon + chunk_start, A) actions in raw units, not clipped; int64 for discrete actions.

        Raises:
            SpecError: A feature is missing or has the wrong shape.
            CapabilityError: There are no statistics yet, or a prefix is given and the head cannot honour it.
        """
        observation, pad = self._reader.window(window, is_pad, device=self.device)
        state = self._state(observation, pad)
        return self.answer(self.encode(observation, pad, None), state=state, noise=noise, prefix=prefix)

    @torch.no_grad()
    def answer(
        self,
        context: Context,
        *,
        state: Float[Tensor, "B S"] | None = None,
        noise: Noise | None = None,
        prefix: Prefix | None = None,
    ) -> Shaped[Tensor, "B F A"]:
        """Predict from what the encoder says; see `predict_chunk`.

        Args:
            context: Context that the encoder returned.
            state: The raw state that delta and relative actions are relative to.
            noise: What a sample is drawn with; None asks for the head's mode.
            prefix: Actions already committed, raw.
        """
        if prefix is not None:
            prefix = self._inner_prefix(prefix, state)
        if noise is None and prefix is None:
            chunk = self.head.mode(context)
        else:
            chunk = self.head.sample(context, noise or NoNoise(device=self.device), prefix)
        chunk = checked_chunk(chunk, self.head, len(context.tokens))
        if (affine := self.affines.get("action")) is not None:
            chunk = self.representation.decode(affine.inverse(chunk), state)
        elif self._first_class:
            chunk = chunk + self._first_class
        return chunk[:, -self.config.chunk_start :]

    def log_prob(self, batch: Batch) -> Float[Tensor, " B"]:
        """Return log p(chunk | observation) in raw units, padded steps left out; exact where the head is.

        Raises:
            CapabilityError: The head has no likelihood, or none of windows with padded steps.
        """
        context, target = self.context_and_target(batch, None)
        value = self.head.log_prob(context, target)
        if (affine := self.affines.get("action")) is None:
            return value
        return value - (~target.is_pad).sum(1) * affine.log_volume()

    def encode(
        self,
        observation: Mapping[str, Shaped[Tensor, "B O ..."]],
        is_pad: Bool[Tensor, "B O"],
        noise: Noise | None,
    ) -> Context:
        """Return the context of raw observation windows; `noise` switches augmentation on."""
        inputs = self.normalised(observation, is_pad)
        if self.config.input_noise > 0.0 and noise is not None and noise.augments:
            for name, value in inputs.items():
                if self.affines.get(name) is not None:
                    inputs[name] = value + self.config.input_noise * noise.normal(*value.shape)
        return checked_context(self.encoder(inputs, is_pad, noise), self.encoder, len(is_pad))

    def normalised(
        self, observation: Mapping[str, Shaped[Tensor, "B O ..."]], is_pad: Bool[Tensor, "B O"]
    ) -> dict[str, Shaped[Tensor, "B O ..."]]:
        """Return the features of raw observation windows as the encoder reads them, padding overwritten."""
        normalised: dict[str, Tensor] = {}
        clip = self.config.input_clip
        for name in self.features:
            value, affine = self._reader.scaled(name, observation[name]), self.affines.get(name)
            if value.shape[1] > 1:
                value = copy_pad(value, is_pad)
            if affine is not None:
                value = call(affine, value)
                if clip is not None:
                    value = value.clamp(-clip, clip)
            normalised[name] = value
        return normalised

    def context_and_target(self, batch: Batch, noise: Noise | None) -> tuple[Context, Target]:
        """Return what the head's loss reads: padding overwritten, actions represented and normalised."""
        context = self.encode(batch.observation, batch.obs_is_pad, noise)
        actions = batch.actions
        weight = batch.weight
        if self.config.horizon > 1:
            actions = copy_pad(actions, batch.action_is_pad)
            weight = weight.masked_fill(batch.action_is_pad, 0.0)
        if batch.kind is not None and not self.head.judges:
            weight = weight * (batch.kind == EXPLICIT)
        if (affine := self.affines.get("action")) is not None:
            state = self._state(batch.observation, batch.obs_is_pad)
            actions = call(affine, self.representation.encode(actions, state))
        elif self._first_class:
            actions = actions - self._first_class
        return context, Target(actions=actions, is_pad=batch.action_is_pad, weight=weight, kind=batch.kind)

    def _add_normaliser(self, name: str, feature: FeatureSpec, *, default: Mode, role: Role) -> None:
        mode = mode_of(name, feature, overrides=self.config.normalisation, default=default)
        if mode is not None:
            affine = Affine(name, feature.shape, mode=mode, role=role)
            self.affines[name] = self.normaliser[_key(name)] = affine

    def _state_features(self) -> tuple[str, ...]:
        return () if self.representation.kind == "absolute" else (self.config.state_feature,)

    def _state(self, observation: Mapping[str, Tensor], is_pad: Tensor) -> Tensor | None:
        """Return the raw state at the chunk's first step, (B, S)."""
        if self.representation.kind == "absolute":
            return None
        value = copy_pad(observation[self.config.state_feature], is_pad)
        return value[:, self.config.n_obs_steps - 1 + self.config.chunk_start]

    def _represented(self, source: WindowSource) -> np.ndarray:
        """Return the labelled action steps of all windows, represented, (K, A)."""
        stride = math.ceil(len(source.steps) * self.config.horizon / _STATISTICS_ROWS)
        steps = source.steps[::stride]
        parts: list[np.ndarray] = []
        for chunk in np.array_split(steps, math.ceil(len(steps) / 4096)):
            batch = source.batch(chunk)
            state = self._state(batch.observation, batch.obs_is_pad)
            actions = copy_pad(batch.actions, batch.action_is_pad)
            counts = ~batch.action_is_pad & (batch.weight > 0)
            parts.append(self.representation.encode(actions, state)[counts].numpy())
        return np.concatenate(parts)

    def _inner_prefix(self, prefix: Prefix, state: Tensor | None) -> Prefix:
        affine = self.affines.get("action")
        if not self.head.inpaints or affine is None:
            raise CapabilityError(
                f"{type(self.head).__name__} cannot honour a prefix.",
                hint="use a head that inpaints (diffusion, flow), or predict without a prefix",
            )
        past = -self.config.chunk_start
        actions = torch.cat([prefix.actions[:, :1].expand(-1, past, -1), prefix.actions], dim=1)
        weight = nn.functional.pad(prefix.weight, (past, 0))
        return Prefix(actions=affine(self.representation.encode(actions, state)), weight=weight)


def _key(name: str) -> str:
    """Return a feature's name without dots, which torch allows in no module name."""
    return name.replace(".", "/")
