import multiprocessing
import os
import re
import signal
import time
from fractions import Fraction

import cv2
import numpy as np
import pytest
from helpers import write_noise

import prepare_data
from sst.ops.imresize import crop_to_multiple, imresize_reference


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.fixture
def hr(tmp_path):
    """Pictures of all kinds, none of them a multiple of any scale."""
    folder = tmp_path / 'HR'
    color = write_noise(folder / 'color.png', 65, 43)
    cv2.imwrite(str(folder / 'grey.png'), color[..., 0])
    cv2.imwrite(str(folder / 'deep.png'), color.astype(np.uint16) * 257)
    cv2.imwrite(str(folder / 'deep_grey.tiff'), color[..., 1].astype(np.uint16) * 250)
    cv2.imwrite(str(folder / 'alpha.png'), np.dstack([color, color[..., 0]]))
    cv2.imwrite(str(folder / 'photo.JPG'), color)
    return folder


@pytest.mark.parametrize('jobs', [1, 2])
def test_lr_is_the_exact_resize_of_the_cropped_hr(hr, tmp_path, prepare, jobs):
    prepare('lr', '--input', hr, '--output', tmp_path / 'LR', '--jobs', jobs)
    for source in hr.iterdir():
        picture = read(source)[..., :3] if source.stem == 'alpha' else read(source)
        for scale in (2, 3, 4):
            made = read(tmp_path / 'LR' / f'X{scale}' / f'{source.stem}x{scale}.png')
            expected = imresize_reference(crop_to_multiple(picture, scale), Fraction(1, scale))
            assert made.dtype == expected.dtype
            assert np.array_equal(made, expected), source
    assert len(contents(tmp_path / 'LR')) == 3 * 6


def test_cropped_hr_agrees_with_all_lr(hr, tmp_path, prepare):
    prepare('lr', '--input', hr, '--output', tmp_path / 'LR', '--crop-hr', tmp_path / 'HR_crop', '--jobs', 1)
    for source in hr.iterdir():
        cropped = read(tmp_path / 'HR_crop' / f'{source.stem}.png')
        assert cropped.shape[:2] == (60, 36)
        assert np.array_equal(cropped, read(source)[:60, :36, ..., :3] if cropped.ndim == 3 else read(source)[:60, :36])
        for scale in (2, 3, 4):
            made = read(tmp_path / 'LR' / f'X{scale}' / f'{source.stem}x{scale}.png')
            assert np.array_equal(made, imresize_reference(cropped, Fraction(1, scale)))


def test_turned_photographs_are_made_as_they_are_shown(tmp_path, prepare):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / 'HR').mkdir()
    Image.new('RGB', (40, 24)).save(tmp_path / 'HR' / 'a.jpg', exif=exif)
    for _ in range(2):  # the second time its size is compared
        prepare('lr', '--input', tmp_path / 'HR', '--output', tmp_path / 'LR', '--jobs', 1)
    assert read(tmp_path / 'LR' / 'X2' / 'ax2.png').shape == (20, 12, 3)


def test_shards_divide_the_pictures(hr, tmp_path, prepare):
    prepare('lr', '--input', hr, '--output', tmp_path / 'whole', '--scales', 2, '--jobs', 1)
    counts = []
    for part in ('1/4', '2/4', '3/4', '4/4'):
        prepare('lr', '--input', hr, '--output', tmp_path / 'parts', '--scales', 2, '--jobs', 1, '--shard', part)
        counts.append(len(contents(tmp_path / 'parts')))
    assert counts == [2, 4, 5, 6]
    assert contents(tmp_path / 'parts') == contents(tmp_path / 'whole')


def test_second_run_makes_only_what_is_missing_or_empty(hr, tmp_path, prepare, capsys):
    prepare('lr', '--input', hr, '--output', tmp_path / 'LR', '--jobs', 1)
    before = contents(tmp_path / 'LR')
    kept = tmp_path / 'LR' / 'X2' / 'greyx2.png'
    time_made = kept.stat().st_mtime_ns
    (tmp_path / 'LR' / 'X2' / 'colorx2.png').unlink()
    (tmp_path / 'LR' / 'X4' / 'deepx4.png').write_bytes(b'')
    capsys.readouterr()
    prepare('lr', '--input', hr, '--output', tmp_path / 'LR', '--jobs', 1)
    assert '2 files written, 16 ' in capsys.readouterr().out
    assert contents(tmp_path / 'LR') == before
    assert kept.stat().st_mtime_ns == time_made


def test_killed_and_run_again(tmp_path, prepare):
    """No half files after SIGKILL, and the second run ends like one that was never killed."""
    for seed in range(40):
        write_noise(tmp_path / 'HR' / f'{seed:02d}.png', 240, 240, seed)
    arguments = ['lr', '--input', str(tmp_path / 'HR'), '--output', str(tmp_path / 'LR'), '--jobs', '2']
    process = multiprocessing.get_context('fork').Process(target=prepare_data.main, args=(arguments,))
    process.start()
    while not list(tmp_path.glob('LR/X2/0*.png')):
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    finished = contents(tmp_path / 'LR')
    prepare(*arguments)
    prepare(*arguments[:3], '--output', tmp_path / 'whole', '--jobs', 2)
    result = contents(tmp_path / 'LR')
    assert result == contents(tmp_path / 'whole')
    assert len(result) == 3 * 40
    assert {name: content for name, content in finished.items() if not name.endswith('.part')}.items() <= result.items()


def test_broken_pictures_are_all_named_and_the_others_made(hr, tmp_path, refused):
    whole = (hr / 'color.png').read_bytes()
    (hr / 'cut.png').write_bytes(whole[: len(whole) // 2])
    (hr / 'empty.png').touch()
    (hr / 'page.jpg').write_bytes(b'<html>404</html>')
    write_noise(hr / 'tiny.png', 3, 3)
    lines = refused('lr', '--input', hr, '--output', tmp_path / 'LR', '--jobs', 2).splitlines()
    assert [line.partition(': ')[0] for line in lines[:4]] == [
        str(hr / name) for name in ('cut.png', 'empty.png', 'page.jpg', 'tiny.png')
    ]
    for line, words in zip(lines, ('truncated or damaged', 'empty', 'web page', '3x3', '4 '), strict=True):
        assert words in line
    assert len(contents(tmp_path / 'LR')) == 3 * 6


def test_a_file_of_another_size_in_the_way_is_named(hr, tmp_path, refused):
    write_noise(tmp_path / 'LR' / 'X2' / 'greyx2.png', 9, 9)
    text = refused('lr', '--input', hr, '--output', tmp_path / 'LR', '--jobs', 1)
    assert re.search(f'{tmp_path}/LR/X2/greyx2.png: .*9x9 .*{hr}/grey.png .*21x32', text)


def test_refusals_before_any_work(hr, tmp_path, refused):
    output = tmp_path / 'LR'
    (tmp_path / 'none').mkdir()
    (tmp_path / 'file').touch()
    for source, target, extra, words in (
        (tmp_path / 'nowhere', output, [], f'{tmp_path}/nowhere'),
        (tmp_path / 'file', output, [], f'{tmp_path}/file'),
        (tmp_path / 'none', output, [], f'{tmp_path}/none'),
        (hr, hr / 'LR', [], f'{hr}/LR/X2'),
        (hr, hr, [], f'{hr}/X2'),
        (hr, output, ['--crop-hr', hr], str(hr)),
        (hr, output, ['--shard', '0/4'], '--shard 0/4'),
        (hr, output, ['--shard', '5/4'], '--shard 5/4'),
        (hr, output, ['--shard', 'half'], '--shard half'),
        (hr, output, ['--jobs', '0'], '--jobs 0'),
        (hr, tmp_path / 'file', ['--jobs', '1'], f'{tmp_path}/file/X2'),
    ):
        assert refused('lr', '--input', source, '--output', target, *extra).startswith(words)
    assert not list(output.rglob('*.png'))


def test_equal_names_are_refused(hr, tmp_path, refused):
    write_noise(hr / 'grey.bmp', 24, 24)
    text = refused('lr', '--input', hr, '--output', tmp_path / 'LR')
    assert f'{hr}/grey.bmp and {hr}/grey.png: ' in text
    assert not (tmp_path / 'LR').exists()
