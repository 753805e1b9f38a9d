"""The work of `sst-upscale`: one file after the other. A file that fails is named, and the rest go on."""

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
from sst.upscaling.jobs import Job, find_sources, plan, require_output
from sst.upscaling.models import BETTER, Models, robust_counterpart
from sst.upscaling.progress import Display, say
from sst.upscaling.sharing import Share
from sst.utils.errors import UserError


def run(settings: Settings) -> int:
    """Enlarge what is asked for. Returns the exit code: 0, or 1 if files failed or cannot be read.

    Raises:
        UserError: the command line makes no sense; this is found before any work.
    """
    signal.signal(signal.SIGTERM, _exit)
    share = Share()
    sources, unreadable = find_sources(settings.inputs, settings.output)
    require_output(sources, settings.output)
    models = Models(settings)
    first = models.load(models.name_for(settings.scale))
    jobs = plan(sources, settings, _suffix(settings, first.scale))
    finished = [job for job in jobs if settings.skip_existing and _has_content(job.target)]
    jobs = [job for job in jobs if job not in finished]
    if share.rank == 0:
        _announce(settings, first, len(jobs), len(finished))
        if unreadable:
            say(f'error: {unreadable}', sys.stderr)
    if settings.dry_run:
        failed = _forecast(jobs, settings, models, share) if share.rank == 0 else 0
    else:
        jobs = share.agree(jobs)
        begin = time.perf_counter()
        done, failed = share.total(*_work(jobs, settings, models, share))
        if share.rank == 0:
            _conclude(done, failed, time.perf_counter() - begin)
    return 1 if failed or unreadable else 0


def _exit(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)  # an exception, so that unfinished files are removed


def _has_content(target: Path) -> bool:
    return target.is_file() and target.stat().st_size > 0


def _suffix(settings: Settings, network_scale: int) -> str:
    if settings.suffix is not None:
        return settings.suffix
    if settings.height:
        return f'h{settings.height}'
    return f'w{settings.width}' if settings.width else f'x{settings.scale or network_scale:g}'


def _announce(settings: Settings, model: Upscaler, jobs: int, finished: int) -> None:
    if settings.model is None:
        better = BETTER.format(image=shlex.quote(settings.inputs[0]), scale=model.scale)
        say(f'The small network that ships is used; {better}', sys.stderr)
    skipped = f', {finished} skipped because they have a result' if finished else ''
    say(f'{_counted(jobs)}{skipped}; {model}', sys.stderr)


def _conclude(done: int, failed: int, seconds: float) -> None:
    speed = f' in {seconds:.1f} s, {seconds / done:.1f} s a file' if done else ''
    say(f'{_counted(done)} enlarged{speed}{f"; {failed} FAILED, named above" if failed else ""}', sys.stderr)


def _counted(number: int) -> str:
    return '1 file' if number == 1 else f'{number} files'


def _forecast(jobs: Sequence[Job], settings: Settings, models: Models, share: Share) -> int:
    """Print what would be done. Returns the number of files that cannot be read."""
    forecast = Forecast()
    for job in jobs:
        try:
            task = examine(job, settings, models)
        except UserError as error:
            forecast.add_unreadable(job)
            _say_faults(error)
        else:
            forecast.add(task)
            _say_notes(task, share)
    forecast.show()
    return forecast.unreadable


def _work(jobs: Sequence[Job], settings: Settings, models: Models, share: Share) -> tuple[int, int]:
    """Do this process's jobs. Returns how many succeeded and how many failed."""
    done = failed = 0
    with Display(len(jobs), share.rank == 0) as display:
        for job in share.take(jobs):
            begin = time.perf_counter()
            try:
                with display.file(str(job.source)) as progress:
                    task = examine(job, settings, models)
                    _say_notes(task, share)
                    notes = enlarge(task, settings, progress)
            except UserError as error:
                failed += 1
                _say_faults(error)
            else:
                done += 1
                seconds = time.perf_counter() - begin
                say(f'{job.source} -> {job.target} ({task.sizes()}, {seconds:.1f} s)', sys.stdout)
                for note in notes:
                    say(f'note: {job.source}: {note}', sys.stderr)
    return done, failed


def _say_faults(error: UserError) -> None:
    for fault in error.faults:
        say(f'error: {fault}', sys.stderr)


def _say_notes(task: Task, share: Share) -> None:
    """Say what may change the user's mind. Compression is said once, because another command answers it for all."""
    for note in task.notes():
        say(f'note: {task.job.source}: {note}', sys.stderr)
    robust = robust_counterpart(task.network) if task.compressed else None
    if robust and share.first_to_say('compressed'):
        size = '' if robust.endswith(f'x{task.model.scale}') else f' and the size: -s {task.model.scale}'
        say(
            f'note: {task.job.source}: looks compressed, and {task.network} sharpens the traces of compression; for '
            f'such images add -n {robust}{size}',
            sys.stderr,
        )
