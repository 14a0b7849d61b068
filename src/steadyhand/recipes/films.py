"""Films of drives: whether an env can be filmed, and what a controller does from some starts as MP4."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from steadyhand.core.errors import CapabilityError, ConfigError, EnvError
from steadyhand.core.protocol import Controller
from steadyhand.data.formats.video import write_mp4
from steadyhand.envs.base import BatchEnv, Start
from steadyhand.rollout.film import Film
from steadyhand.rollout.session import run

FILM_SECONDS = 15.0


def why_no_films(env: BatchEnv) -> str | None:
    """Return None if the rows of an env can be drawn; otherwise what hinders it, "" if it just does not draw.

    Raises:
        EnvError: The env was made to draw, and breaks when it does.
    """
    stage = env
    try:
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
        return str(error.__cause__ or error)
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
) -> list[bytes]:
    """Drive once more from each start, before the camera, and return the films (H.264 in MP4).

    Args:
        env: See `BatchEnv.filmed`.
        controller: Who drives.
        starts: One film each.
        seed: Of the controller's random streams: that of the drives that are to be seen again.
        seconds: Length of a film, at most an episode [s].
    """
    num_steps = max(1, min(round(seconds / env.spec.control_dt), env.spec.max_episode_steps))
    stride = max(1, round(0.1 / env.spec.control_dt))
    fps = max(1, round(1.0 / (stride * env.spec.control_dt)))
    stage = env.filmed(len(starts))
    film = Film(stage, range(len(starts)), max_steps=num_steps, stride=stride, width=480, height=360)
    try:
        run(stage, controller, starts, seed=seed, max_steps=num_steps, listeners=[film])
    finally:
        if stage is not env:
            stage.close()
    films: list[bytes] = []
    with TemporaryDirectory() as folder:
        for number in range(len(starts)):
            path = Path(folder) / f"{number}.mp4"
            write_mp4(path, film.reel(number), fps=fps, codec="h264", crf=28, gop=50)
            films.append(path.read_bytes())
    return films
