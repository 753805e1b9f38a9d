import numpy as np
import pytest

import prepare_data
from prepare import demo
from prepare.files import write_file
from prepare.images import read_image, shrink

SCALES = (2, 3, 4)


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp('demo')
    prepare_data.main(['demo', '--output', str(folder)])
    return folder


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('part', ['train', 'val'])
def test_each_hr_picture_has_its_lr_pictures(made, part, scale):
    hr = {path.stem: read_image(path).shape for path in (made / part / 'HR').iterdir()}
    lr = {path.stem: read_image(path).shape for path in (made / part / 'LR_bicubic' / f'X{scale}').iterdir()}
    assert len(hr) > (20 if part == 'train' else 3)
    assert lr == {f'{name}x{scale}': (h // scale, w // scale, c) for name, (h, w, c) in hr.items()}
    assert all(h % 12 == w % 12 == 0 and c == 3 for h, w, c in hr.values())


@pytest.mark.parametrize('scale', SCALES)
def test_lr_is_the_exact_resize_of_hr(made, scale):
    hr, lr = made / 'val' / 'HR' / 'chelsea.png', made / 'val' / 'LR_bicubic' / f'X{scale}' / f'chelseax{scale}.png'
    assert np.array_equal(read_image(lr), shrink(read_image(hr), scale))


def test_tiles_come_from_the_resized_whole(made):
    """Inside a tile, LR is the resize of HR; at a tile's edge it saw the pixels beyond."""
    hr, lr = read_image(made / 'train/HR/grass_01.png'), read_image(made / 'train/LR_bicubic/X2/grass_01x2.png')
    alone = shrink(hr, 2)
    assert np.array_equal(lr[:-4, :-4], alone[:-4, :-4])
    assert not np.array_equal(lr, alone)


def test_no_scene_is_in_both_parts():
    scene = {name: name.split('.')[0].removesuffix('_left').removesuffix('_right') for name in demo.TRAINING}
    assert not set(scene.values()) & {name.split('.')[0] for name in demo.VALIDATION}


def test_second_run_makes_only_what_is_missing(made, capsys):
    kept, removed = made / 'val/HR/coffee.png', made / 'train/LR_bicubic/X3/brick_02x3.png'
    before, content = kept.stat().st_mtime_ns, removed.read_bytes()
    removed.unlink()
    prepare_data.main(['demo', '--output', str(made)])
    assert '1 files written' in capsys.readouterr().out
    assert kept.stat().st_mtime_ns == before
    assert removed.read_bytes() == content
    prepare_data.main(['demo', '--output', str(made)])
    assert 'all files existed' in capsys.readouterr().out


def test_missing_photographs_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, 'VALIDATION', ('dodo.png',))
    with pytest.raises(SystemExit) as stop:
        prepare_data.main(['demo', '--output', str(tmp_path)])
    assert stop.value.code == 2
    assert 'lacks dodo.png' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('shape', [(240, 480), (504, 864), (36, 1404)])
def test_tiles_do_not_overlap_and_cover_almost_all(shape):
    hits = np.zeros(shape, int)
    for tile in demo.cut_tiles(shape):
        hits[tile] += 1
    assert hits.max() == 1
    assert hits.mean() > 0.9


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_file(tmp_path / 'a.png', [b'half', None])
    assert not list(tmp_path.iterdir())
