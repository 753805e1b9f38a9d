"""Where the datasets come from, and where their files go in our layout."""

import re
from typing import NamedTuple

_DIV2K = 'https://data.vision.ee.ethz.ch/cvl/DIV2K'
_EDSR = 'https://cv.snu.ac.kr/research/EDSR'
# Members of an archive, and their places below the output folder.
_HR, _HR_TARGET = r'(?P<name>[^/]+\.png)', 'HR/{name}'
_LR, _LR_TARGET = r'X(?P<scale>[234])/(?P<name>[^/]+x(?P=scale)\.png)', 'LR_bicubic/X{scale}/{name}'


class Archive(NamedTuple):
    """A zip or tar file; `rules` are (pattern of a whole member name, target below the output folder).

    Members that match no pattern are ignored. A group of a pattern must never match a slash, so that no target leaves
    the output folder.
    """

    url: str
    rules: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.url.rpartition('/')[2]

    def target(self, member: str) -> str | None:
        """Where a member goes, relative to the output folder; None if it is not wanted."""
        for pattern, target in self.rules:
            if match := re.fullmatch(pattern, member.removeprefix('./')):
                return target.format(**match.groupdict())
        return None


def _div2k(part: str, folder: str) -> tuple[Archive, ...]:
    members = [('HR', f'HR/{_HR}', _HR_TARGET)]
    members += [(f'LR_bicubic_X{scale}', f'LR_bicubic/{_LR}', _LR_TARGET) for scale in (2, 3, 4)]
    return tuple(
        Archive(f'{_DIV2K}/DIV2K_{part}_{name}.zip', ((f'DIV2K_{part}_{pattern}', f'{folder}/{target}'),))
        for name, pattern, target in members
    )


def _edsr(file: str, folders: dict[str, str], prefix: str = '') -> tuple[Archive, ...]:
    """An archive in which each of `folders` holds HR and LR_bicubic, and the folder that they become."""
    rules = []
    for theirs, ours in folders.items():
        rules.append((f'{theirs}/{prefix}HR/{_HR}', f'{ours}/{_HR_TARGET}'))
        rules.append((f'{theirs}/{prefix}LR_bicubic/{_LR}', f'{ours}/{_LR_TARGET}'))
    return (Archive(f'{_EDSR}/{file}', tuple(rules)),)


_BENCHMARK = {'Set5': 'Set5', 'Set14': 'Set14', 'B100': 'BSD100', 'Urban100': 'Urban100'}

ARCHIVES: dict[str, tuple[Archive, ...]] = {
    'DIV2K': _div2k('train', 'DIV2K'),
    'DIV2K-val': _div2k('valid', 'benchmark/DIV2K-val'),
    'Flickr2K': _edsr('Flickr2K.tar', {'Flickr2K': 'Flickr2K'}, 'Flickr2K_'),
    'benchmark': _edsr('benchmark.tar', {f'benchmark/{key}': f'benchmark/{ours}' for key, ours in _BENCHMARK.items()}),
}

# Dataset repositories of Hugging Face: all their files go into a folder of this name.
REPOSITORIES = {'DFLIP': 'dslisleedh/DFLIP'}
HUGGING_FACE = 'https://huggingface.co'

_MAKE_LR = (
    'put the HR images into {0}/HR and make the LR images: python scripts/prepare_data.py lr --input {0}/HR --output '
    '{0}/LR_bicubic'
)
_LSDIR = (
    'needs registration: accept the terms at https://huggingface.co/ofsoundof/LSDIR and download its {} there, then '
)
BY_HAND = {
    'LSDIR': _LSDIR.format('training archives') + _MAKE_LR.format('datasets/LSDIR'),
    'LSDIR-val': _LSDIR.format('validation archive') + _MAKE_LR.format('datasets/benchmark/LSDIR-val'),
    'Manga109': 'needs an application: apply at http://www.manga109.org, then '
    + _MAKE_LR.format('datasets/benchmark/Manga109'),
    'DF2K': 'is DIV2K and Flickr2K: download DIV2K Flickr2K, then python scripts/prepare_data.py subimages --input '
    'datasets/DIV2K datasets/Flickr2K --output datasets/DF2K',
    **dict.fromkeys(_BENCHMARK.values(), 'is a part of benchmark: download benchmark'),
}
