"""What a run trains: the published settings, or a small network on the demo's photographs."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ablating.variants import OPTIONS, Variant
from sst.options import load_options

DEMO_ITERATIONS = 400
SHRINK = 4  # windows and LR patches of the demo are a quarter of the published ones
DEMO_NETWORK = {'dim': 48, 'num_blocks': 1}  # heads, ranks, gate, bias and upsampler stay


def demo_network(network: Mapping[str, Any]) -> dict[str, Any]:
    """A published network at the demo's size: fewer channels and blocks, windows a quarter as wide, at least 2."""
    windows = [max(window // SHRINK, 2) for window in network['window_sizes']]
    small = {**network, **DEMO_NETWORK, 'window_sizes': windows, 'upsampler': {'type': 'pixelshuffle_direct'}}
    if small.get('backend') == 'flex':  # it has no gradients on CPUs
        small['backend'] = 'auto'
    return small


def demo_options(variant: Variant, seed: int, iterations: int, folder: Path) -> str:
    """The option file of a demo run that is written into `folder`."""
    options = load_options(variant.path)
    patch = options['datasets']['train']['gt_size'] // SHRINK
    frequency = max(iterations // 20, 1)
    return _written(
        f'options/{variant.file} at the size of the demo; seed {seed}.',
        {
            '_base_': bases(folder, 'runtime.yml', 'data/demo.yml', 'schedules/demo.yml'),
            'name': run_name(variant, seed, demo=True),
            'scale': 2,
            'manual_seed': seed,
            'network_g': demo_network(options['network_g']),
            'datasets': {'train': {'gt_size': patch}, 'val_1': None},
            'train': {'total_iter': iterations, 'warmup_iter': min(50, iterations // 4)},
            'logger': {'print_freq': frequency, 'save_checkpoint_freq': max(iterations // 4, 1)},
        },
    )


def demo_test_options(folder: Path) -> str:
    """The option file of the tests after demo runs; name and weights come from the command line."""
    names = ('runtime.yml', 'models/from_weights.yml', 'data/demo_test.yml')
    return _written(
        "Tests a run on the demo's held-out photographs.", {'_base_': bases(folder, *names), 'name': 'test_ablation'}
    )


def run_name(variant: Variant, seed: int, demo: bool) -> str:
    """The name of a run: that of its option file, with the seed where it is not the file's own."""
    stem = variant.stem if variant.stem.startswith('train_') else f'ablation_{variant.stem}'
    if demo:
        return f'demo_{stem}_seed{seed}'
    return f'{stem}_seed{seed}' if seed else stem


def bases(folder: Path, *names: str) -> list[str]:
    """Files of `options/_base_`, relative to a folder."""
    return [os.path.relpath(OPTIONS / '_base_' / name, folder) for name in names]


def _written(comment: str, options: dict[str, Any]) -> str:
    return f'# {comment}\n' + yaml.safe_dump(options, sort_keys=False, width=120, default_flow_style=None)
