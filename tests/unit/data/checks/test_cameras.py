"""What cameras show: each fault of pictures just below its threshold and just above it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lerobot_folders import CAMERA, FEATURES, STATE, VIDEO, rows, v21_video, write_v21, write_v30, write_video
from steadyhand.core.specs import FeatureSpec, image_spec
from steadyhand.data.checks import check_dataset
from steadyhand.data.checks.cameras import CameraCheck, Depth
from steadyhand.data.dataset import open_dataset
from steadyhand.data.episode import demonstration
from steadyhand.data.formats.arrays import ArrayDataset, episodes_from_arrays
from steadyhand.data.problems import Problem
from steadyhand.data.store import EpisodeStore

FRONT, SIDE = "observation.images.front", "observation.images.side"


def problems(data: Path | ArrayDataset, depth: Depth = "full") -> list[Problem]:
    """Return what is told of cameras and videos."""
    return list(CameraCheck(open_dataset(data) if isinstance(data, Path) else data, depth).problems())


def found(data: Path | ArrayDataset, code: str) -> list[Problem]:
    return [problem for problem in problems(data) if problem.code == code]


def codes(data: Path | ArrayDataset, depth: Depth = "full") -> list[str]:
    return [problem.code for problem in problems(data, depth)]


def filmed(*lengths: int, **cameras: np.ndarray) -> ArrayDataset:
    """Return episodes with pictures, two of 10 steps unless told otherwise."""
    pictures = {f"observation.images.{name}": value for name, value in cameras.items()}
    ends = np.cumsum(lengths or (10, 10))
    states = np.random.default_rng(0).normal(size=(ends[-1], 2)).cumsum(axis=0).astype(np.float32)
    return episodes_from_arrays({STATE: states, **pictures}, states, ends, control_dt=0.1)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 250, (20, 24, 32, 3)).astype(np.uint8)


def test_pictures_that_are_fine() -> None:
    assert codes(filmed(front=noise(0), side=noise(1))) == []


@pytest.mark.parametrize("at_once", [20, 3])
def test_black_plain_frozen_alike_and_identical_cameras(
    monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("steadyhand.data.checks.cameras._BATCH_BYTES", at_once * noise()[0].size)
    still = np.repeat(noise(2)[[0, 10]], 10, axis=0)
    alike = np.tile(noise(3)[:10], (2, 1, 1, 1))
    cases = {
        "camera-black": filmed(front=noise(), side=noise(4) // 20),
        "camera-plain": filmed(front=noise(), side=np.full((20, 24, 32, 3), 128, dtype=np.uint8)),
        "camera-frozen": filmed(front=noise(), side=still),
        "camera-alike": filmed(front=noise(), side=alike),
        "cameras-identical": filmed(front=noise(), side=noise()),
    }
    for code, data in cases.items():
        cameras = problems(data)
        assert [problem.code for problem in cameras] == [code]
        assert "side" in cameras[0].where


def levels(low: int, high: int) -> np.ndarray:
    """Return pictures of two levels, all different."""
    return np.where(noise(9) > 145, high, low).astype(np.uint8)


def mixed(usual: np.ndarray, rare: np.ndarray | int, *steps: int) -> np.ndarray:
    """Return pictures of which some are others."""
    place = np.isin(np.arange(20), steps)[:, None, None, None]
    return np.where(place, rare, usual).astype(np.uint8)


def repeating(*steps: int) -> np.ndarray:
    """Return pictures of which those of some steps show the one before."""
    return noise(8)[[step - sum(step - k in steps for k in range(step + 1)) for step in range(20)]]


@pytest.mark.parametrize(
    ("code", "fine", "fault", "says"),
    [
        # The brightest pixel of a black picture is 16 of 255; an episode is black in more than 9 of 10.
        ("camera-black", levels(0, 17), levels(0, 16), "100%"),
        ("camera-black", mixed(noise(7), 0, *range(9)), mixed(noise(7), 0, *range(10)), "50%"),
        # A picture of one colour has 4 levels at most; a camera shows one in more than 9 of 10.
        ("camera-plain", levels(100, 105), levels(100, 104), "100%"),
        ("camera-plain", mixed(levels(90, 92), noise(7), 3, 4), mixed(levels(90, 92), noise(7), 3), "95%"),
        # A frozen episode repeats more than 9 of 10 pictures, a slow camera more than 3 of 10.
        ("camera-frozen", repeating(*range(1, 9)), repeating(*range(1, 10)), "does not change"),
        ("camera-stutters", repeating(1, 3, 5, 11, 13), repeating(1, 3, 5, 11, 13, 15), "33%"),
    ],
)
def test_cameras_are_doubted_from_what_share_and_level_on(code, fine, fault, says) -> None:
    assert not found(filmed(front=noise(), side=fine), code)
    (problem,) = found(filmed(front=noise(), side=fault), code)
    assert says in problem.what


def test_a_camera_that_is_black_in_one_episode_is_named_with_it() -> None:
    side = noise(5)
    side[10:] = 0
    (problem,) = found(filmed(front=noise(), side=side), "camera-black")
    assert problem.where == "observation.images.side, episode 1"


def test_a_few_pictures_of_one_colour_are_no_fault() -> None:
    side = noise(5)
    side[::5] = 128
    assert not found(filmed(front=noise(), side=side), "camera-plain")


def test_a_camera_of_half_the_rate() -> None:
    (problem,) = found(filmed(front=np.repeat(noise(6)[::2], 2, axis=0)), "camera-stutters")
    assert problem.severity == "note"


def test_one_video_that_was_copied_for_every_episode(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "d", [rows(0), rows(1)], {**FEATURES, CAMERA: VIDEO})
    for number in range(2):
        write_video(v21_video(root, number), [15 * step + 40 for step in range(12)])
    assert codes(root) == ["camera-plain", "camera-alike"]
    write_video(v21_video(root, 1), [240 - 15 * step for step in range(12)])
    assert codes(root) == ["camera-plain"]


def test_cameras_of_a_journal_are_looked_at_too(tmp_path: Path) -> None:
    with EpisodeStore.create(
        tmp_path / "d",
        observation={STATE: FeatureSpec(shape=(3,)), FRONT: image_spec(16, 16, 3)},
        action=FeatureSpec(shape=(2,)),
        control_dt=0.1,
    ) as made:
        for seed in range(2):
            seen = np.random.default_rng(seed).normal(size=(60, 3)).astype(np.float32)
            dark = np.zeros((60, 16, 16, 3), dtype=np.uint8)
            made.append(demonstration({STATE: seen, FRONT: dark}, seen[:, :2], control_dt=0.1))
    assert found(tmp_path / "d", "camera-black")


def test_masks_of_zero_and_one_are_not_called_black() -> None:
    mask = (noise(6) > 140).astype(np.uint8)
    assert codes(filmed(front=noise(), side=mask)) == ["camera-binary"]
    mask[[7, 17]] = 0
    assert codes(filmed(front=noise(), side=mask)) == ["camera-binary"]
    assert codes(filmed(front=noise(), side=mixed(noise(7), mask, 3, 13))) == []


def test_a_black_episode_beside_one_of_one_colour_is_black_alone() -> None:
    both = mixed(levels(100, 104), levels(0, 16), *range(10, 20))
    assert codes(filmed(front=noise(), side=both)) == ["camera-black"]
    dark = np.zeros_like(both)
    assert codes(filmed(front=dark, side=dark)) == ["camera-black"] * 2, "which are not called identical"


# Pictures from step to step


def repeats(length: int, count: int) -> np.ndarray:
    """Return pictures of two episodes, of which the first `count` repeat the one before."""
    steps = np.maximum(np.arange(length) - count, 0)
    return np.concatenate([noise(8)[steps], noise(9)[steps]])


@pytest.mark.parametrize(
    ("length", "count", "expected"),
    [
        # From five pictures on, in over nine of ten steps.
        *[(5, 4, ["camera-frozen"]), (4, 3, [])],
        *[(11, 9, ["camera-stutters"]), (11, 10, ["camera-frozen"])],
        # In over three of ten steps.
        *[(11, 3, []), (11, 4, ["camera-stutters"])],
    ],
)
@pytest.mark.parametrize("at_once", [20, 3])
def test_how_much_of_an_episode_stands_still(
    monkeypatch: pytest.MonkeyPatch, length: int, count: int, expected: list[str], at_once: int
) -> None:
    monkeypatch.setattr("steadyhand.data.checks.cameras._BATCH_BYTES", at_once * noise()[0].size)
    data = filmed(length, length, side=repeats(length, count))
    assert codes(data) == expected
    assert codes(data, depth="quick") == []


def test_a_camera_that_froze_in_one_episode_is_named_with_it() -> None:
    pictures = repeats(10, 9)
    (problem,) = found(filmed(side=pictures), "camera-frozen")
    assert problem.where == SIDE
    pictures[:10] = noise(7)[:10]
    (problem,) = found(filmed(side=pictures), "camera-frozen")
    assert problem.where == f"{SIDE}, episode 1"


# Which pictures, and what of them


@pytest.mark.parametrize("steps", [(0, 5, 9), (0, 5, 8), (1, 5, 9), (0, 4, 9), (0, 6, 9)])
def test_a_quick_look_sees_the_first_the_middle_and_the_last_picture(steps: tuple[int, ...]) -> None:
    dark = mixed(noise(7), levels(0, 16), *steps, *(10 + step for step in steps))
    data = filmed(side=dark)
    assert codes(data, depth="quick") == ["camera-black"] * (steps == (0, 5, 9))
    assert codes(data) == []


def other(height: int, width: int, *, at: Any = ..., by: Any = 0, steps: Any = ...) -> np.ndarray:
    """Return pictures of two episodes of 10 steps, the second of which differs by a change at a place."""
    first = np.random.default_rng(2).integers(40, 200, (10, height, width, 3))
    second = first.copy()
    changed = second[steps]
    changed[..., at[0], at[1], :] += by
    second[steps] = changed
    return np.concatenate([first, second]).astype(np.uint8)


ALL = (slice(None), slice(None))
CHESS = np.indices((16, 24)).sum(axis=0)[..., None] % 2
"""A pattern that is as often 0 as 1 in every block of 2 by 3 pixels: an eighth of each side."""


@pytest.mark.parametrize(
    ("size", "at", "by", "is_alike"),
    [
        # Brightness, over the colours, by less than 1.5 of 255.
        *[((16, 24), ALL, 1, True), ((16, 24), ALL, 2, False), ((16, 24), ALL, CHESS + 1, False)],
        *[((16, 24), ALL, [0, 4, 0], True), ((16, 24), ALL, [0, 0, 5], False)],
        # In the block that differs most, whatever its pixels do.
        *[((16, 24), ALL, 10 * CHESS - 5, True)],
        *[((16, 24), (slice(2), slice(3)), by, by == 1) for by in (1, 2)],
        *[((16, 24), (slice(14, 16), slice(21, 24)), by, by == 1) for by in (1, 2)],
        # Blocks of 1 or 2 by 1 or 2 pixels.
        *[((11, 13), ALL, by, by == 1) for by in (1, 2)],
        *[((11, 13), (0, 0), by, by == 1) for by in (1, 2)],
        *[((11, 13), (10, 12), by, by == 5) for by in (5, 6)],
        # Fewer pixels than blocks.
        *[((4, 5), place, by, by == 1) for by in (1, 2) for place in ((0, 4), (3, 0), (2, 3))],
    ],
)
def test_how_much_pictures_of_episodes_may_differ_and_be_alike(size, at, by, is_alike: bool) -> None:
    assert codes(filmed(side=other(*size, at=at, by=by))) == ["camera-alike"] * is_alike
    first, second = np.split(other(*size, at=at, by=by), 2)
    pictures = filmed(10, front=first, side=second)
    assert codes(pictures) == ["cameras-identical"] * is_alike


@pytest.mark.parametrize(("step", "is_alike"), [(0, False), (4, True), (5, False), (6, True), (9, False)])
@pytest.mark.parametrize("at_once", [10, 3])
def test_compared_are_the_first_the_middle_and_the_last_picture(
    monkeypatch: pytest.MonkeyPatch, step: int, is_alike: bool, at_once: int
) -> None:
    pictures = other(16, 24, at=ALL, by=9, steps=step)
    monkeypatch.setattr("steadyhand.data.checks.cameras._BATCH_BYTES", at_once * pictures[0].size)
    assert codes(filmed(side=pictures)) == ["camera-alike"] * is_alike
    assert codes(filmed(10, front=pictures[:10], side=pictures[10:])) == ["cameras-identical"] * is_alike


@pytest.mark.parametrize(("step", "is_alike"), [(0, False), (4, True), (9, False)])
@pytest.mark.parametrize("at_once", [10, 3])
def test_pictures_of_files_are_compared_as_those_of_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, is_alike: bool, at_once: int
) -> None:
    pictures = other(16, 24, at=ALL, by=9, steps=step)
    root = filmed(side=pictures).save(tmp_path / "d")
    monkeypatch.setattr("steadyhand.data.checks.cameras._BATCH_BYTES", at_once * pictures[0].size)
    assert codes(root) == codes(root, "quick") == ["camera-alike"] * is_alike


def test_episodes_of_few_steps_are_compared_as_well() -> None:
    one, two = noise(1)[:2]
    many = np.stack([one, *noise(3)[:4], two, *noise(4)[:3], two])
    short = np.stack([one, two])
    assert codes(filmed(10, 2, side=np.concatenate([many, short]))) == ["camera-alike"]
    many[5] = one
    assert codes(filmed(10, 2, side=np.concatenate([many, short]))) == []
    assert codes(filmed(1, 1, side=np.stack([one, one]))) == ["camera-alike"]
    assert codes(filmed(1, side=one[None])) == [], "one episode is like no other"


def test_small_pictures_of_other_shapes_are_never_identical() -> None:
    plain = np.full((20, 4, 5, 3), 100, np.uint8)
    assert "cameras-identical" not in codes(filmed(front=plain, side=plain.transpose(0, 2, 1, 3)))


def test_large_pictures_are_looked_at_in_a_grid_of_pixels() -> None:
    """Every second row and every tenth column, from the first ones on: others may be black."""
    pictures = np.random.default_rng(0).integers(40, 250, (6, 128, 640, 3)).astype(np.uint8)
    pictures[:, 1::2] = pictures[:, ::10] = pictures[:, :, 9::10] = 0
    pictures[:, 0] = pictures[:, :, 0] = 0
    assert codes(filmed(3, 3, side=pictures)) == []


# Files


def two_cameras(root: Path, *videos: tuple[str, int]) -> Path:
    """Write two episodes with two cameras, of which only these videos are there."""
    write_v21(root, [rows(0), rows(1)], {**FEATURES, FRONT: VIDEO, SIDE: VIDEO})
    for camera, number in videos:
        path = root / f"videos/chunk-000/{camera}/episode_{number:06d}.mp4"
        write_video(path, [60 + 10 * ((step * 7 + number * 3) % 12) for step in range(12)])
    return root


def test_cameras_without_some_of_their_videos_are_judged_by_the_others(tmp_path: Path) -> None:
    absent = two_cameras(tmp_path / "a", (FRONT, 0), (FRONT, 1))
    assert codes(absent) == ["video-missing", "camera-plain"]
    some = two_cameras(tmp_path / "b", (FRONT, 0), (FRONT, 1), (SIDE, 1))
    (problem,) = found(some, "video-missing")
    assert (problem.where, problem.what) == (SIDE, "no video for 1 of 2 episodes: 0")
    assert found(some, "cameras-identical")


@pytest.mark.parametrize(("start", "is_told"), [(1.2, False), (1.16, False), (1.14, True), (0.6, True)])
def test_episodes_share_frames_from_half_a_step_on(tmp_path: Path, start: float, is_told: bool) -> None:
    features = FEATURES | {CAMERA: VIDEO}
    root = write_v30(tmp_path / "d", [rows(0, 12), rows(1, 5)], features, starts=[0.0, start])
    write_video(root / f"videos/{CAMERA}/chunk-000/file-000.mp4", range(40, 88, 2))
    overlaps = found(root, "video-overlap")
    assert [(p.severity, p.where) for p in overlaps] == [
        ("error", f"{CAMERA}, episodes 0 and 1"),
    ] * is_told
    assert all(f"starts at {start:g} s, the first ends at 1.2 s" in p.what for p in overlaps)


def test_every_episode_is_ticked_off() -> None:
    ticks: list[tuple[int, int]] = []
    check_dataset(filmed(3, 4, 5, side=noise()[:12]), tick=lambda *done: ticks.append(done))
    assert ticks == [(1, 3), (2, 3), (3, 3)]
