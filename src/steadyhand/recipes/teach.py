"""Teach a policy in an env by any remedy, on equal terms."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import assert_never

from steadyhand.core.codec import read_json, write_json
from steadyhand.core.errors import ConfigError
from steadyhand.core.lock import working_in
from steadyhand.core.names import file_name
from steadyhand.core.protocol import Controller
from steadyhand.core.question import answering
from steadyhand.core.seeding import derive
from steadyhand.correction.burden import Burden
from steadyhand.correction.ccil import (
    CcilConfig,
    LabelGeometry,
    corrective_labels,
    require_all_seen,
    require_meaning,
)
from steadyhand.correction.collect import collect
from steadyhand.correction.contract import RoundsConfig
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.dart import DartConfig
from steadyhand.correction.gated import GatedConfig
from steadyhand.correction.gates import (
    EnsembleGate,
    GateConfig,
    HumanGate,
    LazyGate,
    LossGate,
    NearestGate,
    SafeGate,
    ThriftyGate,
)
from steadyhand.correction.noise import NoisyExecution
from steadyhand.correction.rounds import RoundRecord, RoundsResult, teach_in_rounds
from steadyhand.correction.view_config import AlvinnViews, SideCameras
from steadyhand.correction.views import ViewCamera, collect_with_views
from steadyhand.correction.weighting import (
    EilMarks,
    InterventionWeighting,
    Sirius,
    SourceMixture,
    Unweighted,
    WeightingConfig,
)
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv, Family
from steadyhand.policies.scores import require_telling
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.recipes.runs import InputNoise, MethodConfig, NoiseConfig, OfflineConfig


@dataclass(frozen=True, kw_only=True)
class Taught:
    """A policy and what it cost.

    Attributes:
        name: Name for tables and plots.
        folder: Holds `policy`.
        labels: Expert labels that were asked for it, those of rounds after the returned one included.
        trained_labels: Those of them that this policy was trained on.
        updates: Gradient updates of this policy; earlier iterates not counted.
        wall_s: Time of collecting and training [s].
        burden: What collecting cost.
        learner: Opens the policy: a remedy may have changed the head.
        fits: Folder of every fit: the iterates of rounds, or fits of the same labels, the returned one first.
        rounds: Rounds of an interactive remedy, otherwise None.
        geometry: Where CCIL's labels lie, otherwise None.
        note: A remark for the table.
    """

    name: str
    folder: Path
    labels: int
    trained_labels: int
    updates: int
    wall_s: float
    learner: PolicyLearner
    burden: Burden = field(default_factory=Burden)
    fits: tuple[Path, ...] = ()
    rounds: RoundsResult | None = None
    geometry: LabelGeometry | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class School:
    """What all methods share: env, expert, learner, where to write, and the seed.

    Attributes:
        env: Env for collection and validation.
        expert: Who labels.
        learner: Who learns.
        updates: Gradient updates of each fit.
        folder: Each method gets a folder of its own in it.
        seed: Of everything; the first starts are the same for all methods.
    """

    env: BatchEnv
    expert: Controller
    learner: PolicyLearner
    updates: int
    folder: Path
    seed: int

    def teach(
        self,
        method: MethodConfig,
        *,
        key: str = "",
        name: str = "",
        initial: tuple[Episode, ...] = (),
        fits: int = 1,
        on_round: Callable[[RoundRecord], None] | None = None,
    ) -> Taught:
        """Teach one policy; what is already in its folder is not done again.

        Args:
            method: The remedy.
            key: Name of its folder; made from the method if empty.
            name: Name for tables; likewise.
            initial: Demonstrations to start from; only for interactive remedies.
            fits: How often the labels of an offline remedy are fitted, from other initial weights each time;
                rounds are fits of their own. Nobody chooses among them here.
            on_round: Called after each round of an interactive remedy.

        Raises:
            SteadyhandError: Env, policy class and remedy do not fit together; or its folder holds the answer
                to another question, such as other settings of the same remedy.
        """
        began = time.perf_counter()
        self.check(method, initial=initial)
        key = file_name(key or key_of(method), what="The name of a method's folder")
        name = name or title_of(method)
        with working_in(self.folder / key):
            if isinstance(method, RoundsConfig):
                taught = self._in_rounds(method, key, name, initial, on_round)
            else:
                taught = self._offline(method, key, name, fits=fits)
            return replace(taught, wall_s=self._wall(key, began))

    def clone(self, *, num_labels: int, num_episodes: int, family: Family = "train") -> Taught:
        """Behaviour cloning of expert demonstrations."""
        return self.teach(OfflineConfig(num_labels=num_labels, num_episodes=num_episodes, family=family))

    def noise(self, config: NoiseConfig) -> Taught:
        """Behaviour cloning of demonstrations whose executed actions were disturbed, with clean labels."""
        return self.teach(config)

    def dagger(
        self,
        config: DaggerConfig,
        *,
        initial: tuple[Episode, ...] = (),
        on_round: Callable[[RoundRecord], None] | None = None,
    ) -> Taught:
        """DAgger; see `correction.dagger`."""
        return self.teach(config, initial=initial, on_round=on_round)

    def disturbed(self, config: NoiseConfig) -> NoisyExecution:
        """Return the expert with its execution disturbed; raises CapabilityError for discrete actions."""
        return NoisyExecution(
            self.expert,
            noise=config.noise,
            action=self.env.spec.action,
            clean_fraction=config.clean_fraction,
        )

    def check(self, method: MethodConfig, *, initial: Sequence[Episode] = ()) -> None:
        """Refuse what does not fit before anything is collected; the rest shows when collecting begins.

        Raises:
            SteadyhandError: Env, policy class and remedy do not fit together.
        """
        if isinstance(method, RoundsConfig):
            method.check(self.env, self.learner, initial=initial)
        match method:
            case NoiseConfig():
                self.disturbed(method)
            case OfflineConfig(remedy=AlvinnViews() | SideCameras() as views):
                ViewCamera(self.env, self.expert, views)
            case GatedConfig(weighting=EilMarks()):
                self.learner.judging()
            case OfflineConfig(remedy=CcilConfig() as ccil):
                require_meaning(self.learner.policy_spec, ccil)
                require_all_seen(self.learner.policy_spec, ccil)
            case OfflineConfig(remedy=InputNoise(sigma=sigma)):
                if self.learner.policy_config.input_noise:
                    raise ConfigError(
                        "The policy has input noise of its own, so cloning would be NoiseBC already.",
                        got=f"PolicyConfig.input_noise = {self.learner.policy_config.input_noise}",
                        expected="0",
                        hint="set the remedy's sigma (on the command line --set method.remedy.sigma=0.1)",
                    )
                self.learner.with_input_noise(sigma)
            case GatedConfig(gate=LossGate()):
                require_telling(self.learner.policy_config.head)
            case _:
                return

    def _in_rounds(
        self,
        config: RoundsConfig,
        key: str,
        name: str,
        initial: tuple[Episode, ...],
        on_round: Callable[[RoundRecord], None] | None,
    ) -> Taught:
        learner = self.learner
        if isinstance(config, GatedConfig) and isinstance(config.weighting, EilMarks):
            learner = learner.judging()
        result = teach_in_rounds(
            self.env,
            self.expert,
            learner,
            config=config,
            folder=self.folder / key,
            seed=self.seed,
            initial=initial,
            on_round=None if on_round is None else lambda record, _: on_round(record),
        )
        return Taught(
            name=name,
            folder=result.best_folder,
            labels=result.queries,
            trained_labels=result.trained_labels,
            updates=self.updates,
            wall_s=0.0,
            learner=learner,
            burden=result.burden,
            fits=result.folders,
            rounds=result,
            note=f"round {result.best} of {config.rounds}, taught on {result.trained_labels} of "
            f"{result.queries} labels, chosen on validation starts",
        )

    def _offline(self, method: OfflineConfig | NoiseConfig, key: str, name: str, *, fits: int) -> Taught:
        here = self.folder / key
        question = {
            "method": method,
            "env": self.env,
            "expert": self.expert,
            "learner": self.learner,
            "seed": self.seed,
            "key": key,
        }
        with answering(here, "teach", question, answers="episodes"):
            episodes = self.learner.read(here / "episodes")
            if episodes is None:
                episodes = self._collect(method, key)
                self.learner.write(episodes, here / "episodes")
        learner, labels, geometry = self.learner, list[Episode](), None
        remedy = method.remedy if isinstance(method, OfflineConfig) else None
        if isinstance(remedy, InputNoise):
            learner = learner.with_input_noise(remedy.sigma)
        if isinstance(remedy, CcilConfig):
            spec, seed = learner.policy_spec, derive(self.seed, "ccil", key)
            labels, geometry = corrective_labels(episodes, spec, remedy, seed=seed)
        fitted = [here, *(here / f"fit-{number}" for number in range(1, fits))]
        for number, folder in enumerate(fitted):
            seed = derive(self.seed, "fit", key, *([number] if number else []))
            learner.fit([*episodes, *labels], folder=folder, seed=seed, warm_start=None)
        asked = sum(episode.num_labels for episode in episodes if episode.branch is None)
        return Taught(
            name=name,
            folder=here,
            labels=asked,
            trained_labels=asked,
            updates=self.updates,
            wall_s=0.0,
            learner=learner,
            burden=Burden.of(episodes),
            fits=tuple(fitted),
            geometry=geometry,
        )

    def _collect(self, method: OfflineConfig | NoiseConfig, key: str) -> list[Episode]:
        """Return demonstrations, disturbed or with displaced views."""
        spares = method.num_episodes + method.num_labels
        starts = self.env.starts(method.family, spares, seed=derive(self.seed, "starts", 1) % 2**31)
        views = method.remedy if isinstance(method, OfflineConfig) else None
        seed = derive(self.seed, "collect", key)
        max_steps = -(-method.num_labels // method.num_episodes)
        if isinstance(views, AlvinnViews | SideCameras):
            return collect_with_views(
                self.env,
                self.expert,
                starts,
                config=views,
                source="demonstration",
                seed=seed,
                num_labels=method.num_labels,
                num_rows=method.num_episodes,
                max_steps=max_steps,
            )
        return collect(
            self.env,
            self.disturbed(method) if isinstance(method, NoiseConfig) else self.expert,
            starts,
            source="demonstration",
            seed=seed,
            num_labels=method.num_labels,
            num_rows=method.num_episodes,
            max_steps=max_steps,
        )

    def _wall(self, key: str, began: float) -> float:
        """Return the time that a method took, kept from the first time that it came to its end [s]."""
        path = self.folder / key / "wall.json"
        if not path.is_file():
            write_json(path, {"wall_s": time.perf_counter() - began})
        return float(read_json(path)["wall_s"])


def key_of(method: MethodConfig) -> str:
    """Return the name of a method's folder; two settings of one method need names of their own."""
    match method:
        case OfflineConfig():
            return "cloning" if method.remedy is None else type(method.remedy).__name__.lower()
        case NoiseConfig():
            return "noise"
        case DaggerConfig():
            return "dagger"
        case DartConfig():
            return "dart"
        case GatedConfig():
            return title_of(method).lower().replace(" ", "-")
        case _:
            assert_never(method)


def title_of(method: MethodConfig) -> str:
    """Return a method's name for tables, where a caller has none."""
    match method:
        case OfflineConfig():
            return "cloning" if method.remedy is None else type(method.remedy).__name__.removesuffix("Config")
        case NoiseConfig():
            return "noise injection"
        case DaggerConfig():
            return "DAgger"
        case DartConfig():
            return "DART"
        case GatedConfig(gate=HumanGate()):
            return _BY_WEIGHTING.get(type(method.weighting), type(method.weighting).__name__)
        case GatedConfig():
            return _BY_GATE.get(type(method.gate), type(method.gate).__name__)
        case _:
            assert_never(method)


_BY_WEIGHTING: dict[type[WeightingConfig], str] = {
    Unweighted: "HG-DAgger",
    InterventionWeighting: "IWR",
    Sirius: "Sirius",
    SourceMixture: "source mixture",
    EilMarks: "EIL",
}
"""Names of what a human gate becomes by what its steps are worth."""
_BY_GATE: dict[type[GateConfig], str] = {
    SafeGate: "SafeDAgger",
    EnsembleGate: "EnsembleDAgger",
    LazyGate: "LazyDAgger",
    ThriftyGate: "ThriftyDAgger",
    LossGate: "Diff-DAgger",
    NearestGate: "CRSAIL",
}
