"""Damaged archives for scripts/prepare_data.py, and a look at what they leave on the disk."""

import io
import random
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import prepare_data
from prepare.archives import ARCHIVES, Archive
from soaking.fuzz import Attempt
from soaking.mutations import damaged
from soaking.running import require, run

Members = list[tuple[str, bytes]]
ZIP, TAR = ('DIV2K', ARCHIVES['DIV2K'][0]), ('benchmark', ARCHIVES['benchmark'][0])
GOOD = {
    ZIP: ('DIV2K_train_HR/0001.png', 'DIV2K_train_HR/0002.png', 'readme.txt'),
    TAR: ('benchmark/Set5/HR/a.png', 'benchmark/B100/LR_bicubic/X2/ax2.png', 'readme.txt'),
}
# {0} is a name that is wanted, {1} its folder, {2} a folder on the disk
EVIL = (
    '../evil.png', '../../evil.png', '{2}/evil.png', '{1}/../../evil.png', '{1}/../evil.png', '{1}/..', '{1}/..png',
    './{1}/../../../evil.png', 'C:\\evil.png', '{1}/..\\..\\evil.png', '{1}/\n.png', '{1}/nnnn{0}', '{0}/', '/{0}', '',
    '{1}//evil.png', '{1}/\x1b.png',
)  # fmt: skip
LINKS = ('../..', '{2}', '{2}/outside.txt', '{0}', '../../../outside.txt')
SPECIAL = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)


def archives() -> Attempt:
    """Archives with evil members, cut off, with a bit flipped, or damaged in several ways."""

    def attempt(rng: random.Random, folder: Path) -> object:
        place = folder / 'archives'
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / 'outside.txt').write_text('untouched')
        kind = rng.choice([ZIP, TAR, TAR])
        name, archive = kind
        packed = archive is TAR[1] and rng.random() < 0.5
        members = [(name, rng.randbytes(rng.choice([0, 1, 700, 5000]))) for name in GOOD[kind]]
        way = rng.choice(['evil', 'cut', 'flip', 'damaged'])
        evil = [_filled(text, members, place) for text in rng.choices(EVIL, k=3)] if way == 'evil' else []
        members += [(name, rng.randbytes(700)) for name in evil]
        content = _zip(rng, members) if kind == ZIP else _tar(rng, members, place, way == 'evil', packed)
        content = _spoilt(rng, content, way)
        (place / archive.name).write_bytes(content)
        command = ['download', name, '--from', str(place / archive.name), '--output', str(place / 'data')]
        answer = run(prepare_data.main, [*command, '--max-unpacked', '0.001'])
        _look(place, archive, members, way, answer.refused)
        return answer.taken()

    return attempt


def _spoilt(rng: random.Random, content: bytes, way: str) -> bytes:
    if way == 'cut':
        return content[: rng.randrange(len(content))]
    if way == 'flip':
        place = rng.randrange(len(content))
        return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
    return damaged(rng, content) if way == 'damaged' else content


def _filled(text: str, members: Members, place: Path) -> str:
    name = members[0][0]
    return text.replace('nnnn', 'n' * 300).format(name, name.rpartition('/')[0], place)


def _zip(rng: random.Random, members: Members) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w', rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
    return content.getvalue()


def _tar(rng: random.Random, members: Members, place: Path, evil: bool, packed: bool) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode='w:gz' if packed else 'w') as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            if evil and rng.random() < 0.4:  # a special member of a wanted name comes first
                special = tarfile.TarInfo(name)
                special.type, special.linkname = rng.choice(SPECIAL), _filled(rng.choice(LINKS), members, place)
                archive.addfile(special)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


def _look(place: Path, archive: Archive, members: Members, way: str, refused: bool) -> None:
    """Nothing outside `data`; there, only whole files under final names, and all of them if it was not refused."""
    require(
        sorted(path.name for path in place.iterdir() if path.name != 'data') == sorted([archive.name, 'outside.txt']),
        'something is left outside the target folder',
    )
    require((place / 'outside.txt').read_text() == 'untouched', 'a file outside is changed')
    paths = list((place / 'data').rglob('*'))
    require(not any(path.is_symlink() for path in paths), 'a link is left')
    require(not any(path.name.endswith('.part') for path in paths), 'a half-written file is left')
    files = {str(path.relative_to(place / 'data')): path.read_bytes() for path in paths if path.is_file()}
    if way == 'damaged':  # a tar has no checksums of its contents
        return
    wanted = _wanted(archive, members)
    for name, content in files.items():
        lengths = {len(data) for data in wanted.values()}
        require(len(content) in lengths, f'{name} has {len(content)} bytes of {lengths}')
        if way != 'flip' or archive is ZIP[1]:
            require(content in wanted.values(), f'{name} has other content')
    if not refused and not (way == 'flip' and archive is ZIP[1]):  # a zip has no checksums of its names
        require(files.keys() >= wanted.keys(), f'{wanted.keys() - files.keys()} are missing, and nothing is said')


def _wanted(archive: Archive, members: Iterable[tuple[str, bytes]]) -> dict[str, bytes]:
    return {target: data for name, data in members if (target := archive.target(name))}
