"""sst-upscale on what makes no sense: one line before any work, and exit code 2."""

from pathlib import Path

import pytest
from helpers import errors, files
from picture_files import saved


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        ([], 'INPUT'),
        (['nothing.png'], 'nothing.png'),
        ([''], 'INPUT'),
        (['~nobody-of-that-name/a.png'], '~nobody-of-that-name/a.png'),
        (['*.jpg'], '*.jpg'),
        (['empty'], 'empty'),
        (['a.png', '-s', '0'], '--scale'),
        (['a.png', '-s', 'two'], "'two'"),
        (['a.png', '-s', '2', '--width', '9'], '--width'),
        (['a.png', '--width', '9', '--height', '9'], '--height'),
        (['a.png', '-g', '0'], '--gpu-id'),
        (['a.png', '-g', '0,1'], "'0,1'"),
        (['a.png', '-g', 'first'], "'first'"),
        (['a.png', '--nonsense'], '--nonsense'),
        (['a.png', '--tile', 'big'], "'big'"),
        (['a.png', '--ext', 'psd'], "'psd'"),
        (['a.png', '--suffix', 'a/b'], "'a/b'"),
        (['a.png', '--fp32', '--dtype', 'float16'], '--fp32'),
        (['a.png', '--window-sizes', '8,x'], "'x'"),
        (['a.png', '-o', 'a.png'], 'a.png'),
        (['a.png', '-o', '.', '--suffix', ''], 'a.png'),
        (['a.png', '-o', 'b.mp4'], 'b.mp4'),
        (['a.png', '-o', 'b.gif'], 'b.gif'),
        (['a.png', '-o', '-'], '--output'),
        (['a.png', 'b.png', '-o', 'c.png'], '-o c.png'),
        (['a.png', 'b.png', '-o', 'file'], '-o file'),
        (['a.png', 'b.png', '-o', 'file/folder'], 'file/folder'),
        (['a.png', '-o', 'file/folder', '--dry-run'], 'file/folder'),
        (['a.png', '-o', 'file/c.png'], 'file'),
        (['b.png', 'b.bmp'], 'results/b_x2.png'),
        (['a.png', '--device', 'tpu'], '--device tpu'),
        (['a.png', '-n', 'nothing.pth'], 'nothing.pth'),
    ],
    ids=str,
)
def test_refusals(upscale, arguments, named):
    for name in ('a.png', 'b.png', 'b.bmp'):
        saved(name, 6, 6, 3)
    Path('empty').mkdir()
    Path('file').write_text('x')
    before = files('.')
    code, _, err = upscale(*arguments)
    assert code == 2
    assert errors(err) == err[-1:]
    assert not any('usage' in line for line in err)
    assert named in err[-1]
    assert files('.') == before


@pytest.mark.parametrize(
    'arguments',
    [
        ['a.png', '--window-sizes', '4,6'],
        ['a.png', '--window-sizes', '4', '6'],
        ['--window-sizes', '4', '6', 'a.png', '--num-heads', '2'],
        ['--num-heads', '2', '2', '--window-sizes', '4,6', 'a.png'],
    ],
    ids=' '.join,
)
def test_windows_may_stand_with_commas_or_blanks(upscale, arguments):
    saved('a.png', 6, 6, 3)
    assert upscale(*arguments)[0] == 0
    assert files('results') == ['a_x2.png']


def test_one_window_is_for_all_layers(upscale):
    saved('a.png', 6, 6, 3)
    code, _, err = upscale('a.png', '--window-sizes', '8')  # and the file has 4, 6
    assert code == 2
    assert '(8, 8)' in err[-1]


def test_each_fault_has_its_line(upscale):
    saved('a.png', 6, 6, 3)
    code, _, err = upscale('a.png', '--window-sizes', '8,9,8')
    assert code == 2
    assert errors(err) == err[-2:]
    assert [line.split(':')[1].strip() for line in err[-2:]] == ['network_g.num_heads', 'network_g.bias.ranks']


def test_results_that_are_too_large(upscale):
    saved('a.png', 1, 5000, 3)
    code, _, err = upscale('a.png', '--width', '100000', '-o', 'b.jpg')
    assert code == 1
    (error,) = errors(err)
    assert {'a.png:', 'b.jpg:', '100000x20', '65500', 'PNG'} <= set(error.split())


@pytest.mark.parametrize(
    ('arguments', 'named'),
    [
        (['--suffix', 'long' * 70], '--suffix'),
        (['--suffix', 'folder'], 'results/a_folder.png'),
        (['--width', '1000000'], '1000000x1000000'),
    ],
    ids=['long', 'folder', 'large'],
)
def test_results_that_cannot_be(upscale, arguments, named):
    saved('a.png', 6, 6, 3)
    Path('results/a_folder.png').mkdir(parents=True)
    code, _, err = upscale('a.png', *arguments)
    assert code == 1
    assert errors(err)[0].startswith('error: a.png: ')
    assert named in errors(err)[0]
    assert files('results') == []
