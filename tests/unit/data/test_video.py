"""Frames by index and time against decoding from the start; PNG against Pillow."""

import io
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from steadyhand.core.errors import DataError
from steadyhand.data.formats.images import decode_image
from steadyhand.data.formats.png import encode_png
from steadyhand.data.formats.video import VideoReader, has_encoder, write_mp4
from toy_episodes import smooth_image


def sequential(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def decode_frames(path: Path, *, indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    with VideoReader(path) as video:
        return video.frames(np.arange(len(video)) if indices is None else np.asarray(indices))


def clip(length: int, height: int = 48, width: int = 64, channels: int = 3) -> list[np.ndarray]:
    return [smooth_image(height, width, channels, t / 3) for t in range(length)]


@pytest.mark.parametrize(("codec", "gop"), [("h264", 12), ("h264", 2), ("av1", 2), ("av1", 20)])
def test_any_index_equals_decoding_from_the_start(tmp_path: Path, codec: str, gop: int) -> None:
    if not has_encoder(codec):
        pytest.skip(f"PyAV was built without {codec}")
    path = tmp_path / "clip.mp4"
    assert write_mp4(path, clip(53), fps=10, codec=codec, gop=gop) == 53
    whole = sequential(path)
    rng = np.random.default_rng(0)
    for indices in ([0], [52], [13, 14, 15], [40, 3, 3, 52, 0], rng.permutation(53)[:20]):
        np.testing.assert_array_equal(decode_frames(path, indices=indices), whole[np.asarray(indices)])
    np.testing.assert_array_equal(decode_frames(path), whole)


def test_frames_written_by_lerobot_equal_sequential_decoding(shared_data: Path) -> None:
    path = shared_data / "written-by-peers/lerobot-v30-video/videos/observation.image/chunk-000/file-000.mp4"
    whole = sequential(path)
    indices = np.random.default_rng(1).integers(0, len(whole), 30)
    np.testing.assert_array_equal(decode_frames(path, indices=indices), whole[indices])


def test_the_nearest_frame_of_a_time_and_its_distance_are_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_mp4(path, clip(5), fps=10)
    with pytest.raises(DataError, match="too few frames"):
        decode_frames(path, indices=[5])
    with VideoReader(path) as video:
        assert len(video) == 5
        np.testing.assert_allclose(video.timestamps, np.arange(5) / 10, atol=1e-6)
        index, distance = video.nearest(np.array([0.0, 0.11, 0.26, 0.7, np.nan]))
        assert index[:4].tolist() == [0, 1, 3, 4]
        np.testing.assert_allclose(distance, [0.0, 0.01, 0.04, 0.3, np.inf], atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(47, 63), (48, 63), (47, 64), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_odd_sizes_and_grey_are_written_for_browsers(
    tmp_path: Path, height: int, width: int, channels: int
) -> None:
    path = tmp_path / "odd.mp4"
    frames = clip(4, height, width, channels)
    write_mp4(path, frames, fps=25, crf=10)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 25
    found = decode_frames(path)[:, :height, :width]
    assert np.abs(found.astype(int) - np.stack(frames).astype(int)).mean() < 6


def test_nothing_is_left_of_a_failed_video(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one frame"):
        write_mp4(tmp_path / "a.mp4", [], fps=10)
    with pytest.raises(DataError, match="wrong shape"):
        write_mp4(tmp_path / "a.mp4", [*clip(2), clip(1, 20)[0]], fps=10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["missing", "empty", "noise", "truncated", "cut after index"])
def test_broken_videos_are_data_errors(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "clip.mp4"
    write_mp4(path, clip(40), fps=10)
    data = path.read_bytes()
    match kind:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "noise":
            path.write_bytes(np.random.default_rng(0).bytes(4000))
        case "truncated":
            path.write_bytes(data[:300])
        case _:
            path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(DataError):
        decode_frames(path, indices=[39])


def test_most_damage_within_a_video_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_mp4(path, clip(40), fps=10, gop=40)
    data = path.read_bytes()
    refused = 0
    for place in np.random.default_rng(0).integers(data.index(b"mdat") + 804, len(data) - 60, 8).tolist():
        flipped = bytes(byte ^ 0xA5 for byte in data[place : place + 30])
        path.write_bytes(data[:place] + flipped + data[place + 30 :])
        try:
            decode_frames(path)
        except DataError:
            refused += 1
    assert refused >= 6, "h264 has no checksums, so that some of it cannot be seen"


@pytest.mark.skipif(not has_encoder("av1"), reason="PyAV without SVT-AV1")
def test_a_flipped_bit_in_av1_as_lerobot_writes_it_is_seen(tmp_path: Path) -> None:
    """Without strictness dav1d decodes 5 of these 60 to other pixels, without a word."""
    path = tmp_path / "clip.mp4"
    noise = np.random.default_rng(0).normal(0, 6, (12, 48, 64, 3))
    across = 128 + 80 * np.sin(
        np.arange(64)[None, None, :, None] / 9 + np.arange(12)[:, None, None, None] / 5
    )
    frames = (across + noise).clip(0, 255).astype(np.uint8)
    write_mp4(path, frames, fps=10, codec="av1", gop=2, crf=30)
    decode_frames(path)
    data = path.read_bytes()
    with av.open(str(path)) as file:
        packets = [(p.pos, p.size) for p in file.demux(video=0) if p.size > 200 and p.pos is not None]
    random = np.random.default_rng(1)
    for _ in range(60):
        start, size = packets[random.integers(len(packets))]
        place = start + int(random.integers(30, size - 1))
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(DataError, match="damaged"):
            decode_frames(path)


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]))))
def test_png_round_trip_and_pillow_agree(image: np.ndarray) -> None:
    data = encode_png(image)
    np.testing.assert_array_equal(decode_image(data, shape=image.shape, name="it"), image)
    theirs = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(theirs.reshape(image.shape), image)


def test_png_by_pillow_is_read() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (31, 17, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=True)
    for _ in range(3):
        np.testing.assert_array_equal(decode_image(buffer.getvalue(), shape=(31, 17, 3), name="it"), image)
    palette = io.BytesIO()
    Image.fromarray(image).convert("P").save(palette, format="PNG")
    assert decode_image(palette.getvalue(), shape=(31, 17, 3), name="it").shape == (31, 17, 3)


def test_broken_png_is_a_data_error() -> None:
    data = encode_png(smooth_image(20, 30, 3, 0))
    for broken in (b"", data[:20], data[:60], data[:-12], b"JFIF" + data, data[:50] + b"\0\0" + data[52:]):
        with pytest.raises(DataError):
            decode_image(broken, shape=(20, 30, 3), name="it")
    with pytest.raises(DataError, match="another size"):
        decode_image(data, shape=(30, 20, 3), name="it")
    with pytest.raises(DataError, match="1 or 3"):
        encode_png(np.zeros((2, 2, 4), dtype=np.uint8))


@pytest.mark.parametrize("name", ["12:30:00", "a b", "données_数据", "per%03dcent", "br{ace}s", "concat:a|b"])
def test_any_name_of_a_folder_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name) / "clip.mp4"  # relative, so that the odd name comes first
    assert write_mp4(path, clip(5), fps=10) == 5
    assert decode_frames(path).shape == (5, 48, 64, 3)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files")
def test_a_video_that_was_given_up_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        write_mp4(tmp_path / "a.mp4", [*clip(2), clip(1, 20)[0]], fps=10)
    assert list(tmp_path.iterdir()) == []
    open_now = [path for path in list(Path("/proc/self/fd").iterdir()) if path.is_symlink()]
    assert not [path for path in open_now if str(path.readlink()).startswith(str(tmp_path))]
