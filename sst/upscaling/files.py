"""One file examined, then enlarged: an image in bands of rows, a video frame by frame."""

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

_LARGEST_SIDE = {False: 300_000, True: 16_384}  # pixels of an image, and of a video, whose encoders take no more
_MOST_PIXELS = 4_000_000_000
_MANY_PIXELS = 100_000_000  # many programs cannot open images with more
_LONGEST_NAME = 250  # bytes: file systems take 255, and the temporary file's name is 5 longer


@dataclass(frozen=True)
class Task:
    """A file that was examined, and what is to be done with it; sizes are (height, width) in pixels."""

    job: Job
    content: ImageFile | VideoInfo
    size: tuple[int, int]
    new_size: tuple[int, int]
    network: str
    model: Upscaler
    compressed: bool = False  # whether the image looks compressed

    def notes(self) -> list[str]:
        """What the user may not have meant."""
        height, width = self.new_size
        notes = []
        if height * width > _MANY_PIXELS:
            million = f'{height * width / 1e6:,.0f}'
            notes.append(f'its result has {million} megapixels, which many programs cannot open; use a smaller --scale')
        if height < self.size[0] or width < self.size[1]:
            notes.append(f'its result is smaller ({self.sizes()}): it is enlarged first, then shrunk')
        return notes

    def sizes(self) -> str:
        return f'{self.size[1]}x{self.size[0]} to {self.new_size[1]}x{self.new_size[0]}'


def examine(job: Job, settings: Settings, models: Models) -> Task:
    """Read an image, or the head of a video, and load the network for it.

    Raises:
        UserError: one line that names the file and says what is wrong.
    """
    if len(os.fsencode(job.target.name)) > _LONGEST_NAME:
        raise UserError(f'{job.source}: the name of its result is too long; use a shorter --suffix or -o NAME')
    if os.path.isdir(job.target):
        raise UserError(f'{job.source}: its result {job.target} is a folder; use another --suffix or -o')
    content = probe(job.source) if job.video else read_image(job.source, settings.max_megapixels)
    height, width = (content.height, content.width) if isinstance(content, VideoInfo) else content.shape[:2]
    ratio = settings.scale
    if settings.width or settings.height:
        ratio = settings.height / height if settings.height else (settings.width or 0) / width
    network = models.name_for(ratio)
    model = models.load(network)
    ratio = ratio or model.scale
    new_size = settings.height or max(1, round(height * ratio)), settings.width or max(1, round(width * ratio))
    largest = _LARGEST_SIDE[job.video]
    if max(new_size) > largest or new_size[0] * new_size[1] > _MOST_PIXELS:
        raise UserError(
            f'{job.source}: would become {new_size[1]}x{new_size[0]} pixels, but {largest:,} a side and '
            f'{_MOST_PIXELS:,} in all are the limit; use a smaller --scale, --width or --height'
        )
    compressed = isinstance(content, ImageFile) and looks_compressed(job.source, content)
    return Task(job, content, (height, width), new_size, network, model, compressed)


def enlarge(task: Task, settings: Settings, progress: Progress) -> list[str]:
    """Write a task's result. Returns notes of what was changed or lost.

    Raises:
        UserError: one line that names the file and says what is wrong. Then no part of its result is left.
    """
    source, folder = task.job.source, task.job.target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(f'{source}: the folder {folder} cannot be made ({fault.strerror}); use another -o') from fault
    try:
        return _enlarge(task, settings, progress)
    except UserError as error:
        raise UserError(str(error) if str(source) in str(error) else f'{source}: {error}') from error
    except MemoryError as fault:
        raise UserError(f'{source}: is too large for the memory; use a smaller --scale, or cut it in parts') from fault


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
