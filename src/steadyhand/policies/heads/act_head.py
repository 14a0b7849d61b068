"""The head behind `Act`."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from steadyhand.policies.contract import ChunkSpec, Context, ContextSpec, Head, Loss, Prefix, Target
from steadyhand.policies.heads.act import Act
from steadyhand.policies.heads.checks import fold_into, unfold_into
from steadyhand.policies.nets.detr import Detr, Posterior
from steadyhand.policies.nets.normal import kl_to_standard_normal
from steadyhand.policies.noise import Noise


class ActHead(Head):
    """Head that `Act` builds.

    Mode: the answer to z = 0. Sample: the same, or with `latent="sample"` that to z ~ N(0, I).

    The KL is added to the error of every step, so that the weighted mean of the loss is the mean error plus
    `kl_weight` times the mean KL.
    """

    without_gradient = dict.fromkeys(
        ("net.decoder.0.attention.[qk]*", "net.decoder.0.attention*.weight"),
        "the decoder starts from zeros, as published: its first self-attention is at first zero",
    )

    def __init__(self, config: Act, context: ContextSpec, chunk: ChunkSpec) -> None:
        super().__init__()
        self.chunk = chunk
        self.draws = config.latent == "sample"
        self._config = config
        self.posterior = Posterior(
            action_dim=chunk.action_dim,
            horizon=chunk.horizon,
            state_width=context.state_width,
            latent_dim=config.latent_dim,
            width=config.width,
            num_heads=config.num_heads,
            feedforward=config.feedforward,
            num_layers=config.num_posterior_layers,
            rate=config.dropout,
        )
        self.net = Detr(
            horizon=chunk.horizon,
            token_width=context.width,
            has_vectors=context.state_width > 0 or context.num_tokens == 1,
            latent_dim=config.latent_dim,
            width=config.width,
            num_heads=config.num_heads,
            feedforward=config.feedforward,
            num_encoder_layers=config.num_encoder_layers,
            num_decoder_layers=config.num_decoder_layers,
            rate=config.dropout,
        )
        self.out = nn.Linear(config.width, chunk.action_dim)

    def loss(self, context: Context, target: Target, noise: Noise) -> Loss:
        """Return the L1 error of each step plus the weighted KL of the chunk; metric: the KL in nats."""
        mean, log_var = self.posterior(context.state, target.actions, target.is_absent, noise)
        latent = mean + (0.5 * log_var).exp() * noise.normal(*mean.shape)
        kl = kl_to_standard_normal(mean, log_var)
        error = (self.decode(context, latent, noise) - target.actions).abs().mean(-1)
        return Loss(value=error + self._config.kl_weight * kl[:, None], metrics={"kl": kl.detach()})

    def sample(self, context: Context, noise: Noise, prefix: Prefix | None = None) -> Float[Tensor, "B H A"]:
        """Answer to z = 0, or to a drawn z."""
        del prefix
        shape = (len(context.tokens), self._config.latent_dim)
        latent = noise.normal(*shape) if self.draws else context.tokens.new_zeros(shape)
        return self.decode(context, latent)

    def widen(self, low: Float[Tensor, " A"], high: Float[Tensor, " A"]) -> bool:
        """Take the change of scale into the layers that write and read actions, exactly."""
        if self.chunk.is_bounded:
            fold_into(self.out, low, high)
            shift = unfold_into(self.posterior.action, low, high)
            with torch.no_grad():
                self.posterior.action.bias.add_(shift)
        return self.chunk.is_bounded

    def decode(
        self, context: Context, latent: Float[Tensor, "B Z"], noise: Noise | None = None
    ) -> Float[Tensor, "B H A"]:
        """Return the chunk that z stands for; `noise` switches dropout on."""
        return self.out(self.net(context, latent, noise))
