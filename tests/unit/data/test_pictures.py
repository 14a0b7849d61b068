"""Pictures made smaller, and the cache that keeps them: the right numbers, and disks that say no."""

import errno
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steadyhand.core.errors import DataError
from steadyhand.core.specs import image_spec
from steadyhand.data import image_cache
from steadyhand.data.dataset import open_dataset
from steadyhand.data.pictures import resized
from steadyhand.data.store import EpisodeStore
from toy_episodes import ACTION_SPEC, episode

SPECS = {"observation.images.top": image_spec(30, 40, 3)}


def by_definition(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the mean over the exact area of each pixel, in fractions, half rounded up."""
    (height, width), (rows, columns) = image.shape[:2], size

    def share(cell: int, cells: int, pixel: int, pixels: int) -> Fraction:
        low = max(Fraction(cell * pixels, cells), Fraction(pixel))
        high = min(Fraction((cell + 1) * pixels, cells), Fraction(pixel + 1))
        return max(high - low, Fraction(0))

    out = np.empty((rows, columns, image.shape[2]), dtype=np.uint8)
    for i in range(rows):
        for j in range(columns):
            weights = {
                (y, x): share(i, rows, y, height) * share(j, columns, x, width)
                for y in range(height)
                for x in range(width)
            }
            area = sum(weights.values())
            for c in range(image.shape[2]):
                mean = sum(w * int(image[y, x, c]) for (y, x), w in weights.items()) / area
                out[i, j, c] = int(mean + Fraction(1, 2))
    return out


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.integers(1, 7), st.integers(0, 99))
def test_each_pixel_is_the_mean_of_its_area(h: int, w: int, rows: int, columns: int, seed: int) -> None:
    size = (min(rows, h), min(columns, w))
    image = np.random.default_rng(seed).integers(0, 256, (h, w, 2), dtype=np.uint8)
    np.testing.assert_array_equal(resized(image, size), by_definition(image, size))


def test_the_mean_of_a_large_bright_picture_does_not_overflow() -> None:
    white = np.full((2900, 2900, 1), 255, dtype=np.uint8)  # 256 x 2900 x 2900 > 2**31
    assert resized(white, (2, 1)).tolist() == [[[255]], [[255]]]


def test_a_picture_gives_the_same_bits_alone_and_among_others() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 48, 64, 3), dtype=np.uint8)
    together = resized(images, (20, 27))
    assert together.shape == (2, 3, 20, 27, 3)
    for i in range(2):
        for j in range(3):
            np.testing.assert_array_equal(together[i, j], resized(images[i, j], (20, 27)))
    assert resized(np.full((1080, 1920, 1), 255, np.uint8), (96, 96)).min() == 255


@pytest.mark.parametrize("size", [(49, 64), (48, 65), (0, 10), (-1, 10)])
def test_pictures_are_not_made_larger(size: tuple[int, int]) -> None:
    with pytest.raises(DataError, match="only be made smaller"):
        resized(np.zeros((48, 64, 3), np.uint8), size)


def new_set(root: Path, *, length: int = 6, num_episodes: int = 2) -> np.ndarray:
    """Record a data set with a camera; return its pictures end to end."""
    wanted = [episode(seed, length=length, specs=SPECS) for seed in range(num_episodes)]
    with EpisodeStore.create(root, observation=SPECS, action=ACTION_SPEC, control_dt=0.1) as store:
        for one in wanted:
            store.append(one)
        store.compact()
    return np.concatenate([one.observation["observation.images.top"] for one in wanted])


def caches(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npy"))


def test_a_cache_holds_what_the_encoder_reads_and_says_so_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = new_set(tmp_path / "d")
    folder = tmp_path / "d/.cache/steadyhand"
    for size, pixels in (((9, 12), 9 * 12), (None, 30 * 40)):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "steadyhand"):
            frames = open_dataset(tmp_path / "d").frames(picture_size=size)
        found = frames.observation["observation.images.top"]
        np.testing.assert_array_equal(found, images if size is None else resized(images, size))
        assert frames.observation_spec == SPECS
        newest = max(caches(folder), key=lambda path: path.stat().st_mtime_ns)
        assert 0 <= newest.stat().st_size - 12 * pixels * 3 <= 256
        assert len(caplog.records) == 1
        said = caplog.records[0].getMessage()
        assert "12 pictures" in said
        assert str(folder) in said
    caplog.clear()
    open_dataset(tmp_path / "d").frames(picture_size=(9, 12))
    assert not caplog.records  # nothing is written, so nothing is said
    assert len(caches(folder)) == 2


def test_36000_pictures_for_an_encoder_of_96_x_96_take_one_gigabyte() -> None:
    assert 36_000 * 96 * 96 * 3 < 1.2e9


@pytest.mark.parametrize("damage", ["cut", "flipped", "longer", "no note", "foreign note"])
def test_a_damaged_cache_is_not_mapped_but_made_again(tmp_path: Path, damage: str) -> None:
    images = new_set(tmp_path / "d")
    open_dataset(tmp_path / "d").frames()
    (path,) = caches(tmp_path / "d/.cache/steadyhand")
    data = path.read_bytes()
    match damage:
        case "cut":
            path.write_bytes(data[:-5000])
        case "longer":
            path.write_bytes(data + b"x")
        case "flipped":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "no note":
            path.with_suffix(".json").unlink()
        case _:
            note = json.loads(path.with_suffix(".json").read_text())
            path.with_suffix(".json").write_text(json.dumps(note | {"crc32": note["crc32"] ^ 1}))
    frames = open_dataset(tmp_path / "d").frames()
    np.testing.assert_array_equal(frames.observation["observation.images.top"], images)
    assert path.read_bytes() == data


def test_what_the_disk_cannot_hold_is_refused_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_set(tmp_path / "d")
    usage = image_cache.shutil.disk_usage(tmp_path)._replace(free=100_000)
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(image_cache.StoredCamera, "read_all", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"no room[\s\S]*--cache DIR"):
        open_dataset(tmp_path / "d").frames()
    assert not caches(tmp_path / "d/.cache/steadyhand")


@pytest.mark.parametrize("place", ["posix_fallocate", "write"])
def test_a_disk_that_fills_up_meanwhile_is_a_clear_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    new_set(tmp_path / "d")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if place == "write":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(DataError, match="no room"):
        open_dataset(tmp_path / "d").frames()
    assert [path.name for path in (tmp_path / "d/.cache/steadyhand").iterdir()] == [
        ".observation.images.top.lock"
    ]


SMALL_DISK = """
import resource, sys
from pathlib import Path
from steadyhand.core.errors import DataError
from steadyhand.data.dataset import open_dataset
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))
try:
    open_dataset(Path({root!r})).frames()
except DataError as error:
    print("refused" if "no room" in str(error) else error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
def test_a_limit_of_the_system_ends_in_an_error_and_not_in_a_signal(tmp_path: Path) -> None:
    new_set(tmp_path / "d")
    code = SMALL_DISK.format(root=str(tmp_path / "d"), limit=20_000)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "refused"), done.stderr


def test_data_that_cannot_be_written_to_are_cached_in_the_user_s_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = new_set(tmp_path / "d")
    mkdir = Path.mkdir

    def read_only(self: Path, *arguments: object, **options: object) -> None:
        if self.is_relative_to(tmp_path / "d"):
            raise OSError(errno.EROFS, "Read-only file system")
        mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for _ in range(2):
        frames = open_dataset(tmp_path / "d").frames()
        np.testing.assert_array_equal(frames.observation["observation.images.top"], images)
    (folder,) = (tmp_path / "home/steadyhand").iterdir()
    assert len(caches(folder)) == 1
    assert folder.name.startswith("d-")
    assert not (tmp_path / "d/.cache").exists()
    with pytest.raises(DataError, match=r"cannot be kept in[\s\S]*--cache DIR"):
        open_dataset(tmp_path / "d", cache_dir=tmp_path / "d/elsewhere").frames()


def test_stale_pieces_are_removed(tmp_path: Path) -> None:
    new_set(tmp_path / "d", num_episodes=8, length=2)
    folder = tmp_path / "d/.cache/steadyhand"
    folder.mkdir(parents=True)
    left = folder / ".observation.images.top-0123456789abcdef.npy.4711.tmp"
    left.write_bytes(bytes(1000))
    other = folder / ".observation.images.wrist-0123456789abcdef.npy.4711.tmp"
    other.write_bytes(b"")
    for number in range(1, 8):
        open_dataset(tmp_path / "d").frames(episodes=range(number))
    assert not left.exists()
    assert other.exists()  # of another camera, perhaps being written
    assert len(caches(folder)) == 4
    assert len(list(folder.glob("*.json"))) == 4


def test_caches_that_were_read_last_are_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = new_set(tmp_path / "d", num_episodes=6, length=2)
    folder = tmp_path / "d/.cache/steadyhand"

    def is_made(number: int) -> bool:
        caplog.clear()
        with caplog.at_level(logging.WARNING, "steadyhand"):
            frames = open_dataset(tmp_path / "d").frames(episodes=[number])
        expected = images[2 * number : 2 * number + 2]
        np.testing.assert_array_equal(frames.observation["observation.images.top"], expected)
        return bool(caplog.records)

    for number in range(4):
        notes = set(folder.glob("*.json"))
        assert is_made(number)
        (note,) = set(folder.glob("*.json")) - notes
        os.utime(note, (1000 - 100 * number, 1000 - 100 * number))  # the first is the newest
    foreign = folder / "observation.images.top-0123456789abcdef.npy"
    foreign.write_bytes(b"without a note it is as good as none")
    assert not is_made(3)  # which makes it the newest
    assert is_made(4)
    assert not foreign.exists()
    assert is_made(5)
    assert not any(is_made(number) for number in (0, 3, 4, 5))
    assert is_made(1)


def test_a_larger_size_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    new_set(tmp_path / "d")
    with pytest.raises(DataError, match="only be made smaller"):
        open_dataset(tmp_path / "d").frames(picture_size=(30, 41))
    assert not (tmp_path / "d/.cache").exists()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files")
def test_a_cache_is_whole_when_it_is_forced_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new_set(tmp_path / "d", length=1, num_episodes=1)
    forced: list[bytes] = []
    reserved: list[tuple[int, int]] = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: forced.append(Path(f"/proc/self/fd/{handle}").read_bytes())
    )
    monkeypatch.setattr(os, "posix_fallocate", lambda _, first, size: reserved.append((first, size)))
    open_dataset(tmp_path / "d").frames(picture_size=(3, 4))
    (path,) = caches(tmp_path / "d/.cache/steadyhand")
    assert forced == [path.read_bytes()]
    assert reserved == [(0, len(forced[0]))]


def test_a_disk_that_cannot_reserve_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = new_set(tmp_path / "d")

    def unable(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", unable, raising=False)
    found = open_dataset(tmp_path / "d").frames().observation["observation.images.top"]
    np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize(
    ("length", "said"),
    [
        *((5, "2 kB"), (108, "43.2 kB"), (2500, "1 MB"), (3750, "1.5 MB")),
        *((2_500_000, "1 GB"), (3_750_000, "1.5 GB")),
    ],
)
def test_what_pictures_would_take_is_told_in_a_unit_that_suits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int, said: str
) -> None:
    new_set(tmp_path / "d", length=1, num_episodes=1)
    layout = open_dataset(tmp_path / "d").layout
    camera = image_cache.StoredCamera(layout, "observation.images.top", shape=(30, 40, 1))
    total = length * 20 * 20
    usage = image_cache.shutil.disk_usage(tmp_path)._replace(free=total)
    monkeypatch.setattr(image_cache.shutil, "disk_usage", lambda _: usage)
    refs = [replace(layout.episodes[0], length=length)]
    with pytest.raises(DataError, match="no room") as refusal:
        image_cache.cached_images(camera, refs, root=tmp_path / "d", folder=None, size=(20, 20))
    assert f"{length} pictures of observation.images.top at 20 x 20, {said}, decoded" in str(refusal.value)
    assert refusal.value.rest["got"] == f"{said} are free"
