"""A table of texts, on the screen, in Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Cell:
    """One cell: ours, and what was published, which is shown small or grey."""

    ours: str = ''
    published: str = ''


@dataclass
class Grid:
    """A table. The first column is left-aligned."""

    title: str
    headings: Sequence[str]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, *cells: Cell | str) -> None:
        """Add a row. Raises ValueError if it has more or fewer cells than there are headings."""
        if len(cells) != len(self.headings):
            raise ValueError(f'{len(cells)} cells do not fit {len(self.headings)} headings')
        self.rows.append([cell if isinstance(cell, Cell) else Cell(cell) for cell in cells])

    def without_empty_columns(self) -> 'Grid':
        """The same table without the columns in which no row has anything."""
        used = [n for n in range(len(self.headings)) if any(row[n] != Cell() for row in self.rows)]
        rows = [[row[n] for n in used] for row in self.rows]
        return Grid(self.title, [self.headings[n] for n in used], rows, self.notes)

    def show(self, console: Console) -> None:
        table = Table(title=self.title, title_justify='left')
        for number, heading in enumerate(self.headings):
            table.add_column(heading, justify='right' if number else 'left', no_wrap=not number)
        for row in self.rows:
            table.add_row(*map(_styled, row))
        console.print(table)
        for note in self.notes:
            console.print(note, soft_wrap=True, markup=False)

    def markdown(self) -> str:
        lines = [list(self.headings), ['---', *['---:'] * (len(self.headings) - 1)]]
        lines += [[_marked(cell) for cell in row] for row in self.rows]
        body = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
        return '\n\n'.join([f'**{self.title}**', body, *self.notes]) + '\n'

    def latex(self) -> str:
        r"""A `tabular`; it needs the packages booktabs and xcolor."""
        head, *body = (
            f'{" & ".join(cells)} \\\\'
            for cells in [[_escaped(h) for h in self.headings], *([_typeset(c) for c in row] for row in self.rows)]
        )
        inner = '\n'.join((r'\toprule', head, r'\midrule', *body, r'\bottomrule'))
        columns = 'l' + 'r' * (len(self.headings) - 1)
        notes = ''.join(f'% {note}\n' for note in [self.title, *self.notes])
        return f'{notes}\\begin{{tabular}}{{{columns}}}\n{inner}\n\\end{{tabular}}\n'

    def csv(self) -> str:
        """A line for each row, with ours and, where some row has it, what was published of each column."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator='\n')
        also = [any(row[column].published for row in self.rows) for column in range(len(self.headings))]
        writer.writerow(_doubled(self.headings, [f'{heading} (published)' for heading in self.headings], also))
        for row in self.rows:
            writer.writerow(_doubled([cell.ours for cell in row], [cell.published for cell in row], also))
        return text.getvalue()


def _doubled(ours: Sequence[str], published: Sequence[str], also: Sequence[bool]) -> list[str]:
    pairs = zip(ours, published, also, strict=True)
    return [text for first, second, both in pairs for text in ([first, second] if both else [first])]


def _styled(cell: Cell) -> Text:
    text = Text(cell.ours)
    return text.append(f'{" " if cell.ours else ""}{cell.published}', style='bright_black') if cell.published else text


def _marked(cell: Cell) -> str:
    published = f'<sub>{_plain(cell.published)}</sub>' if cell.published else ''
    return ' '.join(filter(None, (_plain(cell.ours), published)))


def _plain(text: str) -> str:
    return text.replace('|', '\\|').replace('<', '&lt;').replace('\n', ' ')


def _typeset(cell: Cell) -> str:
    published = rf'\textcolor{{gray}}{{{_escaped(cell.published)}}}' if cell.published else ''
    return ' '.join(filter(None, (_escaped(cell.ours), published)))


def _escaped(text: str) -> str:
    special = {'\\': r'\textbackslash{}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '±': r'$\pm$'}
    special |= {letter: f'\\{letter}' for letter in '&%$#_{}'}
    return ''.join(special.get(letter, letter) for letter in text)
