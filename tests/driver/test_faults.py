"""What cannot run is told in one line, before any folder is made or an older run is touched."""

import os
import re
import shutil
import struct
import subprocess
import sys

import pytest
import yaml
from driver_runs import evaluation, training
from picture_files import RGB, chunk
from stored import write_lmdb

from sst.driver import run

EDSR = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': -1, 'upscale': 2}


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        (
            lambda opt: opt['datasets']['train'].update(dataroot_gt='nowhere'),
            'missing: nowhere (datasets.train.dataroot_gt)',
        ),
        (lambda opt: opt['path'].update(pretrain_network_g='none.pth'), 'missing: none.pth (path.pretrain_network_g)'),
        (
            lambda opt: opt['path'].update(pretrain_network_g='https://a/b'),
            'missing: https://a/b (path.pretrain_network_g)',
        ),
        (lambda opt: opt['path'].update(pretrain_network_g='hf://a'), 'hf://a: '),
        (lambda opt: opt['datasets']['val'].update(filename_tmpl='{}x2'), 'dataset Val: 2 of 2 pictures in'),
        (lambda opt: opt.update(network_g=EDSR), 'network_g: EDSR cannot be built'),
        (lambda opt: opt['datasets']['val'].update(dataroot_lq='datasets/Val/HR'), 'dataset Val: '),
    ],
    ids=['data', 'weights', 'address', 'hub address', 'no partner', 'network', 'wrong scale'],
)
def test_faults_come_before_any_folder(start, root, capsys, change, says):
    opt = training()
    change(opt)
    assert start(opt) == 2
    error = capsys.readouterr().err
    assert error.startswith(f'error: {says}')
    assert 'Traceback' not in error
    assert not (root / 'experiments').exists()


def test_pictures_smaller_than_the_crop_are_told_by_name(start, capsys):
    assert start(training(gt_size=32, num_workers=1)) == 2
    *lines, last = capsys.readouterr().err.splitlines()
    assert last == 'error: dataset Train: and 2 more pictures that cannot be used'
    assert all('has 16x16 pixels, needed are 32 a side' in line for line in lines)


def test_control_characters_in_names_are_shown_as_numbers(start, root, capsys):
    (root / 'datasets/Train/HR/1\x1b[31m.png').write_text('none')
    assert start(training(num_workers=1)) == 2
    error = capsys.readouterr().err
    assert r'1\x1b[31m.png' in error
    assert '\x1b' not in error


@pytest.mark.parametrize('size', [(60_000, 60_000), (30_000, 30_000)], ids=str)
@pytest.mark.parametrize('folder', ['Train/HR', 'Val/LR', 'Val/HR'])
def test_a_picture_bomb_is_refused_in_one_line(start, root, capsys, folder, size):
    picture = root / f'datasets/{folder}/1.png'
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', *size, 8, RGB, 0, 0, 0))
    picture.write_bytes(picture.read_bytes()[:8] + header + picture.read_bytes()[33:])
    assert start(training()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f'{picture} ' in line
    assert f'{size[0]}x{size[1]}' in line
    assert not (root / 'experiments').exists()


@pytest.mark.parametrize('folder', ['Train/HR', 'Val/LR'])
def test_a_picture_with_a_damaged_text_is_taken(start, root, folder):
    picture = root / f'datasets/{folder}/1.png'
    content, damaged = picture.read_bytes(), chunk(b'tEXt', b'Title\0Lake')[:-1] + b'x'
    picture.write_bytes(content[:33] + damaged + content[33:])
    assert start(training()) == 0


def test_the_limit_of_pixels_is_an_option(start, capsys):
    assert start(training() | {'max_megapixels': 200e-6}) == 2  # the LR pictures fit, HR have 256
    assert 'max_megapixels' in capsys.readouterr().err
    assert start(training() | {'max_megapixels': 256e-6}) == 0


@pytest.mark.parametrize('kind', ['train', 'test'])
def test_a_torn_picture_is_found_before_an_older_run_is_touched(start, root, capsys, kind):
    options, folder = (training(), 'experiments') if kind == 'train' else (evaluation(), 'results')
    (root / folder / 'run').mkdir(parents=True)
    picture = root / 'datasets/Val/LR/1.png'
    content = picture.read_bytes()
    picture.write_bytes(content[:100] if kind == 'train' else b'')
    assert start(options) == 2
    assert f'error: dataset Val: picture {picture} cannot be read' in capsys.readouterr().err
    assert [path.name for path in (root / folder).iterdir()] == ['run']


HOLDER = """\
import pathlib, sys
from sst.driver.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print('held', flush=True)
    input()
"""


def test_a_run_is_refused_while_another_of_its_name_goes_on(start, root, capsys):
    with subprocess.Popen(
        [sys.executable, '-c', HOLDER, str(root / 'experiments/run')], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.read(1)
        assert start(training()) == 2
        assert start(training(), '--dry-run') == 2
        assert start(training('second')) == 0
        other.kill()
    error = capsys.readouterr().err
    assert len(re.findall(rf'error: .*run is in use by process {other.pid} on .*name=NAME', error)) == 2
    assert start(training()) == 0  # the lock went with its process
    assert not list((root / 'experiments').glob('.*'))


@pytest.mark.parametrize('rest', [0.5, 0.0])
def test_a_database_that_is_cut_off_is_found_before_any_folder(start, root, capsys, rest):
    options = training()
    for key, folder in (('dataroot_gt', 'HR'), ('dataroot_lq', 'LR')):
        options['datasets']['train'][key] = write_lmdb(root / 'datasets/Train' / folder)
    options['datasets']['train']['io_backend'] = {'type': 'lmdb'}
    assert start(options | {'name': 'whole'}) == 0
    cut = shutil.copytree(root / 'datasets/Train/HR.lmdb', root / 'datasets/Train/cut.lmdb')
    options['datasets']['train']['dataroot_gt'] = str(cut)
    os.truncate(cut / 'data.mdb', int(rest * (cut / 'data.mdb').stat().st_size))
    capsys.readouterr()
    assert start(options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'datasets/Train/cut.lmdb (datasets.train.dataroot_gt): cannot be read' in line
    assert [path.name for path in (root / 'experiments').iterdir()] == ['whole']


@pytest.mark.parametrize('flags', [[], ['--dry-run']])
def test_a_link_in_the_locks_place_is_not_followed(start, root, capsys, flags):
    (root / 'experiments').mkdir()
    (root / 'precious.txt').write_text('precious')
    (root / 'experiments/.run.lock').symlink_to(root / 'precious.txt')
    assert start(training(), *flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert '.run.lock' in line
    assert (root / 'precious.txt').read_text() == 'precious'
    assert [path.name for path in (root / 'experiments').iterdir()] == ['.run.lock']


@pytest.mark.parametrize('kind', ['train', 'test'])
def test_a_file_in_the_folders_place_is_one_line(start, root, capsys, kind):
    options, folder = (training(), 'experiments') if kind == 'train' else (evaluation(), 'results')
    (root / folder).touch()
    for flags in ([], ['--dry-run']):
        assert start(options, *flags) == 2
        assert f'error: cannot write {root / folder}' in capsys.readouterr().err


def test_dry_run_reads_pictures_and_states(start, root, capsys):
    assert start(training()) == 0
    (root / 'datasets/Train/HR/1.png').write_bytes(b'GIF')
    assert start(training(), '--dry-run') == 2
    assert 'dataset Train: ' in capsys.readouterr().err
    state = root / 'experiments/run/training_states/9.state'
    state.write_bytes(state.read_bytes()[:100])
    opt = training()
    opt['path']['resume_state'] = str(state)
    assert start(opt, '--dry-run') == 2
    assert '9.state' in capsys.readouterr().err


def test_testing_nothing_is_an_error(start, root, capsys):
    opt = evaluation()
    del opt['datasets']['test_1']
    assert start(opt) == 2
    assert 'error: missing: datasets/Urban100/HR' in capsys.readouterr().err
    assert not (root / 'results').exists()


@pytest.mark.parametrize(
    ('options', 'wrong', 'right'), [(evaluation, 'training', 'test'), (training, 'testing', 'train')]
)
def test_the_wrong_kind_of_file(tmp_path, capsys, options, wrong, right):
    file = tmp_path / 'some.yml'
    file.write_text(yaml.safe_dump(options()))
    assert getattr(run, f'run_{wrong}')(tmp_path, ['-opt', str(file)]) == 2
    assert f'python sst/{right}.py -opt {file}' in capsys.readouterr().err
