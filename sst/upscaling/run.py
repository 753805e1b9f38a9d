"""The work of `sst-upscale`: one file after the other, what fails told by name while the rest go on."""

import shlex
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sst.api import Upscaler
from sst.upscaling.arguments import Settings
from sst.upscaling.files import Task, enlarge, examine
from sst.upscaling.forecast import Forecast
from sst.upscaling.jobs import Job, find_sources, plan
from sst.upscaling.models import BETTER, Models, robust_beside
from sst.upscaling.progress import Display, say
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
            say(f'error: {left_out}', sys.stderr)
    if settings.dry_run:
        code = _foretell(jobs, settings, models, share) if share.rank == 0 else 0
        return code or int(bool(left_out))
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
    if settings.height:
        return f'h{settings.height}'
    return f'w{settings.width}' if settings.width else f'x{settings.scale or network_scale:g}'


def _announce(settings: Settings, model: Upscaler, jobs: int, kept: int) -> None:
    if settings.model is None:
        better = BETTER.format(picture=shlex.quote(settings.inputs[0]), scale=model.scale)
        say(f'The small network that ships is used; {better}', sys.stderr)
    left_out = f', {kept} left out that have a result' if kept else ''
    say(f'{_counted(jobs)}{left_out}; {model}', sys.stderr)


def _conclude(done: int, failed: int, seconds: float) -> None:
    speed = f' in {seconds:.1f} s, {seconds / done:.1f} s a file' if done else ''
    say(f'{_counted(done)} enlarged{speed}{f"; {failed} FAILED, named above" if failed else ""}', sys.stderr)


def _counted(number: int) -> str:
    return '1 file' if number == 1 else f'{number} files'


def _foretell(jobs: Sequence[Job], settings: Settings, models: Models, share: Alone) -> int:
    """Print what would be done. Returns the exit code."""
    forecast = Forecast()
    for job in jobs:
        try:
            task = examine(job, settings, models)
        except UserError as error:
            forecast.add_unreadable(job)
            say(f'error: {error}', sys.stderr)
        else:
            forecast.add(task)
            _tell_before(task, share)
    forecast.show()
    return 1 if forecast.unreadable else 0


def _work(jobs: Sequence[Job], settings: Settings, models: Models, share: Alone) -> tuple[int, int]:
    """Do this process's jobs; how many succeeded and failed."""
    done = failed = 0
    with Display(len(jobs), share.rank == 0) as display:
        for job in share.taken(jobs):
            begin = time.perf_counter()
            try:
                with display.file(str(job.source)) as progress:
                    task = examine(job, settings, models)
                    _tell_before(task, share)
                    notes = enlarge(task, settings, progress)
            except UserError as error:
                failed += 1
                say(f'error: {error}', sys.stderr)
            else:
                done += 1
                seconds = time.perf_counter() - begin
                say(f'{job.source} -> {job.target} ({task.sizes()}, {seconds:.1f} s)', sys.stdout)
                for note in notes:
                    say(f'note: {job.source}: {note}', sys.stderr)
    return done, failed


def _tell_before(task: Task, share: Alone) -> None:
    """Notes that may change the user's mind; of compression once, because it asks for another command."""
    for note in task.notes():
        say(f'note: {task.job.source}: {note}', sys.stderr)
    robust = robust_beside(task.network) if task.compressed else None
    if robust and share.first_to_tell('compressed'):
        size = '' if robust.endswith(f'x{task.model.scale}') else f', with the size: -s {task.model.scale}'
        say(
            f'note: {task.job.source} looks compressed, and {task.network} sharpens what compression leaves; for such '
            f'pictures add -n {robust}{size}',
            sys.stderr,
        )
