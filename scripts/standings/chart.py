"""Latency against PSNR on Urban100; the area of a point is memory."""

from typing import Any

from sst.utils.errors import UserError

SET = 'Urban100'
OURS, OTHERS = '#b5482f', '#1b6ca8'


def draw(outcome: dict[str, Any], figure: Any) -> None:
    """A panel for each scale. A filled point has our PSNR, a hollow one what was published.

    Raises:
        UserError: no row has a latency and a PSNR.
    """
    from matplotlib.ticker import LogLocator

    points = [(row, psnr, filled) for row in outcome['rows'] if row.get('latency') for psnr, filled in psnr_of(row)]
    if not points:
        raise UserError(f'no model has a latency and a PSNR on {SET}')
    scales = sorted({row['scale'] for row, _, _ in points})
    largest = max(row['memory'] for row, _, _ in points)
    figure.set_size_inches(1.5 + 5.5 * len(scales), 5)
    for axes, scale in zip(figure.subplots(1, len(scales), squeeze=False)[0], scales, strict=True):
        here = [point for point in points if point[0]['scale'] == scale]
        here.sort(key=lambda point: point[0]['latency'])
        for number, (row, psnr, filled) in enumerate(here):
            color = OURS if row['name'].startswith(('SST', 'ESC-RIB')) else OTHERS
            place, area = (1000 * row['latency'], psnr), 30 + 570 * row['memory'] / largest
            axes.scatter(*place, area, color if filled else 'none', edgecolors=color, alpha=0.7)
            axes.annotate(
                row['name'], place, xytext=(8, -13 if number % 2 else 7), textcoords='offset points', fontsize=8
            )
        axes.set(title=f'x{scale}', xscale='log', xlabel='latency (ms)', ylabel=f'PSNR on {SET} (dB)')
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter('{x:,.0f}')
        axes.xaxis.set_minor_formatter('')
        axes.margins(0.2)
        axes.grid(alpha=0.3)
    figure.suptitle(f'{outcome["machine"]["device"]}; area: memory; filled: measured PSNR, hollow: published')


def psnr_of(row: dict[str, Any]) -> list[tuple[float, bool]]:
    """PSNR on the set, and whether it is ours; empty where there is none."""
    for figures, filled in ((row, True), (row['published'], False)):
        if 'psnr' in figures.get('sets', {}).get(SET, {}):
            return [(figures['sets'][SET]['psnr'], filled)]
    return []
