"""The work of `sst-upscale`: one file after the other, what fails told by name while the rest go on."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from sst.api import Upscaler
from sst.upscaling.arguments import Settings
from sst.upscaling.files import enlarge_file, inner_bar
from sst.upscaling.jobs import Job, find_sources, plan
from sst.upscaling.models import BETTER, Models
from sst.upscaling.sharing import Alone, sharing
from sst.utils.errors import UserError


def run(settings: Settings) -> int:
    """Enlarge what is asked for. Returns the exit code: 0, or 1 where files failed or cannot be read.

    Raises:
        UserError: where nothing of it makes sense, before any work.
    """
    signal.signal(signal.SIGTERM, _leave)
    share = sharing()
    sources, left_out = find_sources(settings.inputs, settings.output)
    models = Models(settings)
    first = models.first()
    jobs = plan(sources, settings, _suffix(settings, first.scale))
    kept = [job for job in jobs if settings.skip_existing and _is_there(job.target)]
    jobs = [job for job in jobs if job not in kept]
    if share.rank == 0:
        _announce(settings, first, len(jobs), len(kept))
        if left_out:
            _say(f'error: {left_out}', sys.stderr)
    if settings.dry_run:
        for job in jobs if share.rank == 0 else []:
            _say(f'{job.source} -> {job.target}', sys.stdout)
        return 1 if left_out else 0
    jobs = share.agree(jobs)
    begin = time.perf_counter()
    done, failed = share.total(*_work(jobs, settings, models, share))
    if share.rank == 0:
        _conclude(done, failed, time.perf_counter() - begin)
    return 1 if failed or left_out else 0


def _leave(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)  # on its way out it removes what is half written


def _is_there(target: Path) -> bool:
    return target.is_file() and target.stat().st_size > 0


def _suffix(settings: Settings, network_scale: int) -> str:
    if settings.suffix is not None:
        return settings.suffix
    return f'w{settings.width}' if settings.width else f'x{settings.scale or network_scale:g}'


def _announce(settings: Settings, model: Upscaler, jobs: int, kept: int) -> None:
    if settings.model is None:
        _say(f'The small network that ships is used; {BETTER}.', sys.stderr)
    left_out = f', {kept} left out that have a result' if kept else ''
    _say(f'{_counted(jobs)}{left_out}; {model}', sys.stderr)


def _conclude(done: int, failed: int, seconds: float) -> None:
    speed = f' in {seconds:.1f} s, {done / seconds:.2f} a second' if done else ''
    _say(f'{_counted(done)} enlarged{speed}{f"; {failed} FAILED, named above" if failed else ""}', sys.stderr)


def _counted(number: int) -> str:
    return '1 file' if number == 1 else f'{number} files'


def _work(jobs: Sequence[Job], settings: Settings, models: Models, share: Alone) -> tuple[int, int]:
    """Do this process's jobs; how many succeeded and failed."""
    done = failed = 0
    with tqdm(total=len(jobs), unit='file', disable=not _seen(share), smoothing=0, dynamic_ncols=True) as bar:
        for job in share.taken(jobs):
            bar.set_description(job.source.name[:30])
            begin = time.perf_counter()
            try:
                with inner_bar(_seen(share)) as progress:
                    sizes, notes = enlarge_file(job, settings, models, progress)
            except UserError as error:
                failed += 1
                for line in str(error).splitlines():
                    _say(f'error: {line}', sys.stderr)
            else:
                done += 1
                seconds = time.perf_counter() - begin
                _say(f'{job.source} -> {job.target} ({sizes}, {seconds:.1f} s)', sys.stdout)
                for note in notes:
                    _say(f'note: {job.source}: {note}', sys.stderr)
            bar.update()
    return done, failed


def _say(line: str, file: TextIO | None) -> None:
    """Print above the bars, in one piece: several processes may share the file. The work goes on where nobody reads."""
    if file is None:  # closed when the program was started
        return
    try:
        with tqdm.external_write_mode(file=file):
            file.write(f'{line}\n')
            file.flush()
    except OSError:  # a pipe that was closed, a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def _seen(share: Alone) -> bool:
    return share.rank == 0 and sys.stderr is not None and sys.stderr.isatty()
