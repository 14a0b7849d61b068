"""What every remedy may spend in a comparison."""

from dataclasses import dataclass, field

from steadyhand.core.errors import ConfigError
from steadyhand.core.settings import Count, NotNegative, Settings, Whole
from steadyhand.correction.human import SimulatedHuman


@dataclass(frozen=True, kw_only=True)
class Budget(Settings):
    """What every remedy may spend.

    Attributes:
        labels: Expert labels in all, held-out ones included; a multiple of the rounds.
        rounds: Rounds of the interactive remedies, which share the labels evenly.
        episodes: Drives in each round; offline remedies get `rounds` times as many, of the same length.
        long_episodes: Drives of noise injection: a disturbance takes time to displace a robot.
        query_every: DAgger asks at every so many steps; see `DaggerConfig`.
        sigma: Disturbance of executed actions, in units of the action.
        input_sigma: Disturbance of inputs (NoiseBC), in units of the normalised features.
        human: The simulated human of the remedies that have one.
        validation_starts: Starts by which a round is chosen.
    """

    labels: Count = 1000
    rounds: Count = 5
    episodes: Count = 4
    long_episodes: Count = 4
    query_every: Count = 1
    sigma: NotNegative = 0.3
    input_sigma: NotNegative = 0.1
    human: SimulatedHuman = field(default_factory=SimulatedHuman)
    validation_starts: Whole = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels % self.rounds:
            below = self.labels - self.labels % self.rounds
            raise ConfigError(
                "The labels must be a multiple of the rounds, or the remedies would not get as many.",
                got=f"{self.labels} labels, {self.rounds} rounds",
                hint=f"ask for {below} or {below + self.rounds} labels" if below else "ask for fewer rounds",
            )
