"""The run of `steadyhand train`, apart from the others, since it needs no env and no remedy."""

from dataclasses import dataclass, field
from pathlib import Path

from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Settings
from steadyhand.policies.spec import PolicyConfig
from steadyhand.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TrainRun(Settings):
    """Train a policy on a data set.

    Attributes:
        data: Folder of the data set, or a .npz file.
        policy: The policy.
        training: The training loop.
        validation_fraction: Share of episodes held out.
        control_dt: Time between steps [s]; only for a .npz file, which does not know it.
        rename: Name of a feature in the files -> its name here.
        episodes: Episodes to read, as a text such as "0-9,!4"; empty reads all.
        classes: Lowest and highest number of a discrete action, as the env counts them; None takes what the
            data say, and numbers where they say nothing.
        start: Folder of a policy, or of the run around it, whose weights and statistics training starts from;
            None starts from fresh ones.
        seed: Seed of the split and of the initial parameters.
    """

    data: Path
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    validation_fraction: float = 0.1
    control_dt: float = 0.05
    rename: dict[str, str] = field(default_factory=dict[str, str])
    episodes: str = ""
    classes: tuple[int, int] | None = None
    start: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.validation_fraction < 1.0:
            raise ConfigError(
                "validation_fraction is a share of the episodes.",
                got=self.validation_fraction,
                expected="[0, 1)",
            )
