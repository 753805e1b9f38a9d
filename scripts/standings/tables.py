"""The outcome as tables in the paper's layouts: on the screen, in Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from standings.measure import COUNTED
from standings.quality import METRICS

Row = dict[str, Any]
PUBLISHED_BATCH = 8  # images in a training step
NOTE = 'best in bold, second underlined; grey: published'


@dataclass(frozen=True)
class Column:
    """A column of figures."""

    heading: str
    kind: str  # whose reason stands in the cell where there is no figure: costs, latency, training or quality
    value: Callable[[Row], float | None]  # of a row, or of its published figures
    show: Callable[[float], str]
    greatest: bool = False  # the greatest is best
    comparable: bool = True  # with what was published, which is of 1280 x 720 pixels and batches of 8

    def ours(self, row: Row) -> float | None:
        return self.value(row)

    def theirs(self, row: Row) -> float | None:
        return self.value(row['published']) if self.comparable else None


@dataclass(frozen=True)
class Cell:
    """One figure: ours, what was published, and our rank among the rows (0 is best)."""

    ours: str = ''
    theirs: str = ''
    rank: int | None = None
    reason: str = ''


def _of(key: str, factor: float = 1.0) -> Callable[[Row], float | None]:
    return lambda row: row[key] / factor if row.get(key) is not None else None


def _metric(data: str, metric: str) -> Callable[[Row], float | None]:
    return lambda row: row.get('sets', {}).get(data, {}).get(metric)


def cost_columns(outcome: dict[str, Any]) -> list[Column]:
    """The layout of the paper's Table 1."""
    size = tuple(outcome['size'])
    inference, training = {'comparable': size == COUNTED}, {'comparable': outcome['batch'] == PUBLISHED_BATCH}
    return [
        Column('parameters (M)', 'costs', _of('parameters', 1e6), '{:.3f}'.format),
        Column('multiply-adds (G)', 'costs', _of('multiply_adds', 1e9), '{:,.1f}'.format),
        Column('training (s/step)', 'training', _of('training'), '{:.3g}'.format, **training),
        Column('training (GB)', 'training', _of('training_memory', 1e9), '{:.3g}'.format, **training),
        Column(f'ms, {size[0]}x{size[1]}', 'latency', _of('latency', 1e-3), '{:,.4g}'.format, **inference),
        Column('memory (MB)', 'latency', _of('memory', 1e6), '{:,.0f}'.format, **inference),
        Column('score', 'latency', _of('score'), '{:.2f}'.format),
    ]


def quality_columns(sets: Iterable[str]) -> list[Column]:
    """The layout of the paper's tables 2 and 3: PSNR and SSIM, or other metrics, of each set."""
    return [
        Column(f'{name} {metric.upper()}', 'quality', _metric(name, metric), _shown(metric), higher)
        for name in sets
        for metric, (_, higher) in METRICS.items()
    ]


def _shown(metric: str) -> Callable[[float], str]:
    return ('{:.2f}' if metric in ('psnr', 'musiq') else '{:.4f}').format


def cells(rows: Sequence[Row], column: Column) -> list[Cell]:
    """A column's cells. Ranks are by what is shown, so equal figures share one."""
    values = [column.ours(row) for row in rows]
    shown = ['' if value is None else column.show(value) for value in values]
    order = sorted({v for v in values if v is not None}, reverse=column.greatest)
    ranks = list(dict.fromkeys(column.show(value) for value in order))[:2]
    found = []
    for row, text in zip(rows, shown, strict=True):
        theirs = column.theirs(row)
        found.append(
            Cell(
                text,
                '' if theirs is None else column.show(theirs),
                ranks.index(text) if text in ranks and len(rows) > 1 else None,
                '' if text else row['reasons'].get(column.kind, ''),
            )
        )
    return found


def layouts(outcome: dict[str, Any]) -> Iterator[tuple[str, list[Row], list[Column]]]:
    """Title, rows and columns of each table: costs, then quality, scale by scale. Columns without a figure are out."""
    rows = outcome['rows']
    names = dict.fromkeys(name for row in rows for name in (*row['published'].get('sets', {}), *row.get('sets', {})))
    for what, columns in (('costs', cost_columns(outcome)), ('quality', quality_columns(names))):
        for scale in dict.fromkeys(row['scale'] for row in rows):
            chosen = [row for row in rows if row['scale'] == scale]
            used = [c for c in columns if any(c.ours(row) is not None or c.theirs(row) is not None for row in chosen)]
            if used:
                yield f'x{scale}, {what}', chosen, used


def lines_of(rows: Sequence[Row], columns: Sequence[Column]) -> list[list[Cell]]:
    """The cells of each row; a reason stands in the first column that it holds for."""
    shown = [cells(rows, column) for column in columns]
    return [
        [
            replace(cell, reason='-') if cell.reason and column.kind == before.kind else cell
            for cell, column, before in zip(line, columns, [replace(columns[0], kind=''), *columns], strict=False)
        ]
        for line in zip(*shown, strict=True)
    ]


def print_tables(outcome: dict[str, Any], console: Console) -> None:
    """All tables, then the reasons of what is not there."""
    for title, rows, columns in layouts(outcome):
        table = Table(title=title, title_justify='left')
        table.add_column('model', no_wrap=True)
        for column in columns:
            table.add_column(column.heading, justify='right')
        for row, figures in zip(rows, lines_of(rows, columns), strict=True):
            table.add_row(row['name'], *map(_styled, figures))
        console.print(table)
    console.print(NOTE)
    for line in reasons(outcome):
        console.print(line, soft_wrap=True, markup=False)


def reasons(outcome: dict[str, Any]) -> list[str]:
    """Why figures are missing: a line for each reason, with the rows and the kinds of figures that it holds for."""
    found: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for row in outcome['rows']:
        for kind, reason in row['reasons'].items():
            kinds, names = found.setdefault(reason, ({}, {}))
            kinds[kind] = names[f'{row["name"]} x{row["scale"]}'] = None
    return [f'{", ".join(names)}: {", ".join(kinds)}: {reason}' for reason, (kinds, names) in found.items()]


def _styled(cell: Cell) -> Text:
    text = Text(cell.ours, style='' if cell.rank is None else ('bold', 'underline')[cell.rank])
    if cell.reason:
        text.append(short(cell.reason), style='red')
    return text.append(f' {cell.theirs}' if cell.theirs else '', style='bright_black not bold not underline')


def short(reason: str) -> str:
    """A reason that fits into a cell; '-' stands for the one beside it, and nothing for none."""
    known = ('no weights', 'no data sets', 'out of memory', 'took longer', 'interrupted', 'not installed')
    return reason if reason in ('', '-') else next((words for words in known if words in reason), 'failed')


def markdown(outcome: dict[str, Any]) -> str:
    """The tables for a page: what was published is small."""
    parts = []
    for title, rows, columns in layouts(outcome):
        lines = [['model', *(column.heading for column in columns)], ['---', *['---:'] * len(columns)]]
        for row, line in zip(rows, lines_of(rows, columns), strict=True):
            lines.append([row['name'], *map(_marked, line)])
        parts.append(f'**{title}**\n\n' + '\n'.join(f'| {" | ".join(line)} |' for line in lines))
    notes = [NOTE.replace('grey', 'small'), *reasons(outcome)]
    return '\n\n'.join([*parts, '\n'.join(f'- {note}' for note in notes)]) + '\n'


def _marked(cell: Cell) -> str:
    ours = cell.ours or short(cell.reason)
    if cell.rank is not None:
        ours = f'<u>{ours}</u>' if cell.rank else f'**{ours}**'
    return ' '.join(filter(None, (ours, f'<sub>{cell.theirs}</sub>' if cell.theirs else '')))


def latex(outcome: dict[str, Any]) -> str:
    r"""The tables for a paper; they need the packages booktabs and xcolor."""
    parts = []
    for title, rows, columns in layouts(outcome):
        lines = [['model', *(_escaped(column.heading) for column in columns)]]
        for row, line in zip(rows, lines_of(rows, columns), strict=True):
            lines.append([_escaped(row['name']), *map(_typeset, line)])
        head, *body = (f'{" & ".join(line)} \\\\' for line in lines)
        inner = '\n'.join((r'\toprule', head, r'\midrule', *body, r'\bottomrule'))
        parts.append(f'% {title}\n\\begin{{tabular}}{{l{"r" * len(columns)}}}\n{inner}\n\\end{{tabular}}')
    return '\n\n'.join(parts) + '\n'


def _typeset(cell: Cell) -> str:
    ours = _escaped(cell.ours or short(cell.reason))
    if cell.rank is not None:
        ours = rf'\{("textbf", "underline")[cell.rank]}{{{ours}}}'
    theirs = rf'\textcolor{{gray}}{{{_escaped(cell.theirs)}}}' if cell.theirs else ''
    return ' '.join(filter(None, (ours, theirs)))


def _escaped(text: str) -> str:
    return ''.join(f'\\{letter}' if letter in '&%$#_{}' else letter for letter in text)


def as_csv(outcome: dict[str, Any]) -> str:
    """A line for each row, with ours and what was published of every column."""
    lines: dict[tuple[str, int], dict[str, Any]] = {}
    for _, rows, columns in layouts(outcome):
        for row in rows:
            line = lines.setdefault((row['name'], row['scale']), {'model': row['name'], 'scale': row['scale']})
            for column in columns:
                line[column.heading] = column.ours(row)
                line[f'{column.heading} (published)'] = column.theirs(row)
    text = io.StringIO()
    headings = dict.fromkeys(key for line in lines.values() for key in line)
    writer = csv.DictWriter(text, list(headings), lineterminator='\n')
    writer.writeheader()
    writer.writerows(lines.values())
    return text.getvalue()
