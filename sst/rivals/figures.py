"""What was published of SST and its rivals: the paper's tables, in `published.yml`."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

TABLES = Path(__file__).with_name('published.yml')
COSTS = {  # of `published.yml`, with the factor to the units used here: s, bytes, multiply-adds
    'parameters': {'params_m': 1e6, 'params_k': 1e3},
    'multiply_adds': {'tera_flops': 1e12, 'giga_flops': 1e9},
    'training': {'train_seconds': 1.0},
    'training_memory': {'train_gb': 1e9},
    'latency': {'latency_ms': 1e-3},
    'memory': {'memory_mb': 1e6},
}
# The first that has a figure of a model is taken: costs of tables 1, S4 and S5, quality of DF2K and DIV2K before DFLIP.
ORDER = ('1', 'S4', '2', 'S5', '3', 'S6', 'SST-XL+', 'ESC-RIB')


@cache
def tables() -> dict[str, Any]:
    """`published.yml`."""
    return yaml.safe_load(TABLES.read_text(encoding='utf-8'))


def published_figures(model: str, scale: int) -> dict[str, Any]:
    """What was published of a model at a scale, as `COSTS` names it, `sets` (`psnr` in dB, `ssim`) and `sources`.

    Costs are those of 1280 x 720 pixels and of the published training batch.
    """
    found: dict[str, Any] = {'sets': {}, 'sources': []}
    for table in ORDER:
        for row in tables()[table]['rows']:
            if row.get('model') != model or row['scale'] != scale:
                continue
            figures = row | row.get('devices', {}).get('H200', {})
            new = {
                name: factor * figures[key]
                for name, units in COSTS.items()
                for key, factor in units.items()
                if name not in found and figures.get(key) is not None
            }
            if not found['sets'] and row.get('sets'):
                new['sets'] = {name: {'psnr': psnr, 'ssim': ssim} for name, (psnr, ssim) in row['sets'].items()}
            if new:
                found |= new
                found['sources'].append(table)
    return found
