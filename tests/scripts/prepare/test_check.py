import os
import re
import struct

import cv2
import pytest
from helpers import write_noise
from picture_files import RGB, chunk, encoded, noise
from PIL import Image

import prepare_data


@pytest.fixture
def dataset(tmp_path, prepare, capsys):
    """A training set, as files and databases."""
    for seed in range(3):
        write_noise(tmp_path / 'Data' / 'HR' / f'{seed}.png', 60, 84, seed)
    data = tmp_path / 'Data'
    prepare('lr', '--input', data / 'HR', '--output', data / 'LR_bicubic', '--jobs', 1)
    prepare('subimages', '--input', data, '--output', data, '--size', 48, '--step', 36, '--scales', 2, '--jobs', 1)
    prepare('lmdb', '--input', data / 'HR_sub', '--output', data / 'HR_sub.lmdb', '--jobs', 1)
    x2 = data / 'LR_bicubic_sub' / 'X2'
    prepare('lmdb', '--input', x2, '--output', x2.with_name('X2.lmdb'), '--jobs', 1)
    capsys.readouterr()
    return data


@pytest.fixture
def faults(capsys):
    """Check datasets that have faults; returns the fault lines, without the table."""

    def run(*arguments) -> list[str]:
        with pytest.raises(SystemExit) as stop:
            prepare_data.main(['check', '--jobs', '1', *map(str, arguments)])
        assert stop.value.code == 1
        lines = capsys.readouterr().out.splitlines()
        table_end = max(index for index, line in enumerate(lines) if line.startswith('└'))
        assert lines[-1] == f'{len(lines) - table_end - 2} faults'
        return lines[table_end + 1 : -1]

    return run


@pytest.mark.parametrize('extra', [['--jobs', 2], ['--headers']])
def test_a_sound_dataset(dataset, prepare, capsys, extra):
    prepare('check', '--input', dataset, *extra)
    text = capsys.readouterr().out
    assert text.endswith('no faults\n')
    assert text.count('84x60') == 2
    assert text.count('24x24') == 4


def test_each_fault_is_named(dataset, faults):
    hr, x2, x3 = dataset / 'HR', dataset / 'LR_bicubic' / 'X2', dataset / 'LR_bicubic' / 'X3'
    (hr / '0.png').write_bytes((hr / '0.png').read_bytes()[:-300])
    (x2 / '1x2.png').unlink()
    write_noise(x2 / '9x2.png', 10, 10)
    write_noise(x3 / '2x3.png', 20, 29)
    (x3 / 'Thumbs.db').touch()
    write_noise(dataset / 'LR_bicubic' / 'X4' / '5.png', 20, 20)
    (dataset / 'LR_bicubic' / 'X4' / '2x4.png').rename(dataset / 'LR_bicubic' / 'X4' / '2x4.bmp')
    expected = [
        f'{hr}/0.png: .*truncated or damaged',
        f'{hr}/1.png: .*{x2}',
        f'{x2}/9x2.png: .*{hr}',
        f'{x3}/Thumbs.db: ',
        f'{x3}/2x3.png: .*29x20 .*{hr}/2.png .*28x20',
        f'{dataset}/LR_bicubic/X4/5.png: .* x4',
        f'{dataset}/LR_bicubic/X4/2x4.bmp: .* .png',
    ]
    found = faults('--input', dataset)
    assert len(found) == len(expected)
    assert all(re.match(pattern, line) for pattern, line in zip(expected, found, strict=True)), found


def test_databases_are_checked(dataset, faults):
    meta = dataset / 'LR_bicubic_sub' / 'X2.lmdb' / 'meta_info.txt'
    first, *others = meta.read_text().splitlines()
    meta.write_text('\n'.join(['other.png (24,24,3) 1', *others]))
    lines = faults('--input', dataset)
    for start in (f'{meta.parent}: other: ', f'{dataset}/HR_sub.lmdb: {first.split(".")[0]}: '):
        assert [line for line in lines if line.startswith(start)]
    os.truncate(dataset / 'HR_sub.lmdb/data.mdb', 8192)
    assert any(line.startswith(f'{dataset}/HR_sub.lmdb: damaged') for line in faults('--input', dataset))
    meta.unlink()
    assert any(line.startswith(f'{meta.parent}: damaged') for line in faults('--input', dataset))


def test_test_pictures_among_the_training_ones(dataset, tmp_path, prepare, faults):
    tests = tmp_path / 'Tests'
    write_noise(tests / 'other.png', 60, 84, 77)  # the same size, other pixels
    prepare('check', '--input', dataset, '--against', tests, '--jobs', 1)
    picture = cv2.imread(str(dataset / 'HR' / '1.png'))
    cv2.imwrite(str(tests / 'again.bmp'), picture)
    expected = [f'{dataset}/HR/1.png: is the test image {tests}/again.bmp']
    assert faults('--input', dataset, '--against', tests) == expected
    assert faults('--input', dataset, '--against', tests, '--headers') == expected


def test_grey_and_coloured_copies_are_the_same(tmp_path, faults):
    grey = write_noise(tmp_path / 'a' / 'a.png', 20, 20)[..., 0]
    cv2.imwrite(str(tmp_path / 'a' / 'a.png'), grey)
    (tmp_path / 'b').mkdir()
    cv2.imwrite(str(tmp_path / 'b' / 'b.png'), cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
    (line,) = faults('--input', tmp_path / 'a', '--against', tmp_path / 'b')
    assert line == f'{tmp_path}/a/a.png: is the test image {tmp_path}/b/b.png'


def test_refusals(tmp_path, refused):
    for folder in (tmp_path / 'none', tmp_path):
        assert refused('check', '--input', folder).startswith(f'{folder}: ')


@pytest.mark.parametrize('command', ['lr', 'lmdb', 'meta'])
def test_the_limit_of_pixels_is_for_all_commands(tmp_path, prepare, refused, command):
    write_noise(tmp_path / 'HR/small.png', 48, 48)
    write_noise(tmp_path / 'HR/large.png', 48, 60)
    output = tmp_path / {'lr': 'LR', 'lmdb': 'HR.lmdb', 'meta': 'list.txt'}[command]
    arguments = (command, '--input', tmp_path / 'HR', '--output', output)
    for jobs in (1, 2):
        said = refused(*arguments, '--jobs', jobs, '--max-megapixels', 0.0024)
        assert '60x48' in said
        assert 'large.png' in said
        assert 'small.png' not in said
        assert '--max-megapixels' in said
    prepare(*arguments)


@pytest.mark.parametrize('extra', [[], ['--headers']], ids=str)
def test_bombs_and_false_claims_are_named(tmp_path, faults, extra):
    folder = tmp_path / 'HR'
    write_noise(folder / 'sound.png', 60, 84)
    content = (folder / 'sound.png').read_bytes()
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', 30_000, 30_000, 8, RGB, 0, 0, 0))
    (folder / 'bomb.png').write_bytes(content[:8] + header + content[33:])
    text = b'tEXtTitle\0Lake'
    (folder / 'text.png').write_bytes(content[:33] + struct.pack('>I', len(text) - 4) + text + bytes(4) + content[33:])
    jpeg = bytearray(encoded(Image.fromarray(noise(64, 64, 3)), 'JPEG'))
    place = jpeg.index(b'\xff\xc0') + 5
    jpeg[place : place + 2] = (6400).to_bytes(2, 'big')
    (folder / 'claim.jpg').write_bytes(jpeg)
    found = [line.split(':')[0] for line in faults('--input', folder, *extra)]
    assert found == [f'{folder}/{name}' for name in (['bomb.png'] if extra else ['bomb.png', 'claim.jpg'])]
