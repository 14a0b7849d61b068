"""The contract of a remedy for compounding error: settings of a way to teach a policy, which also do it.

There are two bases: `offline.OfflineRemedy`, which learns from demonstrations alone, and
`contract.RoundsConfig`, which asks the expert while the policy drives. A class that derives from one of them
is a remedy; see `core.parts` for how it is named on disk and on the command line.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from steadyhand.core.parts import Part, located
from steadyhand.core.protocol import Controller
from steadyhand.correction.burden import Burden
from steadyhand.correction.learner import Learner, NetLearner
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Family
from steadyhand.policies.heads.config import HeadConfig

if TYPE_CHECKING:
    from steadyhand.correction.budget import Budget
    from steadyhand.correction.record import RoundRecord
    from steadyhand.correction.rounds import RoundsResult


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a remedy teaches with.

    Attributes:
        env: Env for collection and validation.
        expert: The expert that labels.
        learner: The learner, which fits policies.
        folder: Folder that keeps everything; what is finished in it is not repeated.
        seed: Seed of everything; the first starts are the same for all remedies.
        key: Tells the random numbers of this task from those of others with the same seed.
        initial: Demonstrations to start from.
        fits: How often the labels of an offline remedy are fitted, from other initial weights each time;
            rounds are fits of their own. Nobody chooses among them here.
        on_round: Called after each round of an interactive remedy that was not already complete.
    """

    env: BatchEnv
    expert: Controller
    learner: NetLearner
    folder: Path
    seed: int
    key: str
    initial: Sequence[Episode] = ()
    fits: int = 1
    on_round: "Callable[[RoundRecord], None] | None" = None


@dataclass(frozen=True, kw_only=True)
class TrainedPolicy:
    """A policy and what it cost.

    Attributes:
        name: Name for tables and plots.
        folder: Folder of the run; the policy is in its folder `policy`.
        labels: Expert labels that it cost, those of rounds after the returned one included.
        trained_labels: Expert labels that this policy was trained on, at most `labels`.
        learner: The learner that opens the policy; a remedy may have changed its head.
        updates: Gradient steps of this policy, without those of earlier iterates.
        wall_s: Time of collecting and training [s].
        burden: What collecting cost.
        fits: Folder of every fit: the iterates of rounds, or fits of the same labels, the returned one first.
        rounds: Rounds of an interactive remedy, otherwise None.
        note: A remark for the table.
    """

    name: str
    folder: Path
    labels: int
    trained_labels: int
    learner: NetLearner
    updates: int = 0
    wall_s: float = 0.0
    burden: Burden = field(default_factory=Burden)
    fits: tuple[Path, ...] = ()
    rounds: "RoundsResult | None" = None
    note: str = ""

    def __repr__(self) -> str:
        return f"<TrainedPolicy {self.name}: {self.labels} labels, {self.updates} updates, {self.folder}>"


def _ours(module: str, *names: str) -> dict[str, str]:
    return located(f"steadyhand.correction.{module}", *names)


class Remedy(Part, ABC):
    """Settings of one way to teach a policy; a class without a `name` is a base of others.

    Attributes:
        name: Name on the command line, and of the folder of its runs.
        title: Name in tables and in prose.
        summary: What it does, in one line that stands alone.
        page: Name of the page about it in docs/methods.
        example: Options of `steadyhand correct NAME car` with a `--set` of its own, for its help.
        seeds: Name of its random streams; another name gives other numbers.
        spends: Fields of a `Budget` that it reads, and that the command line offers for it.
        shortcuts: Options of the command line -> the setting that each of them changes.
    """

    kind: ClassVar[str] = "remedy"
    ours: ClassVar[Mapping[str, str]] = {
        **_ours("offline", "Cloning", "NoiseBC", "NoiseInjection"),
        **_ours("dart", "DartConfig"),
        **_ours("view_config", "SideCameras", "AlvinnViews"),
        **_ours("ccil_config", "CcilConfig", "CcilImplicit"),
        **_ours("dagger", "DaggerConfig", "DaggerBeta"),
        **_ours("gated_remedies", "HgDagger", "Iwr", "SiriusRemedy", "Eil", "SafeDagger", "EnsembleDagger"),
        **_ours("gated_remedies", "LazyDagger", "ThriftyDagger", "DiffDagger", "Crsail"),
    }
    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    page: ClassVar[str] = ""
    example: ClassVar[str] = ""
    seeds: ClassVar[str] = ""
    spends: ClassVar[tuple[str, ...]] = ("labels", "rounds", "episodes")
    shortcuts: ClassVar[Mapping[str, str]] = {}
    family: Family

    @property
    @abstractmethod
    def num_labels(self) -> int:
        """Labels that it asks for, at most."""

    @property
    @abstractmethod
    def num_episodes(self) -> int:
        """Number of drives that it plans."""

    @classmethod
    @abstractmethod
    def from_budget(cls, budget: "Budget") -> "Remedy":
        """Return its settings for a comparison in which every remedy may spend the same."""

    @property
    def key(self) -> str:
        """The folder of its runs, where a caller has none."""
        return self.name or type(self).__name__.lower()

    @property
    def in_tables(self) -> str:
        """The name in tables, where a caller has none."""
        return self.title or type(self).__name__

    @classmethod
    def why_not(cls, head: HeadConfig, *, is_discrete: bool) -> str | None:
        """Return why this remedy has no meaning for a policy class; None if it has one.

        Args:
            head: The policy class, which may say so itself.
            is_discrete: Whether its actions are discrete.
        """
        del is_discrete
        return head.no_meaning.get(cls.name)

    def adapted(self, learner: NetLearner) -> NetLearner:
        """Return the learner, or a changed one if this remedy changes the policy itself.

        Raises:
            SteadyhandError: The policy class cannot be changed like that.
        """
        return learner

    @abstractmethod
    def check(
        self, env: BatchEnv, expert: Controller, learner: Learner, *, initial: Sequence[Episode] = ()
    ) -> None:
        """Refuse what could only fail later, before anything is collected, trained or written.

        Args:
            env: Env for collection.
            expert: The expert that will label.
            learner: The learner that will fit policies.
            initial: Demonstrations to start from.

        Raises:
            SteadyhandError: Env, expert, policy class and remedy do not fit together.
        """

    @abstractmethod
    def teach(self, task: Task) -> TrainedPolicy:
        """Collect, train, and return the policy and what it cost; continues what an interrupted run left."""
