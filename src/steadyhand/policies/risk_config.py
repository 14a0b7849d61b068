"""Settings of the critics behind the score of risk; see `policies.scores.risk`."""

from dataclasses import dataclass

from steadyhand.core.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RiskConfig:
    """Fit of the critics; constants of ThriftyDAgger's code (Hoque et al., 2021) but for the sizes.

    Deviation: hidden layers of 128 rather than 256 units, and fewer gradient steps.

    Attributes:
        discount: gamma for each step.
        num_steps: Gradient steps of each fit.
        batch_size: Transitions in a batch.
        positive_share: Share of a batch, 0 to 1, that is drawn among the steps that ended in success.
        learning_rate: Learning rate of Adam.
        polyak: What a target critic keeps of itself at an update.
        target_every: Gradient steps between updates of the targets.
        hidden: Layers of each critic.
    """

    discount: float = 0.9999
    num_steps: int = 1000
    batch_size: int = 50
    positive_share: float = 0.1
    learning_rate: float = 1e-3
    polyak: float = 0.995
    target_every: int = 2
    hidden: tuple[int, ...] = (128, 128)

    def __post_init__(self) -> None:
        for name in ("discount", "positive_share", "polyak"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} lies between 0 and 1.", got=getattr(self, name))
        for name in ("num_steps", "batch_size", "target_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be positive.", got=getattr(self, name), expected=">= 1")
