"""The kinds of analysis: each takes the arguments, models and images, and gives a figure and numbers."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from analyzing.drawing import Panel, draw_panels, say
from analyzing.models import Model, Picture, shrunk, tensor
from sst.analysis import (
    Region,
    attention_distance,
    bias_map,
    bias_spectrum,
    captured,
    effective_receptive_field,
    error_spectrum,
    gate_maps,
    largest_disagreement,
    local_attribution,
)
from sst.analysis.layers import layers_of
from sst.utils.errors import UserError

Draw = Callable[[Any], None]


@dataclass(frozen=True)
class Outcome:
    """A figure and the numbers behind it."""

    draw: Draw
    numbers: dict[str, Any]
    lines: list[str]  # what is said on the screen


def lam(args: argparse.Namespace, models: Sequence[Model], pictures: Sequence[Picture]) -> Outcome:
    """Local attribution maps of one region, a column for each model."""
    picture = _one(pictures)
    scale = models[0].scale
    lr = picture.pixels if args.lr else shrunk(picture.pixels, scale)
    height, width = (side * scale for side in lr.shape[:2])
    region = _region(args, height, width)
    within = region.divided(scale)
    frame = (within.top, within.left, within.height, within.width)
    numbers: dict[str, Any] = {}
    lines, maps, regions = [], [], []
    for model in models:
        found = local_attribution(
            model.predict, tensor(lr).to(model.device), region, sigma=args.sigma, steps=args.steps, progress=model.name
        )
        strength = found.strength.cpu().numpy()
        title = f'{model.name}, DI {found.index:.2f}'
        maps.append(Panel(title, strength, 'magma', label='|attribution|', frame=frame, logarithmic=True))
        regions.append(Panel(model.name, region.of(model.enlarge(lr))))
        numbers[model.name] = {'diffusion_index': found.index, 'difference': found.difference}
        lines.append(f'{model.name}: diffusion index {found.index:.2f}')
    original = Panel('LR' if args.lr else 'HR', within.of(lr) if args.lr else region.of(picture.pixels))
    rows = [[Panel('LR with the region', lr, frame=frame), *maps], [original, *regions]]
    caption = (
        f'Local attribution maps of {picture.name} at x{scale}: which LR pixels the framed region of SR is made from. '
        f'DI: diffusion index, greater where more pixels take part. Colours are logarithmic. Below: the region. Blur '
        f'{args.sigma}, {args.steps} steps.'
    )
    return Outcome(draw_panels(rows, caption), {'region': vars(region), 'models': numbers}, lines)


def field(args: argparse.Namespace, models: Sequence[Model], pictures: Sequence[Picture]) -> Outcome:
    """Effective receptive fields, averaged over the centres of the images."""
    scale = models[0].scale
    lrs = [picture.pixels if args.lr else shrunk(picture.pixels, scale) for picture in pictures]
    side = min(args.side, *(length for lr in lrs for length in lr.shape[:2]))
    crops = [_centre(lr, side) for lr in lrs]
    panels, numbers, lines = [], {}, []
    for model in models:
        found = effective_receptive_field(model.predict, (tensor(crop).to(model.device) for crop in crops))
        sides = {str(share): found.side(share) for share in (0.5, 0.9, 0.99)}
        numbers[model.name] = sides
        lines.append(f'{model.name}: half of the strength within {sides["0.5"]} LR pixels a side, 99 % {sides["0.99"]}')
        strength = found.strength.cpu().numpy()
        title = f'{model.name}: 99 % in {sides["0.99"]}'
        panels.append(Panel(title, strength, 'magma', label='share', logarithmic=True))
    caption = (
        f'Effective receptive fields at x{scale}, mean of {_count(crops)} of {side}x{side} LR pixels: |d SR centre '
        '/ d LR|, on a logarithmic scale. 99 % in: side of the centred square with that share.'
    )
    return Outcome(draw_panels([panels], caption), {'side': side, 'models': numbers}, lines)


def bias(args: argparse.Namespace, models: Sequence[Model], _: Sequence[Picture]) -> Outcome:
    """The positional bias of a block's layers and heads as maps (Figure 4), and their singular values."""
    model = models[0]
    layers = [layer for layer in layers_of(model.with_layers()) if layer.block == args.block - 1]
    if not layers:
        count = len(model.with_layers().blocks)
        raise UserError(f'--block {args.block}: {model.name} has {count} blocks; use 1 to {count}')
    rows, spectra, numbers = [], {}, {}
    for layer in layers:
        try:
            maps = bias_map(layer.attention).cpu().numpy()
        except ValueError as reason:
            raise UserError(f'{model.name}: {reason}') from None
        values = bias_spectrum(layer.attention).cpu()
        spectra[layer.name] = values.numpy()
        energy = (values**2).cumsum(1) / (values**2).sum(1, keepdim=True).clamp_min(1e-30)
        needed = ((energy < 0.99).sum(1) + 1).tolist()
        numbers[layer.name] = {'rank_of_99_percent': needed, 'singular_values': values.tolist()}
        extent = float(np.abs(maps).max()) or 1.0
        title = f'layer {layer.layer + 1}, w = {layer.attention.window}, head'
        rows.append(
            [Panel(f'{title} {number + 1}', each, 'RdBu_r', (-extent, extent)) for number, each in enumerate(maps)]
        )
    caption = (
        f'{model.name}, block {args.block}: what the positional bias adds to the logits of the middle query of a '
        'window, for every key. The curves are its singular values, a line for each head.'
    )
    lines = [f'{name}: 99 % of the energy in rank {found["rank_of_99_percent"]}' for name, found in numbers.items()]
    return Outcome(_with_curves(rows, list(spectra.values()), caption), numbers, lines)


def _with_curves(rows: Sequence[Sequence[Panel]], spectra: Sequence[np.ndarray], caption: str) -> Draw:
    """Panels with the singular values of their heads at the end of each row."""

    def draw(figure: Any) -> None:
        from analyzing.drawing import PANEL, _draw

        columns = max(map(len, rows)) + 1
        figure.set_size_inches(PANEL * columns, PANEL * len(rows) * 1.08 + 0.5)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes_of_row, row, values in zip(grid, rows, spectra, strict=True):
            for axes, panel in zip(axes_of_row, row, strict=False):
                axes.set_axis_off()
                _draw(figure, axes, panel)
            for head in values:
                axes_of_row[-1].semilogy(np.arange(1, len(head) + 1), np.maximum(head, head.max() * 1e-8), linewidth=1)
            axes_of_row[-1].set_title('singular values', fontsize=9)
            axes_of_row[-1].tick_params(labelsize=7)
            axes_of_row[-1].grid(alpha=0.3)
        say(figure, caption)

    return draw


def distance(args: argparse.Namespace, models: Sequence[Model], pictures: Sequence[Picture]) -> Outcome:
    """The mean attention distance of each layer, a line for each model and a point for each head."""
    scale = models[0].scale
    lrs = [picture.pixels if args.lr else shrunk(picture.pixels, scale) for picture in pictures]
    numbers: dict[str, list[dict[str, Any]]] = {}
    for model in models:
        net = model.with_layers()
        sums: list[Tensor] = []
        for lr in lrs:
            found = [attention_distance(each) for each in captured(net, tensor(lr).to(model.device))]
            sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
        numbers[model.name] = [
            {'layer': layer.name, 'window': layer.attention.window, 'heads': (total / len(lrs)).tolist()}
            for layer, total in zip(layers_of(net), sums, strict=True)
        ]

    def draw(figure: Any) -> None:
        figure.set_size_inches(8, 4.2)
        axes = figure.subplots()
        for color, (name, layers) in enumerate(numbers.items()):
            means = [float(np.mean(layer['heads'])) for layer in layers]
            axes.plot(range(1, len(layers) + 1), means, marker='.', color=f'C{color}', label=name)
            for place, layer in enumerate(layers, start=1):
                axes.scatter([place] * len(layer['heads']), layer['heads'], 8, f'C{color}', alpha=0.5)
        axes.set(xlabel='layer of the network', ylabel='mean attention distance (LR pixels)')
        axes.grid(alpha=0.3)
        axes.legend()
        say(
            figure,
            f'Mean distance between a query and the keys that it attends to, of {_count(lrs)} at x{scale}. Points: '
            'heads; line: their mean. Windows of different sizes make the steps.',
        )

    lines = [
        f'{name}: {np.mean([np.mean(layer["heads"]) for layer in layers]):.1f} LR pixels on average'
        for name, layers in numbers.items()
    ]
    return Outcome(draw, numbers, lines)


def gates(args: argparse.Namespace, models: Sequence[Model], pictures: Sequence[Picture]) -> Outcome:
    """Attention before the gate and the gate, of one layer, a row for each model (Figure S2)."""
    picture = _one(pictures)
    lr = picture.pixels if args.lr else shrunk(picture.pixels, models[0].scale)
    rows, numbers, lines = [], {}, []
    for model in models:
        layers = captured(model.with_layers(), tensor(lr).to(model.device))
        chosen = [each for each in layers if (each.block, each.layer) == (args.block - 1, args.layer - 1)]
        if not chosen:
            last = layers[-1]
            raise UserError(
                f'--block {args.block} --layer {args.layer}: {model.name} has blocks 1 to {last.block + 1} with layers '
                f'1 to {last.layer + 1}'
            )
        out, gate = gate_maps(chosen[0])
        row = [Panel('LR', lr), Panel(f'{model.name}: |attention|', out.cpu().numpy(), 'magma')]
        if gate is not None:
            row.append(Panel(f'{model.name}: gate', gate.cpu().numpy(), 'magma'))
        rows.append(row)
        spread = None if gate is None else gate.std().item()
        numbers[model.name] = {'mean': None if gate is None else gate.mean().item(), 'deviation': spread}
        lines.append(f'{model.name}: ' + ('no gate' if gate is None else f'gate {gate.mean():.3f} +- {spread:.3f}'))
    caption = (
        f'{picture.name}, block {args.block}, layer {args.layer}: mean absolute value of the attention over the '
        'channels before the gate, and mean of the gate.'
    )
    return Outcome(draw_panels(rows, caption), numbers, lines)


def spectrum(args: argparse.Namespace, models: Sequence[Model], pictures: Sequence[Picture]) -> Outcome:
    """The power of the error on Y at each frequency, a line for each model and one for bicubic."""
    scale = models[0].scale
    versions = {model.name: model.enlarge for model in models} | {'bicubic': lambda lr: _bicubic(lr, scale)}
    bins = min(48, *(side // 2 for picture in pictures for side in picture.pixels.shape[:2]))  # none is empty
    numbers: dict[str, Any] = {}
    for name, enlarge in versions.items():
        powers = []
        for picture in pictures:
            sr, hr = _luma(enlarge(shrunk(picture.pixels, scale))), _luma(picture.pixels)
            frequencies, power = error_spectrum(sr, hr, bins)
            powers.append(power)
        numbers[name] = {'frequency': frequencies.tolist(), 'power': np.mean(powers, axis=0).tolist()}

    def draw(figure: Any) -> None:
        figure.set_size_inches(7, 4.4)
        axes = figure.subplots()
        for name, found in numbers.items():
            style = {'color': '0.4', 'linestyle': '--'} if name == 'bicubic' else {}
            axes.semilogy(found['frequency'], found['power'], label=name, **style)
        axes.axvline(0.5 / scale, color='0.7', linewidth=0.8)
        axes.set(xlabel='frequency (cycles per HR pixel)', ylabel='power of the error on Y')
        axes.grid(alpha=0.3, which='both')
        axes.legend()
        say(
            figure,
            f'Power of SR - HR on Y (0 to 255) at each frequency, mean of {_count(pictures)} at x{scale}. The grey '
            "line is the highest frequency of LR: what lies to its right must be the network's guess.",
        )

    beyond = {name: _above(found, 0.5 / scale) for name, found in numbers.items()}
    lines = [f'{name}: mean power {power:.2f} above the highest frequency of LR' for name, power in beyond.items()]
    return Outcome(draw, numbers, lines)


def _above(found: dict[str, list[float]], limit: float) -> float:
    return float(np.mean([p for f, p in zip(found['frequency'], found['power'], strict=True) if f > limit]))


def crops(args: argparse.Namespace, models: Sequence[Model], pictures: Sequence[Picture]) -> Outcome:
    """Crops side by side where the models differ most, a row for each image (Figure 5)."""
    scale = models[0].scale
    rows, numbers, lines = [], {}, []
    for picture in pictures:
        lr = shrunk(picture.pixels, scale)
        versions = {'bicubic': _bicubic(lr, scale)} | {model.name: model.enlarge(lr) for model in models}
        if args.at:
            region = _region(args, *picture.pixels.shape[:2])
        else:
            judged = [versions[model.name] for model in models]
            region = largest_disagreement(judged, picture.pixels, args.window)
        frame = (region.top, region.left, region.height, region.width)
        whole = {name: _psnr(version, picture.pixels, scale) for name, version in versions.items()}
        part = {name: _psnr(region.of(version), region.of(picture.pixels), 0) for name, version in versions.items()}
        row = [Panel(picture.name, picture.pixels, frame=frame), Panel('HR', region.of(picture.pixels))]
        row += [Panel(f'{name}\n{part[name]:.2f} dB', region.of(version)) for name, version in versions.items()]
        rows.append(row)
        numbers[picture.name] = {'region': vars(region), 'psnr': whole, 'psnr_of_region': part}
        lines.append(f'{picture.name}: ' + ', '.join(f'{name} {value:.2f} dB' for name, value in whole.items()))
    where = 'chosen by hand' if args.at else 'where the squared errors of the networks differ most'
    caption = f'x{scale}; regions of {args.window}x{args.window} HR pixels, {where}. PSNR on Y of the region.'
    return Outcome(draw_panels(rows, caption), numbers, lines)


KINDS: dict[str, Callable[[argparse.Namespace, Sequence[Model], Sequence[Picture]], Outcome]] = {
    'lam': lam,
    'field': field,
    'bias': bias,
    'distance': distance,
    'gates': gates,
    'spectrum': spectrum,
    'crops': crops,
}
WITHOUT_IMAGES = ('bias',)
NEED_HR = ('spectrum', 'crops')


def _one(pictures: Sequence[Picture]) -> Picture:
    if len(pictures) > 1:
        raise UserError(f'--images: this analysis takes one image, not {len(pictures)}')
    return pictures[0]


def _region(args: argparse.Namespace, height: int, width: int) -> Region:
    """The square of `--window` SR pixels at `--at`, or in the middle. Raises UserError if the image lacks it."""
    side = args.window
    left, top = args.at or ((width - side) // 2, (height - side) // 2)
    region = Region(top, left, side, side)
    if not region.inside(height, width):
        raise UserError(
            f'--at {left},{top} --window {side}: SR has {width}x{height} pixels; the region must lie inside of it'
        )
    return region


def _centre(image: np.ndarray, side: int) -> np.ndarray:
    top, left = ((length - side) // 2 for length in image.shape[:2])
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def _bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    from sst.ops.imresize import imresize

    return imresize(lr, scale)


def _luma(image: np.ndarray) -> np.ndarray:
    from basicsr.metrics.metric_util import to_y_channel

    return to_y_channel(image[..., ::-1].astype(np.float64))[..., 0]


def _psnr(version: np.ndarray, original: np.ndarray, border: int) -> float:
    from basicsr.metrics import calculate_psnr

    return float(calculate_psnr(version[..., ::-1], original[..., ::-1], crop_border=border, test_y_channel=True))


def _count(images: Sequence[Any]) -> str:
    return '1 image' if len(images) == 1 else f'{len(images)} images'
