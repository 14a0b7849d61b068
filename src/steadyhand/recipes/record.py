"""Let an expert drive and store the episodes: the run behind `steadyhand record`."""

from collections.abc import Callable
from pathlib import Path

from steadyhand.core.errors import DataError
from steadyhand.core.protocol import Controller
from steadyhand.core.seeding import derive
from steadyhand.core.specs import EnvSpec
from steadyhand.correction.noise import NoisyExecution
from steadyhand.data.dataset import locate
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
    """Record a data set at `folder`, and return the recorder with its counts.

    Where this very recording was killed there, it is driven again from its beginning: what is in the journal
    must come again to the bit and is not written twice, then it goes on. The result is that of a recording
    that was not killed.

    Args:
        run: What to record.
        folder: The data set.
        on_step: Called with (labels, budget) or (episodes, all) after each step.

    Raises:
        DataError: There is another data set already, this recording is complete, or what is driven again
            differs from what is there.
        ConfigError: The folder holds another run.
        KeyboardInterrupt: Recording was stopped; what was driven is kept, and the same run goes on.
    """
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
    begun = _begun(run, folder)  # writes; whatever does not fit together was refused before
    with _open(run, folder, env.spec, begun=begun) as store:
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
            outside_labels=run.outside_labels,
        )
        _drive(session, recorder, run, on_step)
        store.compact()
    return recorder


def _begun(run: RecordRun, folder: Path) -> bool:
    """Write run.json, or return that this very run was begun in `folder` and did not come to its end."""
    is_data = (folder / INFO).exists()
    if is_data and not (folder / "run.json").is_file():
        raise DataError(
            f"{folder} holds a data set already.",
            hint="choose another folder with --out, or delete this one",
        )
    start_run(run, folder, resume=True)
    if is_data and (num_episodes := len(locate(folder).episodes)):
        raise DataError(
            f"{folder} holds this recording already.",
            got=f"{num_episodes} episodes in LeRobot's files",
            hint="choose another folder with --out, or delete this one",
        )
    return is_data


def _open(run: RecordRun, folder: Path, spec: EnvSpec, *, begun: bool) -> EpisodeStore:
    if begun:
        return EpisodeStore.open(folder, replay=True)
    return EpisodeStore.create(
        folder,
        observation=spec.observation,
        action=spec.action,
        control_dt=spec.control_dt,
        image_format="mp4" if run.video else "png",
        env_id=spec.env_id,
        outside_labels=run.outside_labels,
    )


def _drive(
    session: Session, recorder: EpisodeRecorder, run: RecordRun, on_step: Callable[[int, int], None] | None
) -> None:
    while not recorder.full and session.step() is not None:
        if on_step is not None and run.num_labels is not None:
            on_step(recorder.num_labels, run.num_labels)
        elif on_step is not None:
            on_step(recorder.num_episodes, len(session.starts))
    recorder.finish()
