"""The encoder / head contract: any observation meets any policy class.

An encoder turns an observation window into a `Context` of tokens; a head turns a context into a chunk of
actions. Neither knows the other's class. Dimensions: B batch, O observation steps, H horizon (predicted
steps), A action dimensions, S tokens, C width of a token, P coordinates of a token.

Why it looks like this: docs/decisions/0002-encoder-head-contract.md.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn

from steadyhand.core.errors import CapabilityError
from steadyhand.policies.noise import Noise, NoNoise

Likelihood = Literal["exact", "lower_bound", "none"]
Observation = Mapping[str, Shaped[Tensor, "B O ..."]]
"""Feature name -> (B, O, *feature shape), normalised; images are uint8 (B, O, h, w, c)."""

VECTORS = "vectors"
"""Name in `Context.groups` of the tokens that are made from vector features alone."""


@dataclass(frozen=True, kw_only=True)
class ContextSpec:
    """Size of a context, known before any data: flat heads need num_tokens * width when built.

    Attributes:
        num_tokens: Number S of tokens.
        width: Width C of a token.
        num_steps: Set where the tokens are one for each observed step, oldest first, and each says only what
            was known at its step (recurrent and causal encoders): then S = O and heads may answer for every
            step. None otherwise.
        state_width: Width V of `Context.state`; 0 where the encoder reads no vectors.
    """

    num_tokens: int
    width: int
    num_steps: int | None = None
    state_width: int = 0


@dataclass(frozen=True, kw_only=True)
class ChunkSpec:
    """Size of a chunk of actions.

    Attributes:
        horizon: Number H of predicted steps.
        action_dim: Number A of dimensions of an action.
        start: First predicted step relative to the current one, 0 or negative.
        num_classes: Set for discrete actions, which are (B, H, 1) int64.
        is_bounded: Whether normalised actions lie in [-1, 1] (min_max): only then may a head clip or squash.
    """

    horizon: int
    action_dim: int
    start: int = 0
    num_classes: int | None = None
    is_bounded: bool = False


@dataclass(frozen=True, kw_only=True)
class Context:
    """The output of an encoder for a batch of observation windows.

    Attributes:
        tokens: (B, S, C) the tokens.
        is_pad: (B, S) True where a token is absent (text that is shorter, a camera that is missing). None,
            the usual case, means that every token is there.
        position: (S, P) coordinates of the tokens, or None if they have no order.
        groups: (name, first, last + 1) of tokens that belong together, such as one camera.
        state: (B, V) the normalised vector features of the current step, for a head with an encoder of its
            own (ACT's posterior). None where there are none.
        vector: (B, C) the only token, where there is just one and never absent (`single`); it spares `flat`
            a copy.
    """

    tokens: Float[Tensor, "B S C"]
    is_pad: Bool[Tensor, "B S"] | None = None
    position: Float[Tensor, "S P"] | None = None
    groups: tuple[tuple[str, int, int], ...] = ()
    state: Float[Tensor, "B V"] | None = None
    vector: Float[Tensor, "B C"] | None = None

    @classmethod
    def single(cls, vector: Float[Tensor, "B C"], *, state: Float[Tensor, "B V"] | None = None) -> "Context":
        """Return a context of one token that is always there."""
        return cls(tokens=vector[:, None], state=state, vector=vector)

    def padding(self) -> Bool[Tensor, "B S"]:
        """Return `is_pad` as a tensor, for attention masks."""
        if self.is_pad is not None:
            return self.is_pad
        return torch.zeros(self.tokens.shape[:2], dtype=torch.bool, device=self.tokens.device)

    def flat(self) -> Float[Tensor, "B SC"]:
        """Return the tokens side by side, absent ones zeroed."""
        if self.vector is not None:
            return self.vector
        if self.is_pad is None:
            return self.tokens.flatten(1)
        return self.tokens.masked_fill(self.is_pad[..., None], 0.0).flatten(1)

    def rows(self, repeats: int) -> "Context":
        """Return every row repeated `repeats` times in a run (best of n, IMLE)."""
        return Context(
            tokens=self.tokens.repeat_interleave(repeats, 0),
            is_pad=None if self.is_pad is None else self.is_pad.repeat_interleave(repeats, 0),
            position=self.position,
            groups=self.groups,
            state=None if self.state is None else self.state.repeat_interleave(repeats, 0),
            vector=None if self.vector is None else self.vector.repeat_interleave(repeats, 0),
        )


@dataclass(frozen=True, kw_only=True)
class Target:
    """A chunk to be learnt, after the policy has overwritten the padding.

    Attributes:
        actions: (B, H, A) normalised, or (B, H, 1) int64 for discrete; padded steps repeat a valid one.
        is_pad: (B, H) True where the chunk reaches outside its episode.
        weight: (B, H) training weight of each step; 0 where padded or unlabelled. The policy weights a loss
            for each step by it. A head whose density or posterior joins the steps must also treat those of
            weight 0 as absent (`is_absent`): nobody demonstrated their actions.
        kind: (B, H) EXPLICIT, GOOD or BAD; None means EXPLICIT everywhere.
    """

    actions: Shaped[Tensor, "B H A"]
    is_pad: Bool[Tensor, "B H"]
    weight: Float[Tensor, "B H"]
    kind: Int[Tensor, "B H"] | None = None

    @property
    def is_absent(self) -> Bool[Tensor, "B H"]:
        """(B, H) True where a step is padded, unlabelled or judged bad: nothing may be learnt from it."""
        return self.is_pad | (self.weight <= 0.0)


class LazyMetrics(Mapping[str, Tensor]):
    """Metrics of a loss that are computed when they are read: the training loop reads those of few steps.

    Args:
        compute: Returns name -> (B,), without gradient; called once at most.
    """

    def __init__(self, compute: Callable[[], Mapping[str, Float[Tensor, " B"]]]) -> None:
        self._compute = compute
        self._figures: Mapping[str, Tensor] | None = None

    def __getitem__(self, name: str) -> Float[Tensor, " B"]:
        return self._computed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._computed)

    def __len__(self) -> int:
        return len(self._computed)

    @property
    def _computed(self) -> Mapping[str, Tensor]:
        if self._figures is None:
            self._figures = self._compute()
        return self._figures


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Unreduced loss: (B, H) for each step, or (B, 1) for a window as a whole (joint likelihoods).

    Only the policy masks, weights and averages, so that no head can get that wrong. It cannot take a step of
    weight 0 out of a joint loss: that is left to the head (`Target.is_absent`).
    """

    value: Float[Tensor, "B K"]
    metrics: Mapping[str, Float[Tensor, " B"]] = field(default_factory=dict[str, Tensor])


@dataclass(frozen=True, kw_only=True)
class Prefix:
    """Actions already committed when a chunk is sampled (real-time chunking).

    Attributes:
        actions: (B, H, A) the earlier chunk, shifted to this one's steps, normalised.
        weight: (B, H) 1 where an action is frozen, 0 where it is free, between the two for a soft prefix.
    """

    actions: Float[Tensor, "B H A"]
    weight: Float[Tensor, "B H"]


Data = Callable[[], Iterator[tuple[Context, Target]]]
"""Starts a fresh pass over the training data as (context, target) batches."""


@runtime_checkable
class Fit(Protocol):
    """The training loop, lent to `Head.prepare`: policies may not import training."""

    def __call__(
        self,
        module: nn.Module,
        loss: Callable[[Context, Target, Noise], Float[Tensor, ""]],
        *,
        num_steps: int,
        learning_rate: float,
    ) -> None:
        """Minimise a scalar loss over the parameters of `module`, on batches of the training data."""
        ...


class Encoder(nn.Module, ABC):
    """Turns an observation window into a context."""

    spec: ContextSpec
    without_gradient: Mapping[str, str] = {}
    """Name of a parameter (* for any characters) -> why training leaves it without a gradient."""

    @abstractmethod
    def forward(self, observation: Observation, is_pad: Bool[Tensor, "B O"], noise: Noise | None) -> Context:
        """Encode.

        Args:
            observation: Feature name -> (B, O, ...), normalised.
            is_pad: (B, O) True where a step lies before the episode's start; it repeats the first step there.
            noise: Source for augmentation in training; None means none (centre crop, no dropout).
        """


class StepEncoder(Encoder, ABC):
    """An encoder whose token of a step depends on that step and on a state that is carried along.

    Law: from no state, `step` for each step of a window and `joined` give what `forward` gives, to rounding.
    """

    @abstractmethod
    def step(
        self, observation: Observation, carry: tuple[Float[Tensor, "L B N"], ...] | None
    ) -> tuple[Float[Tensor, "B 1 C"], Float[Tensor, "B V"] | None, tuple[Float[Tensor, "L B N"], ...]]:
        """Encode one step, (B, 1, ...) of every feature.

        Args:
            observation: Feature name -> (B, 1, ...), normalised.
            carry: State that the last call returned; None before the first step. A row of zeros begins anew.

        Returns:
            The token, the vectors (`Context.state`), and the state after the step.
        """

    @abstractmethod
    def joined(
        self,
        tokens: Float[Tensor, "B O C"],
        is_pad: Bool[Tensor, "B O"],
        state: Float[Tensor, "B V"] | None,
    ) -> Context:
        """Return the context of tokens that were made step by step."""


class Head(nn.Module, ABC):
    """A distribution over chunks of actions, given a context."""

    chunk: ChunkSpec
    likelihood: Likelihood = "none"
    inpaints: bool = False
    """Whether `sample` honours a prefix."""
    judges: bool = False
    """Whether `loss` reads `Target.kind`; for all other heads the policy gives judged steps weight 0."""
    draws: bool = False
    """Whether the policy class drives with samples (diffusion, mixtures) rather than with its mode."""
    closed_form: bool = False
    """Whether `prepare` is all of the training: no gradient reaches the encoder; it stays as initialised."""
    data_sized: tuple[str, ...] = ()
    """Names of buffers whose shape comes from the data (a bank of neighbours); loading resizes only these."""
    without_gradient: Mapping[str, str] = {}
    """Name of a parameter (* for any characters) -> why training leaves it without a gradient."""

    @abstractmethod
    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the unreduced training loss; padded steps repeat a valid one, and weigh nothing."""

    @abstractmethod
    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Shaped[Tensor, "B H A"]:
        """Draw one chunk for each row, normalised (int64 for discrete actions)."""

    def mode(self, context: Context) -> Shaped[Tensor, "B H A"]:
        """Return the deterministic answer: a sample without noise."""
        return self.sample(context, NoNoise(device=context.tokens.device))

    def log_prob(self, context: Context, target: Target) -> Float[Tensor, " B"]:
        """Return log p(chunk | context) of normalised actions, summed over the steps that are not padded.

        Raises:
            CapabilityError: `likelihood` is "none"; or steps are padded, and the head knows the density of
                whole chunks alone (flow, diffusion).
        """
        del context, target
        raise CapabilityError(
            f"{type(self).__name__} has no likelihood.",
            got=f"likelihood = {self.likelihood!r}",
            hint="use a head with an exact likelihood, such as Gaussian or Categorical",
        )

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Make room for actions from `low` to `high` before a trained head is trained further.

        Answers stay what they were, but for those that a bound held back.

        Args:
            low: (A,) least value of each dimension in the labels to come, normalised; at most -1.
            high: (A,) greatest value, at least 1.

        Returns:
            True if the head now answers in new units, in which `low` is -1 and `high` is 1, and the policy
            has to change its normaliser; False if it keeps the old ones.

        Raises:
            CapabilityError: It cannot: its answers are tied to the old range.
        """
        del low, high
        if self.chunk.is_bounded:
            raise CapabilityError(
                f"{type(self).__name__} does not say how it could answer actions outside its first range.",
                hint="train from the start on all data, or give the head a `widen` method",
            )
        return False

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Do what must come before gradient training: k-means, closed forms, a codebook.

        What is fitted here and must not move afterwards is a buffer, or a parameter that is frozen from the
        start; the lent `fit` trains frozen ones too. A resumed run loads the result instead of calling this.
        """
        del data, fit, noise
