"""Tiny training runs with settings drawn at random."""

import random
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np

from soaking.leaping import LeapingModel

ITERATIONS = 20
IMAGES = 5
NETWORK = {
    'type': 'SST',
    'dim': 12,
    'num_blocks': 1,
    'window_sizes': [4, 6],
    'num_heads': 2,
    'bias': {'type': 'RIB', 'ranks': [2, 4], 'hidden': 8, 'bands': 4},
    'upsampler': {'type': 'pixelshuffle_direct'},
    'scale': 2,
}
OPTIMISERS: list[dict[str, Any]] = [
    {'type': 'AdamW', 'lr': 1e-3},
    {'type': 'Muon', 'lr': 1e-3},
    {'type': 'SGD', 'lr': 1e-2, 'momentum': 0.9},
]


def make_data(root: Path) -> None:
    """Write images of noise: `data/HR` and `data/LR`, and the same as databases."""
    generator = np.random.default_rng(0)
    for name, side in (('HR', 32), ('LR', 16)):
        folder, database = root / 'data' / name, root / 'data' / f'{name}.lmdb'
        folder.mkdir(parents=True)
        for index in range(IMAGES):
            cv2.imwrite(str(folder / f'{index}.png'), generator.integers(0, 256, (side, side, 3), np.uint8))
        with lmdb.open(str(database), map_size=2**22) as environment, environment.begin(write=True) as transaction:
            for index in range(IMAGES):
                transaction.put(str(index).encode(), (folder / f'{index}.png').read_bytes())
        lines = [f'{index}.png ({side},{side},3) 1\n' for index in range(IMAGES)]
        (database / 'meta_info.txt').write_text(''.join(lines))


def draw(rng: random.Random, name: str) -> tuple[dict[str, Any], int]:
    """The options of a run, and its number of processes."""
    ending = rng.choice(['', '.lmdb'])
    kind = rng.choice(['PairedImageDataset', 'PairedImageDataset', 'DownsampleImageDataset', 'DegradedImageDataset'])
    train: dict[str, Any] = {'name': 'train', 'type': kind, 'dataroot_gt': f'data/HR{ending}'}
    if kind == 'PairedImageDataset':
        train['dataroot_lq'] = f'data/LR{ending}'
    workers = rng.randint(0, 4)
    train |= {'gt_size': 16, 'batch_size': 4, 'num_workers': workers, 'pin_memory': False}
    if workers:
        train['prefetch_mode'] = rng.choice([None, 'cpu'])
    paired = {'type': 'PairedImageDataset', 'dataroot_gt': 'data/HR', 'dataroot_lq': 'data/LR'}
    options: dict[str, Any] = {
        'name': name,
        'scale': 2,
        'num_gpu': 0,
        'manual_seed': rng.randint(0, 1000),
        'network_g': NETWORK,
        'datasets': {'train': train, 'val': paired | {'name': 'val'}},
        'train': {
            'total_iter': ITERATIONS,
            'ema_decay': rng.choice([0, 0.9]),
            'optim_g': rng.choice(OPTIMISERS),
            'scheduler': {'type': 'MultiStepLR', 'milestones': [12]},
            'pixel_opt': {'type': 'L1Loss'},
            'amp': rng.choice([None, None, 'bf16', 'fp16']),
            'accumulate': rng.choice([1, 2]),
            'grad_clip': rng.choice([None, 0.5]),
            'spikes': rng.choice([None, None, {'factor': 4.0, 'window': 5}]),
        },
        'val': {
            'val_freq': rng.choice([4, 5]),
            'num_workers': rng.choice([0, 1]),
            'pbar': False,
            'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2}},
        },
        'logger': {
            'print_freq': 1,
            'save_checkpoint_freq': rng.choice([2, 3, 5]),
            'keep_last': rng.choice([None, 2]),
            'keep_best': rng.choice([False, True]),
            'digest_freq': 2,
        },
    }
    if options['train']['spikes']:
        options['model_type'] = LeapingModel.__name__
    return options, rng.choice([1, 1, 1, 2])


def said(options: dict[str, Any], processes: int) -> str:
    """A run's settings in a line."""
    data, train, log = options['datasets']['train'], options['train'], options['logger']
    ema, keep = train['ema_decay'], log['keep_last']
    return (
        f'{processes} process(es), {data["type"]} of {data["dataroot_gt"]}, {data["num_workers"]} workers, '
        f'prefetch {data.get("prefetch_mode")}, {train["optim_g"]["type"]}, amp {train["amp"]}, accumulate '
        f'{train["accumulate"]}, clip {train["grad_clip"]}, EMA {ema}, keep_last {keep}, spikes {train["spikes"]}, '
        f'seed {options["manual_seed"]}'
    )
