"""What diffusion and flow share: a chunk is drawn by walking from noise to data."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from steadyhand.core.errors import CapabilityError
from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Prefix, Target
from steadyhand.policies.heads.inpaint import inpaint
from steadyhand.policies.heads.inpainting import Inpainting
from steadyhand.policies.heads.schedule import DenoisingSampler, Guess, Level
from steadyhand.policies.nets.denoiser import Condition, Denoiser
from steadyhand.policies.nets.denoisers import DenoiserConfig
from steadyhand.policies.noise import Noise


class DenoisingHead(Head):
    """A head whose net is asked again and again on the way from noise to a chunk.

    Args:
        net: Config of the net.
        context: Size of the context.
        chunk: Size of the chunk.
        sampler: The walk.
        inpainting: How a prefix is honoured.
    """

    inpaints = True
    draws = True
    net: Denoiser

    def __init__(
        self,
        net: DenoiserConfig,
        context: ContextSpec,
        chunk: ChunkSpec,
        *,
        sampler: DenoisingSampler,
        inpainting: Inpainting,
    ) -> None:
        super().__init__()
        self.chunk = chunk
        self.net = net.build(context, chunk)
        self._sampler = sampler
        self._inpainting = inpainting

    @property
    def sampler(self) -> DenoisingSampler:
        """The walk from noise to data."""
        return self._sampler

    @abstractmethod
    def expected(
        self, x: Float[Tensor, "B H A"], predicted: Float[Tensor, "B H A"], level: Level
    ) -> Float[Tensor, "B H A"]:
        """Return the clean chunk that is expected at a level, given what the net predicts there."""

    @torch.no_grad()
    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Walk from noise to data; the mode starts from zero."""
        sampler = self.sampler
        condition = self.net.condition(context)
        embeddings = self.net.embed_times(sampler.times(device=context.tokens.device))

        def guesser(condition: Condition) -> Guess:
            def guess(x: Tensor, index: int) -> Tensor:
                predicted = self.net(x, embeddings[index : index + 1], condition)
                return self.expected(x, predicted, sampler.levels[index])

            return guess

        if prefix is not None:
            return inpaint(
                self._inpainting,
                prefix,
                noise,
                sampler=sampler,
                guesser=guesser,
                condition=condition,
            )
        rows = len(context.tokens)
        start = noise.normal(rows, self.chunk.horizon, self.chunk.action_dim)
        return sampler.walk(start, guesser(condition), noise, rows=rows)


def require_whole(target: Target, *, head: str) -> None:
    """Raise CapabilityError if a step is padded: such a density is known of whole chunks alone."""
    num_padded = int(target.is_pad.any(1).sum())
    if num_padded:
        raise CapabilityError(
            f"{head} knows the density of a whole chunk, not of some of its steps.",
            got=f"{num_padded} of {len(target.is_pad)} windows with padded steps",
            hint="leave them out: batch.rows((~batch.action_is_pad.any(1)).nonzero()[:, 0])",
        )
