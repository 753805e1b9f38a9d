import re

import cv2
import numpy as np
import pytest
from helpers import write_noise
from hypothesis import given
from hypothesis import strategies as st

from prepare.subimages import cut_axis


@pytest.fixture
def datasets(tmp_path, prepare):
    """Two datasets with whole LR pictures; no side is a multiple of 12."""
    for name, pictures in {'One': {'0001': (101, 62), '0002': (31, 200)}, 'Two': {'000001': (75, 75)}}.items():
        for seed, (stem, size) in enumerate(pictures.items()):
            write_noise(tmp_path / name / 'HR' / f'{stem}.png', *size, seed)
        prepare('lr', '--input', tmp_path / name / 'HR', '--output', tmp_path / name / 'LR_bicubic', '--jobs', 1)
    return [tmp_path / 'One', tmp_path / 'Two']


def read(path):
    return cv2.imread(str(path))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


OPTIONS = ('--size', 48, '--step', 24, '--jobs', 1)


def test_lr_crops_are_cut_from_the_whole_lr(datasets, tmp_path, prepare):
    output = tmp_path / 'Both'
    prepare('subimages', '--input', *datasets, '--output', output, *OPTIONS)
    hr_names = names(output / 'HR_sub')
    assert len(hr_names) == 3 * 2 + 1 * 7 + 2 * 2
    assert hr_names[0] == '000001_s001.png'
    whole = read(datasets[0] / 'HR' / '0001.png')
    assert np.array_equal(read(output / 'HR_sub' / '0001_s002.png'), whole[:48, 12:60])
    assert np.array_equal(read(output / 'HR_sub' / '0001_s003.png'), whole[24:72, :48])
    for scale in (2, 3, 4):
        folder = output / 'LR_bicubic_sub' / f'X{scale}'
        assert names(folder) == hr_names
        whole = read(datasets[0] / 'LR_bicubic' / f'X{scale}' / f'0001x{scale}.png')
        crop = whole[24 // scale : 72 // scale, 12 // scale : 60 // scale]
        assert np.array_equal(read(folder / '0001_s004.png'), crop)
        for name in hr_names:
            height, width, _ = read(output / 'HR_sub' / name).shape
            assert read(folder / name).shape == (height // scale, width // scale, 3)


def test_second_run_goes_on(datasets, tmp_path, prepare, capsys):
    command = ('subimages', '--input', datasets[0], '--output', datasets[0], '--scales', 2, *OPTIONS)
    prepare(*command, '--shard', '1/2')
    prepare(*command, '--shard', '2/2')
    (datasets[0] / 'HR_sub' / '0002_s003.png').unlink()
    capsys.readouterr()
    prepare(*command)
    assert ': 1 files written, 25 ' in capsys.readouterr().out


@given(st.integers(12, 700), st.sampled_from([(480, 240), (48, 24), (96, 96), (24, 12)]))
def test_crops_cover_the_axis(length, size_and_step):
    size, step = size_and_step
    places = cut_axis(length, size, step)
    covered = np.zeros(length, int)
    for place in places:
        covered[place] += 1
        assert place.start % 12 == place.stop % 12 == 0
        assert place.stop - place.start == min(size, length // 12 * 12)
    assert covered[: length // 12 * 12].all()
    assert not covered[length // 12 * 12 :].any()
    assert len(set(map(str, places))) == len(places)


def test_refusals(datasets, tmp_path, refused):
    one, two = datasets
    command = ('subimages', '--output', tmp_path / 'out', '--input')
    assert '--size 100' in refused(*command, one, '--size', 100)
    assert '--step 96' in refused(*command, one, '--size', 48, '--step', 96)
    assert f'{tmp_path}/none/HR: ' in refused(*command, tmp_path / 'none')
    assert 'One/HR/0001.png and ' in refused(*command, one, one.parent / 'One' / '..' / 'One')
    for path in (two / 'LR_bicubic' / 'X3').iterdir():
        path.unlink()
    text = refused(*command, one, two)
    assert '000001x3.png: ' in text
    assert text.endswith(f'prepare_data.py lr --input {two}/HR --output {two}/LR_bicubic')
    assert not (tmp_path / 'out').exists()


def test_lr_of_another_picture_is_named(datasets, tmp_path, refused):
    wrong = datasets[0] / 'LR_bicubic' / 'X2' / '0002x2.png'
    write_noise(wrong, 100, 15)
    text = refused('subimages', '--input', datasets[0], '--output', tmp_path / 'out', *OPTIONS)
    assert re.search(f'{wrong}: .*15x100 .*{datasets[0]}/HR/0002.png .*100x15', text)
