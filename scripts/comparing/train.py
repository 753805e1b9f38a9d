"""Trains one way with sst/train.py's own entry point, in a scratch folder, and reads the losses it logged."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from basicsr.utils import set_random_seed

from benchmarking.measure import sharpened
from comparing.ways import NUDGED, Way, options_of
from sst.archs import WindowNetwork
from sst.checkpoints.facts import own_network
from sst.checkpoints.fitting import load_weights
from sst.checkpoints.networks import built
from sst.driver import preflight
from sst.models.sst_model import reading_of
from sst.options import checked_options
from sst.utils.errors import UserError
from sst.utils.files import atomic_save, atomic_write_text

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = 'import sys; from sst.train import main; sys.exit(main())'  # what the console script sst-train runs
NEVER = 10**9  # iterations


def read_run(file: str, overrides: list[str], iterations: int) -> dict[str, Any]:
    """The options of the first `iterations` of a run, without validation: rates and samples are those of the whole run.

    Raises:
        UserError: faulty options, a file that trains no network of ours or less, or data that is missing.
    """
    options = checked_options(file, overrides)
    if options.train is None:
        raise UserError(f'{file}: no train section; give a file that sst/train.py takes')
    if own_network(options.network_g.type) is None:
        raise UserError(
            f'{file}: network_g.type: {options.network_g.type} has no ways to choose from; use SST or ESCRIB'
        )
    if iterations > (whole := options.train.total_iter):
        raise UserError(f'--iterations {iterations:,}: {file} trains {whole:,}; give so many at most')
    preflight.resolve_paths(options, ROOT)
    if faults := list(preflight.missing_in('train', options.datasets.train, ROOT)):
        raise UserError('\n'.join(f'missing: {line}' for line in faults))
    options.manual_seed = options.manual_seed or 0
    opt = options.plain()
    opt['datasets'] = {'train': opt['datasets']['train']}
    opt['train']['total_iter'] = iterations
    opt['logger'].update(print_freq=1, save_checkpoint_freq=NEVER, use_tb_logger=True, wandb=None)
    opt.pop('val', None)
    return opt


def write_start(opt: dict[str, Any], folder: Path, sharpen: bool = False) -> None:
    """Write the weights that all ways start from, and those that NUDGED starts from, into `folder`.

    As initialised, logits are next to zero, and a fault of attention changes the first losses by less than rounding:
    `sharpen` enlarges the weights of attention and bias.
    """
    set_random_seed(opt['manual_seed'])
    net = built(opt['network_g'], 'cpu')
    assert isinstance(net, WindowNetwork)
    if weights := opt['path'].get('pretrain_network_g'):
        load_weights(net, weights, **reading_of(opt | {'is_train': True}))
    state = (sharpened(net) if sharpen else net).state_dict()
    generator = torch.Generator().manual_seed(0)
    nudged = {name: _nudged(value, generator) for name, value in state.items()}
    atomic_save({'params': state}, folder / 'start.pth')
    atomic_save({'params': nudged}, folder / f'start_{NUDGED.name}.pth')


def _nudged(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The next float32 above or below each number."""
    sides = torch.randint(0, 2, value.shape, generator=generator) * 2.0 - 1
    return torch.nextafter(value, sides * torch.inf)


def train(way: Way, opt: dict[str, Any], folder: Path, on_iteration: Callable[[], object]) -> list[float]:
    """Train in this way and return the loss of each iteration. `folder` holds what `write_start` wrote.

    Raises:
        UserError: the run ended badly; the text holds its last words.
    """
    options = options_of(way, opt)
    start = folder / (f'start_{way.name}.pth' if way is NUDGED else 'start.pth')
    options['path'] = {'pretrain_network_g': str(start), 'param_key_g': 'params'}
    atomic_write_text(folder / f'{way.name}.yml', yaml.safe_dump(options, sort_keys=False))
    paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
    process = subprocess.Popen(
        [sys.executable, '-c', PROGRAM, '-opt', f'{way.name}.yml'],
        cwd=folder,
        env=os.environ | {'PYTHONPATH': os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding='utf-8',
        errors='replace',
    )
    last: deque[str] = deque(maxlen=20)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            last.append(line.strip())
            if '[iter:' in line:
                on_iteration()
        code = process.wait()
    finally:
        process.kill()
        process.wait()
    if code:
        words = [line.removeprefix('error: ') for line in last if line.startswith('error: ')] or list(last)[-1:]
        raise UserError(f'{way.name}: training ended with exit code {code}: {" ".join(words)}')
    return _losses(folder / 'experiments' / way.name / 'tb_logger')


def _losses(folder: Path) -> list[float]:
    """The sum of all losses at each iteration."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import

    events = EventAccumulator(str(folder), size_guidance={'scalars': 0}).Reload()
    tags = [tag for tag in events.Tags()['scalars'] if tag.startswith('losses/')]
    return [sum(event.value for event in step) for step in zip(*map(events.Scalars, tags), strict=True)]
