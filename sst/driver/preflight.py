"""Checks of a run's options against this machine, and of its files, before anything is built or written."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from tqdm import tqdm

from sst.archs import SST
from sst.checkpoints.fitting import MisfitError, fitting_weights
from sst.checkpoints.sources import HUB, download, shipped
from sst.data.storage import lmdb_damage
from sst.data.stream import check_batch
from sst.data.survey import survey
from sst.driver.fitting_models import advice
from sst.inference import inference_kwargs
from sst.metrics import require_packages
from sst.models.evaluation import smallest_side
from sst.models.sst_model import AMP_DTYPES, loading
from sst.options.data import roots_of
from sst.utils.errors import UserError
from sst.utils.optional import require
from sst.utils.visible import tell

MOST_TRAINING_PICTURES = 500  # are read beforehand, seconds of work; prepare_data.py check reads all


def check_options(opt: dict[str, Any], device: torch.device, world: int) -> None:
    """Raise `UserError` for a batch that does not divide, a GPU prefetcher without GPU, or missing packages."""
    types = [metric['type'] for metric in ((opt.get('val') or {}).get('metrics') or {}).values()]
    require_packages(types)
    if 'train' not in opt:
        return
    data = opt['datasets']['train']
    check_batch(data['batch_size'], world, opt['train'].get('accumulate', 1))
    if data.get('prefetch_mode') == 'cuda':
        if device.type != 'cuda':
            raise UserError(
                'datasets.train.prefetch_mode: cuda needs a GPU; on the CPU add: --force_yml '
                'datasets:train:prefetch_mode=null'
            )
        if not data.get('pin_memory'):
            raise UserError(
                'datasets.train.prefetch_mode: cuda needs pinned memory; add: --force_yml '
                'datasets:train:pin_memory=true'
            )
    if wandb_project(opt) and not opt['logger'].get('use_tb_logger'):
        raise UserError(
            'logger.wandb: copies what TensorBoard gets, so it needs: --force_yml logger:use_tb_logger=true'
        )
    if project := wandb_project(opt):
        instead = ', or leave it out: --force_yml logger:wandb:project=null'
        require('wandb', 'init', 'wandb', f'logger.wandb.project: {project}', instead)


def wandb_project(opt: dict[str, Any]) -> str | None:
    """The Weights & Biases project that the run reports to, if any."""
    return (opt['logger'].get('wandb') or {}).get('project')


def resolve_paths(opt: dict[str, Any], root: Path) -> None:
    """Make every path of the options absolute: `~` is the home folder, anything relative lies in the root folder.

    Weights may be named that ship with the package.
    """
    for section, keys in [(opt['path'], list(_weight_keys(opt['path'])))] + [
        (dataset, [key for key in dataset if key.startswith('dataroot') or key == 'meta_info_file'])
        for dataset in opt['datasets'].values()
    ]:
        for key in keys:
            if isinstance(section[key], list):
                section[key] = [_absolute(path, root) for path in section[key]]
            elif section[key] is not None:
                section[key] = _absolute(section[key], root)
    for key in _weight_keys(opt['path']):
        if (path := opt['path'][key]) and not Path(path).exists() and Path(path).parent == root:
            opt['path'][key] = str(shipped().get(Path(path).name, path))


def fetch_weights(opt: dict[str, Any]) -> None:
    """Put files in place of the addresses `hf://owner/repo/file` of weights. Raises `UserError` where one fails."""
    for key, path in opt['path'].items():
        if key.startswith('pretrain_network') and path and path.startswith(HUB):
            opt['path'][key] = str(download(path))


def check_files(opt: dict[str, Any], root: Path) -> None:
    """Look for all data and weights that the options name.

    A test leaves out the sets that are missing, training those that are `optional`: they go from `opt['datasets']` to
    `opt['missing_sets']`, with a warning.

    Raises:
        UserError: one line for each missing path, with what to do.
    """
    faults = [
        f'{_shown(path, root)} ({key}): {"a folder" if Path(path).is_dir() else "no such file"}; '
        f'{_weights_advice(key, path, root)}'
        for key, path in missing_weights(opt['path'])
    ]
    by_set = {key: list(missing_in(key, dataset, root)) for key, dataset in opt['datasets'].items()}
    missing = {key: lines for key, lines in by_set.items() if lines}
    left_out = [key for key in missing if not opt['is_train'] or opt['datasets'][key].get('optional')]
    if not opt['is_train'] and len(missing) == len(by_set):
        left_out = []
        if not by_set:
            faults.append('datasets: no set is named; nothing to do')
    faults = [line for key, lines in missing.items() if key not in left_out for line in lines] + faults
    if faults:
        raise UserError('\n'.join(f'missing: {line}' for line in faults))
    opt['missing_sets'] = [opt['datasets'].pop(key)['name'] for key in left_out]
    if opt['rank'] == 0:
        for line in (line for key in left_out for line in missing[key]):
            tell(f'warning: left out: {line}')


def check_network(opt: dict[str, Any], device: torch.device, root: Path) -> None:
    """Build the network without weights; hold SST's backend against the device, the weights file against the shapes.

    Raises:
        UserError: options that the network refuses, a backend that cannot serve here, or weights that cannot be read or
            do not fit.
    """
    net = without_weights(opt['network_g'])
    if isinstance(net, SST):
        amp = (opt.get('train') or {}).get('amp')
        net.check_backend(device, AMP_DTYPES[amp] if amp else torch.float32)
        if keywords := inference_kwargs(opt.get('val') or {}):
            net.check_inference(device, **keywords)
    if weights := opt['path'].get('pretrain_network_g'):
        try:
            fitting_weights(net, weights, **loading(opt))
        except MisfitError as misfit:
            raise UserError(f'{misfit}; {advice(misfit, root)}') from misfit


def without_weights(options: dict[str, Any]) -> torch.nn.Module:
    """The network of `network_g` on `meta`, or on the CPU if it cannot be built there; random numbers stay as they are.

    Raises:
        UserError: the network refuses the options.
    """
    arguments = dict(options)
    kind = arguments.pop('type')
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device('meta'):
                return ARCH_REGISTRY.get(kind)(**arguments)
        except UserError:
            raise
        except Exception:  # some compute numbers as they are built, as SwinIR its drop rates
            try:
                return ARCH_REGISTRY.get(kind)(**arguments)
            except Exception as fault:
                reason = ' '.join(str(fault).split()) or type(fault).__name__
                raise UserError(f'network_g: {kind} cannot be built from these options: {reason}') from fault


def check_pictures(opt: dict[str, Any], datasets: dict[str, Any]) -> None:
    """Read the pictures to validate or test on, and some of those to train with: a torn one would stop the run later.

    Raises:
        UserError: pictures that cannot be read, that do not belong together or that are too small.
    """
    faults = []
    smallest = smallest_side((opt.get('val') or {}).get('metrics') or {})
    for options in opt['datasets'].values():
        train = options['phase'] == 'train'
        try:
            survey(
                datasets[options['name']],
                opt['scale'],
                smallest=options['gt_size'] if train else smallest,
                most=MOST_TRAINING_PICTURES if train else None,
                progress=partial(tqdm, desc=f'looking at {options["name"]}', unit='image', disable=None, leave=False),
            )
        except UserError as fault:
            faults.append(str(fault))
    if faults:
        raise UserError('\n'.join(faults))


def missing_weights(path: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(option, file) of each weights or state file that is not there."""
    for key in _weight_keys(path):
        if path[key] is not None and not Path(path[key]).is_file():
            yield f'path.{key}', path[key]


def missing_in(key: str, dataset: dict[str, Any], root: Path) -> Iterator[str]:
    """A line for each path of a dataset that is not there or holds nothing."""
    lmdb = (dataset.get('io_backend') or {}).get('type') == 'lmdb'
    for option in sorted(name for name in dataset if name.startswith('dataroot')):
        for place in map(Path, roots_of(dataset[option] or [])):
            fault = lmdb_fault(place) if lmdb or place.suffix == '.lmdb' else folder_fault(place)
            if fault:
                where = f'datasets.{key}.{option}'
                yield f'{_shown(place, root)} ({where}): {fault}; {_data_advice(where, place, dataset, root)}'
    meta = dataset.get('meta_info_file')
    if meta is not None and not Path(meta).is_file():
        where = f'datasets.{key}.meta_info_file'
        yield f'{_shown(meta, root)} ({where}): no such file; {_data_advice(where, Path(meta), dataset, root)}'


def folder_fault(folder: Path) -> str | None:
    """What is wrong with a folder of pictures."""
    if not folder.is_dir():
        return 'a file, not a folder' if folder.exists() else 'no such folder'
    if not any(not entry.name.startswith('.') for entry in folder.iterdir()):
        return 'the folder is empty'
    return None


def lmdb_fault(folder: Path) -> str | None:
    """What is wrong with an LMDB database."""
    if folder.suffix != '.lmdb':
        return 'with io_backend.type lmdb the name must end in .lmdb'
    if not folder.is_dir():
        return 'no such database'
    absent = [name for name in ('data.mdb', 'meta_info.txt') if not (folder / name).is_file()]
    return f'{" and ".join(absent)} missing in it' if absent else lmdb_damage(str(folder))


def _weight_keys(path: dict[str, Any]) -> Iterator[str]:
    return (key for key in path if key.startswith('pretrain_network') or key == 'resume_state')


def _absolute(path: str, root: Path) -> str:
    return path if '://' in path else str(root / Path(path).expanduser())


def _shown(path: str | Path, root: Path) -> str:
    if '://' in str(path):
        return str(path)
    path = Path(path)
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _data_advice(where: str, path: Path, dataset: dict[str, Any], root: Path) -> str:
    """What makes data that is looked for in datasets/, as its option file says; elsewhere it is the user's own."""
    prepare = ' '.join((dataset.get('prepare') or '').split())
    if prepare and path.is_relative_to(root / 'datasets'):
        return prepare
    other = f'put it there, or name another place: --force_yml {where.replace(".", ":")}=PATH'
    return f'{other} (its usual one: {prepare})' if prepare else other


def _weights_advice(key: str, path: str, root: Path) -> str:
    if '://' in path:
        option = key.replace('.', ':')
        return f'of addresses only hf://owner/repo/file is followed; download it and name it: --force_yml {option}=FILE'
    place = Path(path)
    if place.is_relative_to(root / 'experiments'):
        name = place.relative_to(root / 'experiments').parts[0]
        for file in (f'options/{name}.yml', f'options/train_{name}.yml'):
            if (root / file).is_file():
                return f'make it with: python sst/train.py -opt {file}'
    return f'name another file: --force_yml {key.replace(".", ":")}=FILE'
