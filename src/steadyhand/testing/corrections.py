"""The laws of remedies: one short round of any remedy with any policy class.

    from steadyhand.recipes.remedies import remedy
    from steadyhand.testing import check_correction, small

    def test_my_head(tmp_path) -> None:
        check_correction(small(remedy("dagger")), MyHead(), folder=tmp_path)

Which pairs have no meaning, remedy and head say themselves; see `testing.refusals`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from steadyhand.core.errors import SteadyhandError
from steadyhand.core.protocol import Actor, Controller, Decision, Observation, Wrapper
from steadyhand.core.seeding import RowStreams
from steadyhand.correction.burden import Burden
from steadyhand.correction.ccil_config import CorrectiveLabels
from steadyhand.correction.gated import GatedConfig
from steadyhand.correction.learner import NetLearner
from steadyhand.correction.marks import Marks
from steadyhand.correction.remedy import Remedy, TrainedPolicy
from steadyhand.correction.weighting import EilMarks, InterventionWeighting, Sirius
from steadyhand.data.episode import Episode
from steadyhand.envs.base import BatchEnv
from steadyhand.policies.artifact import tensors_of
from steadyhand.policies.batch import WindowSource
from steadyhand.policies.encoders.state import StateMLP
from steadyhand.policies.heads.config import HeadConfig
from steadyhand.policies.heads.log_linear import LogLinear
from steadyhand.policies.heads.nearest import Nearest
from steadyhand.policies.heads.ridge import Ridge
from steadyhand.policies.heads.tabular import Tabular
from steadyhand.policies.kinds import EXPLICIT
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.learner import PolicyLearner, marked
from steadyhand.recipes.teach import Trainer
from steadyhand.rollout.session import Session, StepEvent
from steadyhand.testing.places import Place, place_of
from steadyhand.training.config import TrainConfig

TRAINING = TrainConfig(num_steps=3, batch_size=8, warmup_steps=0, learning_rate=1e-3)
_KEY = "round"
_TEST_STARTS, _TEST_STEPS = 2, 3


@dataclass(frozen=True, kw_only=True, eq=False)
class FitRecord:
    """What a fit was given.

    Attributes:
        episodes: The data.
        marks: What the steps are worth; None for their own weights.
    """

    episodes: Sequence[Episode]
    marks: Sequence[Marks] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Log:
    """What a learner was given.

    Attributes:
        fits: What was trained on, fit by fit.
        stored: Folder -> episodes.
    """

    fits: list[FitRecord] = field(default_factory=list[FitRecord])
    stored: dict[Path, list[Episode]] = field(default_factory=dict[Path, list[Episode]])


class WatchedLearner(PolicyLearner):
    """A learner that keeps what it was asked to learn from, in `fits`, and the episodes of each folder.

    Episodes stay in memory: the format on disk has tests of its own, and would take most of the time here.
    """

    def __init__(self, env: BatchEnv, *, policy: PolicyConfig, log: Log | None = None) -> None:
        super().__init__(env.spec, policy=policy, training=TRAINING)
        self._env = env
        self.log = Log() if log is None else log

    def with_policy(self, policy: PolicyConfig) -> "WatchedLearner":
        """Return a learner that differs in the policy alone, and writes into the same list."""
        return WatchedLearner(self._env, policy=policy, log=self.log)

    def write(self, episodes: Sequence[Episode], folder: Path) -> None:
        """Keep the episodes of a folder."""
        self.log.stored[folder] = list(episodes)

    def read(self, folder: Path) -> list[Episode] | None:
        """Return the episodes of a folder."""
        return self.log.stored.get(folder)

    def fit(
        self,
        episodes: Sequence[Episode],
        *,
        folder: Path,
        seed: int,
        warm_start: Path | None,
        marks: Sequence[Marks] | None = None,
    ) -> None:
        """Train, and remember on what."""
        self.log.fits.append(FitRecord(episodes=list(episodes), marks=marks))
        super().fit(episodes, folder=folder, seed=seed, warm_start=warm_start, marks=marks)


class WatchedExpert(Wrapper):
    """An expert whose answers are kept by what was seen: what every label is compared with.

    Args:
        expert: The expert.

    Attributes:
        answers: Bytes of an observation -> bytes of the actions that were answered to it.
        num_queries: Steps that it was asked about.
    """

    memory = ("answers", "num_queries")

    def __init__(self, expert: Controller) -> None:
        super().__init__(expert)
        self.answers: dict[bytes, set[bytes]] = {}
        self.num_queries = 0

    def act(
        self, observation: Observation, privileged: Observation, rows: np.ndarray, generator: RowStreams
    ) -> Decision:
        """Answer, and keep the answer."""
        decision = self._inner.act(observation, privileged, rows, generator)
        self.num_queries += len(rows)
        for place in range(len(rows)):
            kept = self.answers.setdefault(seen_at(observation, place), set())
            kept.add(decision.label[place].tobytes())
        return decision


def seen_at(observation: Mapping[str, np.ndarray], place: int) -> bytes:
    """Return an observation as a key."""
    return b"".join(np.ascontiguousarray(observation[name][place]).tobytes() for name in sorted(observation))


def check_correction(
    method: Remedy,
    head: HeadConfig,
    *,
    folder: Path,
    is_discrete: bool = False,
    place: Place | None = None,
    twice: bool = True,
) -> TrainedPolicy:
    """Check one short round of a remedy with a policy class, and return what came of it.

    The label budget is kept; what is trained on is what the expert answered, or marked as something else; the
    burden adds up; the policy drives; and everything happens again, bit for bit.

    Args:
        method: The remedy, small; see `small`.
        head: The policy class, at toy width.
        folder: An empty one.
        is_discrete: Whether actions are classes.
        place: Env and expert; a small one that fits if None.
        twice: Also check that a second run gives the same policy.

    Raises:
        AssertionError: A law is broken; the message says which.
        SteadyhandError: The remedy and the policy class do not fit.
    """
    place = place or place_of(method, head, is_discrete=is_discrete)
    expert = WatchedExpert(place.expert)
    learner = _learner(place, head)
    taught = _teach(place, expert, learner, method, folder / "first")
    episodes, trials = _recorded(learner, taught, folder / "first" / _KEY)
    _budget_is_kept(method, taught, episodes)
    _burden_adds_up(taught, episodes, trials=trials)
    assert learner.log.fits, "nothing was trained"
    for fit in learner.log.fits:
        _targets_are_intended(taught.learner, fit, expert, method)
    _drives(place, taught)
    if twice:
        again = _teach(place, WatchedExpert(place.expert), _learner(place, head), method, folder / "again")
        _is_the_same(taught, again)
    return taught


def check_refused(
    method: Remedy,
    head: HeadConfig,
    *,
    folder: Path,
    is_discrete: bool = False,
    place: Place | None = None,
) -> SteadyhandError:
    """Check that a remedy refuses a policy class before anything is collected, and says what to do instead.

    Args:
        method: The remedy, small; see `small`.
        head: The policy class.
        folder: An empty one.
        is_discrete: Whether actions are classes.
        place: Env and expert; a small one that fits if None.

    Raises:
        AssertionError: It does not, or too late, or without a hint.
    """
    place = place or place_of(method, head, is_discrete=is_discrete)
    expert, learner = WatchedExpert(place.expert), _learner(place, head)
    refusal: SteadyhandError | None = None
    try:
        _teach(place, expert, learner, method, folder)
    except SteadyhandError as error:
        refusal = error
    assert refusal is not None, "not refused: it ran"
    assert expert.num_queries == 0, f"refused too late: {expert.num_queries} labels were asked before"
    assert not learner.log.stored, "refused too late: episodes were stored before"
    for line in ("got:", "expected:", "do this:"):
        assert line in str(refusal), f"the refusal has no {line!r}: {refusal}"
    return refusal


def _learner(place: Place, head: HeadConfig) -> WatchedLearner:
    hidden = () if _reads_raw(head) else (8,)
    policy = PolicyConfig(
        encoder=StateMLP(hidden=hidden), head=head, n_obs_steps=2, horizon=2, n_action_steps=2
    )
    return WatchedLearner(place.env, policy=policy)


def _reads_raw(head: HeadConfig) -> bool:
    """Whether the encoder is to leave the features as they are: it is not trained, or a table needs them."""
    return isinstance(head, Ridge | LogLinear | Nearest | Tabular)


def _teach(
    place: Place, expert: Controller, learner: WatchedLearner, method: Remedy, folder: Path
) -> TrainedPolicy:
    trainer = Trainer(env=place.env, expert=expert, learner=learner, folder=folder, seed=7)
    return trainer.teach(method, key=_KEY)


def _recorded(learner: PolicyLearner, taught: TrainedPolicy, folder: Path) -> tuple[list[Episode], bool]:
    """Return all stored episodes, and whether the policy may have driven alone besides."""
    folders = [folder] if taught.rounds is None else list(taught.rounds.folders)
    found: list[Episode] = []
    for here in folders:
        stored = learner.read(here / "episodes")
        assert stored is not None, f"nothing is stored in {here.name}"
        found += stored
    return found, taught.rounds is not None


def _budget_is_kept(method: Remedy, taught: TrainedPolicy, episodes: Sequence[Episode]) -> None:
    real = [episode for episode in episodes if episode.branch is None]
    counted = sum(int(episode.expert_action_valid.sum()) for episode in real)
    assert taught.labels == counted, f"budget: {taught.labels} labels were paid, {counted} are stored"
    if isinstance(method, GatedConfig):
        assert method.labels_per_round <= counted <= method.num_labels, f"budget: {counted} labels"
        return
    assert counted == method.num_labels, f"budget: {counted} labels, not {method.num_labels}"


def _burden_adds_up(taught: TrainedPolicy, episodes: Sequence[Episode], *, trials: bool) -> None:
    """Count everything again, step by step; drives of the policy alone cost env steps and nothing else."""
    counted = dict.fromkeys(("labels", "human_steps", "switches", "interventions", "env_steps"), 0)
    for episode in episodes:
        if episode.branch is not None:
            continue
        was_expert = was_taken = None
        for step in range(len(episode)):
            is_expert = bool(episode.actor[step] != Actor.POLICY)
            is_taken = bool(episode.intervention[step])
            counted["labels"] += bool(episode.expert_action_valid[step])
            counted["human_steps"] += is_expert
            counted["switches"] += was_expert is not None and is_expert != was_expert
            counted["interventions"] += is_taken and not was_taken
            counted["env_steps"] += 1
            was_expert, was_taken = is_expert, is_taken
    burden = taught.burden
    for name, value in counted.items():
        got = getattr(burden, name)
        enough = got >= value if trials and name == "env_steps" else got == value
        assert enough, f"burden: {got} {name}, {value} counted"
    assert burden.labels <= burden.env_steps, "burden: more labels than steps"
    if taught.rounds is not None:
        parts = sum((record.burden for record in taught.rounds.rounds), start=Burden())
        assert parts == burden, "burden: the rounds do not add up"


def _targets_are_intended(learner: NetLearner, fit: FitRecord, expert: WatchedExpert, method: Remedy) -> None:
    """Check what the loss is given at each step that it may be trained on, through the windows themselves."""
    frames, kind = marked(learner.frames(fit.episodes), fit.episodes, fit.marks)
    source = WindowSource(frames, learner.policy_config.window, kind=kind)
    batch = source.batch(source.steps)
    lengths = [len(episode) for episode in fit.episodes]
    owner = np.repeat(np.arange(len(lengths)), lengths)
    first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    for row, place in enumerate(source.steps.tolist()):
        number = int(owner[place])
        episode, step = fit.episodes[number], place - int(first[number])
        target = batch.actions[row, 0].numpy()
        of_kind = EXPLICIT if batch.kind is None else int(batch.kind[row, 0])
        assert float(batch.weight[row, 0]) > 0, "targets: a step without weight is drawn"
        if episode.branch is not None:
            _branch_is_intended(fit.episodes, episode, target, method)
        elif episode.expert_action_valid[step]:
            assert of_kind == EXPLICIT, "targets: a label counts as a judgement"
            answers = expert.answers.get(seen_at(episode.observation, step), set())
            assert target.tobytes() in answers, "targets: the expert never answered this"
        else:
            _unlabelled_is_marked(episode, step, target, of_kind, method)


def _branch_is_intended(
    episodes: Sequence[Episode], branch: Episode, target: np.ndarray, method: Remedy
) -> None:
    """Check a synthetic step: CCIL repeats the expert's action of the next step, views bend it."""
    assert branch.branch is not None
    assert np.isfinite(target).all(), "targets: a synthetic label is not finite"
    parent, step = episodes[branch.branch.parent], branch.branch.step
    if isinstance(method, CorrectiveLabels):
        assert np.array_equal(target, parent.expert_action[step + 1]), "targets: not the expert's action"
        step += 1
    assert parent.expert_action_valid[step], "targets: a synthetic label comes from no label"


def _unlabelled_is_marked(episode: Episode, step: int, target: np.ndarray, kind: int, method: Remedy) -> None:
    """Check a step that nobody showed: judged, or the robot's own by the remedy's express choice."""
    assert isinstance(method, GatedConfig), "targets: a step without a label has weight"
    assert np.array_equal(target, episode.action[step]), "targets: neither a label nor what was done"
    if isinstance(method.weighting, EilMarks):
        assert kind != EXPLICIT, "targets: what nobody showed counts as shown"
    else:
        assert isinstance(method.weighting, InterventionWeighting | Sirius), (
            "targets: the robot imitates itself"
        )


def _drives(place: Place, taught: TrainedPolicy) -> None:
    """Let the returned policy drive."""
    spec, env = place.env.spec, place.env
    seen: list[StepEvent] = []
    controller = taught.learner.controller(taught.folder, num_rows=env.num_rows)
    starts = env.starts("test", _TEST_STARTS, seed=3)
    session = Session(env, controller, starts, seed=5, max_steps=_TEST_STEPS, listeners=[seen.append])
    while session.step() is not None:
        pass
    assert seen, "drives: no step was made"
    for event in seen:
        action = event.decision.action
        assert action.shape == (len(event.rows), *spec.action.shape), f"drives: {action.shape}"
        assert action.dtype == spec.action.dtype, f"drives: {action.dtype}"
        assert np.isfinite(action).all(), "drives: an action is not finite"
        assert (event.decision.actor == Actor.POLICY).all(), "drives: somebody else drove"
        if spec.action.num_classes is not None:
            assert spec.action.is_class(action).all(), "drives: no such class"


def _is_the_same(one: TrainedPolicy, two: TrainedPolicy) -> None:
    assert (one.labels, one.burden) == (two.labels, two.burden), "same seed, same bits: another burden"
    first, second = (tensors_of(taught.learner.policy(taught.folder)) for taught in (one, two))
    assert first.keys() == second.keys(), "same seed, same bits: other tensors"
    for name, value in first.items():
        assert torch.equal(value, second[name]), f"same seed, same bits: {name}"
