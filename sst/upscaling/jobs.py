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

PICTURE_ENDINGS = frozenset(READ)


@dataclass(frozen=True)
class Source:
    """A file to enlarge, and the folder of its result below OUT."""

    path: Path
    folder: Path = Path()
    named: bool = False  # by itself, not by its folder or a pattern

    @property
    def ending(self) -> str:
        return self.path.suffix.lower()

    @property
    def video(self) -> bool:
        return is_video(self.path)


@dataclass(frozen=True)
class Job:
    """A file and where its result goes."""

    source: Path
    target: Path
    video: bool


def find_sources(inputs: Sequence[str], output: Path) -> tuple[list[Source], str]:
    """The files that inputs mean: files as they are, pictures and videos in folders, what patterns match.

    What lies in OUT, where that is a folder inside of an input folder, is no input.

    Returns:
        The files, and what to say of the pictures in folders that cannot be read, '' where there are none.

    Raises:
        UserError: an input that is not there or means nothing.
    """
    found: dict[Path, Source] = {}
    for text in inputs:
        for source in _meant_by(text, output):
            found.setdefault(Path(os.path.abspath(source.path)), source)
    endings = Counter(source.ending for source in found.values() if not source.named and source.ending in UNREADABLE)
    counts = ', '.join(f'{count} {ending}' for ending, count in sorted(endings.items()))
    left_out = f'{counts} cannot be read: convert them to JPEG, PNG or TIFF' if counts else ''
    return [source for source in found.values() if source.named or source.ending not in UNREADABLE], left_out


def _meant_by(text: str, output: Path) -> list[Source]:
    if not text:
        raise UserError('an INPUT is empty: name a picture, video, folder or pattern')
    path = Path(os.path.expanduser(text))
    if os.path.isdir(path):
        sources = list(_in_folder(path, output))
        if not sources:
            raise UserError(f'{text}: a folder without pictures and videos; their names end in {_endings()}')
        return sources
    if os.path.lexists(path):
        return [Source(path, named=True)]
    if not glob.has_magic(text):
        raise UserError(f'{text}: no such file or folder, or no right to look for it')
    matches = sorted(glob.glob(str(path), recursive=True))
    sources = [Source(Path(match)) for match in matches if os.path.isfile(match) and _known(Path(match))]
    if not sources:
        what = f'matches {len(matches)} names, but no' if matches else 'matches no'
        raise UserError(f'{text}: {what} picture or video; their names end in {_endings()}')
    return sources


def _in_folder(folder: Path, output: Path) -> Iterator[Source]:
    results = Path(os.path.abspath(output))
    apart = results != Path(os.path.abspath(folder))

    def refuse(fault: OSError) -> None:
        raise UserError(f'{fault.filename}: cannot be looked into ({fault.strerror}); correct the rights') from fault

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith('.') and not (apart and Path(os.path.abspath(os.path.join(place, name))) == results)
        )
        for name in sorted(names):
            if not name.startswith('.') and _known(Path(name)):
                yield Source(Path(place, name), Path(place).relative_to(folder))


def _known(path: Path) -> bool:
    """Whether a file is a picture, readable or not, or a video."""
    return path.suffix.lower() in PICTURE_ENDINGS | UNREADABLE or is_video(path)


def _endings() -> str:
    return ' '.join(sorted(PICTURE_ENDINGS | set(VIDEO_ENDINGS)))


def plan(sources: Sequence[Source], settings: Settings, suffix: str) -> list[Job]:
    """Where each result goes: OUT/folder/name_suffix.ext, or OUT itself for a single file.

    Args:
        sources: what `find_sources` found. With `--skip-existing` those that are results of others are left out.
        settings: of the command line.
        suffix: what is added to names, '' for nothing.

    Raises:
        UserError: results that would overwrite inputs or each other, a folder that cannot be made, OUT that is a file
            for many.
    """
    single = len(sources) == 1 and _names_a_file(settings.output, sources[0])
    if not single:
        _require_folder(settings.output, len(sources))
    jobs = [
        Job(source.path, settings.output if single else _target(source, settings, suffix), source.video)
        for source in sources
    ]
    _require_distinct(jobs)
    results = {os.path.abspath(job.target) for job in jobs}
    earlier = [job for job in jobs if os.path.abspath(job.source) in results]
    if earlier and not settings.skip_existing:
        raise UserError(
            f'{earlier[0].source} is an input, and a result would overwrite it: if it is one of an earlier run, add '
            '--skip-existing; else choose another -o or --suffix'
        )
    return [job for job in jobs if job not in earlier]


def _names_a_file(output: Path, source: Source) -> bool:
    if os.path.isdir(output):
        return False
    ending = output.suffix.lower()
    if ending in (WRITTEN_VIDEOS if source.video else WRITTEN):
        return True
    if _known(output) or os.path.isfile(output):
        kinds = ' '.join(WRITTEN_VIDEOS if source.video else WRITTEN)
        raise UserError(f'-o {output}: {source.path} can be written as {kinds}')
    return False


def _require_folder(output: Path, count: int) -> None:
    if os.path.exists(output) and not os.path.isdir(output):
        raise UserError(f'-o {output}: a file, but a folder is needed for {_results(count)}')
    if _known(output) and not os.path.isdir(output):
        raise UserError(f'-o {output}: the name of a file, but a folder is needed for {_results(count)}')


def _results(count: int) -> str:
    return '1 result' if count == 1 else f'{count} results'


def _target(source: Source, settings: Settings, suffix: str) -> Path:
    ending = source.ending
    if source.video:
        ending = ending if ending in WRITTEN_VIDEOS else '.mp4'
    elif settings.extension != 'auto':
        ending = f'.{settings.extension}'
    else:
        ending = ending if ending in WRITTEN else '.png'
    return settings.output / source.folder / f'{source.path.stem}{"_" if suffix else ""}{suffix}{ending}'


def _require_distinct(jobs: Sequence[Job]) -> None:
    targets: dict[str, Job] = {}
    for job in jobs:
        if os.path.exists(job.target) and os.path.exists(job.source) and os.path.samefile(job.source, job.target):
            raise UserError(f'{job.source}: its result would overwrite it; choose another -o or --suffix')
        key = os.path.abspath(job.target).casefold()  # some file systems know no case
        if other := targets.get(key):
            raise UserError(f'{other.source} and {job.source} would both become {job.target}; rename one of them')
        targets[key] = job
