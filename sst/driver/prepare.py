"""From the command line to a run that is ready to start: everything checked, read and built."""

import argparse
import random
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from basicsr.models import build_model
from basicsr.utils import set_random_seed

from sst.data import build_dataset
from sst.driver import launch, preflight
from sst.driver.lock import free, locked
from sst.driver.resume import load_resume_state
from sst.options import load_options
from sst.utils.errors import UserError
from sst.utils.pixels import MEGAPIXELS


@dataclass
class Run:
    """A run that is ready to start.

    Attributes:
        opt: the options with what the driver adds; BasicSR's pipeline and the model read it.
        written: the options as they are saved with the run: what `-opt` takes to repeat it.
        datasets: the datasets by name.
        state: the training state to go on from, if any.
        model: BasicSR's model, ready to train or test; of a dry run on the CPU.
    """

    root: Path
    args: argparse.Namespace
    opt: dict[str, Any]
    written: dict[str, Any]
    place: launch.Place
    device: torch.device
    datasets: dict[str, Any]
    state: dict[str, Any] | None
    model: Any

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.place.rank == 0

    @property
    def folder(self) -> Path:
        """Where the run's files go."""
        return Path(self.opt['path']['experiments_root' if self.opt['is_train'] else 'results_root'])


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
    opt = read_options(args, is_train, place.world, root)
    if args.dry_run:
        place = launch.Place(place.launcher, 0, place.world, 0, place.local_world)
    device = launch.choose_device(place, opt['num_gpu'])
    preflight.check_options(opt, device, place.world)
    if not args.dry_run:
        launch.join(place, device, opt.get('dist_params', {}))
    if opt.get('manual_seed') is None:
        opt['manual_seed'] = launch.from_first(lambda: random.randint(1, 10000))
    set_random_seed(opt['manual_seed'])  # alike in all processes: they start from the same weights
    written = deepcopy(opt)
    complete(opt, root, is_train, place, device)
    opt['auto_resume'] = args.auto_resume
    preflight.resolve_paths(opt, root)
    launch.agree(lambda: preflight.fetch_weights(opt))
    state = load_resume_state(opt) if is_train else None
    launch.agree(lambda: preflight.check_files(opt, root))
    launch.agree(lambda: preflight.check_network(opt, device, root))
    datasets = launch.agree(lambda: {options['name']: build_dataset(options) for options in opt['datasets'].values()})
    launch.agree(lambda: preflight.check_pictures(opt, datasets) if place.rank == 0 else None)
    if is_train:  # what the order of samples depends on; the model saves it with its states
        data = opt['datasets']['train']
        pictures = len(datasets[data['name']])
        opt['stream'] = {'seed': opt['manual_seed'], 'total_batch': data['batch_size'], 'pictures': pictures}
    model = launch.agree(lambda: build(opt, state, args.dry_run))
    run = Run(root, args, opt, written, place, device, datasets, state, model)
    lock = free if args.dry_run else locked
    launch.agree(lambda: held.enter_context(lock(run.folder)) if run.first else None)
    return run


def build(opt: dict[str, Any], state: dict[str, Any] | None, dry: bool) -> Any:
    """The model with all it goes on from, tried on one picture; a dry run's alone and on the CPU."""
    model = build_model(opt | {'num_gpu': 0, 'dist': False} if dry else opt)
    if state is not None:
        model.resume_training(state)
    model.rehearse()
    return model


def read_options(args: argparse.Namespace, is_train: bool, processes: int, root: Path) -> dict[str, Any]:
    """The validated options with `--force_yml` and `--debug`, and of the right kind: training or test."""
    opt = load_options(args.opt, args.force_yml, processes=processes, root=root)
    if is_train and 'train' not in opt:
        raise UserError(
            f'{args.opt}: no train section, so this is a test file; run: python sst/test.py -opt {args.opt}'
        )
    if not is_train and 'train' in opt:
        raise UserError(
            f'{args.opt}: has a train section, so this is a training file; run: python sst/train.py -opt {args.opt}'
        )
    tests = [key for key in opt['datasets'] if is_train and key.startswith('test')]
    if tests:
        raise UserError(
            f'{args.opt}: datasets.{tests[0]} in a training file; sets to validate on are called val, val_1, ...'
        )
    if args.debug:
        opt['name'] = f'debug_{opt["name"]}'
        if is_train:
            opt['logger'].update(print_freq=1, save_checkpoint_freq=8)
            if opt.get('val') is not None:
                opt['val']['val_freq'] = 8
    return opt


def complete(opt: dict[str, Any], root: Path, is_train: bool, place: launch.Place, device: torch.device) -> None:
    """Add what the pipelines and the model read beside the file's options."""
    opt.update(
        is_train=is_train,
        dist=place.launcher != 'none',
        rank=place.rank,
        world_size=place.world,
        local_rank=place.local_rank,
        root_path=str(root),
        start_iter=0,
        num_gpu=int(device.type == 'cuda'),
    )
    if is_train:  # a short run logs its last iteration too
        opt['logger']['print_freq'] = min(opt['logger']['print_freq'], int(opt['train']['total_iter']))
    for key, dataset in opt['datasets'].items():
        dataset['phase'] = key.split('_')[0]
        dataset['scale'] = opt['scale']
        dataset['max_megapixels'] = opt.get('max_megapixels', MEGAPIXELS)
    folder = root / ('experiments' if is_train else 'results') / opt['name']
    path = opt.setdefault('path', {})
    if is_train:
        path.update(
            experiments_root=str(folder), models=str(folder / 'models'), training_states=str(folder / 'training_states')
        )
    else:
        path['results_root'] = str(folder)
    path.update(log=str(folder), visualization=str(folder / 'visualization'))
