"""Who takes part: names of models, and their option files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sst.checkpoints.published import stem_of
from sst.options import load_options
from sst.utils.errors import UserError
from sst.utils.suggest import did_you_mean

OPTIONS = Path(__file__).resolve().parents[2] / 'options'
RIVALS = tuple(sorted(path.stem for path in (OPTIONS / 'rivals').glob('*.yml') if not path.stem.startswith('train_')))
OURS = ('SST-light', 'SST-light+', 'SST', 'SST+', 'SST-L', 'SST-L+', 'SST-XL+', 'ESC-RIB')
TINY = 'SST-tiny'  # its weights ship
NAMES = (TINY, *OURS, *RIVALS)
# Groups stand for their members.
LIGHT = (*(n for n in RIVALS if n.endswith('-light')), 'OmniSR', 'HiT-SRF', 'ASID-D8', 'ESC', 'ESC-RIB')
GROUPS = {
    'light': (TINY, 'SST-light', 'SST-light+', *sorted(LIGHT)),
    'classical': tuple(name for name in (*OURS[2:], *RIVALS) if name not in LIGHT),
    'rivals': RIVALS,
    'all': NAMES,
}


@dataclass(frozen=True)
class Entry:
    """A model at a scale."""

    model: str  # one of `NAMES`, or an option file
    scale: int

    def options(self, *changes: str) -> dict[str, Any]:
        """The options of its test, checked. Raises UserError."""
        return load_options(self.file, self.arguments(*changes))

    @property
    def file(self) -> Path:
        if self.model == TINY:
            return OPTIONS / 'test.yml'
        if self.model in OURS:
            return OPTIONS / f'test_{stem_of(self.model)}_x{self.scale}.yml'
        return OPTIONS / 'rivals' / f'{self.model}.yml' if self.model in RIVALS else Path(self.model)

    @property
    def is_rival(self) -> bool:
        """Whether its network is no SST; a file of a name that is not known here is read. Raises UserError."""
        known = (TINY, *OURS)
        return self.model in RIVALS or (self.model not in known and self.options()['network_g']['type'] != 'SST')

    def arguments(self, *changes: str) -> list[str]:
        """What `--force_yml` takes."""
        return [*([] if self.model in OURS else [f'scale={self.scale}']), *changes]

    @property
    def name(self) -> str:
        return self.model if self.model in NAMES else Path(self.model).stem


def chosen(words: Sequence[str]) -> list[str]:
    """The models that names, groups and option files stand for, each once.

    Raises:
        UserError: a name is unknown; the message gives the nearest one.
    """
    found: list[str] = []
    for word in words:
        if word in GROUPS:
            found += GROUPS[word]
        elif word in NAMES or word.endswith(('.yml', '.yaml')):
            found.append(word)
        else:
            near = did_you_mean(word, [*NAMES, *GROUPS])
            raise UserError(
                f'--models {word}: unknown{near or ""}; known are {", ".join((*GROUPS, *NAMES))}, and option files'
            )
    return list(dict.fromkeys(found))
