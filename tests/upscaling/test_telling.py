"""What sst-upscale says of a picture before it is enlarged, and while it is."""

from pathlib import Path

import pytest
from helpers import errors, files, tiny_options
from picture_files import saved
from PIL import Image
from skimage import data

import sst
from sst.archs import SST


def test_a_dry_run_shows_sizes_and_what_cannot_be_read_and_writes_nothing(upscale):
    saved('p/a.png', 20, 30, 3)
    saved('p/b.jpg', 70, 9, 3, quality=95)
    Path('p/broken.png').write_text('no picture')
    code, out, err = upscale('p', '-s', '4', '-t', '24', '--dry-run')
    assert code == 1
    rows = {line.split()[0]: line.split() for line in out if line.strip().startswith('p/')}
    assert list(rows) == ['p/a.png', 'p/b.jpg', 'p/broken.png']
    assert rows['p/a.png'][1:4] == ['30x20', 'results/a_x4.png', '120x80']
    assert rows['p/b.jpg'][1:4] == ['9x70', 'results/b_x4.jpg', '36x280']
    assert len(errors(err)) == 1
    assert 'p/broken.png' in errors(err)[0]
    assert files('.') == ['p/a.png', 'p/b.jpg', 'p/broken.png']
    assert upscale('p/a.png', '--dry-run')[0] == 0


@pytest.mark.parametrize(
    ('arguments', 'told'),
    [(['--width', '10001'], ['100 megapixels']), (['--width', '50'], ['is smaller']), (['--width', '200'], [])],
)
def test_results_that_may_not_be_meant_are_noted_before_the_work(upscale, arguments, told):
    saved('a.png', 100, 100, 3)
    code, _, err = upscale('a.png', *arguments, '--dry-run')
    assert code == 0
    notes = [line for line in err if line.startswith('note: a.png: ')]
    assert len(notes) == len(told)
    assert all(text in note for text, note in zip(told, notes, strict=True))


def test_control_characters_of_names_are_shown_as_numbers(upscale):
    name = 'a\x1b[31m\n\u202eb'
    saved(f'p/{name}.png', 6, 6, 3)
    Path(f'p/{name}.jpg').write_text('no picture')
    for more in ([], ['--dry-run']):
        code, out, err = upscale('p', *more)
        shown = '\n'.join(out + err)
        assert code == 1
        assert r'a\x1b[31m\n\u202eb.png' in shown
        assert r'error: p/a\x1b[31m\n\u202eb.jpg: ' in shown
        assert '\x1b' not in shown
        assert '\u202e' not in shown
    assert files('results') == [f'{name}_x2.png']


def test_where_no_terminal_is_the_progress_is_lines(upscale, monkeypatch):
    saved('a.png', 60, 50, 3)
    code, _, err = upscale('a.png', '-t', '12', '--overlap', '8')
    assert (code, [line for line in err if 'tile' in line]) == (0, [])  # it took no ten seconds
    monkeypatch.setattr('sst.upscaling.progress.PAUSE', 0)
    tiles = [line for line in upscale('a.png', '-t', '12', '--overlap', '8')[2] if line.startswith('a.png: tile ')]
    assert len(tiles) > 1
    assert tiles[-1].endswith(f'tile {len(tiles)} of {len(tiles)}')


@pytest.fixture
def shipped(tmp_path_factory, monkeypatch):
    """An installation with three small networks."""
    folder = tmp_path_factory.mktemp('shipped')
    for name in ('SST-tiny-x2', 'SST-tiny-x4', 'SST-tiny-robust-x4'):
        net = SST(**tiny_options(num_blocks=1, scale=int(name[-1])))
        sst.save_pretrained(net, folder / f'{name}.safetensors')
    monkeypatch.setattr('sst.checkpoints.sources.FOLDER', folder)
    return folder


def photograph():
    return Image.fromarray(data.chelsea()[100:260, 100:260])


@pytest.mark.parametrize(
    ('arguments', 'command'),
    [
        (['-s', '4'], '-n SST-tiny-robust-x4'),
        (['-n', 'SST-tiny-x2'], '-n SST-tiny-robust-x4 and the size: -s 2'),
        (['-n', 'SST-tiny-robust-x4'], None),
    ],
)
def test_weights_for_compressed_pictures_are_named_once(upscale, shipped, arguments, command):
    Path('p').mkdir()
    photograph().save('p/a.jpg', quality=30)
    photograph().save('p/b.jpg', quality=40)
    code, _, err = upscale('p', *arguments, '--dry-run', model=False)
    assert code == 0
    notes = [line for line in err if line.startswith('note: ')]
    assert len(notes) == (command is not None)
    assert not command or notes[0].endswith(f'add {command}')


def test_the_weights_for_the_wanted_scale_are_named(upscale, shipped):
    sst.save_pretrained(SST(**tiny_options(num_blocks=1)), shipped / 'SST-tiny-robust-x2.safetensors')
    photograph().save('a.jpg', quality=30)
    _, _, err = upscale('a.jpg', '--dry-run', model=False)
    assert next(line for line in err if line.startswith('note: ')).endswith('add -n SST-tiny-robust-x2')


def test_visible_blocks_count_as_compression_in_other_formats_too(upscale, shipped):
    photograph().save('a.jpg', quality=25)
    Image.open('a.jpg').save('a.png')
    _, _, err = upscale('a.png', '--dry-run', model=False)
    assert any('looks compressed' in line for line in err)


def test_no_false_alarms_of_compression(upscale, shipped, weights):
    for name in ('astronaut', 'coffee', 'chelsea', 'rocket', 'camera', 'coins', 'moon', 'brick', 'text', 'page'):
        image = Image.fromarray(getattr(data, name)()[:256, :256])
        image.save(f'{name}.png')
        image.save(f'{name}.jpg', quality=90)
        Image.open(f'{name}.jpg').save(f'{name}.webp', lossless=True)
    code, _, err = upscale('.', '--dry-run', model=False)
    assert (code, [line for line in err if line.startswith('note: ')]) == (0, [])
    photograph().save('low.jpg', quality=30)
    _, _, err = upscale('low.jpg', '-n', weights, '--dry-run', model=False)  # weights of one's own
    assert [line for line in err if line.startswith('note: ')] == []
