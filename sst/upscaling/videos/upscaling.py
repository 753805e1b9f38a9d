"""A video enlarged frame by frame."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sst.upscaling.videos.colours import colour_notes, colours_of, to_rgb
from sst.upscaling.videos.orientation import turn_of
from sst.upscaling.videos.source import decoded, end_of, frame_count, main_stream, no_frames, opened, packets
from sst.upscaling.videos.target import LARGEST_CRF, Target, codec_of, lost, unwritable
from sst.utils.errors import UserError
from sst.utils.files import replacing

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

Enlarge = Callable[[np.ndarray], np.ndarray]
Progress = Callable[[int, int | None], None]
_SHORT = 1  # seconds by which a whole video may be shorter than its header says


def upscale_video(
    source: str | os.PathLike,
    target: str | os.PathLike,
    enlarge: Enlarge,
    *,
    crf: int = 17,
    progress: Progress | None = None,
) -> list[str]:
    """Enlarge each frame of a video. Sound, subtitles, chapters and times stay unchanged.

    H.264 in MP4, MOV and Matroska, VP9 in WebM, by the target's ending; 8 bits, 4:2:0. The result is upright. Frames go
    through one at a time, so memory does not grow with the video's length.

    Args:
        source: any video that FFmpeg decodes.
        target: where to; the folder must be there. It is written beside its place and renamed when whole: after an
            error or Ctrl-C what stood there before is untouched.
        enlarge: from an (H, W, 3) uint8 RGB frame, upright, to a larger one, of the same size for all frames.
        crf: the encoder's constant rate factor, 0 (best, largest) to 51, in WebM to 63.
        progress: is called after each frame with how many are done and how many there seem to be in all.

    Returns:
        What was changed or lost, a line each.

    Raises:
        UserError: one line that names the file and what is wrong: PyAV is missing; the source is no video, cut off or
            damaged; the target's ending is none, it cannot hold the sound, must not be written, or the disk is full.
        ValueError: `enlarge` gave frames of different sizes.
    """
    source, target = Path(source), Path(target)
    codec = codec_of(target)
    if not 0 <= crf <= LARGEST_CRF[codec]:
        raise UserError(f'crf must be from 0 to {LARGEST_CRF[codec]} for {target.suffix}, not {crf}')
    if target.exists() and source.exists() and target.samefile(source):
        raise UserError(f'cannot write {target}: it is the video that is to be enlarged; choose another name')
    with opened(source) as container:
        video = main_stream(container, source)
        try:
            with replacing(target) as temporary:
                run = _Run(container, video, source, enlarge, progress)
                run.fill(target, temporary, crf)
                return [*run.notes, *lost(container, temporary, target.suffix)]
        except OSError as fault:
            raise unwritable(target, fault) from fault


class _Run:
    """The work on one video."""

    def __init__(
        self,
        container: 'InputContainer',
        video: 'VideoStream',
        source: Path,
        enlarge: Enlarge,
        progress: Progress | None,
    ) -> None:
        self.container, self.video, self.source = container, video, source
        self.enlarge, self.progress = enlarge, progress
        self.total = frame_count(container, video)
        self.done = 0
        self.end = Fraction(0)  # of all streams so far, in seconds
        self.shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self.next_pts = video.start_time or 0
        self.notes: dict[str, None] = {}

    def fill(self, target: Path, temporary: Path, crf: int) -> None:
        writer = Target(target, temporary, self.container, self.video, crf, self.notes)
        try:
            for packet in packets(self.container, self.source, list(self.container.streams)):
                if packet.pts is not None:
                    self.end = max(self.end, (packet.pts + (packet.duration or 0)) * packet.time_base)
                if packet.stream.index != self.video.index:
                    writer.copy(packet)
                    continue
                for frame in decoded(packet, self.source):
                    self._through(frame, writer)
            if not self.done:
                raise no_frames(self.source)
            if self.end < end_of(self.container) - _SHORT:
                told, found = float(end_of(self.container)), float(self.end)
                self.notes[f'it may be damaged: its header tells of {told:.1f} s, but it ends after {found:.1f} s'] = (
                    None
                )
            writer.finish()
        except BaseException:
            writer.give_up()
            raise

    def _through(self, frame: 'VideoFrame', writer: Target) -> None:
        turn = turn_of(frame)
        lr = turn(to_rgb(frame))
        sr = self.enlarge(lr)
        if self.shapes is None:
            self._look(frame)
            aspect = self.video.sample_aspect_ratio
            if aspect and turn.transposed:
                aspect = 1 / aspect
            writer.start(sr.shape[1], sr.shape[0], colours_of(frame), aspect)
            self.shapes = lr.shape, sr.shape
        elif lr.shape != self.shapes[0]:
            (height, width, _), (new_height, new_width, _) = self.shapes[0], lr.shape
            raise UserError(
                f'{self.source}: its frames change from {width}x{height} to {new_width}x{new_height} pixels: cut it '
                'there and enlarge the parts'
            )
        elif sr.shape != self.shapes[1]:
            raise ValueError(f'enlarge gave a frame of shape {sr.shape} after others of {self.shapes[1]}')
        pts = self._time(frame)
        duration = self._duration(frame, pts)
        self.next_pts = pts + duration
        writer.write(sr, pts, duration)
        self.done += 1
        if self.progress:
            self.progress(self.done, self.total)

    def _time(self, frame: 'VideoFrame') -> int:
        """When a frame is shown, in ticks. AVI states when frames are decoded, the same once in order."""
        times = (frame.dts,) if self.container.format.name == 'avi' else (frame.pts, frame.dts)
        return next((time for time in times if time is not None), self.next_pts)

    def _duration(self, frame: 'VideoFrame', pts: int) -> int:
        """For how many ticks the last frame is shown: as its packet says, but not beyond the file's end."""
        rate, tick = self.video.average_rate or self.video.guessed_rate, self.video.time_base or Fraction(1, 1000)
        usual = frame.duration or (round(1 / (rate * tick)) if rate else 1)
        end = int(end_of(self.container) / tick)
        return min(usual, end - pts) if end > pts else usual

    def _look(self, frame: 'VideoFrame') -> None:
        """Note what will be lost, as far as the first frame shows it."""
        notes = colour_notes(frame)
        if self.video.metadata.get('alpha_mode') == '1':
            notes.append('transparency is left out: the encoders here have none')
        if frame.interlaced_frame:
            notes.append('it is interlaced, and its combs are enlarged with it: deinterlace it first')
        if not turn_of(frame).exact:
            notes.append('it asks to be turned by an angle that is no multiple of 90 degrees: the nearest one is taken')
        self.notes.update(dict.fromkeys(notes))
