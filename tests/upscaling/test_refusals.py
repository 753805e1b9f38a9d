"""sst-upscale on what makes no sense: one line before any work, and exit code 2."""

from pathlib import Path

import pytest
from helpers import errors, files
from picture_files import saved


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ([], 'no INPUT is given'),
        (['nothing.png'], 'nothing.png: no such file or folder'),
        ([''], 'an INPUT is empty'),
        (['~nobody-of-that-name/a.png'], 'no such file or folder'),
        (['*.jpg'], r'\*.jpg: matches no picture or video'),
        (['empty'], 'empty: a folder without pictures and videos; their names end in .3gp'),
        (['a.png', '-s', '0'], '-s/--scale/--outscale: '),
        (['a.png', '-s', 'two'], "'two'"),
        (['a.png', '-s', '2', '--width', '9'], 'not allowed with argument'),
        (['a.png', '--width', '9', '--height', '9'], 'not allowed with argument'),
        (['a.png', '-g', '0'], '--device cpu and --gpu-id contradict each other'),
        (['a.png', '-g', '0,1'], "'0,1'; one GPU may be named, and all are used by: torchrun"),
        (['a.png', '-g', 'first'], "'first'; allowed"),
        (['a.png', '--nonsense'], 'unrecognized arguments: --nonsense'),
        (['a.png', '--tile', 'big'], "'big'; allowed"),
        (['a.png', '--ext', 'psd'], "invalid choice: 'psd'"),
        (['a.png', '--suffix', 'a/b'], "--suffix 'a/b': a part of a name"),
        (['a.png', '--fp32', '--dtype', 'float16'], 'contradict each other'),
        (['a.png', '--window-sizes', '8,x'], "'8,x'; allowed are whole numbers"),
        (['a.png', '--window-sizes', '8,9'], 'has window_sizes'),
        (['a.png', '-o', 'a.png'], 'a.png: its result would overwrite it; choose another -o or --suffix'),
        (['a.png', '-o', '.', '--suffix', ''], 'its result would overwrite it'),
        (['a.png', '-o', 'b.mp4'], '-o b.mp4: a.png can be written as .png .jpg'),
        (['a.png', '-o', 'b.gif'], '-o b.gif: a.png can be written as .png .jpg'),
        (['a.png', '-o', '-'], 'results are not written to standard output'),
        (['a.png', 'b.png', '-o', 'c.png'], '-o c.png: the name of a file, but a folder is needed for 2 results'),
        (['a.png', 'b.png', '-o', 'file'], '-o file: a file, but a folder is needed for 2 results'),
        (['b.png', 'b.bmp'], 'b.png and b.bmp would both become results/b_x2.png'),
        (['a.png', '--device', 'tpu'], '--device tpu: '),
        (['a.png', '-n', 'nothing.pth'], 'nothing.pth: no such file'),
    ],
    ids=str,
)
def test_refusals(upscale, arguments, said):
    for name in ('a.png', 'b.png', 'b.bmp'):
        saved(name, 6, 6, 3)
    Path('empty').mkdir()
    Path('file').write_text('x')
    before = files('.')
    code, _, err = upscale(*arguments)
    assert code == 2
    assert errors(err) == err[-1:]
    assert not any('usage' in line for line in err)
    assert said.replace('\\', '') in err[-1]
    assert files('.') == before


def test_results_that_are_too_large(upscale):
    saved('a.png', 1, 5000, 3)
    code, _, err = upscale('a.png', '--width', '100000', '-o', 'b.jpg')
    assert code == 1
    assert errors(err) == [
        'error: a.png: cannot write b.jpg: JPEG holds 65500 pixels a side at most, and the picture has 100000x20: '
        'write PNG or TIFF'
    ]


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (
            ['--suffix', 'long' * 70],
            'a.png: the name of its result is too long; choose a shorter --suffix or name with -o',
        ),
        (['--suffix', 'folder'], 'a.png: its result results/a_folder.png is a folder; choose another --suffix or -o'),
        (['--width', '1000000'], 'a.png: would become 1000000x1000000 pixels; 300,000 a side and 4,000,000,000 in all'),
    ],
    ids=['long', 'folder', 'large'],
)
def test_results_that_cannot_be(upscale, arguments, said):
    saved('a.png', 6, 6, 3)
    Path('results/a_folder.png').mkdir(parents=True)
    code, _, err = upscale('a.png', *arguments)
    assert code == 1
    assert errors(err)[0].startswith(f'error: {said}')
    assert files('results') == []
