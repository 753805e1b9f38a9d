"""One file looked at, then enlarged: a picture in bands of rows, a video frame by frame."""

import os
from dataclasses import dataclass, replace

import numpy as np

from sst.api import Upscaler
from sst.inference.enlarging import whole
from sst.upscaling.arguments import Settings
from sst.upscaling.compression import looks_compressed
from sst.upscaling.jobs import Job
from sst.upscaling.models import Models
from sst.upscaling.pictures import ImageFile, read_image, write_image
from sst.upscaling.progress import Progress
from sst.upscaling.videos import VideoInfo, probe, upscale_video
from sst.utils.errors import UserError

LARGEST_SIDE = {'picture': 300_000, 'video': 16_384}  # pixels of a result; of videos what the encoders take
MOST_PIXELS = 4_000_000_000
MANY_PIXELS = 100_000_000  # beyond which a picture's user is told: many programs cannot open it
_LONGEST_NAME = 250  # bytes: file systems take 255, and the temporary file's name is 5 longer


@dataclass(frozen=True)
class Task:
    """A file that was looked at, and what is to be done with it; sizes are (height, width), pixels."""

    job: Job
    content: ImageFile | VideoInfo
    size: tuple[int, int]
    new_size: tuple[int, int]
    network: str
    model: Upscaler
    compressed: bool = False  # whether it looks as if it were

    def notes(self) -> list[str]:
        """What the user may not have meant."""
        height, width = self.new_size
        found = []
        if height * width > MANY_PIXELS:
            found.append(
                f'its result has {height * width / 1e6:,.0f} megapixels, which many programs cannot open; a smaller '
                '--scale or --width makes it smaller'
            )
        if height < self.size[0] or width < self.size[1]:
            found.append(
                f'its result is smaller ({_named(self.size)} to {_named(self.new_size)}): it is enlarged first, then '
                'shrunk'
            )
        return found

    def sizes(self) -> str:
        return f'{_named(self.size)} to {_named(self.new_size)}'


def examine(job: Job, settings: Settings, models: Models) -> Task:
    """Read a picture, or what a video's file says, and load the network for it.

    Raises:
        UserError: one line that names the file and what is wrong.
    """
    if len(os.fsencode(job.target.name)) > _LONGEST_NAME:
        raise UserError(f'{job.source}: the name of its result is too long; choose a shorter --suffix or name with -o')
    if os.path.isdir(job.target):
        raise UserError(f'{job.source}: its result {job.target} is a folder; choose another --suffix or -o')
    content = probe(job.source) if job.video else read_image(job.source, settings.max_megapixels)
    size = (content.height, content.width) if isinstance(content, VideoInfo) else content.shape[:2]
    ratio = _ratio(settings, *size)
    network, model = models.name_for(ratio), models.for_ratio(ratio)
    compressed = isinstance(content, ImageFile) and looks_compressed(job.source, content)
    return Task(job, content, size, _new_size(job, settings, model.scale, *size), network, model, compressed)


def enlarge(task: Task, settings: Settings, progress: Progress) -> list[str]:
    """Write a task's result. Returns notes of what was changed or lost.

    Raises:
        UserError: one line that names the file and what is wrong; nothing is left of its result then.
    """
    job = task.job
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(
            f'{job.source}: the folder {job.target.parent} cannot be made ({fault.strerror}); choose another with -o'
        ) from fault
    try:
        return _enlarge(task, settings, progress)
    except UserError as error:
        raise UserError(_naming(job, error)) from error
    except MemoryError as fault:
        raise UserError(
            f'{job.source}: not enough memory; free some, take a smaller --scale or --width, or cut it into parts'
        ) from fault


def _enlarge(task: Task, settings: Settings, progress: Progress) -> list[str]:
    content, size, target = task.content, task.new_size, task.job.target
    if isinstance(content, ImageFile):
        samples = task.model.enlarge(content.samples, size, lambda done, total: progress(done, total, 'tile'))
        return [*content.notes, *write_image(replace(content, samples=samples), target, settings.quality)]

    def enlarge_frame(frame: np.ndarray) -> np.ndarray:
        return np.rint(whole(task.model.enlarge(frame, size)) * 255).astype(np.uint8)

    def frame_done(done: int, total: int | None) -> None:
        progress(done, total, 'frame')

    return upscale_video(task.job.source, target, enlarge_frame, crf=settings.crf, progress=frame_done)


def _named(size: tuple[int, int]) -> str:
    return f'{size[1]}x{size[0]}'


def _naming(job: Job, error: UserError) -> str:
    """An error's text with the file's name in it."""
    text = str(error)
    return text if str(job.source) in text else f'{job.source}: {text}'


def _ratio(settings: Settings, height: int, width: int) -> float:
    """How many times larger a picture is to become; 0 where that is left to the network."""
    if settings.height:
        return settings.height / height
    return settings.width / width if settings.width else settings.scale or 0


def _new_size(job: Job, settings: Settings, network_scale: int, height: int, width: int) -> tuple[int, int]:
    """(height, width) of the result, pixels."""
    ratio = _ratio(settings, height, width) or network_scale
    size = settings.height or max(1, round(height * ratio)), settings.width or max(1, round(width * ratio))
    largest = LARGEST_SIDE['video' if job.video else 'picture']
    if max(size) > largest or size[0] * size[1] > MOST_PIXELS:
        raise UserError(
            f'{job.source}: would become {size[1]}x{size[0]} pixels; {largest:,} a side and {MOST_PIXELS:,} in all are '
            'the limit: take a smaller --scale, --width or --height'
        )
    return size
