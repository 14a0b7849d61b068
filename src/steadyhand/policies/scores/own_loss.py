"""The policy's training loss on its own answer."""

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from torch import Tensor

from steadyhand.core.errors import CapabilityError, ConfigError
from steadyhand.core.seeding import RowStreams
from steadyhand.policies.contract import Target
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.denoising import DenoisingHead
from steadyhand.policies.heads.judging_head import JudgingHead
from steadyhand.policies.noise import Noise, NoNoise
from steadyhand.policies.policy import PolicyModule
from steadyhand.policies.scores.base import Score, Seen, tensors


def require_telling(head: HeadConfig) -> None:
    """Raise CapabilityError if a head's loss of its own answer says nothing of the state."""
    if (reason := head.why_silent()) is not None:
        raise CapabilityError(
            f"{type(head).__name__}'s loss of its own answer says nothing: {reason}.",
            got=head,
            expected="a head whose loss of its own answer differs from state to state",
            hint='use Mixture, Bins, Gaussian(std="state"), Diffusion or Flow (on the command line '
            '"--head Mixture"), or another score',
        )


class OwnLoss(Score):
    """The head's training loss of an answer that the policy itself draws (Diff-DAgger: Lee and Kuo, 2024).

    L(o) = E loss(a; o), a ~ pi(. | o). Of a diffusion the loss asks whether the net still removes the noise
    that was put on its own answer. Among several right answers each one has a low loss: unlike an ensemble's
    variance it does not take a choice for ignorance. Where the loss is a likelihood, this is the policy's
    entropy, or -log p of its mode, which does grow with the number of right answers (by log 2 for two),
    though not with how far apart they are.

    The answer is drawn as the policy drives: a sample if its class drives with samples, else the mode; the
    whole chunk, afresh at each step. Of a diffusion or flow it is one answer under `num_draws` noises, which
    stand at evenly spaced times, shifted together by a random amount: of the same mean as independent times,
    and steadier. Of all others it is the mean of `num_draws` answers.

    Args:
        policy: The policy.
        num_draws: Noises, or answers.

    Raises:
        CapabilityError: The head's loss of its own answer is the same in every state; see
            `HeadConfig.why_silent`.
    """

    def __init__(self, policy: PolicyModule, *, num_draws: int = 16) -> None:
        if num_draws < 1:
            raise ConfigError("A mean needs a draw.", got=f"num_draws={num_draws}")
        require_telling(policy.config.head)
        self._policy, self._num_draws = policy.eval(), num_draws

    @torch.no_grad()
    def __call__(
        self, seen: Seen, action: Shaped[np.ndarray, "B A"], streams: RowStreams
    ) -> Float64[np.ndarray, " B"]:
        """Return the mean loss; the proposal, which may be the middle of a chunk, is not looked at."""
        del action
        policy, head, count = self._policy, self._policy.head, self._num_draws
        observation, is_pad = tensors(policy, seen)
        context = policy.encode(observation, is_pad, None)
        is_denoised = isinstance(head.head if isinstance(head, JudgingHead) else head, DenoisingHead)
        answers = 1 if is_denoised else count
        many = context.rows(count)
        silent = NoNoise(device=policy.device)
        draw = _Repeated(streams.fork("answer"), answers, device=policy.device) if head.draws else silent
        chunk = head.sample(context.rows(answers), draw).repeat_interleave(count // answers, 0)
        target = Target(
            actions=chunk,
            is_pad=torch.zeros(chunk.shape[:2], dtype=torch.bool, device=chunk.device),
            weight=torch.ones(chunk.shape[:2], device=chunk.device),
        )
        noise = _Repeated(streams.fork("loss"), count, device=policy.device, spread=is_denoised)
        value = head.loss(many, target, noise).value.double().mean(1)
        return value.unflatten(0, (len(seen), count)).mean(1).cpu().numpy()


class _Repeated(Noise):
    """`count` draws in a run for each of B streams; with `spread` single numbers fill a run evenly."""

    def __init__(
        self, streams: RowStreams, count: int, *, device: torch.device, spread: bool = False
    ) -> None:
        self._streams, self._count, self._device, self._spread = streams, count, device, spread

    def normal(self, *shape: int) -> Float[Tensor, "..."]:
        drawn = self._streams.normal(self._count, *shape[1:])
        return torch.as_tensor(drawn, dtype=torch.float32, device=self._device).flatten(0, 1)

    def uniform(self, *shape: int) -> Float[Tensor, "..."]:
        if self._spread and len(shape) == 1:
            drawn = (np.arange(self._count) + self._streams.uniform(1)) / self._count
        else:
            drawn = self._streams.uniform(self._count, *shape[1:])
        value = torch.as_tensor(drawn, dtype=torch.float32, device=self._device).flatten(0, 1)
        return value.clamp_(max=1.0 - 2.0**-24)
