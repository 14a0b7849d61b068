"""Let an expert drive and store the episodes: the run behind `steadyhand record`."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from steadyhand.core.errors import CapabilityError, DataError
from steadyhand.core.protocol import Controller, OutsideLabels
from steadyhand.core.seeding import derive
from steadyhand.core.specs import EnvSpec
from steadyhand.core.strict import replacing
from steadyhand.correction.noise import NoisyExecution
from steadyhand.data.dataset import locate
from steadyhand.data.formats.layout import INFO
from steadyhand.data.store import EpisodeStore
from steadyhand.envs.base import BatchEnv, Family
from steadyhand.recipes.films import shoot, why_no_films
from steadyhand.recipes.folder import start_run
from steadyhand.recipes.runs import RecordRun
from steadyhand.rollout.recorder import EpisodeRecorder
from steadyhand.rollout.session import Session

MAX_ROWS = 64
FILM = Path("films") / "start-1.mp4"
"""Where the film of the first drive lies in the folder of a data set without pictures."""


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
        CapabilityError: Pictures are asked for, and the env neither shows any nor can be filmed.
        KeyboardInterrupt: Recording was stopped; what was driven is kept, and the same run goes on.
    """
    env = run.env.build(min(run.num_episodes, MAX_ROWS))
    controller: Controller = run.expert.build(env)
    if run.noise is not None:
        controller = NoisyExecution(
            controller, noise=run.noise, action=env.spec.action, clean_fraction=run.clean_fraction
        )
    is_filmed = run.video and needs_film(env)
    begun = _begun(run, folder)  # writes; whatever does not fit together was refused before
    with _open(run, folder, env.spec, begun=begun) as store:
        recorder = demonstrate(
            env,
            controller,
            num_episodes=run.num_episodes,
            num_labels=run.num_labels,
            family=run.family,
            outside_labels=run.outside_labels,
            seed=run.seed,
            sink=store,
            on_step=on_step,
        )
        store.compact()
    if is_filmed:
        film_first(env, controller, folder, family=run.family, seed=run.seed)
    return recorder


def needs_film(env: BatchEnv) -> bool:
    """Whether pictures of a recording can only be a film beside it, since policies are shown none.

    Raises:
        CapabilityError: So it is, and the env cannot be filmed.
    """
    if any(feature.kind == "image" for feature in env.spec.observation.values()):
        return False
    hindered = why_no_films(env)
    if hindered is not None:
        raise CapabilityError(
            f"{env.spec.env_id} shows no pictures that could be stored, and cannot be filmed.",
            got=hindered or "an env that does not draw",
            hint="leave --video out",
        )
    return True


def film_first(env: BatchEnv, controller: Controller, folder: Path, *, family: Family, seed: int) -> None:
    """Film the first drive of a recording, as `demonstrate` drove it, beside the data."""
    (film,) = shoot(env, controller, env.starts(family, 1, seed=seed), seed=derive(seed, "record"))
    with replacing(folder / FILM) as temporary:
        temporary.write_bytes(film.mp4)


def demonstrate(
    env: BatchEnv,
    controller: Controller,
    *,
    num_episodes: int,
    num_labels: int | None = None,
    family: Family = "train",
    outside_labels: OutsideLabels = "clipped",
    seed: int = 0,
    sink: EpisodeStore | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> EpisodeRecorder:
    """Let a controller drive, and return the recorder, which holds the episodes if there is no sink.

    Args:
        env: The env.
        controller: The controller that drives and labels.
        num_episodes: Episodes to record.
        num_labels: If set, stop at exactly this many labels, spread evenly over the episodes.
        family: Family of the starts.
        outside_labels: What becomes of labels outside the action's bounds.
        seed: Seed of the starts, and of what the controller draws.
        sink: Receives every step as it happens.
        on_step: Called with (labels, budget) or (episodes, all) after each step.
    """
    starts = env.starts(family, num_episodes + (num_labels or 0), seed=seed)
    recorder = EpisodeRecorder(
        env, starts, source="demonstration", seed=seed, label_budget=num_labels, sink=sink
    )
    session = Session(
        env,
        controller,
        starts,
        seed=derive(seed, "record"),
        num_rows=num_episodes,
        max_steps=None if num_labels is None else -(-num_labels // num_episodes),
        listeners=[recorder],
        outside_labels=outside_labels,
    )
    while not recorder.full and session.step() is not None:
        if on_step is not None and num_labels is not None:
            on_step(recorder.num_labels, num_labels)
        elif on_step is not None:
            on_step(recorder.num_episodes, len(starts))
    recorder.finish()
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


@contextmanager
def recording(folder: Path, spec: EnvSpec, *, video: bool) -> Generator[EpisodeStore | None]:
    """Open the store of a recording that `folder` is known to be for; None where it is complete already.

    What a killed process left in the journal is driven again, see `record`.
    """
    if not (folder / INFO).exists():
        with EpisodeStore.create(
            folder,
            observation=spec.observation,
            action=spec.action,
            control_dt=spec.control_dt,
            image_format="mp4" if video else "png",
            env_id=spec.env_id,
        ) as store:
            yield store
    elif locate(folder).episodes:
        yield None
    else:
        with EpisodeStore.open(folder, replay=True) as store:
            yield store
