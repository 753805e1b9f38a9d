"""Reading video files: what they hold, and whether it is whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from sst.upscaling.readable import read_start
from sst.upscaling.videos.orientation import turn_of
from sst.upscaling.videos.wholeness import missing_bytes
from sst.utils.errors import UserError
from sst.utils.files import is_text, one_line
from sst.utils.optional import require

if TYPE_CHECKING:
    from av import CodecContext, Packet, VideoFrame
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

VIDEO_ENDINGS = (
    *('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.avi', '.3gp', '.flv', '.m2ts', '.mts', '.ts', '.mpg', '.mpeg'),
    *('.ogv', '.wmv'),
)
_OLDEST_PYAV = 18  # earlier ones shift the colours of BT.2020 and lack ways to copy streams
KEEP_BYTES = 'surrogateescape'  # metadata that is no UTF-8 comes out as it went in


@dataclass(frozen=True)
class VideoInfo:
    """What a video holds, as a player shows it."""

    width: int  # pixels, the right way up
    height: int
    frames: int | None  # where the file does not tell: duration times rate, or None
    duration: float | None  # seconds
    fps: float | None  # the mean, where the rate varies


def is_video(path: str | os.PathLike) -> bool:
    """Whether a name ends like a video's."""
    return Path(path).suffix.lower() in VIDEO_ENDINGS


def probe(path: str | os.PathLike) -> VideoInfo:
    """Examine a video, and decode no more than its first frame.

    Raises:
        UserError: one line that names the file and what is wrong: PyAV is missing; no file, no video, cut off, damaged.
    """
    path = Path(path)
    with opened(path) as container:
        video = main_stream(container, path)
        for packet in packets(container, path, [video]):
            for frame in decoded(packet, path):
                width, height = frame.width, frame.height
                if turn_of(frame).transposed:
                    width, height = height, width
                rate = video.average_rate or video.guessed_rate
                duration = _duration(container, video)
                return VideoInfo(width, height, frame_count(container, video), duration, float(rate) if rate else None)
    raise no_frames(path)


def no_frames(path: Path) -> UserError:
    return UserError(f'{path}: holds no frame that can be decoded: fetch or copy it again')


@contextmanager
def opened(path: Path) -> Iterator['InputContainer']:
    """Open a video file after its name and first bytes have been checked. Raises `UserError`."""
    require('av', 'open', 'video', f'{path}: a video')
    import av

    version = av.__version__.partition('.')[0]
    if not version.isdecimal() or int(version) < _OLDEST_PYAV:
        raise UserError(
            f'{path}: videos need PyAV {_OLDEST_PYAV} or later, not {av.__version__}; '
            "run: pip install --upgrade 'sst-sr[video]'"
        )
    _check(path)
    try:
        # `file:`, because a name with a colon is an address for FFmpeg
        container = av.open(f'file:{path}', 'r', metadata_errors=KEEP_BYTES)
    except (av.error.FFmpegError, ValueError) as fault:
        raise UserError(
            f'{path}: cannot be read as a video ({_said(fault)}); it is damaged or of another kind: fetch or copy '
            'it again'
        ) from fault
    with container:
        yield container


def _check(path: Path) -> None:
    head = read_start(path, 'video', 4096)
    if is_text(head):
        raise UserError(f'{path}: cannot be read as a video; it is a text file')
    try:
        missing = missing_bytes(path)
    except OSError as fault:
        raise UserError(f'{path}: cannot be read: {one_line(fault)}') from fault
    if missing:
        raise UserError(f'{path}: is cut off: its last {missing:,} bytes are missing; fetch or copy it again')


def _said(fault: Exception) -> str:
    return str(getattr(fault, 'strerror', None) or one_line(fault))


def main_stream(container: 'InputContainer', path: Path) -> 'VideoStream':
    """The first video stream that is not a cover picture. Raises `UserError` if the file has no such stream."""
    for stream in container.streams.video:
        if not is_cover(stream):
            if context_of(stream) is None:
                raise UserError(f'{path}: its video is of a codec that PyAV cannot decode; convert it to H.264 first')
            return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise UserError(f'{path}: holds no video, only: {", ".join(kinds) or "nothing"}')


def context_of(stream: 'Stream') -> 'CodecContext | None':
    """A stream's codec. It is None if FFmpeg has no codec for it, which PyAV's types do not say."""
    return stream.codec_context


def is_cover(stream: 'Stream') -> bool:
    """Whether a stream is a cover picture."""
    from av.stream import Disposition

    return stream.type == 'video' and bool(stream.disposition & Disposition.attached_pic)


def packets(container: 'InputContainer', path: Path, streams: list['Stream']) -> Iterator['Packet']:
    """All packets in the order of the file, then an empty one for each stream. Raises `UserError` if one is damaged."""
    import av

    demuxer = container.demux(*streams)
    at = 0.0
    while True:
        try:
            packet = next(demuxer)
        except StopIteration:
            return
        except av.error.FFmpegError as fault:
            raise _damaged(path, at, _said(fault)) from fault
        if packet.pts is not None:
            at = float(packet.pts * packet.time_base)
        if packet.is_corrupt:
            raise _damaged(path, at, 'a packet is incomplete')
        yield packet


def decoded(packet: 'Packet', path: Path) -> list['VideoFrame']:
    """The frames that a packet completes. Raises `UserError` if one is damaged, even if a decoder could conceal it."""
    import av

    at = float((packet.pts or 0) * packet.time_base)
    try:
        frames: list[VideoFrame] = packet.decode()
    except av.error.FFmpegError as fault:
        raise _damaged(path, at, _said(fault)) from fault
    for frame in frames:
        if frame.is_corrupt:
            raise _damaged(path, at if frame.time is None else frame.time, 'a frame is incomplete')
    return frames


def _damaged(path: Path, seconds: float, what: str) -> UserError:
    return UserError(
        f'{path}: is damaged at about {seconds:.1f} s ({what}), nothing is written; fetch or copy it again, or cut the '
        'damage out'
    )


def frame_count(container: 'InputContainer', video: 'VideoStream') -> int | None:
    """The number of frames: as the file states it, or an estimate, or None."""
    for key, text in video.metadata.items():
        if key.startswith('NUMBER_OF_FRAMES') and text.isdecimal():
            return int(text)
    duration, rate = _duration(container, video), video.average_rate
    return video.frames or (round(duration * rate) if duration and rate else None)


def _duration(container: 'InputContainer', video: 'VideoStream') -> float | None:
    if video.duration and video.time_base:
        return float(video.duration * video.time_base)
    return float(Fraction(container.duration, 1_000_000)) if container.duration else None


def end_of(container: 'InputContainer') -> Fraction:
    """When the longest of a file's streams ends, in seconds on its own clock; 0 if the file does not say."""
    if not container.duration:
        return Fraction(0)
    from_zero = any(name in container.format.name for name in ('mov', 'matroska'))  # others tell the time in between
    return Fraction(container.duration + (0 if from_zero else container.start_time or 0), 1_000_000)
