"""Films of drives: whether an env can be filmed, and what a controller does from some starts as MP4."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from steadyhand.core.errors import CapabilityError, ConfigError, EnvError
from steadyhand.core.protocol import Controller
from steadyhand.data.formats.png import encode_png
from steadyhand.data.formats.video import write_mp4
from steadyhand.data.pictures import resized
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.rollout.film import FilmRecorder
from steadyhand.rollout.session import run

FILM_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A film of one drive.

    Attributes:
        mp4: The file, H.264.
        poster: Last picture of the film at half the size, as PNG: how they end tells films of one start
            apart.
        task: What there was to do, in words; empty where every start of the env asks for the same.
    """

    mp4: bytes
    poster: bytes
    task: str = ""


def why_no_films(env: BatchEnv) -> str | None:
    """Return None if the rows of an env can be drawn; otherwise what hinders it, "" if it just does not draw.

    Raises:
        EnvError: The env was made to draw, and breaks when it does.
    """
    stage = env
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # A simulator that finds no screen says so at length.
            stage = env.filmed(1)
            stage.reset(stage.starts("test", 1), np.array([0]))
            stage.render(0, width=64, height=48)
    except CapabilityError:
        return ""
    except ConfigError as error:
        return str(error)
    except EnvError as error:
        if stage is env:
            raise
        # Nobody asked for an env that draws: what drawing lacks, such as a package, spoils no comparison.
        reason = str(error.__cause__ or error)
        return f"{reason} (where there is no screen, MUJOCO_GL=egl may help)" if "GL" in reason else reason
    finally:
        if stage is not env:
            stage.close()
    return None


def shoot(
    env: BatchEnv,
    controller: Controller,
    starts: Sequence[Start],
    *,
    seed: int,
    seconds: float = FILM_SECONDS,
    holds: bool = False,
) -> list[Clip]:
    """Drive once more from each start, before the camera, and return the films.

    Args:
        env: The env to film, which `BatchEnv.filmed` returns.
        controller: The controller that drives.
        starts: One film each.
        seed: Seed of the controller's random streams: that of the drives that are to be seen again.
        seconds: Length of a film, at most an episode [s].
        holds: Show the last picture of a drive that has ended until then. Otherwise films end one second
            after the last of these drives has.
    """
    num_steps = max(1, min(round(seconds / env.spec.control_dt), env.spec.max_episode_steps))
    stride = max(1, round(0.1 / env.spec.control_dt))
    fps = max(1, round(1.0 / (stride * env.spec.control_dt)))
    stage = env.filmed(len(starts))
    film = FilmRecorder(stage, range(len(starts)), max_steps=num_steps, stride=stride, width=480, height=360)
    try:
        run(stage, controller, starts, seed=seed, max_steps=num_steps, listeners=[film])
        tasks = stage.tasks(np.arange(len(starts)))
    finally:
        if stage is not env:
            stage.close()
    length = None if holds else max(map(len, film.frames.values())) + fps
    films: list[Clip] = []
    with TemporaryDirectory() as folder:
        for number in range(len(starts)):
            path = Path(folder) / f"{number}.mp4"
            reel = film.reel(number)[:length]
            write_mp4(path, reel, fps=fps, codec="h264", crf=28, gop=50)
            height, width = reel[-1].shape[:2]
            poster = encode_png(resized(reel[-1], (max(height // 2, 1), max(width // 2, 1))))
            task = "" if tasks[number] == env.spec.task else tasks[number]
            films.append(Clip(mp4=path.read_bytes(), poster=poster, task=task))
    return films
