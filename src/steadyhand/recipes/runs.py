"""Every kind of run as one frozen value: one value is one run.json, and running it again reproduces it."""

from dataclasses import dataclass, field
from pathlib import Path

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import OutsideLabels
from steadyhand.core.settings import Settings
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.noise import ActionNoise
from steadyhand.correction.remedy import Remedy
from steadyhand.envs.base import Family
from steadyhand.envs.car.config import CarConfig
from steadyhand.envs.config import EnvConfig
from steadyhand.experts.config import ExpertConfig, PurePursuitExpert
from steadyhand.policies.spec import PolicyConfig
from steadyhand.rollout.executors.config import ExecutorConfig, Receding
from steadyhand.training.config import Device, TrainConfig


@dataclass(frozen=True, kw_only=True)
class RecordRun(Settings):
    """Let an expert drive and store what it does.

    Attributes:
        env: The env.
        expert: The expert that drives and labels.
        num_episodes: Episodes to record.
        num_labels: If set, stop at exactly this many labels, spread evenly over the episodes.
        noise: If set, the executed action is disturbed while the label stays clean.
        clean_fraction: Share of episodes that are left undisturbed.
        family: Family of the starts.
        video: Store pictures as MP4 instead of PNG; an env that shows policies none is filmed from the first
            start instead, as films/start-1.mp4.
        outside_labels: What becomes of expert actions outside the env's bounds: "clipped" to them, or stored
            as "meant". What is executed is always clipped.
        seed: Seed of starts and noise.
    """

    env: EnvConfig = field(default_factory=CarConfig)
    expert: ExpertConfig = field(default_factory=PurePursuitExpert)
    num_episodes: int = 4
    num_labels: int | None = None
    noise: ActionNoise | None = None
    clean_fraction: float = 0.5
    family: Family = "train"
    video: bool = False
    outside_labels: OutsideLabels = "clipped"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_enough(self.num_episodes, self.num_labels)


def require_enough(num_episodes: int, num_labels: int | None) -> None:
    """Raise ConfigError if there would be no episode, or one without a label."""
    if num_episodes < 1:
        raise ConfigError("Record at least one episode.", got=num_episodes, expected=">= 1")
    if num_labels is not None and num_labels < num_episodes:
        raise ConfigError(
            "There are fewer labels than episodes.",
            got=f"{num_labels} labels, {num_episodes} episodes",
            hint="ask for more labels, or for fewer episodes",
        )


@dataclass(frozen=True, kw_only=True)
class CorrectRun(Settings):
    """Teach a policy from scratch with a remedy for compounding error, against cloning at the same labels.

    Attributes:
        env: The env.
        expert: The expert that labels.
        policy: The policy.
        training: Training of each iterate.
        method: What is done against compounding error.
        name: Name of the policy in the report; the method's own if empty.
        evaluation_starts: Test starts of the final comparison.
        clone: Also train a clone on as many labels, for the comparison.
        num_videos: Test starts to film.
        seed: Seed of everything: starts, noise, initial weights and the order of the data.
    """

    env: EnvConfig = field(default_factory=CarConfig)
    expert: ExpertConfig = field(default_factory=PurePursuitExpert)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    method: Remedy = field(default_factory=DaggerConfig)
    name: str = ""
    evaluation_starts: int = 64
    clone: bool = True
    num_videos: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.evaluation_starts < 1:
            raise ConfigError(
                "A comparison needs at least one start.", got=self.evaluation_starts, expected=">= 1"
            )


@dataclass(frozen=True, kw_only=True)
class EvalRun(Settings):
    """Run policies from the same starts and compare them.

    Attributes:
        policies: Folders of policies, the baseline first.
        env: The env.
        expert: Also run this expert, as the ceiling.
        num_starts: Number of starts.
        family: Family of the starts.
        num_videos: Starts to film.
        executor: What makes controllers of the policies.
        deterministic: Ask for the policies' modes (True) or samples (False); None does what each class does.
        mean_of: Also test each policy that draws by the mean of so many samples; 0 leaves the test out.
        device: Where the policies are put; see `TrainConfig.device`.
        num_threads: Threads of torch while they predict.
        seed: Seed of starts and samples.
    """

    policies: tuple[Path, ...] = ()
    env: EnvConfig = field(default_factory=CarConfig)
    expert: ExpertConfig | None = None
    num_starts: int = 64
    family: Family = "test"
    num_videos: int = 1
    executor: ExecutorConfig = field(default_factory=Receding)
    deterministic: bool | None = None
    mean_of: int = 0
    device: Device = "cpu"
    num_threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_threads < 1:
            raise ConfigError("num_threads must be positive.", got=self.num_threads, expected=">= 1")
        if self.mean_of < 0 or self.mean_of == 1:
            raise ConfigError(
                "mean_of is how many samples are averaged.",
                got=self.mean_of,
                expected="2 or more, or 0 for none",
            )
