"""What the methods of `steadyhand correct` read from the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from steadyhand.cli.arguments import SEEN, EnvName, Overrides, SuccessText, listed, optional


@dataclass(frozen=True, kw_only=True)
class Shared:
    """Arguments of all methods."""

    env: EnvName
    """`car`, `forks`, `avoiding`, `pendulum`, `tabular`, `linear`, or a Gymnasium id such as Walker2d-v5."""
    out: Path = Path("runs/correct")
    """Folder of the run; the policy is written to its `policy` folder."""
    expert: str = "auto"
    """Who labels: `pure-pursuit` (car), `scripted` (forks, avoiding, pendulum), a file of weights, or the
    folder of a policy; auto takes the one that comes along with the env."""
    success: SuccessText = "auto"
    observation: Annotated[tuple[str, ...], listed("SENSE", default=SEEN)] = ()
    """Features that policies see; for the car any of state, scan, lidar, retina, ranges, camera."""
    recipe: Annotated[str, optional("NAME", default="none")] = ""
    """A published method, such as flow_unet or act, instead of encoder and head; see docs/recipes.md."""
    size: Literal["small", "paper"] = "small"
    """Of the recipe: for a laptop, or with the paper's constants."""
    encoder: str = "auto"
    """How observations are read; auto takes SmallConv for pictures, StateMLP otherwise."""
    head: str = "auto"
    """The policy class; auto takes Categorical for discrete actions, Regression otherwise."""
    steps: Annotated[int | None, optional("INT", default="3000, or the recipe's")] = None
    """Gradient steps of each fit."""
    batch_size: Annotated[int | None, optional("INT", default="64, or the recipe's")] = None
    """Windows in a batch."""
    starts: int = 64
    """Test starts of the final comparison."""
    videos: int = 1
    """Test starts to film."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "cpu"
    """Where policies are trained and drive; auto takes CUDA, else MPS, else the CPU."""
    threads: int = 1
    """Threads of torch; small networks are fastest with one."""
    no_clone: bool = False
    """Leave out the baseline: cloning as many labels from as many drives as the method plans."""
    seed: int = 0
    """Seed of everything random."""
    set: Overrides = ()
    """Change any field of run.json, as path=value; an example is above."""


@dataclass(frozen=True, kw_only=True)
class DaggerArguments(Shared):
    """Arguments of DAgger, which counts in rounds."""

    rounds: int = 5
    """Rounds; each ends with a new policy, and the best on validation starts is kept."""
    labels_per_round: int = 200
    """Labels asked in each round."""
    episodes_per_round: int = 4
    """Starts over which a round's labels are spread."""
    query_every: int = 1
    """While the policy drives, ask the expert at every so many steps: fewer labels from longer drives."""
    training: Literal["refit", "fine_tune"] = "refit"
    """Train each iterate from fresh weights, or from the last iterate's."""


@dataclass(frozen=True, kw_only=True)
class NoiseArguments(Shared):
    """Arguments of noise injection."""

    labels: int = 1000
    """Labels to collect."""
    episodes: int = 4
    """Starts over which they are spread."""
    sigma: float = 0.3
    """Standard deviation of the disturbance, in units of the action."""
    clean_fraction: float = 0.5
    """Share of episodes left undisturbed."""


@dataclass(frozen=True, kw_only=True)
class OfflineArguments(Shared):
    """Arguments of what is done with plain demonstrations."""

    labels: int = 1000
    """Labels in all; a multiple of the rounds."""
    rounds: int = 5
    """There are none here, but the labels come from rounds times episodes drives, as with other methods."""
    episodes: int = 4
    """See --rounds."""


@dataclass(frozen=True, kw_only=True)
class RoundsArguments(Shared):
    """Arguments of the methods that teach in rounds, on a budget of labels that is the same for all."""

    labels: int = 1000
    """Labels in all; a multiple of the rounds, which share them evenly."""
    rounds: int = 5
    """Rounds; each ends with a new policy, and the best on validation starts is kept."""
    episodes: int = 4
    """Drives in a round."""


@dataclass(frozen=True, kw_only=True)
class HumanArguments(RoundsArguments):
    """The same, for the methods with a simulated human; see docs/methods/simulated-human.md."""

    reaction_delay: float = 0.2
    """Of the simulated human [s]."""
    miss_rate: float = 0.0
    """Share of dangers that the simulated human does not notice."""


Chosen = DaggerArguments | NoiseArguments | OfflineArguments | RoundsArguments
"""What a method of `steadyhand correct` may read."""
