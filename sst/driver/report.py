"""The table at the end of a test."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from sst.utils.tables import VisibleTable


def print_results(folder: Path, title: str, metrics: list[str], missing: list[str]) -> None:
    """Print sets x metrics from `metrics.json` in a test's folder, the missing sets, and the paths of the files."""
    results = json.loads((folder / 'metrics.json').read_text(encoding='utf-8'))
    console = Console()
    console.print(results_table(title, results, metrics, missing))
    for name in ('metrics.json', 'metrics.csv'):
        console.print(f'{folder / name}', soft_wrap=True, highlight=False)


def results_table(
    title: str, results: dict[str, dict[str, Any]], metrics: list[str], missing: list[str]
) -> VisibleTable:
    """A table with a row for each set: its number of images and each metric. Sets in `missing` are marked."""
    table = VisibleTable(title=title)
    table.add_column('set')
    table.add_column('images', justify='right')
    for metric in metrics:
        table.add_column(metric.upper(), justify='right')
    for name, row in results.items():
        table.add_row(name, str(row['images']), *(_shown(metric, row.get(metric)) for metric in metrics))
    for name in missing:
        table.add_row(name, 'missing', *('-' for _ in metrics))
    return table


def _shown(metric: str, value: float | str | None) -> str:
    if value is None:
        return '-'
    return f'{float(value):.2f}' if 'psnr' in metric.lower() else f'{float(value):.4f}'
