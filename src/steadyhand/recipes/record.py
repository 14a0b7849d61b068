"""Let an expert drive and store the episodes: the run behind `steadyhand record`."""

from collections.abc import Callable
from pathlib import Path

from steadyhand.core.errors import DataError
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.correction.noise import NoisyExecution
from steadyhand.data.formats.layout import INFO
from steadyhand.data.store import EpisodeStore
from steadyhand.recipes.experts import build_expert
from steadyhand.recipes.folder import start_run
from steadyhand.recipes.runs import RecordRun
from steadyhand.rollout.recorder import EpisodeRecorder
from steadyhand.rollout.session import Session

MAX_ROWS = 64


def record(
    run: RecordRun, folder: Path, *, on_step: Callable[[int, int], None] | None = None
) -> EpisodeRecorder:
    """Record into a new data set at `folder`, and return the recorder with its counts.

    Args:
        run: What to record.
        folder: The data set.
        on_step: Called with (labels, budget) or (episodes, all) after each step.

    Raises:
        DataError: There is a data set already.
        KeyboardInterrupt: Recording was stopped; what was driven is kept, as interrupted episodes.
    """
    if (folder / INFO).exists():
        raise DataError(
            f"{folder} holds a data set already.",
            hint="choose another folder with --out, or delete this one",
        )
    num_rows = min(run.num_episodes, MAX_ROWS)
    env = run.env.build(num_rows)
    controller: Controller = build_expert(run.expert, env)
    if run.noise is not None:
        controller = NoisyExecution(
            controller, noise=run.noise, action=env.spec.action, clean_fraction=run.clean_fraction
        )
    spares = 0 if run.num_labels is None else run.num_labels
    starts = env.starts(run.family, run.num_episodes + spares, seed=run.seed)
    limit = None if run.num_labels is None else -(-run.num_labels // run.num_episodes)
    try:
        with EpisodeStore.create(
            folder,
            observation=env.spec.observation,
            action=env.spec.action,
            control_dt=env.spec.control_dt,
            image_format="mp4" if run.video else "png",
            env_id=env.spec.env_id,
        ) as store:
            start_run(run, folder, resume=False)
            recorder = EpisodeRecorder(
                env,
                starts,
                source="demonstration",
                seed=run.seed,
                label_budget=run.num_labels,
                sink=store,
            )
            session = Session(
                env,
                controller,
                starts,
                seed=derive(run.seed, "record"),
                num_rows=num_rows,
                max_steps=limit,
                listeners=[recorder],
            )
            _drive(session, recorder, run, on_step)
            store.compact()
    except KeyboardInterrupt:
        if (folder / INFO).exists():
            compact_store(folder)
        raise
    return recorder


def compact_store(folder: Path) -> int:
    """Make files that LeRobot opens of what a stopped or killed recording left; return its episodes.

    Raises:
        DataError: The folder holds no store, or another process is recording into it.
    """
    with EpisodeStore.open(folder) as store:
        return store.compact()


def _drive(
    session: Session, recorder: EpisodeRecorder, run: RecordRun, on_step: Callable[[int, int], None] | None
) -> None:
    while not recorder.full and session.step() is not None:
        if on_step is not None and run.num_labels is not None:
            on_step(recorder.num_labels, run.num_labels)
        elif on_step is not None:
            on_step(recorder.num_episodes, len(session.starts))
    recorder.finish()
