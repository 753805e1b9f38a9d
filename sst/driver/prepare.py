"""From the command line to a run that is ready to start: everything checked, read and built."""

import argparse
import logging
import random
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from basicsr.models import build_model
from basicsr.utils import set_random_seed

from sst.checkpoints.fitting import MisfitError
from sst.data import build_dataset
from sst.driver import launch, preflight
from sst.driver.fitting_models import advice
from sst.driver.lock import locked, require_unlocked
from sst.driver.resume import load_resume_state
from sst.options import Options, checked_options
from sst.utils.errors import UserError
from sst.utils.precision import use_tf32

logger = logging.getLogger('basicsr')


@dataclass
class Run:
    """A run, and what the driver finds out about it.

    Attributes:
        options: the options of the file, with absolute paths.
        written: the options as they are saved with the run: what `-opt` takes to repeat it.
        state: the training state to go on from, if any.
        missing: the names of the sets that are left out, by their sections.
        opt: what BasicSR's pipeline and the model read: the options in plain Python with BasicSR's own keys.
        model: BasicSR's model, ready to train or test; that of a dry run is on the CPU.
        datasets: the datasets by name.
        stream: what the order of training samples depends on.
        options_file: where `written` lies, once the first process has written it.
    """

    root: Path
    args: argparse.Namespace
    options: Options
    written: dict[str, Any]
    place: launch.Place
    device: torch.device
    state: dict[str, Any] | None
    missing: dict[str, str] = field(default_factory=dict)
    opt: dict[str, Any] = field(default_factory=dict)
    model: Any = None
    datasets: dict[str, Any] = field(default_factory=dict)
    stream: dict[str, int] | None = None
    options_file: Path | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.place.rank == 0

    @property
    def folder(self) -> Path:
        """Where the run's files go."""
        return folder_of(self.options, self.root)

    @property
    def start_iter(self) -> int:
        """The last iteration that is trained already."""
        return self.state['iter'] if self.state else 0


def folder_of(options: Options, root: Path) -> Path:
    """Where the files of a run go."""
    return root / ('results' if options.train is None else 'experiments') / options.name


def prepare(root: Path, args: argparse.Namespace, is_train: bool, place: launch.Place, held: ExitStack) -> Run:
    """Read and check the options, join the other processes, look at every file. Writes nothing but the run's lock.

    Args:
        held: keeps the lock.

    Raises:
        UserError: faulty options, a batch that does not divide, missing or faulty data, weights or states, or a run of
            this name that is going on.
        AlreadyFinished: nothing is left to train.
    """
    if any('\ud800' <= character <= '\udfff' for character in str(root)):  # bytes that are no text in this locale
        raise UserError(f'{str(root)!a}: this locale cannot write its name; set LC_ALL=C.UTF-8 or PYTHONUTF8=1')
    options = read_options(args, is_train, place.world, root)
    if args.dry_run:
        place = launch.Place(place.launcher, 0, place.world, 0, place.local_world)
    device = launch.choose_device(place, options.num_gpu)
    preflight.check_options(options, device, place.world)
    if not args.dry_run:
        launch.join(place, device, options.dist_params)
    if device.type == 'cuda':
        use_tf32(options.tf32)
    if options.manual_seed is None:
        options.manual_seed = launch.from_first(lambda: random.randint(1, 10000))
    set_random_seed(options.manual_seed)  # alike in all processes: they start from the same weights
    written = options.plain()
    preflight.resolve_paths(options, root)
    state = load_resume_state(options, folder_of(options, root), args.auto_resume) if is_train else None
    run = Run(root, args, options, written, place, device, state)
    launch.agree(lambda: _get_ready(run, held))
    if not args.dry_run:
        run.model.join_processes()
        run.model.choose_kernels()
    return run


def _get_ready(run: Run, held: ExitStack) -> None:
    """Everything that may fail in one process alone. Nothing here waits for other processes."""
    options = run.options
    if run.state:
        options.path.pretrain_network_g = None  # the state brings its own weights
    preflight.fetch_weights(options)
    run.missing = preflight.missing_sets(options, run.root, run.first, run.args.force_yml)
    run.opt = pipeline_options(run)
    run.model = _built_model(run)
    preflight.check_network(run.model.get_bare_model(run.model.net_g), options, run.device)
    run.datasets = {section['name']: build_dataset(section) for section in run.opt['datasets'].values()}
    if run.first:
        preflight.check_images(run.opt, run.datasets)
    if data := options.datasets.train:
        images = len(run.datasets[data.name])
        run.stream = {'seed': run.opt['manual_seed'], 'total_batch': data.batch_size, 'pictures': images}
        run.model.stream = run.stream
        if run.first:
            preflight.check_room(run.opt, run.model, run.folder, run.start_iter)
    run.model.rehearse()
    if run.args.dry_run:
        require_unlocked(run.folder)
    elif run.first:
        held.enter_context(locked(run.folder))


def _built_model(run: Run) -> Any:
    """The model with the weights and state that it starts from. In a dry run it is on the CPU."""
    try:
        model = build_model(run.opt | {'num_gpu': 0, 'dist': False} if run.args.dry_run else run.opt)
    except MisfitError as misfit:
        raise UserError(f'{misfit}; {advice(misfit, run.root)}') from misfit
    if run.state:
        model.resume_training(run.state)
        logger.info(f'Goes on from {run.state["path"]}')
    return model


def read_options(args: argparse.Namespace, is_train: bool, processes: int, root: Path) -> Options:
    """The checked options with `--force_yml` and `--debug`, and of the right kind: training or test."""
    options = checked_options(args.opt, args.force_yml, processes=processes, root=root)
    if is_train and options.train is None:
        raise UserError(
            f'{args.opt}: no train section, so this is a test file; run: python sst/test.py -opt {args.opt}'
        )
    if not is_train and options.train is not None:
        raise UserError(
            f'{args.opt}: has a train section, so this is a training file; run: python sst/train.py -opt {args.opt}'
        )
    tests = [key for key in options.datasets.by_section() if is_train and key.startswith('test')]
    if tests:
        raise UserError(
            f'{args.opt}: datasets.{tests[0]} in a training file; sets to validate on are called val, val_1, ...'
        )
    if args.debug:
        options.name = f'debug_{options.name}'
        options.val.val_freq = 8
        if options.logger is not None:
            options.logger.print_freq, options.logger.save_checkpoint_freq = 1, 8
    return options


def pipeline_options(run: Run) -> dict[str, Any]:
    """The options in plain Python without missing sets, with the keys that BasicSR's pipelines and datasets read."""
    opt, place, folder = run.options.plain(), run.place, run.folder
    is_train = run.options.train is not None
    opt |= {
        'is_train': is_train,
        'dist': place.launcher != 'none',
        'rank': place.rank,
        'world_size': place.world,
        'root_path': str(run.root),
        'num_gpu': int(run.device.type == 'cuda'),
    }
    if is_train:  # a short run logs its last iteration too
        opt['logger']['print_freq'] = min(opt['logger']['print_freq'], opt['train']['total_iter'])
    opt['datasets'] = {key: section for key, section in opt['datasets'].items() if key not in run.missing}
    for key, section in opt['datasets'].items():
        section |= {'phase': key.split('_')[0], 'scale': opt['scale'], 'max_megapixels': opt['max_megapixels']}
    folders = {'experiments_root': '', 'models': 'models', 'training_states': 'training_states'}
    folders = (folders if is_train else {'results_root': ''}) | {'log': '', 'visualization': 'visualization'}
    opt['path'] |= {key: str(folder / name) for key, name in folders.items()}
    return opt
