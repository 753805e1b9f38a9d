"""sst-upscale on pictures: right results, or a line for each that fails while the rest go on."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import errors, files, tiny_options
from picture_files import exif_of, noise, saved
from PIL import Image

import sst
from sst.archs import SST
from sst.ops.imresize import imresize_to
from sst.upscaling.pictures import read_image

ROOT = Path(__file__).parents[2]


def test_a_picture_becomes_what_the_api_makes_of_it(upscale, weights):
    saved('a b ä.png', 20, 30, 3)
    code, out, err = upscale('a b ä.png')
    assert code == 0
    assert out == [out[0]]
    assert out[0].startswith('a b ä.png -> results/a b ä_x2.png (30x20 to 60x40, ')
    expected = sst.load_model(weights, 'cpu')(np.asarray(Image.open('a b ä.png')))
    assert (np.asarray(Image.open('results/a b ä_x2.png')) == expected).all()
    assert errors(err) == []
    assert '1 file enlarged' in err[-1]


def test_a_folder_with_folders(upscale):
    for name in ('one.png', 'in/two.jpg', 'in/deep er/three.webp', 'four.tif', 'five.bmp', 'six.GIF'):
        saved(f'photos/{name}', 9, 8, 3)
    for name in ('notes.txt', '.hidden.png', '.thumbs/x.png'):
        Path('photos', name).parent.mkdir(exist_ok=True)
        Path('photos', name).write_text('x')
    assert upscale('photos', '-o', 'large')[0] == 0
    assert files('large') == [
        'five_x2.png',
        'four_x2.tif',
        'in/deep er/three_x2.webp',
        'in/two_x2.jpg',
        'one_x2.png',
        'six_x2.png',
    ]


def test_a_folder_from_phones_and_cameras(upscale):
    for name in ('one.avif', 'two.JP2', 'three.tga', 'in/four.ppm', 'five.jfif'):
        kinds = {'.tga': 'TGA', '.ppm': 'PPM', '.JP2': 'JPEG2000', '.jfif': 'JPEG', '.avif': 'AVIF'}
        saved(f'photos/{name}', 9, 8, 3, format=kinds[Path(name).suffix])
    for name in ('a.HEIC', 'in/b.heic', 'in/c.heif', 'd.CR2', 'notes.txt', 'list.json', '.e.heic', 'Thumbs.db'):
        Path('photos', name).write_bytes(b'\0\0\0\x18ftypheic')
    code, out, err = upscale('photos')
    assert code == 1
    assert len(out) == 5
    assert files('results') == ['five_x2.png', 'in/four_x2.png', 'one_x2.png', 'three_x2.png', 'two_x2.png']
    (line,) = errors(err)
    for part in ('2 .heic', '1 .heif', '1 .cr2'):
        assert part in line
    assert not any(word in line for word in ('txt', 'json', '.db'))


@pytest.mark.parametrize('inputs', ['photos', 'photos/*'])
def test_a_folder_of_pictures_that_cannot_be_read(upscale, inputs):
    Path('photos').mkdir()
    Path('photos/a.heic').write_bytes(b'\0\0\0\x18ftypheic')
    code, out, err = upscale(inputs)
    assert (code, out, files('results')) == (1, [], [])
    assert '1 .heic' in errors(err)[0]


def test_the_limit_of_pixels(upscale):
    saved('large.png', 110, 100, 3)
    saved('small.png', 100, 100, 3)
    code, _, err = upscale('large.png', 'small.png', '--max-megapixels', '0.01')
    assert (code, files('results')) == (1, ['small_x2.png'])
    (line,) = errors(err)
    assert 'large.png' in line
    assert '100x110' in line
    assert '--max-megapixels' in line
    assert upscale('large.png', '--max-megapixels', '0.02')[0] == 0
    for value in ('0', '-1', 'nan', 'many', '1e9'):
        assert upscale('small.png', '--max-megapixels', value)[0] == 2


def test_results_inside_of_the_input_folder_are_no_inputs_of_the_next_run(upscale):
    saved('photos/a.png', 9, 8, 3)
    for _ in range(2):
        assert upscale('photos', '-o', 'photos/large')[0] == 0
    assert files('photos') == ['a.png', 'large/a_x2.png']


@pytest.mark.parametrize('inputs', [['photos'], ['photos/a.png', 'photos/a_x2.png']], ids=['folder', 'files'])
def test_no_input_is_taken_for_an_earlier_result_unasked(upscale, inputs):
    saved('photos/a.png', 9, 8, 3)
    own = saved('photos/a_x2.png', 5, 5, 3).read_bytes()
    code, _, err = upscale(*inputs, '-o', 'photos')
    assert code == 2
    (error,) = err
    assert error.startswith('error: photos/a_x2.png: ')
    assert '--skip-existing' in error
    code, out, _ = upscale(*inputs, '-o', 'photos', '--skip-existing')
    assert (code, out) == (0, [])
    assert Path('photos/a_x2.png').read_bytes() == own
    assert files('photos') == ['a.png', 'a_x2.png']


def test_patterns_and_the_same_file_twice(upscale):
    for name in ('a1.png', 'a2.png', 'b.png', 'sub/a3.png'):
        saved(f'p/{name}', 5, 5, 3)
    assert upscale('p/a*.png', '-i', 'p/b.png', '-i', './p/../p/b.png')[0] == 0
    assert files('results') == ['a1_x2.png', 'a2_x2.png', 'b_x2.png']
    assert upscale('p/**/*3.png', '-o', 'q')[0] == 0
    assert files('q') == ['a3_x2.png']


@pytest.mark.parametrize(
    ('arguments', 'size'),
    [
        (['-s', '2'], (60, 40)),
        (['-s', '1.5'], (45, 30)),
        (['--outscale', '3'], (90, 60)),
        (['--width', '100'], (100, 67)),
        (['--height', '30'], (45, 30)),
        (['-s', '0.01'], (1, 1)),
    ],
)
def test_any_size(upscale, weights, arguments, size):
    saved('a.png', 20, 30, 3)
    assert upscale('a.png', '-o', 'b.png', *arguments)[0] == 0
    result = np.asarray(Image.open('b.png'))
    assert result.shape == (size[1], size[0], 3)
    exact = sst.load_model(weights, 'cpu')(np.asarray(Image.open('a.png')) / np.float32(255))
    expected = np.rint(imresize_to(exact, (size[1], size[0])).clip(0, 1) * 255)
    assert np.abs(result - expected).max() <= 1


def test_names(upscale):
    saved('a.png', 6, 6, 3)
    for arguments in (['-s', '1.5'], ['--width', '20'], ['--suffix', 'out'], ['--suffix', ''], ['--ext', 'webp']):
        assert upscale('a.png', *arguments)[0] == 0
    assert upscale('a.png', '--height', '9')[0] == 0
    assert files('results') == ['a.png', 'a_h9.png', 'a_out.png', 'a_w20.png', 'a_x1.5.png', 'a_x2.webp']


def test_all_that_a_file_says_is_kept(upscale):
    saved('a.jpg', 12, 20, 3, exif=exif_of(6), quality=95, icc_profile=b'0' * 128)
    rgba = noise(8, 9, 4)
    Image.fromarray(rgba).save('b.png', dpi=(300, 300))
    Image.fromarray(noise(8, 9, dtype=np.uint16)).save('c.png')
    code, _, _ = upscale('a.jpg', 'b.png', 'c.png')
    assert code == 0
    turned = read_image('results/a_x2.jpg')
    assert turned.shape == (40, 24, 3)
    assert turned.metadata.icc == b'0' * 128
    assert turned.metadata.exif
    assert Image.open('results/b_x2.png').mode == 'RGBA'
    assert read_image('results/b_x2.png').metadata.dpi == pytest.approx((300, 300), abs=0.1)
    deep = read_image('results/c_x2.png')
    assert (deep.bits, deep.shape) == (16, (16, 18, 1))


def test_what_is_lost_is_told(upscale):
    Image.fromarray(noise(8, 9, 4)).save('b.png')
    first, *rest = (Image.new('RGB', (8, 9), colour) for colour in ('red', 'green', 'blue'))
    first.save('anim.gif', save_all=True, append_images=rest)
    code, _, err = upscale('b.png', 'anim.gif', '--ext', 'jpg')
    assert code == 0
    notes = [line for line in err if line.startswith('note: ')]
    assert [note.split()[1] for note in notes] == ['b.png:', 'anim.gif:']
    assert 'transparency' in notes[0]
    assert '3 frames' in notes[1]


def broken_files():
    whole = saved('whole.png', 40, 40, 3).read_bytes()
    Path('p').mkdir()
    Path('p/cut.png').write_bytes(whole[: len(whole) // 2])
    Path('p/text.png').write_text('I am no picture')
    Path('p/zero.jpg').write_bytes(b'')
    Path('p/dangling.png').symlink_to('nowhere')
    saved('p/good 1.png', 1, 1, 3)
    saved('p/wide.png', 3, 5000, 3)
    Path('p/x.mp4').write_text('I am no video')


def test_bad_files_are_named_and_the_rest_go_on(upscale):
    broken_files()
    code, out, err = upscale('p', '-o', 'q')
    assert code == 1
    assert files('q') == ['good 1_x2.png', 'wide_x2.png']
    assert Image.open('q/wide_x2.png').size == (10000, 6)
    assert len(out) == 2
    said = errors(err)
    assert [line.split(':')[1].strip() for line in said] == [
        f'p/{name}' for name in ('cut.png', 'dangling.png', 'text.png', 'x.mp4', 'zero.jpg')
    ]
    assert '2 files enlarged' in err[-1]
    assert '5 FAILED' in err[-1]


def test_going_on(upscale):
    saved('p/a.png', 6, 6, 3)
    saved('p/b.png', 6, 6, 3)
    assert upscale('p/a.png')[0] == 0
    before = os.stat('results/a_x2.png').st_mtime_ns
    code, out, err = upscale('p', '--skip-existing')
    assert code == 0
    assert len(out) == 1
    assert '1 skipped' in err[0]
    assert os.stat('results/a_x2.png').st_mtime_ns == before


def test_a_folder_that_must_not_be_written_into(upscale):
    saved('p/a.png', 6, 6, 3)
    Path('p/b').write_text('a file where the folder of results is to be')
    saved('q/b/a.png', 6, 6, 3)
    code, _, err = upscale('q', '-o', 'p')
    assert code == 1
    assert errors(err)[0].startswith('error: q/b/a.png: the folder p/b cannot be made')
    if os.geteuid():
        Path('locked').mkdir()
        os.chmod('locked', stat.S_IREAD | stat.S_IEXEC)
        code, _, err = upscale('p/a.png', '-o', 'locked')
        assert code == 1
        assert 'Permission denied' in errors(err)[0]


def test_tiles_and_ensemble(upscale, weights):
    saved('a.png', 60, 50, 3)
    assert upscale('a.png', '-o', 'tiles.png', '-t', '12', '--tile_pad', '8')[0] == 0
    assert upscale('a.png', '-o', 'whole.png', '-t', '0')[0] == 0
    assert upscale('a.png', '-o', 'mean.png', '--self-ensemble')[0] == 0
    image = np.asarray(Image.open('a.png'))
    for name, options in (
        ('tiles', {'tile': 12, 'overlap': 8}),
        ('whole', {'tile': None}),
        ('mean', {'ensemble': True}),
    ):
        expected = sst.load_model(weights, 'cpu', **options)(image)
        assert (np.asarray(Image.open(f'{name}.png')) == expected).all()


def test_without_shipped_weights_a_model_is_asked_for(upscale, monkeypatch):
    monkeypatch.setattr('sst.upscaling.models.shipped', dict)
    saved('a.png', 6, 6, 3)
    code, _, err = upscale('a.png', model=False)
    assert code == 2
    assert errors(err) == err
    assert '--model' in err[0]


def test_the_shipped_network_that_fits_the_size_is_taken(upscale, monkeypatch, tmp_path):
    for scale in (2, 4):
        net = SST(**tiny_options(num_blocks=1, scale=scale))
        sst.save_pretrained(net, tmp_path / f'SST-tiny-x{scale}.safetensors')
    monkeypatch.setattr('sst.checkpoints.sources.FOLDER', tmp_path)
    saved('a.png', 20, 30, 3)
    saved('b.png', 20, 80, 3)
    code, _, err = upscale('a.png', 'b.png', '--width', '90', model=False)
    assert code == 0
    assert 'The small network that ships is used' in err[0]
    image = np.asarray(Image.open('a.png')) / np.float32(255)
    expected = imresize_to(sst.load_model('SST-tiny-x4', 'cpu')(image), (60, 90)).clip(0, 1)
    assert np.abs(np.asarray(Image.open('results/a_w90.png')) - 255 * expected).max() < 0.51
    image = np.asarray(Image.open('b.png')) / np.float32(255)
    expected = imresize_to(sst.load_model('SST-tiny-x2', 'cpu')(image), (22, 90)).clip(0, 1)
    assert np.abs(np.asarray(Image.open('results/b_w90.png')) - 255 * expected).max() < 0.51


def program(*arguments, start=(sys.executable,), **options):
    command = [*start, str(ROOT / 'sst' / 'upscale.py'), *map(str, arguments), '--device', 'cpu']
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False, **options)


@pytest.mark.parametrize('ending', ['| head -n 1', '>&-', '2>/dev/full'])
def test_the_work_goes_on_where_nobody_reads(place, weights, ending):
    for number in range(5):
        saved(f'p/{number}.png', 6, 6, 3)
    command = f'{sys.executable} {ROOT / "sst" / "upscale.py"} p -o q -n {weights} --device cpu {ending}'
    ended = subprocess.run(['bash', '-c', command], capture_output=True, text=True, timeout=300, check=False)
    assert len(files('q')) == 5
    assert 'Traceback' not in ended.stderr


@pytest.mark.parametrize(('ending', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_nothing_is_left_of_a_picture_that_was_not_finished(place, weights, ending, code):
    saved('a.png', 2000, 1000, 3)
    command = [sys.executable, str(ROOT / 'sst' / 'upscale.py'), 'a.png', '-o', 'q', '-n', str(weights)]
    started = subprocess.Popen([*command, '-t', '60', '--device', 'cpu'], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not Path('q/.a_x2.png.tmp').exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    started.send_signal(ending)
    _, err = started.communicate(timeout=120)
    assert (started.returncode, files('q')) == (code, [])
    assert 'Traceback' not in err


def test_torchrun_shares_the_files(place, weights):
    """Each file once, by either process; the end waits for both, and tells of both."""
    for number in range(12):
        saved(f'p/{number}.png', 10, 10, 3)
    Path('p/broken.png').write_text('no picture')
    start = [shutil.which('torchrun', path=Path(sys.executable).parent), '--nproc_per_node=2', '--master_port=0']
    ended = program('p', '-o', 'q', '-n', weights, start=[*start, '--rdzv-backend=c10d', '--rdzv-endpoint=localhost:0'])
    assert ended.returncode == 1
    assert files('q') == sorted(f'{number}_x2.png' for number in range(12))
    done = [line.split(' -> ')[0] for line in ended.stdout.splitlines() if ' -> ' in line]
    assert sorted(done) == sorted(f'p/{number}.png' for number in range(12))
    assert '12 files enlarged' in ended.stderr
    assert '1 FAILED' in ended.stderr
    assert ended.stderr.count('error: p/broken.png') == 1
