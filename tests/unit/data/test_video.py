"""Frames by index and time against decoding from the start; PNG against Pillow."""

import io
import os
from collections.abc import Sequence
from fractions import Fraction
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


@pytest.mark.parametrize("indices", [[5], [0, 5], [-1], [4, -1, 2]])
def test_a_frame_that_is_not_there_is_refused(tmp_path: Path, indices: list[int]) -> None:
    path = tmp_path / "clip.mp4"
    write_mp4(path, clip(5), fps=10)
    with pytest.raises(DataError, match="too few frames") as error:
        decode_frames(path, indices=indices)
    assert error.value.rest["got"] == (5 if 5 in indices else -1)
    assert decode_frames(path, indices=np.array([], dtype=np.int64)).shape == (0, 48, 64, 3)


def test_the_nearest_frame_of_a_time_and_its_distance_are_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_mp4(path, clip(5), fps=8)
    with VideoReader(path) as video:
        assert (len(video), video.height, video.width) == (5, 48, 64)
        np.testing.assert_array_equal(video.timestamps, np.arange(5) / 8)
        # Before the first, at it, near it, between two (the earlier), near the next, behind the last.
        times = np.array([-0.3, 0.0, 0.02, 0.0625, 0.07, 0.26, 0.49, 0.7, np.nan])
        index, distance = video.nearest(times)
        assert index[:-1].tolist() == [0, 0, 0, 0, 1, 2, 4, 4]
        expected = [0.3, 0.0, 0.02, 0.0625, 0.055, 0.01, 0.01, 0.2, np.inf]
        np.testing.assert_allclose(distance, expected, atol=1e-12)
    write_mp4(path, clip(1), fps=8)
    with VideoReader(path) as video:
        index, distance = video.nearest(np.array([-1.0, 0.0, 2.0]))
        assert (index.tolist(), distance.tolist()) == ([0, 0, 0], [1.0, 0.0, 2.0])


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
    for frames in ([*clip(2), clip(1, 20)[0]], [*clip(70), clip(1, 20)[0]]):
        with pytest.raises(DataError) as error:
            write_mp4(tmp_path / "a.mp4", frames, fps=10)
        assert list(tmp_path.iterdir()) == []
        assert held(tmp_path) == [], error  # which holds what was alive when it came


def held(folder: Path) -> list[Path]:
    """Return the files of a folder that this process has open."""
    links = [path for path in list(Path("/proc/self/fd").iterdir()) if path.is_symlink()]
    return [path.readlink() for path in links if str(path.readlink()).startswith(str(folder))]


def write_without(path: Path, kind: str) -> None:
    """Write a file that lacks what a video has; FFmpeg tells by the content which format it is."""
    container = av.open(str(path), "w", format="avi" if kind == "no frames" else "mp4")
    with container:
        if kind == "no video":
            stream = container.add_stream("aac", rate=8000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 8000
            container.mux([*stream.encode(frame), *stream.encode()])
        else:
            stream = container.add_stream("libx264", rate=10, options={"g": "50"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            container.start_encoding()
        if kind == "no key":
            frames = [av.VideoFrame.from_ndarray(image, format="rgb24") for image in clip(5)]
            packets = [packet for frame in frames for packet in stream.encode(frame)] + stream.encode()
            container.mux(packets[1:])


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux lists open files")
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("no video", "no video stream"),
        ("no codec", "no codec that is known"),
        ("no key", "no frame that can be decoded"),
        ("no frames", "no frame that can be decoded"),
    ],
)
def test_what_is_no_video_is_refused_and_left(tmp_path: Path, kind: str, why: str) -> None:
    path = tmp_path / "clip.mp4"
    write_mp4(path, clip(5), fps=10)
    with VideoReader(path) as video:
        assert held(tmp_path) == [path]
    assert (held(tmp_path), len(video)) == ([], 5)
    if kind == "no codec":
        path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    else:
        write_without(path, kind)
    with pytest.raises(DataError, match="damaged or not a video") as error:
        VideoReader(path)
    assert str(error.value.rest["got"]) == why
    assert held(tmp_path) == [], error


def stripes(height: int, width: int) -> np.ndarray:
    """Return a grey pattern in which no two neighbouring rows or columns are alike."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.repeat((60 * (rows % 3) + 40 * (columns % 2) + 30)[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(33, 48), (32, 47), (33, 47)])
def test_odd_sizes_are_padded_by_their_last_row_and_column(tmp_path: Path, height: int, width: int) -> None:
    frame = stripes(height, width)
    write_mp4(tmp_path / "deep/er/a.mp4", [frame], fps=10, crf=1)
    (found,) = decode_frames(tmp_path / "deep/er/a.mp4").astype(int)
    assert found.shape == (height + height % 2, width + width % 2, 3)
    expected = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    assert np.abs(found - expected).max() <= 6


@pytest.mark.skipif(not has_encoder("av1"), reason="PyAV without SVT-AV1")
def test_av1_keeps_odd_sizes_and_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SVT_LOG", raising=False)  # which the encoder looks at but once in a process
    write_mp4(tmp_path / "a.mp4", clip(1), fps=10)
    assert "SVT_LOG" not in os.environ
    write_mp4(tmp_path / "a.mp4", clip(3, 65, 67), fps=10, codec="av1")
    assert decode_frames(tmp_path / "a.mp4").shape == (3, 65, 67, 3)
    assert os.environ["SVT_LOG"] == "1"
    assert capfd.readouterr() == ("", "")


def test_a_film_says_how_it_was_encoded(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_mp4(path, clip(3), fps=29.97, crf=17, gop=9)
    told = path.read_bytes()
    for setting in (b"crf=17.0 ", b"keyint=9 ", b"subme=2 ", b"me=hex "):  # the last two by "veryfast"
        assert setting in told
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == Fraction(2997, 100)
    with pytest.raises(DataError, match="wrong shape"):
        write_mp4(path, [np.zeros((48, 64, 4), dtype=np.uint8)], fps=10)


def test_a_codec_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", {"libx264"})
    assert [has_encoder(codec) for codec in ("h264", "av1")] == [True, False]
    with pytest.raises(DataError, match="cannot write this codec") as error:
        write_mp4(tmp_path / "a.mp4", clip(1), fps=10, codec="av1")
    assert error.value.rest["available"] == ["h264"]


def test_frames_are_in_the_order_of_their_times_whatever_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:  # B-frames are stored after the one that follows them
        stream = container.add_stream("libx264", rate=10, options={"bf": "3", "g": "50", "b-adapt": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, image in enumerate(clip(14)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        stored = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stored != sorted(stored)
    whole = sequential(path)
    for indices in (np.arange(14), np.array([9, 2, 2, 13]), np.array([0]), np.array([1, 2])):
        np.testing.assert_array_equal(decode_frames(path, indices=indices), whole[indices])


@pytest.mark.parametrize("word", [b"Lavf", b"VideoHandler"])
def test_words_that_are_no_text_do_not_keep_a_video_from_being_read(tmp_path: Path, word: bytes) -> None:
    path = tmp_path / "a.mp4"
    write_mp4(path, clip(3), fps=10)
    data = path.read_bytes()
    assert data.count(word) == 1
    whole = decode_frames(path)
    path.write_bytes(data.replace(word, b"\xff" * len(word)))
    np.testing.assert_array_equal(decode_frames(path), whole)


def test_a_video_that_loses_its_end_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    write_mp4(path, noise, fps=10, crf=1, gop=5)
    with VideoReader(path) as video:
        os.truncate(path, 5000)
        for indices in ([30], [0], [1, 39]):
            with pytest.raises(DataError, match="is damaged"):
                video.frames(np.array(indices))
