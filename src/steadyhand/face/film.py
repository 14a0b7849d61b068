"""Films of drives, to watch in a notebook or to save."""

from dataclasses import dataclass
from pathlib import Path

from steadyhand.analysis.page import Video, film_page, framed
from steadyhand.core.strict import replacing
from steadyhand.envs.base import Family, require_family
from steadyhand.face.asked import path_of, seed_of, whole
from steadyhand.face.drivers import Driver, as_driver
from steadyhand.face.envs import Drivable, as_env
from steadyhand.recipes.compare import FILM_SECONDS, NamedController, filmed_drives
from steadyhand.rollout.executors.config import ExecutorConfig


@dataclass(frozen=True, kw_only=True, repr=False)
class Film:
    """One film for each start; a notebook shows them.

    Attributes:
        name: Name of the driver.
        clips: The films, H.264 in MP4.
    """

    name: str
    clips: tuple[Video, ...]

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the films and return their paths: a single film goes to `path`, several are numbered.

        Args:
            path: Path of the film, such as "clone.mp4".
        """
        first = path_of("path", path)
        many = len(self.clips) > 1
        paths = tuple(
            first.with_name(f"{first.stem}-{number}{first.suffix}") if many else first
            for number in range(1, len(self.clips) + 1)
        )
        for one, clip in zip(paths, self.clips, strict=True):
            with replacing(one) as temporary:
                temporary.write_bytes(clip.mp4)
        return paths

    def __repr__(self) -> str:
        size = sum(len(clip.mp4) for clip in self.clips)
        return f"<Film of {self.name}: {', '.join(clip.group for clip in self.clips)}, {size / 1e6:.2g} MB>"

    def _repr_html_(self) -> str:
        return framed(film_page(self.name, self.clips), height=480)


def show(
    who: Driver,
    env: Drivable,
    *,
    starts: int = 1,
    seconds: float = FILM_SECONDS,
    family: Family = "test",
    executor: ExecutorConfig | None = None,
    seed: int = 0,
) -> Film:
    """Film a policy as it drives from the first test starts.

    Args:
        who: A policy, the folder of one, an expert, or any other controller.
        env: An env that renders.
        starts: Number of starts; each gets a film of its own.
        seconds: Length of a film at most [s].
        family: Family of the starts.
        executor: How the policy's chunks become one action a step; None takes the policy's own executor.
        seed: Seed of the starts and of everything that is drawn.

    Raises:
        CapabilityError: The env does not render.
        SpecError: The policy does not fit the env.
    """
    starts, seed = whole("starts", starts), seed_of(seed)
    require_family(family)
    built = as_env(env)
    controller, name = as_driver(who, built, executor=executor)
    chosen = built.starts(family, starts, seed=seed)
    entrant = NamedController(name=name, controller=controller)
    clips = filmed_drives(built, entrant, chosen, range(starts), seed, seconds=seconds)
    return Film(name=name, clips=clips)
