"""Demonstrations: recorded now, or opened from disk."""

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path

import numpy as np

from steadyhand.core.errors import ConfigError, DataError
from steadyhand.core.protocol import Controller
from steadyhand.core.question import answering
from steadyhand.core.specs import ACTION, FeatureSpec, class_spec
from steadyhand.correction.noise import ActionNoise, NoisyExecution, OrnsteinUhlenbeck
from steadyhand.data.base import Dataset
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import Episode
from steadyhand.data.formats.arrays import ArrayDataset, from_arrays, open_npz
from steadyhand.data.formats.layout import INFO
from steadyhand.data.selection import Episodes
from steadyhand.data.store import EpisodeStore
from steadyhand.envs.base import Family, require_family
from steadyhand.face.asked import path_of, require_controller, seed_of, whole
from steadyhand.face.envs import Drivable, as_env
from steadyhand.face.progress import progress
from steadyhand.face.voice import voice
from steadyhand.recipes.record import demonstrate, film_first, needs_film, recording
from steadyhand.recipes.runs import require_enough
from steadyhand.rollout.recorder import EpisodeRecorder

EPISODES = 20
"""Number of episodes that are recorded by default."""


def record(
    env: Drivable,
    expert: Controller,
    *,
    labels: int | None = None,
    episodes: int = EPISODES,
    noise: float | ActionNoise | None = None,
    clean_fraction: float = 0.5,
    family: Family = "train",
    seed: int = 0,
    out: str | Path | None = None,
    video: bool = False,
    quiet: bool = False,
) -> Dataset:
    """Let an expert drive, and return what it saw and did.

    Args:
        env: The env.
        expert: The expert that drives; see `steadyhand.expert`.
        labels: Stop at exactly this many labels, spread evenly over the episodes, which are cut for that.
        episodes: Episodes to record.
        noise: Disturbs what is executed while labels stay clean: the standard deviation of an
            Ornstein-Uhlenbeck noise in units of the action, or any noise.
        clean_fraction: Share of episodes that noise leaves undisturbed.
        family: Family of the starts.
        seed: Seed of starts and noise.
        out: Folder for the data set, in LeRobot's format; None keeps it in memory.
        video: Store pictures in `out` as MP4 (small, lossy) instead of PNG; an env without
            pictures in its observations is filmed from its first start instead, as films/start-1.mp4.
        quiet: Show no progress, and do not print what was recorded.

    Raises:
        ConfigError: There is no episode to record, or fewer labels than episodes.
        DataError: `out` holds a data set already.
        CapabilityError: The env's actions cannot be disturbed, or it is to be filmed and cannot be.
    """
    episodes, seed = whole("episodes", episodes), seed_of(seed)
    labels = None if labels is None else whole("labels", labels)
    place = None if out is None else path_of("out", out)
    require_family(family)
    expert = require_controller(expert, role="expert")
    require_enough(episodes, labels)
    built = as_env(env)
    is_filmed = video and place is not None and needs_film(built)
    driver = expert
    if noise is not None:
        kind = noise if isinstance(noise, ActionNoise) else OrnsteinUhlenbeck(sigma=_sigma(noise))
        driver = NoisyExecution(expert, noise=kind, action=built.spec.action, clean_fraction=clean_fraction)
    spec, say = built.spec, voice(quiet=quiet)

    def drive(sink: EpisodeStore | None = None) -> EpisodeRecorder:
        with progress("recording", quiet=quiet) as bar:
            recorder = demonstrate(
                built,
                driver,
                num_episodes=episodes,
                num_labels=labels,
                family=family,
                seed=seed,
                sink=sink,
                on_step=bar(""),
            )
        say(
            f"recorded {recorder.num_episodes} episodes, {recorder.num_steps} steps, "
            f"{recorder.num_labels} labels; {recorder.outcome}"
        )
        return recorder

    if place is None:
        return ArrayDataset(
            observation=dict(spec.observation),
            action=spec.action,
            control_dt=spec.control_dt,
            all_episodes=tuple(drive().episodes),
        )
    question = {
        "env": built,
        "driver": driver,
        "settings": {"labels": labels, "episodes": episodes, "family": family, "video": video},
        "seed": seed,
    }
    asked = answering(place, "record", question, answers=INFO)
    with asked, recording(place, spec, video=video) as store:
        if store is not None:
            drive(store)
            store.compact()
            if is_filmed:
                film_first(built, driver, place, family=family, seed=seed)
    return open_dataset(place)


def _sigma(noise: object) -> float:
    if isinstance(noise, bool) or not isinstance(noise, Real):
        raise ConfigError(
            "This is no noise.",
            got=repr(noise),
            expected="a standard deviation in units of the action, or settings such as OrnsteinUhlenbeck()",
        )
    return float(noise)


def load_dataset(
    data: Dataset | str | Path | Sequence[Episode] | Mapping[str, np.ndarray],
    *,
    observation: Sequence[str] | None = None,
    episodes: Episodes | None = None,
    rename: Mapping[str, str] | None = None,
    classes: tuple[int, int] | None = None,
    control_dt: float = 0.05,
) -> Dataset:
    """Open a data set.

    Args:
        data: A folder in LeRobot's format (v3.0 or v2.1), a recording of ours, a .npz file of flat arrays,
            such arrays by name ("observation", "action", "episode_ends"), or episodes; a data set is
            returned as it is.
        observation: Features to read from a folder; None reads all of them.
        episodes: Which episodes to read, as numbers or as a text such as "0-9,!4"; None reads all of them.
        rename: Name of a feature in the files -> its name here.
        classes: Lowest and highest number of a discrete action, for data that do not state them.
        control_dt: Time between steps [s], for arrays, which do not state it.

    Raises:
        DataError: There is no such data set, or it is malformed.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, Mapping):
        arrays = {name: np.asarray(value) for name, value in data.items()}
        return from_arrays(arrays, control_dt=control_dt, rename=rename, classes=classes, episodes=episodes)
    if isinstance(data, Iterable) and not isinstance(data, str | np.ndarray):
        return from_episodes(tuple(data))
    path = path_of("data", data)
    if path.suffix == ".npz":
        return open_npz(path, control_dt=control_dt, rename=rename, classes=classes, episodes=episodes)
    return open_dataset(path, rename=rename, episodes=episodes, observation=observation, classes=classes)


def from_episodes(episodes: Sequence[Episode]) -> ArrayDataset:
    """Return episodes as a data set in memory; the shapes and dtypes of their arrays define its features.

    Raises:
        DataError: There are none, or they are of different kinds.
    """
    if not episodes:
        raise DataError("There are no episodes.", got=0, expected="at least one")
    _require_episodes(episodes)
    first = episodes[0]
    kinds: dict[str, FeatureSpec] = {}
    for name, value in {**first.observation, ACTION: first.action}.items():
        is_picture = value.dtype == np.uint8 and value.ndim == 4
        if value.dtype == np.int64 and name == ACTION:
            low = min(int(one.expert_action.min()) for one in episodes)
            high = max(int(one.expert_action.max()) for one in episodes)
            kinds[name] = class_spec((low, high))
        else:
            kinds[name] = FeatureSpec(
                shape=value.shape[1:], dtype=str(value.dtype), kind="image" if is_picture else "continuous"
            )
    action = kinds.pop(ACTION)
    return ArrayDataset(
        observation=kinds, action=action, control_dt=first.control_dt, all_episodes=tuple(episodes)
    )


def _require_episodes(given: Sequence[object]) -> None:
    if others := [type(one).__name__ for one in given if not isinstance(one, Episode)]:
        raise DataError(
            "These are no episodes.",
            got=f"{others[0]} among them",
            expected="a data set, a folder, an .npz file, arrays by name, or a list of steadyhand.Episode",
        )
