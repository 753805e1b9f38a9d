"""Which files are meant, and where their results go."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sst.upscaling.arguments import Settings
from sst.upscaling.pictures import READ, UNREADABLE, WRITTEN
from sst.upscaling.videos import VIDEO_ENDINGS, WRITTEN_VIDEOS, is_video
from sst.utils.errors import UserError
from sst.utils.files import require_writable

_ENDINGS = ' '.join(sorted({*READ, *VIDEO_ENDINGS}))


@dataclass(frozen=True)
class Source:
    """A file to enlarge, and the folder of its result below OUT."""

    path: Path
    folder: Path = Path()
    named: bool = False  # by itself, not through its folder or a pattern


@dataclass(frozen=True)
class Job:
    """A file and where its result goes."""

    source: Path
    target: Path

    @property
    def video(self) -> bool:
        return is_video(self.source)


def find_sources(inputs: Sequence[str], output: Path) -> tuple[list[Source], str]:
    """The files that inputs mean: files as they are, images and videos in folders, files that patterns match.

    If OUT is a folder inside an input folder, its files are no inputs.

    Returns:
        The files, and what to say of the images in folders that cannot be read: '' if there are none.

    Raises:
        UserError: an input does not exist or means no file.
    """
    found: dict[str, Source] = {}
    for text in inputs:
        for source in _meant_by(text, output):
            found.setdefault(os.path.abspath(source.path), source)
    unreadable = [source for source in found.values() if _ending(source.path) in UNREADABLE and not source.named]
    counts = sorted(Counter(_ending(source.path) for source in unreadable).items())
    listed = ', '.join(f'{count} {ending}' for ending, count in counts)
    message = f'{listed}: cannot be read; convert them to JPEG, PNG or TIFF' if counts else ''
    return [source for source in found.values() if source not in unreadable], message


def _meant_by(text: str, output: Path) -> list[Source]:
    if not text:
        raise UserError('INPUT: must not be empty; name an image, video, folder or pattern')
    path = Path(os.path.expanduser(text))
    if os.path.lexists(path) and not os.path.isdir(path):
        return [Source(path, named=True)]
    if os.path.isdir(path):
        sources = list(_in_folder(path, output))
    elif glob.has_magic(text):
        matches = sorted(glob.glob(str(path), recursive=True))
        sources = [Source(Path(match)) for match in matches if os.path.isfile(match) and _is_known(Path(match))]
    else:
        raise UserError(f'{text}: no such file or folder, or no permission to look for it')
    if not sources:
        raise UserError(f'{text}: has no image or video; name files that end in {_ENDINGS}')
    return sources


def _in_folder(folder: Path, output: Path) -> Iterator[Source]:
    results = os.path.abspath(output)
    skipped = {results} - {os.path.abspath(folder)}

    def refuse(fault: OSError) -> None:
        raise UserError(f'{fault.filename}: cannot be searched ({fault.strerror}); correct its permissions') from fault

    for place, folders, names in os.walk(folder, onerror=refuse):
        visible = (name for name in folders if not name.startswith('.'))
        folders[:] = sorted(name for name in visible if os.path.abspath(os.path.join(place, name)) not in skipped)
        for name in sorted(names):
            if not name.startswith('.') and _is_known(Path(name)):
                yield Source(Path(place, name), Path(place).relative_to(folder))


def _ending(path: Path) -> str:
    return path.suffix.lower()


def _is_known(path: Path) -> bool:
    """Whether a file is an image, readable or not, or a video."""
    return _ending(path) in {*READ, *UNREADABLE} or is_video(path)


def require_output(sources: Sequence[Source], output: Path) -> None:
    """Raise `UserError` if OUT cannot be written, or is a file and there are several results."""
    require_writable(output.parent if _is_for_a_file(output, sources) else output)


def plan(sources: Sequence[Source], settings: Settings, suffix: str) -> list[Job]:
    """Where each result goes: OUT/folder/name_suffix.ext, or OUT itself for a single file.

    Args:
        sources: what `find_sources` found. With `--skip-existing` those that are results of others are left out.
        settings: of the command line.
        suffix: what is added to names, '' for nothing.

    Raises:
        UserError: a result would overwrite an input or another result, or OUT is a file and there are several results.
    """
    if _is_for_a_file(settings.output, sources):
        jobs = [Job(sources[0].path, settings.output)]
    else:
        jobs = [Job(source.path, _target(source, settings, suffix)) for source in sources]
    _require_distinct(jobs)
    results = {os.path.abspath(job.target) for job in jobs}
    earlier = [job for job in jobs if os.path.abspath(job.source) in results]
    if earlier and not settings.skip_existing:
        raise UserError(
            f'{earlier[0].source}: is an input, and a result would overwrite it; use --skip-existing if it is the '
            'result of an earlier run, else another -o or --suffix'
        )
    return [job for job in jobs if job not in earlier]


def _is_for_a_file(output: Path, sources: Sequence[Source]) -> bool:
    if len(sources) == 1 and _names_a_file(output, sources[0].path):
        return True
    if not os.path.isdir(output) and (os.path.exists(output) or _is_known(output)):
        raise UserError(f'-o {output}: must be a folder for the number of inputs, which is {len(sources)}')
    return False


def _names_a_file(output: Path, source: Path) -> bool:
    written = WRITTEN_VIDEOS if is_video(source) else WRITTEN
    if os.path.isdir(output) or _ending(output) in written:
        return not os.path.isdir(output)
    if _is_known(output) or os.path.isfile(output):
        raise UserError(f'-o {output}: is not a name for the result of {source}; use one of {" ".join(written)}')
    return False


def _target(source: Source, settings: Settings, suffix: str) -> Path:
    ending = _ending(source.path)
    if is_video(source.path):
        ending = ending if ending in WRITTEN_VIDEOS else '.mp4'
    elif settings.extension != 'auto':
        ending = f'.{settings.extension}'
    elif ending not in WRITTEN:
        ending = '.png'
    return settings.output / source.folder / f'{source.path.stem}{"_" if suffix else ""}{suffix}{ending}'


def _require_distinct(jobs: Sequence[Job]) -> None:
    targets: dict[str, Job] = {}
    for job in jobs:
        if os.path.exists(job.target) and os.path.exists(job.source) and os.path.samefile(job.source, job.target):
            raise UserError(f'{job.source}: its result would overwrite it; use another -o or --suffix')
        key = os.path.abspath(job.target).casefold()  # some file systems do not distinguish capital letters
        if other := targets.get(key):
            raise UserError(f'{job.target}: would be the result of both {other.source} and {job.source}; rename one')
        targets[key] = job
