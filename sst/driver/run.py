"""Training and testing: our preparations, then BasicSR's pipelines with some names replaced."""

import errno
import logging
import multiprocessing
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import basicsr.test
import basicsr.train
import torch.distributed as dist
from basicsr.utils import make_exp_dirs

from sst.basicsr_compat import replaced
from sst.data.prefetch import CUDAPrefetcher
from sst.data.samples import why_loading_ended
from sst.driver import launch, record, report
from sst.driver.arguments import parse_arguments
from sst.driver.early_log import EarlyLog, forget
from sst.driver.plan import print_plan
from sst.driver.prepare import Run, prepare
from sst.driver.progress import Progress, init_writers, quiet_writers
from sst.driver.resume import (
    AlreadyFinished,
    mark_finished,
    newest_whole,
    of_this_run,
    open_folders,
    read_whole_state,
)
from sst.driver.stopping import Interrupted, Signals, Stopping
from sst.models.guards import DIVERGED as ADVICE
from sst.utils.errors import DivergedError, SharedError, Spiked, Stopped, UserError
from sst.utils.visible import tell

GOOD, FAULTY, DIVERGED, SIGNALLED = 0, 2, 3, 128  # plus the signal's number
DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
AGAIN = 'make room or correct the rights, then go on from the last saved state with --auto_resume'

logger = logging.getLogger('basicsr')


def run_training(root: Path, argv: Sequence[str] | None = None) -> int:
    """Train as the command line says. Runs are in `root`/experiments. Returns the process's exit code."""
    return _execute(root, argv, is_train=True, work=_train)


def run_testing(root: Path, argv: Sequence[str] | None = None) -> int:
    """Test as the command line says. Results are in `root`/results. Returns the process's exit code."""
    return _execute(root, argv, is_train=False, work=_test)


def _execute(
    root: Path, argv: Sequence[str] | None, is_train: bool, work: Callable[[Run, EarlyLog, Signals], None]
) -> int:
    args = parse_arguments(is_train, argv)
    first = {os.environ.get('RANK'), os.environ.get('SLURM_PROCID')} <= {'0', '', None}
    try:
        place = launch.detect(args.launcher, os.environ)
        first = place.rank == 0
        if args.dry_run and not first:
            return GOOD
        signals = Signals(first)
        with ExitStack() as held:
            held.enter_context(signals.caught())
            held.enter_context(quiet_writers())
            log = EarlyLog()
            run = prepare(root.resolve(), args, is_train, place, held)
            if args.dry_run:
                print_plan(run)
            else:
                forget()  # BasicSR's pipeline opens it anew, with the run's file
                work(run, log, signals)
    except (Exception, KeyboardInterrupt) as fault:
        code = _tell(fault, first, _how_to_go_on(is_train, argv))
        if code is None:
            raise
        return code
    finally:
        forget()
    launch.leave()
    return GOOD


def _tell(fault: BaseException, first: bool, how_to_go_on: str) -> int | None:
    """Say in a line why a run ended, and give the exit code; None for a fault that needs its stack trace."""
    if isinstance(fault, AlreadyFinished):
        _say(first, str(fault))
    elif isinstance(fault, Stopped):
        _say(first, f'stopped by {signal.Signals(fault.number).name}; {how_to_go_on}')
    elif isinstance(fault, KeyboardInterrupt):
        _say(first, f'interrupted; {how_to_go_on}')
        for loading in multiprocessing.active_children():  # they would wait for batches to be taken
            loading.kill()
        return SIGNALLED + (fault.number if isinstance(fault, Interrupted) else signal.SIGINT)
    elif reason := why_loading_ended(fault):
        advice = 'if memory is short lower num_workers of the dataset'
        _say(True, f'error: a loading process has ended ({reason}); {advice}; {how_to_go_on}')
        return FAULTY
    elif isinstance(fault, UserError):
        alone = dist.is_initialized() and not isinstance(fault, SharedError)  # nobody else would tell
        if alone:
            launch.tells_first()  # the others are silent then
        for line in str(fault).split('\n'):
            _say(first or alone, f'error: {line}')
        return DIVERGED if isinstance(fault, DivergedError) else FAULTY
    elif launch.lost_others(fault):
        if launch.tells_first():
            _say(True, f'error: another process of this run has ended, or its machine is lost; {how_to_go_on}')
        return FAULTY
    elif isinstance(fault, OSError) and fault.errno in DISK_FAULTS:
        _say(True, f'error: cannot write {fault.filename or "the files of the run"}: {fault.strerror}; {AGAIN}')
        return FAULTY
    else:
        return None
    launch.leave()
    return SIGNALLED + fault.number if isinstance(fault, Stopped) else GOOD


def _train(run: Run, log: EarlyLog, signals: Signals) -> None:
    while True:
        try:
            _train_on(run, log, signals)
        except Spiked as leap:
            _go_back(run, leap)
        else:
            break
    if run.first:
        mark_finished(run.options, run.folder)


def _go_back(run: Run, leap: Spiked) -> None:
    """Make the last state of the run the one to go on from, with another order of data."""
    states = run.folder / 'training_states'
    path = launch.from_first(lambda: newest_whole(states))
    if path is None:
        raise DivergedError(f'{leap}, and there is no state yet to go back to; {ADVICE}')
    state = launch.agree(lambda: read_whole_state(path))
    leaps = {'returns': run.model.leaps.returns + 1, 'losses': state.get('leaps', {}).get('losses', [])}
    run.state = state | {'leaps': leaps}
    run.model.resume_training(run.state)
    logger.warning(f'{leap}: the run goes back to {path} and takes the data in another order, time {leaps["returns"]}')


def _train_on(run: Run, log: EarlyLog, signals: Signals) -> None:
    progress, model = Progress(run.opt), run.model
    validation, save = model.validation, model.save
    stopping = Stopping(run, signals, progress)
    model.validation, model.save = progress.besides(model.validation), progress.besides(model.save)
    signals.waiting = True
    try:
        replacements: dict[str, Any] = {
            'parse_options': lambda *_, **__: (run.opt, run.args),  # they are read and checked already
            'load_resume_state': lambda _: _go_on(run),  # it is read already, and only now folders may change
            'make_exp_dirs': lambda _: _make_folders(run),  # its fault ends all processes, in one line
            'mkdir_and_rename': lambda path: None,  # TensorBoard's files lie in the run's folder
            'copy_opt_file': lambda *_: _save_record(run),  # the resolved options, with environment and imports
            'get_root_logger': log.open,  # what was said before it was there comes first
            'get_env_info': lambda: record.summary(run.device, run.place.world),  # in one line
            'dict2str': lambda _: f'Options: {run.options_file}',  # which are hundreds of lines
            'init_tb_loggers': lambda opt: init_writers(opt, run.start_iter),  # in the run's folder
            'create_train_val_dataloader': stopping.create_loaders,  # an endless stream that resumes exactly
            'build_model': lambda _: model,  # it is built and tried already
            'MessageLogger': progress.begin,  # a bar, and lines with speed and time left
            'CUDAPrefetcher': CUDAPrefetcher,  # BasicSR's drops the stream's first batch
        }
        with replaced(basicsr.train, **replacements):
            basicsr.train.train_pipeline(str(run.root))
    except Exception as fault:
        alone = run.place.world == 1  # processes that lose one among them cannot write together any more
        if stopping.iteration and (isinstance(fault, Stopped) or (alone and why_loading_ended(fault))):
            model.save_now(stopping.iteration)
            logger.info(f'The run ends after iteration {stopping.iteration:,}; its state is saved')
        raise
    finally:
        progress.close()
        model.validation, model.save = validation, save


def _test(run: Run, log: EarlyLog, _: Signals) -> None:
    def make_folders(_: dict[str, Any]) -> None:
        _make_folders(run)
        _save_record(run)

    replacements: dict[str, Any] = {
        'parse_options': lambda *_, **__: (run.opt, run.args),  # they are read and checked already
        'make_exp_dirs': make_folders,  # its fault is one line; BasicSR's test saves no options
        'get_root_logger': log.open,  # what was said before it was there comes first
        'get_env_info': lambda: record.summary(run.device, run.place.world),  # in one line
        'dict2str': lambda _: f'Options: {run.options_file}',  # which are hundreds of lines
        'build_dataset': lambda options: run.datasets[options['name']],  # they are built and checked already
        'build_model': lambda _: run.model,  # so is it
    }
    with replaced(basicsr.test, **replacements):
        basicsr.test.test_pipeline(str(run.root))
    if run.first:
        metrics, missing = list(run.options.val.metrics or {}), list(run.missing.values())
        report.print_results(run.folder, run.options.name, metrics, missing)


def _go_on(run: Run) -> dict[str, Any] | None:
    """The state to resume. If there is one, BasicSR leaves the folders to us."""
    if run.state is not None:
        if of_this_run(run.state, run.folder):
            launch.agree(lambda: _writing(lambda: open_folders(run.folder, run.start_iter)) if run.first else None)
        else:  # another run's state: what lies under this name is as old as for a fresh run
            _make_folders(run)
    return run.state


def _make_folders(run: Run) -> None:
    def make() -> None:
        if run.first:
            _archive(run.folder)
        make_exp_dirs(run.opt)

    with redirect_stdout(sys.stderr):  # stdout is for results; BasicSR says there what it makes
        launch.agree(lambda: _writing(make))


def _archive(folder: Path) -> None:
    """Rename an older run's folder. BasicSR's own way fails at the second time within a second."""
    if not folder.exists():
        return
    name = f'{folder.name}_archived_{time.strftime("%Y%m%d_%H%M%S")}'
    places = (folder.with_name(f'{name}{number}') for number in ('', *(f'_{count}' for count in range(2, 1000))))
    place = next(place for place in places if not place.exists())
    tell(f'{folder} is renamed to {place}')
    folder.rename(place)


def _writing(work: Callable[[], object]) -> None:
    try:
        work()
    except OSError as fault:
        raise UserError(f'cannot write {fault.filename}: {fault.strerror}; make room or correct the rights') from fault


def _save_record(run: Run) -> None:
    def save() -> None:
        run.options_file = record.write_record(run.folder, run.written, run.start_iter)

    if run.first:
        _writing(save)


def _how_to_go_on(is_train: bool, argv: Sequence[str] | None) -> str:
    if not is_train:
        return 'start the same command again'
    arguments = [*sys.argv[:1], *(sys.argv[1:] if argv is None else argv)]
    if not {'--auto_resume', '--auto-resume'} & set(arguments):
        arguments.append('--auto_resume')
    return f'to go on from the last saved state: the same command with --auto_resume: {shlex.join(arguments)}'


def _say(first: bool, text: str) -> None:
    if first:
        tell(text)
