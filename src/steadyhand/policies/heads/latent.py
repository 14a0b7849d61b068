"""A conditional variational autoencoder over chunks, with MLPs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from steadyhand.core.errors import ConfigError
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
        latent_dim: Z, the size of z; twice the action's dimensions if None.
        encoder: Hidden layers of q.
        decoder: Hidden layers of f.
        std: Standard deviation of the chunk given z, in normalised units. With kl_weight = 1 it sets what z
            is worth: an error of 1 costs 1 / (2 std^2) nats.
        kl_weight: Weight of the KL; 1 is the evidence bound.
        low_noise: Answer with f(z, context) when it drives, without the spread around it.
        num_draws: Draws of z behind one figure of `log_prob`.
        activation: After each hidden layer.
    """

    latent_dim: int | None = None
    encoder: tuple[int, ...] = (300, 400)
    decoder: tuple[int, ...] = (300, 400)
    std: float = 0.1
    kl_weight: float = 1.0
    low_noise: bool = True
    num_draws: int = 64
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        for name in ("latent_dim", "num_draws"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ConfigError(f"{name} must be positive.", got=value, expected=">= 1")
        if not (self.std > 0.0 and self.kl_weight >= 0.0):
            raise ConfigError(
                "Latent needs std > 0 and kl_weight >= 0.", got=f"std={self.std}, kl_weight={self.kl_weight}"
            )

    def build(self, context: "ContextSpec", chunk: "ChunkSpec") -> "LatentHead":
        """Return the head for these sizes."""
        from steadyhand.policies.heads.latent_head import LatentHead

        return LatentHead(self, context, chunk)
