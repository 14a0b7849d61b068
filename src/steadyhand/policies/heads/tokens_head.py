"""The head behind `Tokens`."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from steadyhand.policies.contract import (
    ChunkSpec,
    Context,
    ContextSpec,
    Data,
    Fit,
    Head,
    Loss,
    Prefix,
    Target,
)
from steadyhand.policies.heads.checks import is_aligned
from steadyhand.policies.heads.drawing import draw_class, gather_chunks
from steadyhand.policies.heads.tokens import Tokens
from steadyhand.policies.nets.kmeans import kmeans, nearest_centre
from steadyhand.policies.nets.mlp import mlp
from steadyhand.policies.noise import Noise

_SURE = 1e-6
"""1 - p is kept above this where a power or a logarithm of it is taken."""


class TokensHead(Head):
    """Head that `Tokens` builds.

    Mode: the likeliest centre and its offset. Sample: a centre by its probability.

    G groups of T steps each: G = 1, T = H if joint, else G = H, T = 1. The output layer has no bias, as in
    the published net.
    """

    draws = True
    centres: Tensor
    is_prepared: Tensor

    def __init__(self, config: Tokens, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self._config = config
        self._steps = chunk.horizon if config.joint else 1
        self._is_aligned = not config.joint and is_aligned(context, chunk)
        self._groups = 1 if config.joint or self._is_aligned else chunk.horizon
        size = self._steps * chunk.action_dim
        width = context.width if self._is_aligned else context.num_tokens * context.width
        hidden = (width, *config.hidden)
        self.trunk = mlp(hidden, activation=config.activation, activate_last=True)
        self.out = nn.Linear(hidden[-1], self._groups * config.num_centres * (1 + size), bias=False)
        self.register_buffer("centres", torch.randn(config.num_centres, size))
        self.register_buffer("is_prepared", torch.zeros((), dtype=torch.bool))

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the focal loss plus `offset_scale` times the squared error of the true centre's offset.

        (B, 1) if joint, else (B, H). The error is the mean over the numbers of a step (of the valid steps, if
        joint). Metrics: both parts, and the share of centres that are right.
        """
        del noise
        logits, offset = self.output(context)
        points, counts = self._grouped(target)
        owner = nearest_centre(points.flatten(0, 1), self.centres, counts=counts.flatten(0, 1))
        owner = owner.view(logits.shape[:2])
        focal = focal_loss(
            logits.log_softmax(-1).gather(-1, owner[..., None])[..., 0], gamma=self._config.gamma
        )
        own_offset = _of_owner(offset, owner)
        error = (own_offset - (points - self.centres[owner])).square().masked_fill(~counts, 0.0)
        error = error.sum(-1) / counts.sum(-1).clamp(min=1)
        right = (logits.argmax(-1) == owner).float()
        metrics = {"focal": focal, "offset": error, "accuracy": right}
        return Loss(
            value=focal + self._config.offset_scale * error,
            metrics={name: value.detach().mean(1) for name, value in metrics.items()},
        )

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Draw one centre for the chunk (or for each step) and add its offset."""
        del prefix
        logits, offset = self.output(context)
        if self._config.calibrated:
            logits = true_shares(logits.softmax(-1), gamma=self._config.gamma).log()
        owner = draw_class(logits, noise)
        answer = self.centres[owner] + _of_owner(offset, owner)
        return answer.view(len(owner), self.chunk.horizon, self.chunk.action_dim)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Go on in the old units: nothing bounds an offset from a centre."""
        del low, high
        return False

    def prepare(self, data: Data, fit: Fit, noise: Noise) -> None:
        """Find the centres; a policy that is trained further keeps those that its classes mean."""
        del fit
        if bool(self.is_prepared):
            return
        chunks, valid = gather_chunks(data)
        iterations = self._config.num_iterations
        if self._config.joint:
            counts = valid[..., None].expand_as(chunks).flatten(1)
            points = chunks.flatten(1)
            centres = kmeans(
                points, self._config.num_centres, noise, counts=counts, num_iterations=iterations
            )
        else:
            centres = kmeans(chunks[valid], self._config.num_centres, noise, num_iterations=iterations)
        self.centres.copy_(centres)
        self.is_prepared.fill_(True)  # noqa: FBT003

    def output(self, context: Context) -> tuple[Float[Tensor, "B G K"], Float[Tensor, "B G K TA"]]:
        """Return logits of the centres and the offset of each."""
        inputs = context.tokens if self._is_aligned else context.flat()[:, None]
        output = self.out(self.trunk(inputs))
        output = output.unflatten(-1, (self._groups, -1)).flatten(1, 2)
        modes = self._config.num_centres
        return output[..., :modes], output[..., modes:].unflatten(-1, (modes, -1))

    def _grouped(self, target: Target) -> tuple[Float[Tensor, "B G TA"], Bool[Tensor, "B G TA"]]:
        """Return the actions of each group and which of them count: inside the episode, with a weight.

        A step of its own always counts: its own weight is that of its loss.
        """
        points = target.actions.unflatten(1, (-1, self._steps)).flatten(2)
        if not self._config.joint:
            return points, torch.ones_like(points, dtype=torch.bool)
        counts = (~target.is_absent)[..., None].expand_as(target.actions)
        return points, counts.flatten(1)[:, None]


def _of_owner(offset: Float[Tensor, "B G K TA"], owner: Int64[Tensor, "B G"]) -> Float[Tensor, "B G TA"]:
    return offset.take_along_dim(owner[..., None, None], 2)[:, :, 0]


def focal_loss(log_p: Float[Tensor, "*B"], *, gamma: float) -> Float[Tensor, "*B"]:
    """Return -(1 - p)^gamma log p of the true class's probability (Lin et al., 2017)."""
    if gamma == 0.0:
        return -log_p
    return -(-torch.expm1(log_p)).clamp(min=_SURE).pow(gamma) * log_p


def true_shares(p: Float[Tensor, "*B K"], *, gamma: float) -> Float[Tensor, "*B K"]:
    """Return the class shares q whose focal loss is least at the probabilities p.

    At the minimum of sum_k q_k l(p_k) under sum_k p_k = 1, every q_k l'(p_k) is the same, so
    q_k ~ 1 / g(p_k) with g(p) = -l'(p) = (1 - p)^gamma / p - gamma (1 - p)^(gamma - 1) log p
    (Charoenphakdee et al., 2021).
    """
    p = p.clamp(min=1e-12)
    rest = (1.0 - p).clamp(min=_SURE)
    share = p / (rest.pow(gamma) - gamma * p * rest.pow(gamma - 1.0) * p.log())
    return share / share.sum(-1, keepdim=True)
