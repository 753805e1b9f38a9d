"""Where the datasets come from, and where their files go in our layout."""

import re
from dataclasses import dataclass

_DIV2K = 'https://data.vision.ee.ethz.ch/cvl/DIV2K'
_EDSR = 'https://cv.snu.ac.kr/research/EDSR'
_LR = r'X(?P<scale>[234])/(?P<name>[^/]+x(?P=scale)\.png)'


@dataclass(frozen=True)
class Archive:
    """A zip or tar file; `rules` are (pattern of a whole member name, target below the output folder).

    Members that no pattern matches are left out. A group of a pattern never holds a slash, so that no target leaves the
    output folder.
    """

    url: str
    rules: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.url.rpartition('/')[2]

    def target(self, member: str) -> str | None:
        """Where a member goes, relative to the output folder; None for one that is not wanted."""
        for pattern, target in self.rules:
            if match := re.fullmatch(pattern, member.removeprefix('./')):
                return target.format(**match.groupdict())
        return None


def _div2k(part: str, folder: str) -> tuple[Archive, ...]:
    hr = Archive(
        f'{_DIV2K}/DIV2K_{part}_HR.zip', ((rf'DIV2K_{part}_HR/(?P<name>[^/]+\.png)', f'{folder}/HR/{{name}}'),)
    )
    lr = [
        Archive(
            f'{_DIV2K}/DIV2K_{part}_LR_bicubic_X{scale}.zip',
            ((rf'DIV2K_{part}_LR_bicubic/{_LR}', f'{folder}/LR_bicubic/X{{scale}}/{{name}}'),),
        )
        for scale in (2, 3, 4)
    ]
    return (hr, *lr)


def _benchmark_rules() -> tuple[tuple[str, str], ...]:
    sets = {'Set5': 'Set5', 'Set14': 'Set14', 'B100': 'BSD100', 'Urban100': 'Urban100'}
    return tuple(
        rule
        for theirs, ours in sets.items()
        for rule in (
            (rf'benchmark/{theirs}/HR/(?P<name>[^/]+\.png)', f'benchmark/{ours}/HR/{{name}}'),
            (rf'benchmark/{theirs}/LR_bicubic/{_LR}', f'benchmark/{ours}/LR_bicubic/X{{scale}}/{{name}}'),
        )
    )


ARCHIVES: dict[str, tuple[Archive, ...]] = {
    'DIV2K': _div2k('train', 'DIV2K'),
    'DIV2K-val': _div2k('valid', 'benchmark/DIV2K-val'),
    'Flickr2K': (
        Archive(
            f'{_EDSR}/Flickr2K.tar',
            (
                (r'Flickr2K/Flickr2K_HR/(?P<name>[^/]+\.png)', 'Flickr2K/HR/{name}'),
                (rf'Flickr2K/Flickr2K_LR_bicubic/{_LR}', 'Flickr2K/LR_bicubic/X{scale}/{name}'),
            ),
        ),
    ),
    'benchmark': (Archive(f'{_EDSR}/benchmark.tar', _benchmark_rules()),),
}

# Dataset repositories of Hugging Face: all their files go into a folder of this name.
REPOSITORIES = {'DFLIP': 'dslisleedh/DFLIP'}
HUGGING_FACE = 'https://huggingface.co'

_BY_HAND = (
    'put the HR pictures into {0}/HR and make the LR ones: python scripts/prepare_data.py lr --input {0}/HR --output '
    '{0}/LR_bicubic'
)
BY_HAND = {
    'LSDIR': (
        'needs registration: accept the terms at https://huggingface.co/ofsoundof/LSDIR, fetch its training archives '
        f'there, then {_BY_HAND.format("datasets/LSDIR")}'
    ),
    'LSDIR-val': (
        'needs registration: accept the terms at https://huggingface.co/ofsoundof/LSDIR, fetch its validation archive '
        f'there, then {_BY_HAND.format("datasets/benchmark/LSDIR-val")}'
    ),
    'Manga109': (
        'is given out on application only: apply at http://www.manga109.org, then '
        f'{_BY_HAND.format("datasets/benchmark/Manga109")}'
    ),
    'DF2K': (
        'is DIV2K and Flickr2K: download DIV2K Flickr2K, then python scripts/prepare_data.py subimages --input '
        'datasets/DIV2K datasets/Flickr2K --output datasets/DF2K'
    ),
    **dict.fromkeys(('Set5', 'Set14', 'BSD100', 'Urban100'), 'is a part of benchmark: download benchmark'),
}
