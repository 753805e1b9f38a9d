"""The outcome of a sweep as tables, JSON and rows of the configurations' table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from sst.ops.kernels.configurations import Configuration
from tuning.measuring import NO_TIME, Trial
from tuning.sweep import Result

WORTH = 1.02  # times as fast: less is noise, and no reason for a row


def name(configuration: Configuration) -> str:
    """Queries x keys, warps, stages."""
    c = configuration
    return f'{c.block_m}x{c.block_n} w{c.num_warps} s{c.num_stages}'


def layer_columns(result: Result) -> list[str]:
    build, layer = result.build, result.build.layer
    return [build.kernel, build.dtype, str(layer.window), str(layer.head_dim), str(layer.rank)]


def timed_table(results: Sequence[Result]) -> Table:
    """The fastest candidate of every build beside the table's."""
    columns = ('kernel', 'dtype', 'window', 'head', 'rank', 'best', 'ms', 'present', 'ms', 'gain', 'tried', 'excluded')
    table = Table(*columns)
    for result in results:
        best, present = result.best, result.present
        figures = [name(best.configuration), _ms(best)] if best else ['-', '-']
        gain = f'{result.gain:.2f}' if best else '-'
        excluded = str(sum(bool(trial.excluded) for trial in result.trials))
        row = (*figures, name(present.configuration), _ms(present), gain, str(len(result.trials)), excluded)
        table.add_row(*layer_columns(result), *row)
    return table


def _ms(trial: Trial) -> str:
    return '-' if trial.seconds is None else f'{1000 * trial.seconds:.4g}'


def compiled_table(results: Sequence[Result]) -> Table:
    """What became of the candidates where nothing could be timed."""
    columns = ('kernel', 'dtype', 'window', 'head', 'rank', 'GPU', 'present', 'regs / spilled / KiB')
    table = Table(*columns, 'tried', 'fit', 'spill', 'memory', 'other')
    for result in results:
        fates = Counter(trial.excluded for trial in result.trials)
        known = [fates[''], fates['spills'], fates['shared memory']]
        present = result.present
        table.add_row(
            *layer_columns(result),
            f'sm_{result.build.capability}',
            name(present.configuration),
            str(present.usage or '-'),
            *map(str, (len(result.trials), *known, len(result.trials) - sum(known))),
        )
    return table


def faults(results: Sequence[Result]) -> list[str]:
    """A line for every candidate that is wrong or failed, and for a configuration of the table that cannot be used."""
    return [
        f'{" ".join(layer_columns(result))} {name(trial.configuration)}'
        + (' of the table' if trial is result.present else '')
        + (f': {trial.excluded}' if trial.error is None else f': {trial.excluded}, relative error {trial.error:.1e}')
        for result in results
        for trial in result.trials
        if trial.excluded.startswith(('WRONG', 'failed')) or (trial is result.present and unusable(trial))
    ]


def unusable(trial: Trial) -> bool:
    """Whether it is excluded for more than want of time."""
    return trial.excluded not in ('', NO_TIME)


def rows(results: Sequence[Result]) -> list[str]:
    """Lines for the top of TABLE, of builds that gain enough."""
    return [_row(result, result.best) for result in results if result.best and result.gain >= WORTH]


def _row(result: Result, best: Trial) -> str:
    build, c = result.build, best.configuration
    width, window, head = build.layer.layout.width, build.layer.window, build.layer.head_dim
    spans = ', '.join(f'({at}, {at})' for at in (build.capability, width, window))
    configuration = f'Configuration({c.block_m}, {c.block_n}, num_warps={c.num_warps}, num_stages={c.num_stages})'
    return f'Row(({build.kernel!r},), (torch.{build.dtype},), {spans}, {configuration}, heads=({head}, {head})),'


def as_json(result: Result) -> dict[str, Any]:
    """Everything known of a build, with times in seconds and memory in bytes."""
    best = result.best
    return {
        **asdict(result.build),
        'present': asdict(result.present.configuration),
        'best': asdict(best.configuration) if best else None,
        'gain': result.gain if best else None,
        'trials': [asdict(trial) for trial in result.trials],
    }
