"""Training and testing: our preparations, then BasicSR's pipelines with the names replaced that need it."""

import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

import basicsr.models
import basicsr.test
import basicsr.train
import basicsr.utils.logger
import torch.distributed as dist
from basicsr.utils import make_exp_dirs

from sst.basicsr_compat import replaced
from sst.data.prefetch import CUDAPrefetcher
from sst.driver import launch, record, report
from sst.driver.arguments import parse_arguments
from sst.driver.loaders import create_loaders
from sst.driver.plan import print_plan
from sst.driver.prepare import Run, prepare
from sst.driver.progress import Progress, init_writers
from sst.driver.resume import AlreadyFinished, mark_finished, open_folders
from sst.utils.errors import SharedError, UserError

GOOD, FAULTY, INTERRUPTED = 0, 2, 130


def run_training(root: Path, argv: Sequence[str] | None = None) -> int:
    """Train as the command line says; runs lie in `root`/experiments. Returns the process's exit code."""
    return _execute(root, argv, is_train=True, work=_train)


def run_testing(root: Path, argv: Sequence[str] | None = None) -> int:
    """Test as the command line says; results lie in `root`/results. Returns the process's exit code."""
    return _execute(root, argv, is_train=False, work=_test)


def _execute(root: Path, argv: Sequence[str] | None, is_train: bool, work: Callable[[Run], None]) -> int:
    args = parse_arguments(is_train, argv)
    _forget_logger()  # of whoever used BasicSR in this process before
    first = int(os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or 0) == 0
    try:
        place = launch.detect(args.launcher, os.environ)
        first = place.rank == 0
        if args.dry_run and not first:
            return GOOD
        with ExitStack() as held:
            run = prepare(root.resolve(), args, is_train, place, held)
            if args.dry_run:
                print_plan(run)
            else:
                work(run)
    except AlreadyFinished as fact:
        _say(first, str(fact))
    except UserError as fault:
        alone = dist.is_initialized() and not isinstance(fault, SharedError)  # nobody else would tell
        for line in str(fault).splitlines():
            _say(first or alone, f'error: {line}')
        return FAULTY
    except KeyboardInterrupt:
        _say(first, _interrupted(is_train, argv))
        return INTERRUPTED
    finally:
        _forget_logger()
    launch.leave()
    return GOOD


def _train(run: Run) -> None:
    progress = Progress(run.opt)

    def build_model(opt: dict[str, Any]) -> Any:
        model = _build_model(opt)
        model.validation, model.save = progress.aside(model.validation), progress.aside(model.save)
        return model

    try:
        with replaced(
            basicsr.train,
            parse_options=lambda *_, **__: (run.opt, run.args),
            load_resume_state=lambda _: _go_on(run),
            mkdir_and_rename=lambda path: None,
            copy_opt_file=lambda *_: None,
            make_exp_dirs=_make_folders,
            get_env_info=lambda: record.summary(run.device, run.place.world),
            dict2str=lambda _: _save_record(run),
            init_tb_loggers=init_writers,
            create_train_val_dataloader=lambda _, logger: create_loaders(run, logger, progress.on_request),
            build_model=build_model,
            MessageLogger=progress.begin,
            CUDAPrefetcher=CUDAPrefetcher,
        ):
            basicsr.train.train_pipeline(str(run.root))
    finally:
        progress.close()
    if run.first:
        mark_finished(run.opt)


def _test(run: Run) -> None:
    with replaced(
        basicsr.test,
        make_exp_dirs=_make_folders,
        parse_options=lambda *_, **__: (run.opt, run.args),
        get_env_info=lambda: record.summary(run.device, run.place.world),
        dict2str=lambda _: _save_record(run),
        build_dataset=lambda options: run.datasets[options['name']],
        build_model=_build_model,
    ):
        basicsr.test.test_pipeline(str(run.root))
    if run.first:
        report.print_results(run.opt)


def _build_model(opt: dict[str, Any]) -> Any:
    return launch.agree(lambda: basicsr.models.build_model(opt))


def _go_on(run: Run) -> dict[str, Any] | None:
    """The state to go on from; with one BasicSR leaves the folders to us."""
    if run.state is not None:
        launch.agree(lambda: _writing(lambda: open_folders(run.opt)) if run.first else None)
    return run.state


def _make_folders(opt: dict[str, Any]) -> None:
    with redirect_stdout(sys.stderr):  # stdout is for results; BasicSR says there what it renames
        launch.agree(lambda: _writing(lambda: make_exp_dirs(opt)))


def _writing(work: Callable[[], None]) -> None:
    try:
        work()
    except OSError as fault:
        raise UserError(f'cannot write {fault.filename}: {fault.strerror}; make room or correct the rights') from fault


def _save_record(run: Run) -> str:
    if not run.first:
        return ''
    return f'Options: {record.write_record(run.folder, run.written, run.opt.get("start_iter", 0))}'


def _interrupted(is_train: bool, argv: Sequence[str] | None) -> str:
    if not is_train:
        return 'interrupted'
    arguments = [*sys.argv[:1], *(sys.argv[1:] if argv is None else argv)]
    if '--auto_resume' not in arguments:
        arguments.append('--auto_resume')
    return (
        f'interrupted; to go on from the last saved state: the same command with --auto_resume: {shlex.join(arguments)}'
    )


def _say(first: bool, text: str) -> None:
    if first:
        print(text, file=sys.stderr)


def _forget_logger() -> None:
    """Close BasicSR's log, so that the next run in this process gets its own."""
    logger = logging.getLogger('basicsr')
    for handler in list(logger.handlers):
        handler.close()
        logger.removeHandler(handler)
    basicsr.utils.logger.initialized_logger.pop('basicsr', None)
