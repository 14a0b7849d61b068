"""A conditional variational autoencoder over chunks, with MLPs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from steadyhand.core.settings import Count, NotNegative, Positive, Widths
from steadyhand.policies.choices import Activation
from steadyhand.policies.heads.config import HeadConfig

if TYPE_CHECKING:
    from steadyhand.policies.contract import ChunkSpec, ContextSpec
    from steadyhand.policies.heads.latent_head import LatentHead


@dataclass(frozen=True, kw_only=True)
class Latent(HeadConfig):
    """CVAE (Sohn et al., 2015; robomimic's VAE head: Mandlekar et al., 2021) with the prior N(0, I).

        z ~ N(0, I),  chunk | z, context ~ N(f(z, context), std^2),  trained through q(z | chunk, context).

    Attributes:
        latent_dim: Size Z of the latent z; twice the action's dimensions if None.
        encoder: Width of each hidden layer of q.
        decoder: Width of each hidden layer of f.
        std: Standard deviation of the chunk given z, in normalised units. With kl_weight = 1 it sets what z
            is worth: an error of 1 costs 1 / (2 std^2) nats.
        kl_weight: Weight of the KL; 1 is the evidence bound.
        low_noise: Answer with f(z, context) when it drives, without the spread around it.
        num_draws: Number of draws of z behind one figure of `log_prob`.
        activation: Activation after each hidden layer.
    """

    latent_dim: Count | None = None
    encoder: Widths = (300, 400)
    decoder: Widths = (300, 400)
    std: Positive = 0.1
    kl_weight: NotNegative = 1.0
    low_noise: bool = True
    num_draws: Count = 64
    activation: Activation = "relu"

    @classmethod
    def toys(cls) -> tuple["Latent", ...]:
        """Return small forms; see `Part`."""
        return (cls(encoder=(16,), decoder=(16,)),)

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "LatentHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.latent_head import LatentHead

        return LatentHead(self, context, chunk)
