"""One file enlarged: a picture in bands of rows, a video frame by frame."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from tqdm import tqdm

from sst.inference.pictures import Picture, read_picture, write_picture
from sst.inference.videos import probe, upscale_video
from sst.upscaling.arguments import Settings
from sst.upscaling.jobs import Job
from sst.upscaling.models import Models
from sst.utils.errors import UserError

Progress = Callable[[int, int | None, str], None]  # done, of how many, of what
LARGEST_SIDE = {'picture': 300_000, 'video': 16_384}  # pixels of a result; of videos what the encoders take
MOST_PIXELS = 4_000_000_000
_LONGEST_NAME = 250  # bytes: file systems take 255, and the temporary file's name is 5 longer


def enlarge_file(job: Job, settings: Settings, models: Models, progress: Progress) -> tuple[str, list[str]]:
    """Enlarge a file. Returns the sizes, in words, and notes of what was changed or lost.

    Raises:
        UserError: one line that names the file and what is wrong; nothing is left of its result then.
    """
    if len(os.fsencode(job.target.name)) > _LONGEST_NAME:
        raise UserError(f'{job.source}: the name of its result is too long; choose a shorter --suffix or name with -o')
    if os.path.isdir(job.target):
        raise UserError(f'{job.source}: its result {job.target} is a folder; choose another --suffix or -o')
    try:
        job.target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise UserError(
            f'{job.source}: the folder {job.target.parent} cannot be made ({fault.strerror}); choose another with -o'
        ) from fault
    try:
        return (_enlarge_video if job.video else _enlarge_picture)(job, settings, models, progress)
    except MemoryError as fault:
        raise UserError(
            f'{job.source}: not enough memory; free some, take a smaller --scale or --width, or cut it into parts'
        ) from fault


def _enlarge_picture(job: Job, settings: Settings, models: Models, progress: Progress) -> tuple[str, list[str]]:
    picture = read_picture(job.source, settings.max_megapixels)
    height, width, _ = picture.shape
    model = models.for_ratio(_ratio(settings, width))
    size = _size(job, settings, model.scale, height, width)
    large = model.enlarge(picture, size, lambda done, total: progress(done, total, 'tile'))
    try:
        lost = write_picture(large, job.target, settings.quality)
    except UserError as error:
        raise UserError(_naming(job, error)) from error
    return f'{width}x{height} to {size[1]}x{size[0]}', [*picture.notes, *lost]


def _enlarge_video(job: Job, settings: Settings, models: Models, progress: Progress) -> tuple[str, list[str]]:
    info = probe(job.source)
    model = models.for_ratio(_ratio(settings, info.width))
    size = _size(job, settings, model.scale, info.height, info.width)

    def enlarge(frame: np.ndarray) -> np.ndarray:
        return np.rint(model.enlarge(Picture(frame), size).whole() * 255).astype(np.uint8)

    try:
        notes = upscale_video(
            job.source,
            job.target,
            enlarge,
            crf=settings.crf,
            progress=lambda done, total: progress(done, total, 'frame'),
        )
    except UserError as error:
        raise UserError(_naming(job, error)) from error
    return f'{info.width}x{info.height} to {size[1]}x{size[0]}', notes


def _naming(job: Job, error: UserError) -> str:
    """An error's text with the file's name in it."""
    text = str(error)
    return text if str(job.source) in text else f'{job.source}: {text}'


def _ratio(settings: Settings, width: int) -> float:
    """How many times larger a picture is to become; 0 where that is left to the network."""
    return settings.width / width if settings.width else settings.scale or 0


def _size(job: Job, settings: Settings, network_scale: int, height: int, width: int) -> tuple[int, int]:
    """(height, width) of the result, pixels."""
    ratio = _ratio(settings, width) or network_scale
    size = max(1, round(height * ratio)), settings.width or max(1, round(width * ratio))
    largest = LARGEST_SIDE['video' if job.video else 'picture']
    if max(size) > largest or size[0] * size[1] > MOST_PIXELS:
        raise UserError(
            f'{job.source}: would become {size[1]}x{size[0]} pixels; {largest:,} a side and {MOST_PIXELS:,} in all are '
            'the limit: take a smaller --scale or --width'
        )
    return size


@contextmanager
def inner_bar(seen: bool) -> Iterator[Progress]:
    """A progress bar for one file, shown from the second of its tiles or frames on."""
    bar: tqdm | None = None

    def progress(done: int, total: int | None, unit: str) -> None:
        nonlocal bar
        if not seen or total == 1:
            return
        if bar is None:
            bar = tqdm(total=total, unit=unit, leave=False, position=1, dynamic_ncols=True)
        bar.update(done - bar.n)

    try:
        yield progress
    finally:
        if bar is not None:
            bar.close()
