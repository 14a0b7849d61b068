"""A small experiment made up from random walks across a road; every part of a report has a thing to show."""

import io
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import jaxtyping
import numpy as np
import pytest

from outcomes import episodes
from steadyhand.analysis.occupancy import occupancy_maps
from steadyhand.analysis.page import Video
from steadyhand.analysis.report import completed
from steadyhand.analysis.results import Cost, Fact, PolicyResult, Report, Rounds, Wording
from steadyhand.analysis.summary import summarise
from steadyhand.correction.burden import Burden
from steadyhand.correction.record import RoundRecord

CONTROL_DT, STEPS, STARTS, HALF_ROAD = 0.05, 1200, 64, 0.3


def road(offset: float = 0.0, *, num_points: int = 400) -> np.ndarray:
    """Return a closed line (num_points, 2) that runs `offset` m to the left of the centre line [m]."""
    angle = np.linspace(0.0, 2.0 * np.pi, num_points)
    radius = 4.0 + 0.9 * np.cos(3 * angle) + 0.4 * np.sin(2 * angle) - offset
    return np.stack([1.35 * radius * np.cos(angle), 0.85 * radius * np.sin(angle)], axis=1)


def drive(seed: int, pull: float, noise: float) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return |error| (n, T) with NaN after leaving the road, lengths (n,), and paths (t, 2)."""
    random = np.random.default_rng(seed)
    error = np.zeros((STARTS, STEPS))
    error[:, 0] = random.normal(0.0, 0.03, STARTS)
    for step in range(1, STEPS):
        error[:, step] = error[:, step - 1] * pull + random.normal(0.0, noise, STARTS)
    off = np.abs(error) > HALF_ROAD
    lengths = np.where(off.any(1), off.argmax(1) + 1, STEPS)
    centre, left = road(num_points=STEPS // 2), road(HALF_ROAD, num_points=STEPS // 2)
    across = (left - centre) / HALF_ROAD
    paths: list[np.ndarray] = []
    for row, length in enumerate(lengths):
        place = (np.arange(length) + random.integers(STEPS)) % len(centre)
        paths.append((centre[place] + across[place] * error[row, :length, None]).astype(np.float32))
    error[np.arange(STEPS) >= lengths[:, None]] = np.nan
    return np.abs(error).astype(np.float32), lengths.astype(np.int64), paths


def result(name: str, seed: int, pull: float, noise: float, **more: object) -> tuple[PolicyResult, list]:
    """Return the summary of one made-up policy and its paths."""
    error, lengths, paths = drive(seed, pull, noise)
    success = lengths == STEPS
    returns = np.nansum(1.0 - error.astype(np.float64), axis=1)
    driven = episodes(name, success, returns, lengths, error=error, control_dt=CONTROL_DT)
    kind = "expert" if name == "Expert" else "policy"
    return summarise(driven, kind=kind, **more), paths


def record(number: int, success: float, online: float | None, regret: float | None) -> RoundRecord:
    return RoundRecord(
        round=number,
        beta=1.0 if number == 1 else 0.0,
        labels=200,
        total_labels=200 * number,
        online_loss=online,
        hindsight_loss=None if online is None or regret is None else online - regret,
        regret=regret,
        train_loss=0.004,
        validation_success=success,
        validation_return=1000 * success,
        starts_failed=0,
        burden=Burden(labels=200, human_steps=200 if number == 1 else 0, env_steps=200, episodes=4),
    )


@pytest.fixture(scope="session")
def report() -> Report:
    def cost(wall_s: float) -> Cost:
        return Cost(labels=1000, updates=3000, wall_s=wall_s)

    expert, expert_paths = result("Expert", 0, 0.97, 0.006, rollout_wall_s=0.8)
    clone, clone_paths = result("Cloning", 1, 0.9995, 0.0142, cost=cost(9.4), rollout_wall_s=1.1)
    views, view_paths = result("Side cameras", 2, 0.985, 0.014, cost=cost(11.0), rollout_wall_s=1.4)
    dagger, dagger_paths = result(
        "DAgger", 3, 0.975, 0.009, cost=cost(126.0), rollout_wall_s=1.4, note="round 4 of 5"
    )
    third = drive(4, 0.993, 0.016)[2]
    rounds = Rounds(
        name="DAgger",
        records=(
            record(1, 0.0, None, None),
            record(2, 2 / 32, 0.081, 0.052),
            record(3, 0.5, 0.034, 0.021),
            record(4, 1.0, 0.012, 0.008),
            record(5, 31 / 32, 0.006, 0.003),
        ),
        returned=4,
        validation_starts=32,
    )
    paths = {
        "Expert": expert_paths,
        "Cloning": clone_paths,
        "DAgger, round 3": third,
        "DAgger, round 4": dagger_paths,
        "Side cameras": view_paths,
    }
    return completed(
        Report(
            title="Can a cloned driver stay on a narrow road?",
            command="steadyhand tour --env car --seed 7 --starts 64 --out runs/tour",
            env="car",
            setting=(
                Fact(
                    name="Task",
                    value="Drive a car 60 s on a closed road 0.6 m wide at 2.5 m/s, 20 actions a second.",
                ),
                Fact(name="Observation", value="A 30 x 32 grey picture of the ground ahead."),
                Fact(name="Starts", value="64 from the test family, the same for every policy."),
            ),
            seed=7,
            results=(expert, clone, dagger, views),
            rounds=rounds,
            occupancy=occupancy_maps("Expert", paths, outline=[road(HALF_ROAD), road(-HALF_ROAD)]),
            regime=(
                Fact(
                    name="Recoverable",
                    value="Yes: from every place on the road the expert returns to its centre.",
                ),
                Fact(
                    name="Realisable", value="Nearly: the picture shows what the expert uses, through noise."
                ),
                Fact(name="Labels", value="The expert's clean, intended action, whoever drove."),
            ),
            caveats=(
                "One training seed: another one gives another policy.",
                "One speed and one width of road. On a wide road cloning is enough.",
            ),
            versions={"steadyhand": "0.1.0", "torch": "2.13.0", "numpy": "2.4.0"},
            wall_s=162.0,
            wording=Wording(
                outcome="kept {k} of {n} cars on the road",
                surviving="Still on the road",
                error="Distance from the centre line",
                error_unit="m",
            ),
        )
    )


@pytest.fixture(scope="session")
def film() -> Callable[..., bytes]:
    return encode


def encode(*, seed: int = 0, num_frames: int = 30, size: tuple[int, int] = (320, 240)) -> bytes:
    """Return a short H.264 film of a square that drifts across a road."""
    file = io.BytesIO()
    width, height = size
    random = np.random.default_rng(seed)
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(20))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        place = width / 2
        for _ in range(num_frames):
            place += random.normal(0.0, 3.0)
            picture = np.full((height, width, 3), (92, 138, 84), dtype=np.uint8)
            picture[:, width // 3 : 2 * width // 3] = (70, 72, 76)
            picture[:, width // 2 - 1 : width // 2 + 1] = (230, 230, 220)
            column = int(np.clip(place, 10, width - 10))
            picture[height - 60 : height - 30, column - 8 : column + 8] = (220, 80, 50)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.fixture(scope="session")
def videos(film: Callable[..., bytes]) -> list[Video]:
    return [
        Video(name=name, mp4=film(seed=seed, num_frames=length), caption=caption, group="Start 17")
        for seed, (name, length, caption) in enumerate(
            [
                ("Expert", 40, "on the road for 60 s"),
                ("Cloning", 15, "off the road after 6.2 s"),
                ("DAgger", 40, "on the road for 60 s"),
            ]
        )
    ]


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Turn the test-time shape checks off, to see the error that a user gets for a wrong shape."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
