"""Writing video files. Frames are encoded; everything else is copied packet by packet."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from sst.upscaling.videos.colours import LIMITED, Colours, from_rgb
from sst.upscaling.videos.source import KEEP_BYTES, context_of, is_cover
from sst.utils.errors import UserError
from sst.utils.files import why_unwritable

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

FORMATS = {'.mp4': 'mp4', '.m4v': 'mp4', '.mov': 'mov', '.mkv': 'matroska', '.webm': 'webm'}
LARGEST_CRF = {'libx264': 51, 'libvpx-vp9': 63}
_OPTIONS = {'libx264': {'preset': 'medium'}, 'libvpx-vp9': {'row-mt': '1', 'cpu-used': '2'}}
_ADVICE = 'make room, correct the rights or choose another folder'
_WRITTEN_ANEW = ('major_brand', 'minor_version', 'compatible_brands', 'encoder')
_OF_OLD_FRAMES = ('BPS', 'DURATION', 'NUMBER_OF_', '_STATISTICS_', 'encoder', 'rotate', 'vendor_id', 'alpha_mode')
_LARGEST_TIMESCALE = 2**31 - 1


def codec_of(path: Path) -> str:
    """The encoder for a file name's ending. Raises `UserError` if such files cannot be written."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f'cannot write {path}: {path.suffix or "no ending"} cannot be written, use one of these endings: '
            f'{", ".join(FORMATS)}'
        )
    return 'libvpx-vp9' if path.suffix.lower() == '.webm' else 'libx264'


def unwritable(path: Path, fault: Exception) -> UserError:
    return UserError(f'cannot write {path}: {why_unwritable(fault)}; {_ADVICE}')


class Target:
    """A video that is being written. Every method raises `UserError` if the file cannot be written.

    Args:
        path: as the user calls it; its ending says the format.
        temporary: where it is written.
        source: whose streams are copied; `video` of them is the one that is enlarged.
        crf: constant rate factor of the encoder.
    """

    def __init__(
        self,
        path: Path,
        temporary: Path,
        source: 'InputContainer',
        video: 'VideoStream',
        crf: int,
        notes: dict[str, None],
    ) -> None:
        import av

        self.path, self.source, self.video, self.notes = path, source, video, notes
        self.format = FORMATS[path.suffix.lower()]
        self.codec = codec_of(path)
        self.started = False
        self.waiting: list[Packet] = []  # until the first frame tells the size
        self.durations: dict[int, int] = {}  # of frames within the encoder, by their time
        self.held: VideoFrame | None = None  # until the next one tells how long it is shown
        self.held_pts = self.held_duration = 0
        self.tick = video.time_base or Fraction(1, 1000)  # seconds
        self.even = self.codec == 'libx264'
        self.copies: dict[int, Stream] = {}  # by the index of their source
        with self._writing():
            self.container = av.open(
                f'file:{temporary}',
                'w',
                format=self.format,
                container_options=self._options(),
                metadata_errors=KEEP_BYTES,
            )
            self.encoder: VideoStream
            for stream in source.streams:
                if stream.index == video.index:
                    self.encoder = self._encoder(crf)
                else:
                    self._add(stream)
            self._describe()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.error.FFmpegError, ValueError) as fault:
            raise unwritable(self.path, fault) from fault

    def _options(self) -> dict[str, str]:
        """Options that keep MP4's times exact: its clocks tick at least as finely as those of the source."""
        if self.format not in ('mp4', 'mov'):
            return {'avoid_negative_ts': 'disabled'}
        rates = [stream.codec_context.sample_rate for stream in self.source.streams.audio if context_of(stream)]
        common = math.lcm(1000, self.tick.denominator, *(rate for rate in rates if rate))
        options = {'video_track_timescale': str(self.tick.denominator)}
        if common <= _LARGEST_TIMESCALE:
            options['movie_timescale'] = str(common)
        if any('.' in key for key in self.source.metadata):  # QuickTime's way, which phones use
            options['movflags'] = 'use_metadata_tags'
        return options

    def _encoder(self, crf: int) -> 'VideoStream':
        rate = self.video.average_rate or self.video.guessed_rate
        options = {'crf': str(crf), **_OPTIONS[self.codec]}
        encoder = cast('VideoStream', self.container.add_stream(self.codec, rate=rate, options=options))
        encoder.time_base = self.tick
        encoder.codec_context.time_base = self.tick
        encoder.codec_context.thread_type = 'AUTO'  # PyAV's own choice, slices, costs quality
        encoder.disposition = self.video.disposition
        encoder.metadata.update(_kept(self.video.metadata, _OF_OLD_FRAMES))
        return encoder

    def _add(self, stream: 'Stream') -> None:
        """Copy a stream, or note that it cannot be copied."""
        matroska = self.format in ('matroska', 'webm')
        if stream.type == 'data':
            chapters = self.source.chapters() and stream.name == 'bin_data'  # MP4's chapters, which are copied as such
            if not chapters:
                self._note('data streams (time codes, positions and the like) are left out')
        elif stream.type == 'video' and not is_cover(stream):
            self._note('of several video streams only the first is enlarged, the others are left out')
        elif context_of(stream) is None and stream.type != 'attachment':
            self._note(f'a stream of kind {stream.type}, whose codec PyAV does not know, is left out')
        elif is_cover(stream) and self.format == 'matroska':
            pass  # becomes an attachment when its packet comes
        elif not self._takes(stream):
            self._refuse(stream)
        else:
            copy = self.container.add_stream_from_template(stream, opaque=True)
            copy.disposition = stream.disposition
            copy.metadata.update(_kept(stream.metadata, ('DURATION',) if matroska else ('DURATION', 'encoder')))
            self.copies[stream.index] = copy

    def _takes(self, stream: 'Stream') -> bool:
        if stream.type == 'attachment' or is_cover(stream):
            return self.format == ('matroska' if stream.type == 'attachment' else 'mp4')
        return stream.codec_context.codec.name in self.container.supported_codecs

    def _refuse(self, stream: 'Stream') -> None:
        ending = self.path.suffix
        if stream.type == 'audio':
            raise UserError(
                f'cannot write {self.path}: {ending} cannot hold its sound as it is ({stream.codec_context.name}); '
                'write .mkv, which holds any'
            )
        what = 'cover picture' if is_cover(stream) else stream.type
        codec = '' if context_of(stream) is None else f' ({stream.codec_context.name})'
        self._note(
            f'its {what}{codec} is left out, which {ending} cannot hold' + ('' if ending == '.mkv' else ': .mkv can')
        )

    def _describe(self) -> None:
        self.container.metadata.update(_kept(self.source.metadata, _WRITTEN_ANEW))
        self.container.set_chapters(self.source.chapters())

    def _note(self, text: str) -> None:
        self.notes[text] = None

    def start(self, width: int, height: int, colours: Colours, pixel_aspect: Fraction | None) -> None:
        """Set the format of the frames. Call it before the first frame.

        Args:
            width, height: of the enlarged frames, in pixels.
            colours: to be written.
            pixel_aspect: width of a pixel over its height, None where it is not known.
        """
        context = self.encoder.codec_context
        if self.even and (width % 2 or height % 2):
            even = f'{width + width % 2}x{height + height % 2}'
            self._note(f'{width}x{height} become {even} by doubling the last pixels: H.264 takes even sizes')
            width, height = width + width % 2, height + height % 2
        context.width, context.height, context.pix_fmt = width, height, 'yuv420p'
        context.color_range, context.colorspace = LIMITED, colours.matrix
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        if pixel_aspect:
            context.sample_aspect_ratio = pixel_aspect
        self.colours = colours
        with self._writing():
            self.container.start_encoding()
        self.started = True
        for packet in self.waiting:
            self.copy(packet)
        self.waiting.clear()

    def write(self, rgb: np.ndarray, pts: int, duration: int) -> None:
        """Encode an (H, W, 3) uint8 frame, shown at `pts`, in ticks of the source.

        It is shown until the next one comes, whatever its packet said: MP4 tells times between packets as they are
        decoded, not as they are shown. `duration` is that of the last frame.
        """
        if self.even:
            rgb = np.pad(rgb, ((0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2), (0, 0)), mode='edge')
        if self.held is not None and pts <= self.held_pts:
            self._note(
                'frames of the same or an earlier time than the one before are moved by the least that is needed'
            )
            pts = self.held_pts + 1
        if self.held is not None:
            self._encode(self.held, pts - self.held_pts)
        self.held, self.held_pts, self.held_duration = from_rgb(rgb, self.colours), pts, duration
        self.held.pts, self.held.time_base = pts, self.tick
        if self.format in ('matroska', 'webm') and (pts * 1000 * self.tick).denominator != 1:
            self._note(f'times of frames are rounded to milliseconds: {self.path.suffix} holds no finer ones')

    def _encode(self, frame: 'VideoFrame', duration: int) -> None:
        self.durations[self.held_pts] = duration
        with self._writing():
            self._mux(self.encoder.encode(frame))

    def _mux(self, packets: Iterable['Packet']) -> None:
        for packet in packets:
            if packet.pts is not None:
                packet.duration = self.durations.pop(packet.pts, 0)
            self.container.mux(packet)

    def copy(self, packet: 'Packet') -> None:
        """Copy a packet of another stream."""
        if packet.size == 0 and packet.pts is None:  # PyAV's sign of the end
            return
        stream = packet.stream
        if is_cover(stream) and self.format == 'matroska' and not self.started:
            kind = stream.codec_context.name.replace('mjpeg', 'jpeg')
            self.container.add_attachment(f'cover.{kind.replace("jpeg", "jpg")}', f'image/{kind}', bytes(packet))
        elif stream.index in self.copies and not self.started:
            self.waiting.append(packet)
        elif stream.index in self.copies:
            packet.stream = self.copies[stream.index]
            with self._writing():
                self.container.mux(packet)

    def finish(self) -> None:
        """Write the frames that the encoder still holds, and the end of the file."""
        if self.held is not None:
            self._encode(self.held, self.held_duration)
        with self._writing():
            self._mux(self.encoder.encode(None))
            self.container.close()

    def give_up(self) -> None:
        """Close and delete the unfinished file."""
        import av

        with suppress(av.error.FFmpegError):  # what went wrong before is what matters
            self.container.close()


def lost(source: 'InputContainer', temporary: Path, ending: str) -> list[str]:
    """One note for each thing that a finished video's container did not keep. The file is read again to find them."""
    import av

    with av.open(f'file:{temporary}', metadata_errors=KEEP_BYTES) as result:
        there = {key.lower() for key in (*result.metadata, *_WRITTEN_ANEW)}
        missing = [', '.join(sorted(key for key in source.metadata if key.lower() not in there))]
        if len(source.chapters()) > len(result.chapters()):
            missing.append('chapters')
        if any(map(is_cover, source.streams)) and not any(map(is_cover, result.streams)):
            missing.append('cover picture')
        if len(_languages(source)) > len(_languages(result)):
            missing.append('languages of streams')
        old, new = (_pixel_aspect(container) for container in (source, result))
        if (old == 1) != (new == 1):
            missing.append(f'shape of pixels ({old.numerator}:{old.denominator}, now square)')
    return [
        f'its {what} {"are" if what.endswith("s") else "is"} left out, which {ending} cannot hold'
        for what in missing
        if what
    ]


def _languages(container: 'InputContainer') -> list[str]:
    languages = (stream.metadata.get('language', 'und') for stream in container.streams)
    return [language for language in languages if language != 'und']


def _pixel_aspect(container: 'InputContainer') -> Fraction:
    aspects = [stream.sample_aspect_ratio for stream in container.streams.video if not is_cover(stream)]
    return aspects[0] or Fraction(1)


def _kept(metadata: dict[str, str], without: tuple[str, ...]) -> dict[str, str]:
    return {key: text for key, text in metadata.items() if not key.startswith(without)}
