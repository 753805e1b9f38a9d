"""Tables for a terminal whose cells come from files: names, paths, faults."""

from rich.table import Table
from rich.text import Text

from sst.utils.visible import visible


class VisibleTable(Table):
    """A table that shows text as it is: nothing in a cell is taken for colours or for what a terminal obeys."""

    def add_row(self, *cells: object) -> None:  # type: ignore[override]
        super().add_row(*(Text(visible(cell)) for cell in cells))
