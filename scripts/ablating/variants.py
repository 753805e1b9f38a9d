"""The tables of ablations: which option file each row trains, and what was published of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sst.rivals.figures import tables
from sst.utils.errors import UserError
from sst.utils.suggest import did_you_mean

OPTIONS = Path(__file__).resolve().parents[2] / 'options'
BASE = 'train_SST_x2.yml'  # SST at x2, which tables 5 and beyond change
BEYOND = {
    'rank': [*((f'rank {rank}', f'ablations/rank_{rank}.yml') for rank in (4, 8, 16, 32, 64)), ('18 and 34', BASE)],
    'hidden': [*((f'{size} channels', f'ablations/hidden_{size}.yml') for size in (8, 16, 64, 128)), ('32', BASE)],
}
TITLES = {
    'bias': 'Table 4: positional biases of SST+ at x2',
    'gate': 'Table 5: gates of SST at x2',
    'windows': 'Table 5: windows of SST at x2',
    'bands': "Table 5: Fourier embeddings of SST's RIB at x2",
    'rank': "Beyond the paper: ranks of SST's RIB at x2",
    'hidden': "Beyond the paper: hidden channels of SST's RIB at x2",
}
GROUPS = {'4': ('bias',), '5': ('gate', 'windows', 'bands'), 'beyond': ('rank', 'hidden'), 'all': tuple(TITLES)}


@dataclass(frozen=True)
class Variant:
    """A row of a table."""

    label: str
    file: str  # below `options`
    published: dict[str, Any]  # of `published.yml`

    @property
    def stem(self) -> str:
        return Path(self.file).stem

    @property
    def path(self) -> Path:
        return OPTIONS / self.file


def variants(table: str) -> list[Variant]:
    """The rows of a table, in the paper's order."""
    if table in BEYOND:
        return [Variant(label, file, {}) for label, file in BEYOND[table]]
    if table == 'bias':
        found = [Variant(row['label'], row['file'], row) for row in tables()['4']['rows']]
        return [*found, Variant('no bias', 'ablations/bias_none.yml', {})]
    return [Variant(row['label'], row['file'], row) for row in tables()['5']['rows'] if row['part'] == table]


def chosen(words: list[str]) -> list[str]:
    """The tables that words stand for, each once.

    Raises:
        UserError: a word is unknown; the message gives the nearest one.
    """
    found: list[str] = []
    for word in words:
        if word not in TITLES and word not in GROUPS:
            near = did_you_mean(word, [*TITLES, *GROUPS])
            raise UserError(f'{word}: no such table{near or ""}; use {", ".join([*TITLES, *GROUPS])}')
        found += GROUPS.get(word, (word,))
    return list(dict.fromkeys(found))
