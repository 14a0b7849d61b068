"""Exact frames of a video by index or time, and writing MP4 files (PyAV)."""

import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import Float64, Int64, UInt8, UInt16

from steadyhand.core.errors import DataError
from steadyhand.data.formats.files import missing
from steadyhand.data.formats.images import deep_pixels, grey_samples

VideoCodec = Literal["h264", "av1"]
_ENCODERS: dict[VideoCodec, str] = {"h264": "libx264", "av1": "libsvtav1"}


def has_encoder(codec: VideoCodec) -> bool:
    """Whether the installed PyAV can write this codec."""
    return _ENCODERS[codec] in av.codecs_available


def _damaged(path: Path, why: object) -> DataError:
    return DataError(
        f"{path} is damaged or not a video.",
        got=why,
        hint="restore it from a copy, or train without this camera",
    )


def _turned(path: Path, degrees: int) -> DataError:
    return DataError(
        f"{path} is to be turned when it is shown, which some readers do and others do not.",
        got=f"a rotation of {degrees} degrees in its metadata",
        expected="frames that are stored upright",
        hint="encode it anew as it is to be seen, or train without this camera",
    )


def _open(path: Path) -> tuple[InputContainer, VideoStream]:
    if not path.is_file():
        raise missing(path)
    try:
        # FFmpeg would take "12:30.mp4" for a protocol; what a file says of itself in words is not looked at.
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (FFmpegError, OSError) as error:
        raise _damaged(path, error) from error
    if not container.streams.video:
        container.close()
        raise _damaged(path, "no video stream")
    stream = container.streams.video[0]
    if getattr(stream, "codec_context", None) is None:
        container.close()
        raise _damaged(path, "no codec that is known")
    stream.thread_type = "SLICE"  # frame threads hold frames back, which makes exact seeking slow
    options = {"err_detect": "explode"}  # or the decoder makes up what is damaged
    if "av1" in str(stream.codec_context.name):
        options["strict"] = "strict"  # dav1d then also looks at what is left at the end of a frame
    stream.codec_context.options = options
    return container, stream


class VideoReader:
    """One video file, open, with the presentation time of every frame known.

    Raises:
        DataError: Missing, damaged, or without frames.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container, self._stream = _open(path)
        why: object = "no frame that can be decoded"
        try:
            packets = sorted(
                (packet.pts, packet.is_keyframe)
                for packet in self._container.demux(self._stream)
                if packet.pts is not None and not packet.is_discard
            )
        except FFmpegError as error:
            packets, why = [], error
        self._pts = np.array([pts for pts, _ in packets], dtype=np.int64)
        self._keys = np.flatnonzero([is_key for _, is_key in packets])
        time_base = self._stream.time_base
        if time_base is None or 0 not in self._keys:
            self.close()
            raise _damaged(path, why)
        self._time_base = time_base
        self._reformatter = VideoReformatter()  # one for all frames: setting it up costs more than its work
        self.height, self.width = self._stream.height, self._stream.width

    def __len__(self) -> int:
        return len(self._pts)

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    @property
    def timestamps(self) -> Float64[np.ndarray, " n"]:
        """Presentation time of each frame [s]."""
        return self._pts * float(self._time_base)

    def nearest(
        self, timestamps: Float64[np.ndarray, " n"]
    ) -> tuple[Int64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
        """Return the frame shown nearest to each time [s], and how far it is [s]; infinitely far from NaN.

        Of two that are equally near it is the earlier.
        """
        available = self.timestamps
        place = np.searchsorted(available, timestamps)
        left, right = (place - 1).clip(min=0), place.clip(max=len(available) - 1)
        nearer_right = np.abs(available[right] - timestamps) < np.abs(available[left] - timestamps)
        index = np.where(nearer_right, right, left).astype(np.int64)
        distance = np.abs(available[index] - timestamps)
        return index, np.where(np.isnan(distance), np.inf, distance)

    def frames(self, indices: Int64[np.ndarray, " n"]) -> UInt8[np.ndarray, "n h w 3"]:
        """Return RGB frames in the order of `indices`, the same pixels that decoding from the start gives.

        Raises:
            DataError: An index out of range, a damaged stream, or grey values of more than 8 bits.
        """
        if self.pixels.startswith("gray") and self.pixels not in ("gray", "gray8"):
            raise deep_pixels(str(self.path), self.pixels)

        def rgb(frame: VideoFrame) -> np.ndarray:
            return self._reformatter.reformat(frame, format="rgb24").to_ndarray()

        return self._chosen(indices, rgb, shape=(self.height, self.width, 3), dtype=np.uint8)

    def samples(self, indices: Int64[np.ndarray, " n"]) -> UInt16[np.ndarray, "n h w"]:
        """Return the numbers of grey frames as they are stored, without loss.

        Raises:
            DataError: An index out of range, a damaged stream, or a video in colour.
        """

        def stored(frame: VideoFrame) -> np.ndarray:
            return grey_samples(frame, name=str(self.path))

        return self._chosen(indices, stored, shape=(self.height, self.width), dtype=np.uint16)

    @property
    def pixels(self) -> str:
        """The pixel format, such as yuv420p or gray12le."""
        return str(self._stream.codec_context.pix_fmt)

    def _chosen(
        self,
        indices: np.ndarray,
        read: Callable[[VideoFrame], np.ndarray],
        *,
        shape: tuple[int, ...],
        dtype: type[np.unsignedinteger],
    ) -> np.ndarray:
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise DataError(
                f"{self.path} has too few frames.",
                got=int(indices.max() if indices.min() >= 0 else indices.min()),
                expected=f"0 to {len(self) - 1}",
            )
        wanted, place = np.unique(indices, return_inverse=True)
        out = np.empty((len(wanted), *shape), dtype=dtype)
        try:
            filled = self._decode(wanted, out, read)
        except FFmpegError as error:
            raise _damaged(self.path, error) from error
        if filled < len(wanted):
            raise _damaged(self.path, f"frame {int(wanted[filled])} of {len(self)} cannot be decoded")
        return out if np.array_equal(wanted, indices) else out[place]

    def _decode(self, wanted: np.ndarray, out: np.ndarray, read: Callable[[VideoFrame], np.ndarray]) -> int:
        filled, reached = 0, -1
        while filled < len(wanted):
            key = self._key_of(wanted[filled])
            if key <= reached:
                return filled
            reached = key
            self._container.seek(int(self._pts[key]), stream=self._stream)
            for frame in self._container.decode(self._stream):
                if frame.pts is None:
                    continue
                reached = max(reached, int(np.searchsorted(self._pts, frame.pts, side="right")) - 1)
                if frame.pts != self._pts[wanted[filled]]:
                    continue
                if frame.is_corrupt:
                    raise _damaged(self.path, f"frame {int(wanted[filled])} of {len(self)} is corrupt")
                if frame.rotation:
                    raise _turned(self.path, frame.rotation)
                out[filled] = read(frame)
                filled += 1
                if filled == len(wanted):
                    break
                if self._key_of(wanted[filled]) > reached + 1:
                    break
        return filled

    def _key_of(self, index: np.int64) -> int:
        """Return the frame from which on to decode for a frame."""
        return int(self._keys[np.searchsorted(self._keys, index, side="right") - 1])


class Mp4Writer:
    """Encodes frames as they come; the file appears under its name when it is closed.

    Args:
        path: File to write.
        height: Height of a frame [pixel].
        width: Width of a frame [pixel].
        fps: Frames a second.
        codec: "h264" (every browser plays it) or "av1" (LeRobot's default).
        crf: Constant rate factor; lower is better.
        gop: A key frame at least every so many frames; 2 makes random access cheap.
        preset: The encoder's own word for how much time it takes; the default leaves the choice to us.

    Odd sizes are padded by repeating the last row or column for "h264", which needs even ones.
    """

    def __init__(
        self,
        path: Path,
        *,
        height: int,
        width: int,
        fps: float | int,
        codec: VideoCodec = "h264",
        crf: int = 23,
        gop: int = 12,
        preset: str = "",
    ) -> None:
        if not has_encoder(codec):
            raise DataError(
                "The installed PyAV cannot write this codec.",
                got=codec,
                available=[name for name in _ENCODERS if has_encoder(name)],
            )
        self.path = path
        self._shape = (height, width)
        self._pad = (height % 2, width % 2) if codec == "h264" else (0, 0)
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        if codec == "av1":
            os.environ.setdefault("SVT_LOG", "1")  # its banner would fill the terminal
        self._container = av.open(
            f"file:{self._temporary}", "w", format="mp4", options={"movflags": "faststart"}
        )
        options = {"crf": str(crf), "g": str(gop)}
        if preset or codec == "av1":
            options["preset"] = preset or "12"
        rate = Fraction(fps).limit_denominator(100_000)
        self._time_base = 1 / rate
        stream = self._container.add_stream(_ENCODERS[codec], rate=rate, options=options)
        assert isinstance(stream, VideoStream), "the encoders above are video encoders"
        self._stream = stream
        self._stream.height, self._stream.width = height + self._pad[0], width + self._pad[1]
        self._stream.pix_fmt = "yuv420p"
        self.num_frames = 0

    def add(self, frame: UInt8[np.ndarray, "h w c"], *, key: bool = False) -> None:
        """Append one RGB (3 channels) or grey (1 channel) frame; `key` forces a key frame."""
        if frame.shape[:2] != self._shape or frame.shape[2] not in (1, 3):
            raise DataError(
                "A video frame has the wrong shape.", got=frame.shape, expected=(*self._shape, "1 or 3")
            )
        if frame.shape[2] == 1:
            frame = np.repeat(frame, 3, axis=2)
        if any(self._pad):
            frame = np.pad(frame, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge")
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = self.num_frames
        picture.time_base = self._time_base
        if key:
            picture.pict_type = PictureType.I
        for packet in self._stream.encode(picture):
            self._container.mux(packet)
        self.num_frames += 1

    @property
    def size_bytes(self) -> int:
        """Bytes written so far; the encoder may hold some back."""
        return self._temporary.stat().st_size if self._temporary.exists() else 0

    def close(self) -> None:
        """Finish the file and give it its name."""
        for packet in self._stream.encode():
            self._container.mux(packet)
        self._container.close()
        self._temporary.replace(self.path)

    def discard(self) -> None:
        """Drop what was written."""
        self._container.close()
        self._temporary.unlink(missing_ok=True)


def write_mp4(
    path: Path,
    frames: Iterable[UInt8[np.ndarray, "h w c"]],
    *,
    fps: float | int,
    codec: VideoCodec = "h264",
    crf: int = 23,
    gop: int = 12,
) -> int:
    """Write frames to an MP4 file (yuv420p, so browsers play it) and return how many there were.

    It is for films: H.264 is asked for "veryfast", half the time for the same size.

    Args:
        path: File to write; it appears when it is complete.
        frames: Frames of one size, grey or RGB; odd sizes are allowed.
        fps: Frames a second.
        codec: "h264" or "av1".
        crf: Constant rate factor; lower is better.
        gop: Distance of key frames.

    Raises:
        DataError: No frames, or frames of different sizes.
    """
    writer: Mp4Writer | None = None
    try:
        for frame in frames:
            if writer is None:
                height, width = frame.shape[:2]
                preset = "veryfast" if codec == "h264" else ""
                writer = Mp4Writer(
                    path, height=height, width=width, fps=fps, codec=codec, crf=crf, gop=gop, preset=preset
                )
            writer.add(frame)
    except BaseException:
        if writer is not None:
            writer.discard()
        raise
    if writer is None:
        raise DataError("A video needs at least one frame.", got=0)
    writer.close()
    return writer.num_frames
