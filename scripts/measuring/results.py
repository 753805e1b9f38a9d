"""Results of a measurement: where they were measured, and the files that they are written to."""

import argparse
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from measuring.machine import describe
from sst.utils.errors import UserError
from sst.utils.files import atomic_write_text, require_writable
from sst.utils.json_text import json_text
from sst.utils.optional import require


def origin(device: torch.device) -> dict[str, Any]:
    """`date` and `machine` of results that begin now."""
    return {'date': now(), 'machine': describe(device)}


def now() -> str:
    return datetime.now().astimezone().isoformat(timespec='seconds')


def words(text: str) -> list[str]:
    """The value of an argument that takes several names with commas between."""
    found = [word.strip() for word in text.split(',') if word.strip()]
    if not found:
        raise argparse.ArgumentTypeError('names nothing; separate names by commas')
    return found


def positive(text: str) -> int:
    """The value of an argument that takes a whole number from 1 on."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'must be a whole number from 1 on, not {text!r}')
    return int(text)


def size(text: str) -> tuple[int, int]:
    """The value of an argument that takes WIDTHxHEIGHT."""
    width, _, height = text.partition('x')
    try:
        return positive(width), positive(height)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f'{text!r} is not WIDTHxHEIGHT, as 1280x720') from None


def check_words(option: str, given: list[str], known: tuple[str, ...]) -> None:
    """Raise UserError for words of an option that are not known."""
    if unknown := [word for word in given if word not in known]:
        raise UserError(f'--{option} {",".join(unknown)}: unknown; use {", ".join(known)}')


def make_folders(*paths: Path | None) -> None:
    """Make the folders of files that are to be written, and try them, before work begins. Raises UserError."""
    for path in filter(None, paths):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise UserError(f'{path.parent}: cannot be made ({fault.strerror}); choose another file') from fault
        require_writable(path.parent)


def write_json(results: dict[str, Any], path: Path) -> None:
    atomic_write_text(path, json_text(results, indent=1) + '\n')


def write_results(
    results: dict[str, Any], json: Path, chart: Path | None, draw: Callable[[dict[str, Any], Any], None]
) -> None:
    """Write the JSON file and, if asked for, a chart; say which files were written.

    A chart that cannot be drawn is left out with a message.
    """
    write_json(results, json)
    written = [json]
    if chart:
        try:
            write_chart(results, chart, draw)
            written.append(chart)
        except UserError as reason:
            print(reason)
    print('Written:', *written)


def write_chart(results: dict[str, Any], path: Path, draw: Callable[[dict[str, Any], Any], None]) -> None:
    """Have `draw` fill a figure of matplotlib, and save it.

    Raises:
        UserError: matplotlib is not installed, there is nothing to draw, or the file cannot be written.
    """
    require('matplotlib.figure', 'Figure', 'plots', f'{path}: no chart, because it')
    from matplotlib.figure import Figure

    figure = Figure(layout='constrained')
    try:
        draw(results, figure)
        figure.savefig(path, dpi=150)
    except (UserError, ValueError, OSError) as fault:
        raise UserError(f'{path}: no chart: {fault}') from fault
