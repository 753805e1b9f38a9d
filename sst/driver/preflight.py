"""Checks of a run's options against this machine, and of its files, before anything is built or written."""

import os
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from sst.archs import AttentionNetwork
from sst.checkpoints.sources import HUB, download, shipped
from sst.data.storage import lmdb_damage
from sst.data.stream import check_batch
from sst.data.survey import survey
from sst.inference import inference_kwargs
from sst.metrics import require_packages
from sst.models.checkpoints import room_needed
from sst.models.evaluation import smallest_side
from sst.models.sst_model import AMP_DTYPES
from sst.ops import check_fused_training
from sst.options import Options
from sst.options.data import roots_of
from sst.utils.errors import UserError
from sst.utils.files import size_text
from sst.utils.optional import require
from sst.utils.visible import tell

MOST_TRAINING_IMAGES = 500  # are read beforehand, seconds of work; prepare_data.py check reads all
EMPTY = 'the folder is empty'
PATHS = ('dataroot_gt', 'dataroot_lq', 'meta_info_file')  # options of a dataset


def check_options(options: Options, device: torch.device, world: int) -> None:
    """Raise `UserError` for a batch that does not divide, a GPU prefetcher without a GPU, or missing packages."""
    require_packages([metric.type for metric in (options.val.metrics or {}).values()])
    data = options.datasets.train
    if options.train is None or options.logger is None:
        return
    check_batch(data.batch_size, world, options.train.accumulate)
    if data.prefetch_mode == 'cuda':
        if device.type != 'cuda':
            raise UserError(
                'datasets.train.prefetch_mode: cuda needs a GPU; on the CPU add: --force_yml '
                'datasets:train:prefetch_mode=null'
            )
        if not data.pin_memory:
            raise UserError(
                'datasets.train.prefetch_mode: cuda needs pinned memory; add: --force_yml '
                'datasets:train:pin_memory=true'
            )
    if options.logger.wandb and (project := options.logger.wandb.project):
        if not options.logger.use_tb_logger:
            raise UserError(
                'logger.wandb: copies what TensorBoard gets, so it needs: --force_yml logger:use_tb_logger=true'
            )
        instead = ', or leave it out: --force_yml logger:wandb:project=null'
        require('wandb', 'init', 'wandb', f'logger.wandb.project: {project}', instead)


def resolve_paths(options: Options, root: Path) -> None:
    """Make every path of the options absolute: `~` is the home folder, and relative paths start in the root folder.

    Weights may be named that ship with the package.
    """
    for dataset in options.datasets.by_section().values():
        for key in PATHS:
            match getattr(dataset, key, None):
                case str(path):
                    setattr(dataset, key, _absolute(path, root))
                case list(paths):
                    setattr(dataset, key, [_absolute(path, root) for path in paths])
    if state := options.path.resume_state:
        options.path.resume_state = _absolute(state, root)
    if weights := options.path.pretrain_network_g:
        path = _absolute(weights, root)
        is_name = Path(path).parent == root and not Path(path).exists()
        options.path.pretrain_network_g = str(shipped().get(weights, path)) if is_name else path


def fetch_weights(options: Options) -> None:
    """Download weights named by `hf://owner/repo/file` and set the local path. Raises `UserError` on failure."""
    weights = options.path.pretrain_network_g
    if weights and weights.startswith(HUB):
        options.path.pretrain_network_g = str(download(weights))


def missing_sets(options: Options, root: Path, tells: bool, overrides: Sequence[str] = ()) -> dict[str, str]:
    """Look for all data and weights that the options name.

    Args:
        tells: whether this process says which sets are left out.
        overrides: the changes of the command line.

    Returns:
        dict: sections of `datasets` that are left out, and the names of their sets: missing sets of a test, and those
            of a training run that are `optional`. A set whose place the command line names is never left out.

    Raises:
        UserError: one line for each missing path, with what to do.
    """
    sets = options.datasets.by_section()
    absent = {key: lines for key, dataset in sets.items() if (lines := list(missing_in(key, dataset, root)))}
    tests = options.train is None
    left_out = [
        key for key in absent if (tests or getattr(sets[key], 'optional', False)) and not _is_placed_by(overrides, key)
    ]
    faults = [line for key, lines in absent.items() if key not in left_out for line in lines]
    if tests and len(absent) == len(sets):
        faults = [line for lines in absent.values() for line in lines] or ['datasets: must name a set to test on']
    weights = options.path.pretrain_network_g
    if weights and not os.path.isfile(weights):
        kind = 'a folder' if os.path.isdir(weights) else 'no such file'
        faults.append(f'{_shown(weights, root)} (path.pretrain_network_g): {kind}; {_weights_advice(weights, root)}')
    if faults:
        raise UserError('\n'.join(f'missing: {line}' for line in faults))
    for line in (line for key in left_out for line in absent[key] if tells):
        tell(f'warning: left out: {line}')
    return {key: sets[key].name for key in left_out}


def _is_placed_by(overrides: Sequence[str], key: str) -> bool:
    """Whether changes of the command line name the whole section `datasets.<key>` or one of its paths."""
    places = [text.partition('=')[0].split(':') for text in overrides]
    return any(place[:2] == ['datasets', key] and (len(place) == 2 or place[2] in PATHS) for place in places)


def check_network(net: torch.nn.Module, options: Options, device: torch.device) -> None:
    """Raise `UserError` if a network of ours cannot be computed on this device as the options ask."""
    if isinstance(net, AttentionNetwork):
        amp = options.train.amp if options.train else None
        dtype = AMP_DTYPES[amp] if amp else torch.float32
        net.check_backend(device, dtype)
        if options.train and options.train.fused_layers:
            check_fused_training(device, dtype)
        if keywords := inference_kwargs(dict(options.val)):
            net.check_inference(device, **keywords)


def check_room(opt: dict[str, Any], model: Any, folder: Path, start_iter: int) -> None:
    """Raise `UserError` if the disk has less room than all checkpoints of the run will take."""
    count, needed = room_needed(opt, model.checkpoint_sizes(), start_iter)
    place = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise UserError(
            f'{place}: the {count:,} checkpoints of this run will take {size_text(needed)}, and {size_text(free)} are '
            'free; make room, or keep fewer: --force_yml logger:keep_last=5 (or a larger save_checkpoint_freq)'
        )


def check_images(opt: dict[str, Any], datasets: dict[str, Any]) -> None:
    """Read the validation or test images and some training images, because a damaged one would stop the run later.

    Raises:
        UserError: images that cannot be read, that do not belong together or that are too small.
    """
    faults = []
    smallest = smallest_side(opt['val']['metrics'] or {})
    for options in opt['datasets'].values():
        train = options['phase'] == 'train'
        try:
            survey(
                datasets[options['name']],
                opt['scale'],
                smallest=options['gt_size'] if train else smallest,
                most=MOST_TRAINING_IMAGES if train else None,
                progress=partial(tqdm, desc=f'looking at {options["name"]}', unit='image', disable=None, leave=False),
            )
        except UserError as fault:
            faults.append(str(fault))
    if faults:
        raise UserError('\n'.join(faults))


def missing_in(key: str, dataset: Any, root: Path) -> Iterator[str]:
    """A line for each path of the set in the section `datasets.<key>` that is missing or empty."""
    io_backend = getattr(dataset, 'io_backend', None)
    lmdb = (dict(io_backend).get('type') if io_backend else None) == 'lmdb'
    for option in PATHS:
        for path in map(Path, roots_of(getattr(dataset, option, None) or [])):
            if option == 'meta_info_file':
                fault = None if os.path.isfile(path) else 'no such file'
            else:
                fault = lmdb_fault(path) if lmdb or path.suffix == '.lmdb' else folder_fault(path)
            if fault:
                where = f'datasets.{key}.{option}'
                advice = _data_advice(where, path, dataset.prepare, root, fault == EMPTY)
                yield f'{_shown(path, root)} ({where}): {fault}; {advice}'


def folder_fault(folder: Path) -> str | None:
    """What is wrong with a folder of images."""
    if not os.path.isdir(folder):  # unlike Path.is_dir, it also answers for names that are too long
        return 'a file, not a folder' if os.path.exists(folder) else 'no such folder'
    if not any(not entry.name.startswith('.') for entry in folder.iterdir()):
        return EMPTY
    return None


def lmdb_fault(folder: Path) -> str | None:
    """What is wrong with an LMDB database."""
    if folder.suffix != '.lmdb':
        return 'with io_backend.type lmdb the name must end in .lmdb'
    if not os.path.isdir(folder):
        return 'no such database'
    absent = [name for name in ('data.mdb', 'meta_info.txt') if not os.path.isfile(folder / name)]
    return f'{" and ".join(absent)} missing in it' if absent else lmdb_damage(str(folder))


def _absolute(path: str, root: Path) -> str:
    return path if '://' in path else str(root / Path(path).expanduser())


def _shown(path: str | Path, root: Path) -> str:
    if '://' in str(path):
        return str(path)
    path = Path(path)
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _data_advice(where: str, path: Path, prepare: str | None, root: Path, empty: bool) -> str:
    """How to get the data into datasets/, as its option file says. Data elsewhere belongs to the user."""
    prepare = ' '.join((prepare or '').split())
    if prepare and path.is_relative_to(root / 'datasets'):
        return prepare
    change = f'--force_yml {where.replace(".", ":")}'
    if empty:
        return f'put images into it, or name another folder: {change}=FOLDER'
    other = f'put it there, or name another place: {change}=PATH'
    return f'{other} (its usual one: {prepare})' if prepare else other


def _weights_advice(path: str, root: Path) -> str:
    name_it = '--force_yml path:pretrain_network_g=FILE'
    if '://' in path:
        return f'only addresses hf://owner/repo/file are followed; download the file and name it: {name_it}'
    place = Path(path)
    if place.is_relative_to(root / 'experiments'):
        name = place.relative_to(root / 'experiments').parts[0]
        for file in (f'options/{name}.yml', f'options/train_{name}.yml'):
            if os.path.isfile(root / file):
                return f'make it with: python sst/train.py -opt {file}'
    return f'name another file: {name_it}'
