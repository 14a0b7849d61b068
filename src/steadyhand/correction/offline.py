"""Offline remedies: demonstrations, disturbed while they are given or while they are learnt from."""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from steadyhand.core.errors import ConfigError
from steadyhand.core.protocol import Controller
from steadyhand.core.question import answering
from steadyhand.core.seeding import derive, short
from steadyhand.core.settings import Count, NotNegative, Range, Share
from steadyhand.correction.budget import Budget
from steadyhand.correction.burden import Burden
from steadyhand.correction.collect import collect
from steadyhand.correction.learner import Learner, NetLearner, net_learner
from steadyhand.correction.noise import ActionNoise, NoisyExecution, OrnsteinUhlenbeck
from steadyhand.correction.remedy import Remedy, Task, TrainedPolicy
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Family, Start
from steadyhand.policies.heads.config import HeadConfig

if TYPE_CHECKING:
    from steadyhand.correction.view_config import ViewConfig

NumEpisodes = Annotated[Count, Range(le="num_labels")]
"""Starts over which labels are spread: each gets one at least."""


@dataclass(frozen=True, kw_only=True)
class OfflineRemedy(Remedy, ABC):
    """Settings that all offline remedies share: demonstrations first, and one fit.

    Attributes:
        num_labels: Labels to collect.
        num_episodes: Starts over which they are spread evenly.
        family: Family of the starts.
    """

    num_labels: Count = 1000  # pyright: ignore[reportIncompatibleMethodOverride]
    num_episodes: NumEpisodes = 20  # pyright: ignore[reportIncompatibleMethodOverride]
    family: Family = "train"

    @classmethod
    def from_budget(cls, budget: Budget) -> "OfflineRemedy":
        """Return its settings with as many drives of the same length as an interactive remedy plans."""
        return cls(num_labels=budget.labels, num_episodes=budget.rounds * budget.episodes)

    def check(
        self, env: BatchEnv, expert: Controller, learner: Learner, *, initial: Sequence[Episode] = ()
    ) -> None:
        """Refuse demonstrations to start from, which would be left aside, and a policy that does not fit."""
        del env, expert
        if initial:
            raise ConfigError(
                f"{self.in_tables} collects its own demonstrations.",
                got=f"{len(initial)} episodes to start from",
                hint="leave them out, train on them (`steadyhand train`), or take an interactive remedy",
            )
        if type(self).adapted is not OfflineRemedy.adapted:
            self.adapted(net_learner(learner))

    def collect(self, task: Task) -> list[Episode]:
        """Return demonstrations: the expert drives, whatever the learner does."""
        return self.driven(task, task.expert)

    def synthetic(self, episodes: Sequence[Episode], task: Task, learner: NetLearner) -> Sequence[Episode]:
        """Return what is made of the demonstrations to be trained on behind them; it counts for no label."""
        del episodes, task, learner
        return ()

    def teach(self, task: Task) -> TrainedPolicy:
        """Collect, train once, and return the policy."""
        question = {
            "method": self,
            "env": task.env,
            "expert": task.expert,
            "learner": task.learner,
            "seed": task.seed,
            "key": task.key,
        }
        with answering(task.folder, "teach", question, answers="episodes"):
            episodes = task.learner.read(task.folder / "episodes")
            if episodes is None:
                episodes = self.collect(task)
                task.learner.write(episodes, task.folder / "episodes")
        learner = self.adapted(task.learner)
        data = [*episodes, *self.synthetic(episodes, task, learner)]
        fits = [task.folder, *(task.folder / f"fit-{number}" for number in range(1, task.fits))]
        for number, folder in enumerate(fits):
            seed = derive(task.seed, "fit", task.key, *([number] if number else []))
            learner.fit(data, folder=folder, seed=seed, warm_start=None)
        asked = sum(episode.num_labels for episode in episodes if episode.branch is None)
        return TrainedPolicy(
            name=self.in_tables,
            folder=task.folder,
            labels=asked,
            trained_labels=asked,
            learner=learner,
            burden=Burden.of(episodes),
            fits=tuple(fits),
        )

    def starts(self, task: Task) -> tuple[Start, ...]:
        """Return the starts, with spares for episodes that fail; the same for all remedies."""
        spares = self.num_episodes + self.num_labels
        return task.env.starts(self.family, spares, seed=short(derive(task.seed, "starts", 1)))

    @property
    def steps_per_episode(self) -> int:
        """Steps after which an episode is cut."""
        return -(-self.num_labels // self.num_episodes)

    def driven(self, task: Task, driver: Controller, *, views: "ViewConfig | None" = None) -> list[Episode]:
        """Return the labels of a driver, spread over the episodes; see `collect` for the views."""
        return collect(
            task.env,
            driver,
            self.starts(task),
            source="demonstration",
            seed=derive(task.seed, "collect", task.key),
            num_labels=self.num_labels,
            num_rows=self.num_episodes,
            max_steps=self.steps_per_episode,
            views=views,
        )


@dataclass(frozen=True, kw_only=True)
class Cloning(OfflineRemedy):
    """No remedy: behaviour cloning of the expert's own driving."""

    name: ClassVar[str] = "cloning"
    title: ClassVar[str] = "cloning"
    summary: ClassVar[str] = "no remedy: clone the expert's own driving"
    page: ClassVar[str] = "behaviour-cloning"
    example: ClassVar[str] = "--set training.learning_rate=3e-4"
    seeds: ClassVar[str] = "cloning"


@dataclass(frozen=True, kw_only=True)
class NoiseBC(OfflineRemedy):
    """NoiseBC: the policy's vector inputs are disturbed while it is trained (`PolicyConfig.input_noise`).

    Attributes:
        sigma: Standard deviation, in units of the normalised features.
    """

    name: ClassVar[str] = "noise-bc"
    title: ClassVar[str] = "NoiseBC"
    summary: ClassVar[str] = "disturb the inputs of the policy while it is trained"
    page: ClassVar[str] = "noise-bc"
    example: ClassVar[str] = "--observation state --set method.sigma=0.3"
    seeds: ClassVar[str] = "inputnoise"

    sigma: NotNegative = 0.1

    @classmethod
    def why_not(cls, head: HeadConfig, *, is_discrete: bool) -> str | None:
        """Return why a head that is solved once, on clean inputs, knows no noise on them."""
        solved = "it is solved once, on clean inputs" if head.judgement == "none" else None
        return super().why_not(head, is_discrete=is_discrete) or solved

    @classmethod
    def from_budget(cls, budget: Budget) -> OfflineRemedy:
        """Return cloning's budget and the disturbance."""
        return replace(super().from_budget(budget), sigma=budget.input_sigma)

    def adapted(self, learner: NetLearner) -> NetLearner:
        """Return a learner whose policies see disturbed inputs.

        Raises:
            CapabilityError: The head is solved on clean inputs, or no input is a number.
            ConfigError: The policy has such noise of its own.
        """
        if learner.policy_config.input_noise:
            raise ConfigError(
                "The policy has input noise of its own, so cloning would be NoiseBC already.",
                got=f"PolicyConfig.input_noise = {learner.policy_config.input_noise}",
                expected="0",
                hint="set the remedy's sigma (on the command line --set method.sigma=0.1)",
            )
        return learner.with_input_noise(self.sigma)


@dataclass(frozen=True, kw_only=True)
class NoiseInjection(OfflineRemedy):
    """Demonstrations whose executed actions are disturbed, with clean labels.

    Attributes:
        noise: Disturbance of the executed action.
        clean_fraction: Share of episodes that are left undisturbed.
    """

    name: ClassVar[str] = "noise"
    title: ClassVar[str] = "noise injection"
    summary: ClassVar[str] = "disturb what the expert executes, keep its intended action as the label"
    page: ClassVar[str] = "noise-injection"
    example: ClassVar[str] = "--set method.noise.theta=0.3"
    seeds: ClassVar[str] = "noise"
    spends: ClassVar[tuple[str, ...]] = ()
    shortcuts: ClassVar[Mapping[str, str]] = {
        "labels": "num_labels",
        "episodes": "num_episodes",
        "sigma": "noise.sigma",
        "clean-fraction": "clean_fraction",
    }

    num_episodes: NumEpisodes = 4
    noise: ActionNoise = field(default_factory=OrnsteinUhlenbeck)
    clean_fraction: Share = 0.5

    @classmethod
    def why_not(cls, head: HeadConfig, *, is_discrete: bool) -> str | None:
        """Return why there is no such thing as additive noise on classes."""
        if is_discrete:
            return (
                "a class plus a number is no class: additive noise needs a vector space of actions. DART, "
                "whose discrete form draws another class with probability epsilon, runs"
            )
        return super().why_not(head, is_discrete=is_discrete)

    @classmethod
    def from_budget(cls, budget: Budget) -> OfflineRemedy:
        """Return fewer and longer drives than cloning's: a disturbance takes time to displace a robot."""
        noise = OrnsteinUhlenbeck(sigma=budget.sigma)
        return cls(num_labels=budget.labels, num_episodes=budget.long_episodes, noise=noise)

    def disturbed(self, env: BatchEnv, expert: Controller) -> NoisyExecution:
        """Return the expert with its execution disturbed; raises CapabilityError for discrete actions."""
        return NoisyExecution(
            expert, noise=self.noise, action=env.spec.action, clean_fraction=self.clean_fraction
        )

    def check(
        self, env: BatchEnv, expert: Controller, learner: Learner, *, initial: Sequence[Episode] = ()
    ) -> None:
        """Refuse, too, actions that cannot be disturbed."""
        super().check(env, expert, learner, initial=initial)
        self.disturbed(env, expert)

    def collect(self, task: Task) -> list[Episode]:
        """Return disturbed demonstrations."""
        return self.driven(task, self.disturbed(task.env, task.expert))
