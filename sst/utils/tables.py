"""Tables for a terminal whose cells come from files: names, paths, faults."""

from rich.table import Table
from rich.text import Text

from sst.utils.visible import visible


class VisibleTable(Table):
    """A table that shows text as it is: no text in a cell becomes a colour or a command to the terminal."""

    def add_row(self, *cells: object) -> None:  # type: ignore[override]
        super().add_row(*(Text(visible(cell)) for cell in cells))
