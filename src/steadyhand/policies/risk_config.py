"""Settings of the critics behind the score of risk; see `policies.scores.risk`."""

from dataclasses import dataclass

from steadyhand.core.settings import Count, Positive, Settings, Share, Widths


@dataclass(frozen=True, kw_only=True)
class RiskConfig(Settings):
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

    discount: Share = 0.9999
    num_steps: Count = 1000
    batch_size: Count = 50
    positive_share: Share = 0.1
    learning_rate: Positive = 1e-3
    polyak: Share = 0.995
    target_every: Count = 2
    hidden: Widths = (128, 128)
