"""The first loop on a small race car: demonstrate, clone, watch it drift, correct it.

Everything here was fixed before test results were seen: docs/decisions/0003-demo.md says how.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, assert_never

from steadyhand.analysis.results import Fact, Report
from steadyhand.core.codec import load
from steadyhand.core.lock import working_in
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.core.settings import Settings
from steadyhand.correction.dagger import DaggerConfig
from steadyhand.correction.gated_remedies import HgDagger
from steadyhand.correction.human import HumanGate
from steadyhand.correction.offline import Cloning, NoiseInjection
from steadyhand.correction.record import RoundRecord
from steadyhand.correction.remedy import Remedy, TrainedPolicy
from steadyhand.correction.view_config import SideCameras
from steadyhand.envs.base import BatchEnv
from steadyhand.envs.car.config import CarConfig
from steadyhand.experts.config import PurePursuitExpert
from steadyhand.policies.encoders.image import FlatImage
from steadyhand.policies.heads.regression import Regression
from steadyhand.policies.spec import PolicyConfig
from steadyhand.recipes.compare import Tick, compete, entrants_of, occupancy, publish, report_of, rounds_of
from steadyhand.recipes.folder import start_run
from steadyhand.recipes.fork import ForkScene, fork_scene
from steadyhand.recipes.learner import PolicyLearner
from steadyhand.recipes.teach import Trainer
from steadyhand.rollout.evaluate import evaluate
from steadyhand.training.config import TrainConfig

Method = Literal["cloning", "side cameras", "noise injection", "DAgger", "HG-DAgger"]

CAVEATS = (
    "DAgger is not uniquely good here: on some seeds noise injection ties it, and no policy has to drive.",
    "A conv net, a lidar or twenty times the labels mostly make plain cloning enough on this task; "
    "docs/results/first-loop.md has the table.",
    "Four remedies of nineteen are shown; docs/results/remedies.md drives all of them in three regimes, "
    "seven from the camera as well, and says which are not shown to help.",
    "One seed is one draw: five seeds stand in docs/results/first-loop.md.",
    "DAgger's rounds each train a fresh network: more updates in all than a clone gets, as the table says.",
)


@dataclass(frozen=True, kw_only=True)
class TourRun(Settings):
    """Everything about the demonstration.

    Attributes:
        env: The car.
        policy: The learner.
        training: Training of each network.
        dagger: DAgger; rounds times labels_per_round is the budget of every method. Cloning gets as many
            demonstrations, of the same length.
        noise_episodes: Drives over which noise injection spreads its labels: fewer and longer ones than the
            others', since a disturbance needs time to displace a car.
        clean_fraction: Share of undisturbed drives in noise injection.
        views: Displaced views of cloning's demonstrations.
        human: Who takes over in HG-DAgger, which has as many rounds, drives and labels as DAgger.
        num_starts: Test starts.
        num_films: Starts to film: the first from which cloning failed soon.
        fork: The second scene; None leaves it out.
        seed: Seed of everything; the default is the seed whose cloning is the median of seeds 0 to 4.
    """

    env: CarConfig = field(default_factory=CarConfig)
    policy: PolicyConfig = field(
        default_factory=lambda: PolicyConfig(encoder=FlatImage(hidden=(64,)), head=Regression())
    )
    training: TrainConfig = field(
        default_factory=lambda: TrainConfig(num_steps=3000, batch_size=64, learning_rate=1e-3)
    )
    dagger: DaggerConfig = field(
        default_factory=lambda: DaggerConfig(
            rounds=10, labels_per_round=100, episodes_per_round=4, query_every=10
        )
    )
    noise_episodes: int = 4
    clean_fraction: float = 0.5
    views: SideCameras = field(default_factory=SideCameras)
    human: HumanGate = field(default_factory=HumanGate)
    num_starts: int = 64
    num_films: int = 2
    fork: ForkScene | None = field(default_factory=ForkScene)
    seed: int = 3

    @property
    def num_labels(self) -> int:
        """Expert labels that each method may use."""
        return self.dagger.num_labels


@dataclass(frozen=True, kw_only=True)
class TourListener:
    """What a terminal is told while the tour runs; every part may be left out."""

    stage: Callable[[str], None] = lambda _: None
    round: Callable[[RoundRecord], None] | None = None
    rollout: Callable[[str], Tick] | None = None


def tour(run: TourRun, folder: Path, *, watch: TourListener | None = None) -> tuple[Report, Path]:
    """Run the loop and write the report; what is already in `folder` is not done again.

    Returns:
        The report, and the path of report.html.
    """
    watch = watch or TourListener()
    env = run.env.build(run.num_starts)
    expert = PurePursuitExpert().build(env)
    # A mismatch must not leave a folder.
    brief = PolicyLearner(env.spec, policy=run.policy, training=run.training).in_brief
    with working_in(folder):
        start_run(run, folder, resume=True)
        watch.stage(f"The policy {brief}")
        return _tour(run, env, expert, folder, watch=watch)


def _tour(
    run: TourRun, env: BatchEnv, expert: Controller, folder: Path, *, watch: TourListener
) -> tuple[Report, Path]:
    began = time.perf_counter()
    with _beside("HG-DAgger", folder) as finished:
        taught = teach(run, env, expert, folder, watch=watch, finished=finished)
    watch.stage(f"Driving: {run.num_starts} test starts each, on tracks not trained on")
    starts = env.starts("test", run.num_starts, seed=0)
    drivers, seed = entrants_of(expert, taught, env), derive(run.seed, "test")
    outcomes = compete(env, drivers, starts, seed=seed, num_films=run.num_films, on_step=watch.rollout)
    evaluations = [outcome.evaluation for outcome in outcomes]
    dagger = next(one for one in taught if one.name == "DAgger")
    if dagger.rounds is not None:
        watch.stage("Mapping where each of DAgger's iterates drives")
        here = [start for start in starts if start.options.get("track") == starts[0].options.get("track")]
        for number, path in enumerate(dagger.rounds.folders, start=1):
            controller = dagger.learner.controller(path, num_rows=env.num_rows)
            evaluations.append(evaluate(env, controller, here, name=f"DAgger round {number}", seed=seed))
    scene = None
    if run.fork is not None:
        watch.stage("Second scene: two right ways round a tree, cloned by their mean and by a flow")
        scene = fork_scene(run.fork)
    report = report_of(
        env,
        outcomes,
        title="The first loop: clone a car, watch it drift, correct it",
        setting=setting(run),
        seed=run.seed,
        wall_s=time.perf_counter() - began,
        rounds=rounds_of(dagger),
        maps=occupancy(env, evaluations, expert="expert"),
        regime=regime(),
        caveats=CAVEATS,
    )
    report = replace(report, scene=scene)
    return report, publish(report, outcomes, folder)


@contextmanager
def _beside(method: Method, folder: Path) -> Generator[Callable[[Method], None]]:
    """Teach one method in a second process; yields what waits for it when this process comes to it.

    It takes nothing but the run's folder, and leaves nothing but the method's. Whatever it did not do, this
    process does: on one core it is not started, and if it fails, nobody has to know.
    """
    if (os.cpu_count() or 1) < 2:
        yield lambda _: None
        return
    code = (
        "import sys; from steadyhand.recipes.tour import teach_beside; teach_beside(sys.argv[1], sys.argv[2])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder), method],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as second:

        def finished(reached: Method) -> None:
            if reached == method:
                second.wait()

        try:
            yield finished
        finally:
            second.kill()  # nothing if it has ended


def teach_beside(folder: str, method: Method) -> None:
    """Teach one method of the run in `folder`; ends with the process that asked, even if that is killed."""

    def until_alone() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=until_alone, daemon=True).start()
    run = load(Path(folder) / "run.json", TourRun)
    env = run.env.build(run.num_starts)
    lessons_of(run, _trainer(run, env, PurePursuitExpert().build(env), Path(folder)), method)


def _trainer(run: TourRun, env: BatchEnv, expert: Controller, folder: Path) -> Trainer:
    return Trainer(
        env=env,
        expert=expert,
        learner=PolicyLearner(env.spec, policy=run.policy, training=run.training),
        folder=folder,
        seed=run.seed,
    )


def teach(
    run: TourRun,
    env: BatchEnv,
    expert: Controller,
    folder: Path,
    *,
    watch: TourListener,
    finished: Callable[[Method], None] = lambda _: None,
) -> tuple[TrainedPolicy, ...]:
    """Train cloning and four remedies on the same number of labels, HG-DAgger on at most as many.

    Args:
        run: The run.
        env: The env of that run.
        expert: The expert that labels.
        folder: Each method gets a folder in it; what is there already is not done again.
        watch: Who is told.
        finished: Called before each method; it waits where somebody else is teaching that one.

    Returns:
        What each method made, cloning first.
    """
    trainer = _trainer(run, env, expert, folder)
    labels, rounds = run.num_labels, run.dagger.rounds
    stages: dict[Method, str] = {
        "cloning": f"Cloning: {labels} labels of the expert's own driving",
        "side cameras": f"Side cameras: the same {labels} labels, seen from beside the car as well",
        "noise injection": f"Noise injection: {labels} clean labels while the car is disturbed",
        "DAgger": f"DAgger: {rounds} rounds of {run.dagger.labels_per_round} labels",
        "HG-DAgger": f"HG-DAgger: a simulated human takes over, in {rounds - 1} rounds after the first",
    }
    methods: list[TrainedPolicy] = []
    for method, stage in stages.items():
        watch.stage(stage)
        finished(method)
        methods.append(lessons_of(run, trainer, method, on_round=watch.round if method == "DAgger" else None))
    return tuple(methods)


def lessons_of(
    run: TourRun,
    trainer: Trainer,
    method: Method,
    *,
    on_round: Callable[[RoundRecord], None] | None = None,
) -> TrainedPolicy:
    """Train one method on the budget of the run."""
    return trainer.teach(
        _method(run, method), name=method, key=method.split(maxsplit=1)[0].lower(), on_round=on_round
    )


def _method(run: TourRun, method: Method) -> Remedy:
    labels, drives = run.num_labels, run.dagger.num_episodes
    match method:
        case "cloning":
            return Cloning(num_labels=labels, num_episodes=drives)
        case "side cameras":
            return replace(run.views, num_labels=labels, num_episodes=drives)
        case "noise injection":
            return NoiseInjection(
                num_labels=labels,
                num_episodes=run.noise_episodes,
                clean_fraction=run.clean_fraction,
            )
        case "DAgger":
            return run.dagger
        case "HG-DAgger":
            return HgDagger(
                rounds=run.dagger.rounds,
                labels_per_round=run.dagger.labels_per_round,
                episodes_per_round=run.dagger.episodes_per_round,
                validation_starts=run.dagger.validation_starts,
                gate=run.human,
            )
        case _:
            assert_never(method)


def setting(run: TourRun) -> Sequence[Fact]:
    """Return what was run, in words."""
    env, seconds = run.env, run.env.max_episode_steps * run.env.control_dt
    return (
        Fact(name="Car", value=f"1/10 scale, {env.speed:g} m/s, {env.road_width:g} m road, steers at 20 Hz"),
        Fact(name="Sees", value=", ".join(env.observation)),
        Fact(name="Task", value=f"stay on the road for {seconds:g} s"),
        Fact(
            name="Tracks",
            value=f"{env.num_tracks} to learn on, {env.num_held_out_tracks} others to choose rounds, "
            f"{env.num_held_out_tracks} others for this comparison",
        ),
        Fact(name="Starts", value=f"the same {run.num_starts} for everyone"),
        Fact(name="Budget", value=f"{run.num_labels} expert labels for each method"),
        Fact(name="Learner", value=f"{type(run.policy.encoder).__name__} + {type(run.policy.head).__name__}"),
        Fact(
            name="Training",
            value=f"{run.training.num_steps} updates of {run.training.batch_size} from fresh weights",
        ),
    )


def regime() -> Sequence[Fact]:
    """Return under which conditions cloning fails here, and under which it does not."""
    return (
        Fact(name="Learner class", value="too weak to represent the expert from pixels everywhere"),
        Fact(name="Recoverable", value="yes: the expert returns from anywhere on the road"),
        Fact(name="Coverage", value="demonstrations start near the centre line and stay there"),
    )


def with_labels(run: TourRun, factor: int) -> TourRun:
    """Return the run with `factor` times the labels in each round."""
    config = replace(run.dagger, labels_per_round=run.dagger.labels_per_round * factor)
    return replace(run, dagger=config)
