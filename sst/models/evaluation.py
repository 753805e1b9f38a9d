"""Measuring a network on a set of pictures, shared by all processes; the figures do not depend on their number."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import path as osp
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from basicsr.metrics import calculate_metric
from basicsr.utils import tensor2img
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from sst.data.loader import Careful, checked, collate
from sst.utils.files import atomic_write_text


@dataclass(frozen=True)
class Picture:
    """One evaluated picture; the arrays are (H, W, 3) uint8 in BGR order, `hr` None where the set has none."""

    index: int
    name: str
    sr: np.ndarray
    hr: np.ndarray | None
    lr: torch.Tensor  # (1, 3, h, w), RGB in [0, 1]


@dataclass(frozen=True)
class Row:
    """The figures of one picture."""

    index: int
    image: str
    values: dict[str, float]


def evaluate(
    dataset: Dataset,
    predict: Callable[[dict], torch.Tensor],
    metrics: Mapping[str, dict],
    *,
    rank: int = 0,
    world: int = 1,
    num_workers: int = 1,
    progress: str | None = None,
    on_picture: Callable[[Picture], None] | None = None,
) -> list[Row]:
    """Evaluate every picture of a set; process `rank` takes every `world`-th from there.

    Args:
        dataset (Dataset): gives BasicSR's dictionaries (`lq` (3, h, w), `gt` (3, H, W), `lq_path`).
        predict (Callable): from a batch of one to SR pictures (1, 3, H, W) in [0, 1].
        metrics (Mapping): name to BasicSR metric options, computed on 8-bit pictures.
        num_workers (int): processes that decode ahead.
        progress (str | None): label of the progress bar, shown on terminals only; None for no bar.
        on_picture (Callable | None): called on each of this process's pictures, to save or show it.

    Returns:
        list[Row]: a row per picture of the whole set, in its order, on all processes.

    Raises:
        UserError: a picture that the dataset refuses.
    """
    share = range(rank, len(dataset), world)  # type: ignore[arg-type]  # BasicSR's datasets have a length
    loader = DataLoader(
        Careful(Subset(dataset, share)), batch_size=1, num_workers=min(num_workers, len(share)), collate_fn=collate
    )
    rows = []
    for index, batch in zip(
        share, tqdm(loader, desc=progress, unit='image', disable=None if progress else True, leave=False), strict=True
    ):
        sr = tensor2img([predict(checked(batch)).detach().cpu()])
        hr = tensor2img([batch['gt']]) if 'gt' in batch else None
        name = osp.splitext(osp.basename(batch['lq_path'][0]))[0]
        values = {}
        if hr is not None:
            values = {
                key: float(calculate_metric({'img': sr, 'img2': hr}, options)) for key, options in metrics.items()
            }
        rows.append(Row(index, name, values))
        if on_picture:
            on_picture(Picture(index, name, sr, hr, batch['lq']))
    if world > 1:
        shares: list = [None] * world
        dist.all_gather_object(shares, rows)
        rows = [row for part in shares for row in part]
    return sorted(rows, key=lambda row: row.index)


def average(rows: list[Row]) -> dict[str, float]:
    """The mean of each metric, summed in picture order."""
    names = rows[0].values if rows else {}
    return {name: sum(row.values[name] for row in rows) / len(rows) for name in names}


def write_results(folder: str, results: Mapping[str, list[Row]]) -> None:
    """Write `metrics.json` ({set: {metric: mean, 'images': n}}) and `metrics.csv` (a row per picture) into `folder`."""
    means = {name: {**average(rows), 'images': len(rows)} for name, rows in results.items()}
    atomic_write_text(str(Path(folder) / 'metrics.json'), json.dumps(means, indent=2) + '\n')
    table = io.StringIO()
    metrics = list(dict.fromkeys(name for rows in results.values() for row in rows for name in row.values))
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(['set', 'image', *metrics])
    for name, rows in results.items():
        writer.writerows([name, row.image, *(row.values.get(metric, '') for metric in metrics)] for row in rows)
    atomic_write_text(str(Path(folder) / 'metrics.csv'), table.getvalue())
