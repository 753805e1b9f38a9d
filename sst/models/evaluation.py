"""Measuring a network on a set of images. All processes share the work; the figures do not depend on their number."""

import csv
import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from os import path as osp
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from basicsr.metrics import calculate_metric
from basicsr.utils import tensor2img
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from sst.data.loader import affordable, begin, start_worker
from sst.data.samples import CheckedSamples, collate, usable
from sst.options.parts import parameters_of
from sst.options.registries import METRICS
from sst.utils.errors import Stopped, UserError
from sst.utils.files import atomic_write_text
from sst.utils.json_text import json_text

WINDOWS = {'ssim': 11, 'niqe': 96}  # pixels a side that metrics work on
THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class EvaluatedImage:
    """One evaluated image; the arrays are (H, W, 3) uint8 in BGR order, `hr` None where the set has none."""

    index: int
    name: str
    sr: np.ndarray
    hr: np.ndarray | None
    lr: Tensor  # (1, 3, h, w), RGB in [0, 1]


@dataclass(frozen=True)
class Row:
    """The figures of one image."""

    index: int
    image: str
    values: dict[str, float]


def evaluate(
    dataset: Dataset,
    predict: Callable[[dict], Tensor],
    metrics: Mapping[str, dict],
    *,
    rank: int = 0,
    world: int = 1,
    num_workers: int = 1,
    progress: str | None = None,
    on_image: Callable[[EvaluatedImage], None] | None = None,
    stop_asked: Callable[[], int] = lambda: 0,
) -> list[Row]:
    """Evaluate every image of a set; process `rank` takes every `world`-th from there.

    Args:
        dataset (Dataset): gives BasicSR's dictionaries (`lq` (3, h, w), `gt` (3, H, W), `lq_path`).
        predict (Callable): from a batch of one to SR images (1, 3, H, W) in [0, 1].
        metrics (Mapping): name to BasicSR metric options, computed on 8-bit images by threads beside the network.
        num_workers (int): processes that decode ahead.
        progress (str | None): label of the progress bar, shown on terminals only; None for no bar.
        on_image (Callable | None): called on each of this process's images, to save or show it; by those threads.
        stop_asked (Callable): asked before each image for the number of a signal that ends the evaluation; 0: none.

    Returns:
        list[Row]: a row per image of the whole set, in its order, on all processes.

    Raises:
        UserError: an image cannot be read or measured.
        Stopped: a stop was asked for, in any process.
    """
    share = range(rank, len(dataset), world)  # type: ignore[arg-type]  # BasicSR's datasets have a length
    loader = DataLoader(
        Subset(CheckedSamples(dataset, 'evaluation'), share),
        batch_size=1,
        num_workers=affordable(min(num_workers, len(share))),
        collate_fn=collate,
        worker_init_fn=start_worker,
    )

    rows: list[Row] = []
    signal = 0
    hidden = None if progress else True  # None: where there is no terminal
    bar = tqdm(begin(loader), total=len(share), desc=progress, unit='image', disable=hidden, leave=False)
    with ThreadPoolExecutor(THREADS) as threads:
        unfinished: deque[Future[Row]] = deque()
        for index, batch in zip(share, bar, strict=True):
            if signal := stop_asked():
                break
            height, width = usable(batch)['lq'].shape[-2:]
            output = enlarged(predict, batch, f'{batch["lq_path"][0]} ({width}x{height})').detach().cpu()
            unfinished.append(threads.submit(_finished, index, batch, output, metrics, on_image))
            if len(unfinished) > 2 * THREADS:  # whole sets of results do not fit into memory
                rows.append(unfinished.popleft().result())
        rows += [future.result() for future in unfinished]
    return _gathered(rows, signal, world)


def _finished(
    index: int,
    batch: dict,
    output: Tensor,
    metrics: Mapping[str, dict],
    on_image: Callable[[EvaluatedImage], None] | None,
) -> Row:
    """Measure an image that the network has enlarged, and hand it on to be saved or shown."""
    sr = tensor2img([output])
    hr = tensor2img([batch['gt']]) if 'gt' in batch else None
    name = osp.splitext(osp.basename(batch['lq_path'][0]))[0]
    values = _measure(sr, hr, metrics, batch['lq_path'][0])
    if on_image:
        on_image(EvaluatedImage(index, name, sr, hr, batch['lq']))
    return Row(index, name, values)


def _gathered(rows: list[Row], signal: int, world: int) -> list[Row]:
    """The rows of all processes in the set's order. Raises Stopped where any of them got a signal."""
    if world > 1:
        shares: list = [None] * world
        dist.all_gather_object(shares, (rows, signal))
        rows, signal = [row for part, _ in shares for row in part], max(number for _, number in shares)
    if signal:
        raise Stopped(signal)
    return sorted(rows, key=lambda row: row.index)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, the former mode afterwards."""
    training = net.training
    net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        net.train(training)


def enlarged(predict: Callable[[Any], Tensor], what: Any, name: str) -> Tensor:
    """`predict(what)`. Raises `UserError` where the network cannot take it, or memory is short."""
    try:
        return predict(what)
    except (RuntimeError, AssertionError, ValueError, TypeError) as fault:
        reason = ' '.join(str(fault).split()) or type(fault).__name__
        short = isinstance(fault, torch.OutOfMemoryError) or "can't allocate memory" in reason
        advice = 'memory is short; take tiles: --force_yml val:tile=256' if short else 'does network_g take any size?'
        raise UserError(f'the network fails on {name}: {reason[:300]}; {advice}') from fault


def smallest_side(metrics: Mapping[str, dict]) -> int:
    """Pixels that each side of an HR image must have for BasicSR's metrics to be defined."""
    return max((2 * m.get('crop_border', 0) + _window(m['type']) for m in metrics.values()), default=1)


def needs_hr(metric: str) -> bool:
    """Whether a registered metric compares with the HR image."""
    return 'img2' in parameters_of(METRICS[metric])


def _window(metric: str) -> int:
    return next((size for name, size in WINDOWS.items() if name in metric), 1)


def _measure(sr: np.ndarray, hr: np.ndarray | None, metrics: Mapping[str, dict], path: str) -> dict[str, float]:
    """The metrics of one image; without HR those that need none."""
    if hr is None:
        metrics = {key: options for key, options in metrics.items() if not needs_hr(options['type'])}
    elif sr.shape != hr.shape:
        raise UserError(
            f'{path}: its SR image has {sr.shape[1]}x{sr.shape[0]} pixels, its HR image '
            f'{hr.shape[1]}x{hr.shape[0]}: they are no pair of this scale; make the LR images anew'
        )
    if min(sr.shape[:2]) < smallest_side(metrics):
        raise UserError(
            f'{path}: its SR image has {sr.shape[1]}x{sr.shape[0]} pixels, the metrics need '
            f'{smallest_side(metrics)} a side; remove it'
        )
    data = {'img': sr} if hr is None else {'img': sr, 'img2': hr}
    values = {}
    for key, options in metrics.items():
        try:
            values[key] = float(calculate_metric(data, options))
        except UserError:
            raise
        except Exception as fault:  # a metric of somebody else
            raise UserError(f'{path}: val.metrics.{key} fails: {" ".join(str(fault).split())}') from fault
    return values


def average(rows: list[Row]) -> dict[str, float]:
    """The mean of each metric, summed in the order of the images."""
    names = rows[0].values if rows else {}
    return {name: sum(row.values[name] for row in rows) / len(rows) for name in names}


def write_results(folder: str, results: Mapping[str, list[Row]]) -> None:
    """Write `metrics.json` ({set: {metric: mean, 'images': n}}) and `metrics.csv` (a row per image) into `folder`.

    A mean that is not finite is a text in `metrics.json`, such as "inf", which is the PSNR of an exact image.
    """
    means = {name: {**average(rows), 'images': len(rows)} for name, rows in results.items()}
    atomic_write_text(str(Path(folder) / 'metrics.json'), json_text(means, indent=2) + '\n')
    table = io.StringIO()
    metrics = list(dict.fromkeys(name for rows in results.values() for row in rows for name in row.values))
    writer = csv.writer(table, lineterminator='\n')
    writer.writerow(['set', 'image', *metrics])
    for name, rows in results.items():
        writer.writerows([name, row.image, *(row.values.get(metric, '') for metric in metrics)] for row in rows)
    atomic_write_text(str(Path(folder) / 'metrics.csv'), table.getvalue())
