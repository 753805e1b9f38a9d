import fcntl
import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from helpers import write_noise

import prepare_data
from prepare import database
from sst.data.sets import build_dataset


@pytest.fixture
def folder(tmp_path):
    for seed in range(4):
        write_noise(tmp_path / 'HR' / f'{seed}.png', 24, 36, seed)
    write_noise(tmp_path / 'HR' / 'photo.jpg', 24, 36, 9)
    return tmp_path / 'HR'


def stored(path):
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as transaction:
        return {key.decode(): value for key, value in transaction.cursor()}


def test_files_are_stored_as_they_are(folder, tmp_path, prepare):
    write_noise(tmp_path / 'more' / '10.png', 12, 24)
    prepare('lmdb', '--input', folder, tmp_path / 'more', '--output', tmp_path / 'a.lmdb', '--verify', '--jobs', 2)
    paths = [*folder.iterdir(), tmp_path / 'more' / '10.png']
    assert stored(tmp_path / 'a.lmdb') == {path.stem: path.read_bytes() for path in paths}
    assert (tmp_path / 'a.lmdb' / 'meta_info.txt').read_text().splitlines() == [
        '0.png (24,36,3) 1',
        '1.png (24,36,3) 1',
        '10.png (12,24,3) 1',
        '2.png (24,36,3) 1',
        '3.png (24,36,3) 1',
        'photo.png (24,36,3) 1',
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['HR', 'a.lmdb', 'more']


def test_basicsr_reads_pairs(folder, tmp_path, prepare):
    prepare('lr', '--input', folder, '--output', tmp_path / 'LR', '--scales', 2, '--jobs', 1)
    prepare('lmdb', '--input', folder, '--output', tmp_path / 'HR.lmdb', '--jobs', 1)
    prepare('lmdb', '--input', tmp_path / 'LR/X2', '--suffix', 'x2', '--output', tmp_path / 'X2.lmdb', '--jobs', 1)
    options = {
        'name': 'test',
        'type': 'PairedImageDataset',
        'phase': 'val',
        'scale': 2,
        'dataroot_gt': str(tmp_path / 'HR.lmdb'),
        'dataroot_lq': str(tmp_path / 'X2.lmdb'),
        'io_backend': {'type': 'lmdb'},
    }
    dataset = build_dataset(options)
    assert len(dataset) == 5
    sample = dataset[1]
    assert sample['gt'].shape == (3, 24, 36)
    assert sample['lq'].shape == (3, 12, 18)
    expected = cv2.imread(str(tmp_path / 'LR/X2/1x2.png'))[..., ::-1]
    assert np.array_equal((sample['lq'].numpy().transpose(1, 2, 0) * 255).round(), expected)


def test_finished_database_is_kept_and_compared(folder, tmp_path, prepare, refused, capsys):
    command = ('lmdb', '--input', folder, '--output', tmp_path / 'a.lmdb', '--jobs', 1)
    prepare(*command)
    prepare(*command)
    assert f'{tmp_path}/a.lmdb: 5 images' in capsys.readouterr().out.splitlines()[-1]
    write_noise(folder / '2.png', 24, 40)
    assert re.match(f'{tmp_path}/a.lmdb: .* 2;', refused(*command))
    (tmp_path / 'a.lmdb' / 'data.mdb').write_bytes(b'no database' * 1000)
    assert f'{tmp_path}/a.lmdb: damaged' in refused(*command)


def test_broken_pictures_stop_the_end_but_not_the_others(folder, tmp_path, prepare, refused, capsys):
    whole = (folder / '3.png').read_bytes()
    (folder / '3.png').write_bytes(whole[:200])
    (folder / '1.png').write_bytes(b'')
    command = ('lmdb', '--input', folder, '--output', tmp_path / 'a.lmdb', '--verify', '--jobs', 1)
    lines = refused(*command).splitlines()
    assert lines[0].startswith(f'{folder}/1.png: empty')
    assert lines[1].startswith(f'{folder}/3.png: ')
    assert lines[2].startswith('2 ')
    assert not (tmp_path / 'a.lmdb').exists()
    (folder / '3.png').write_bytes(whole)
    (folder / '1.png').unlink()
    write_noise(folder / '0.png', 36, 36)  # changed since it was stored
    (folder / '2.png').unlink()  # gone since it was stored
    prepare(*command)
    assert '3 images, 2 of them' in capsys.readouterr().out
    assert stored(tmp_path / 'a.lmdb') == {path.stem: path.read_bytes() for path in folder.iterdir()}


def test_killed_and_run_again(tmp_path, prepare):
    for seed in range(200):
        write_noise(tmp_path / 'HR' / f'{seed:03d}.png', 12, 12, seed)
    command = ['lmdb', '--input', str(tmp_path / 'HR'), '--output', str(tmp_path / 'a.lmdb'), '--jobs', '1']
    process = multiprocessing.get_context('fork').Process(target=prepare_data.main, args=(command,))
    process.start()
    unfinished = tmp_path / 'a.lmdb.part' / 'data.mdb'
    while not unfinished.exists() or unfinished.stat().st_size < 40 * 1024:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / 'a.lmdb').exists()
    prepare(*command)
    assert stored(tmp_path / 'a.lmdb') == {path.stem: path.read_bytes() for path in (tmp_path / 'HR').iterdir()}
    assert len((tmp_path / 'a.lmdb' / 'meta_info.txt').read_text().splitlines()) == 200


def test_the_map_grows(folder, tmp_path, monkeypatch, prepare):
    monkeypatch.setattr(database, 'ROOM', 0)
    monkeypatch.setattr(database, 'SPARE', 16384)
    for seed in range(60):
        write_noise(folder / f'large{seed}.png', 60, 60, seed)
    prepare('lmdb', '--input', folder, '--output', tmp_path / 'a.lmdb', '--jobs', 1)
    assert len(stored(tmp_path / 'a.lmdb')) == 65


def test_refusals(folder, tmp_path, refused):
    def error(name, output='a.lmdb', *extra):
        write_noise(tmp_path / name / name, 12, 12)
        return refused('lmdb', '--input', tmp_path / name, folder, '--output', tmp_path / output, *extra)

    assert error('a.png', 'a.db').startswith(f'--output {tmp_path}/a.db: ')
    for name in ('a.b.png', '\N{GREEK SMALL LETTER ALPHA}.png'):
        assert error(name).startswith(f'{tmp_path}/{name}/{name}: ')
    assert '--suffix' in error('b.png', 'a.lmdb', '--suffix', 'x2')
    assert error('1.jpg').startswith(f'{tmp_path}/1.jpg/1.jpg and {folder}/1.png: ')
    assert error('c.png', 'HR/a.lmdb').startswith(f'{tmp_path}/HR/a.lmdb: ')
    assert not list(tmp_path.glob('*.lmdb*'))


def test_two_runs_do_not_build_one_database(folder, tmp_path, refused):
    with open(tmp_path / '.a.lmdb.part.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        text = refused('lmdb', '--input', folder, '--output', tmp_path / 'a.lmdb', '--jobs', 1)
    assert 'another run' in text


def test_meta_lists_what_a_data_set_reads(folder, tmp_path, prepare, refused):
    screenshot = 'Screenshot at 10.30.45\u202fAM.png'
    write_noise(folder / screenshot, 12, 12)
    prepare('meta', '--input', folder, '--output', tmp_path / 'meta.txt', '--jobs', 1)
    expected = [f'{name} (24,36,3)' for name in ('0.png', '1.png', '2.png', '3.png', 'photo.jpg')]
    lines = (tmp_path / 'meta.txt').read_text(encoding='utf-8').splitlines()
    assert sorted(lines) == sorted([*expected, f'{screenshot} (12,12,3)'])
    pairs = {'name': 'x', 'type': 'PairedImageDataset', 'dataroot_gt': str(folder), 'dataroot_lq': str(folder)}
    listed = build_dataset(pairs | {'scale': 1, 'phase': 'val', 'meta_info_file': str(tmp_path / 'meta.txt')})
    assert {Path(listed[index]['gt_path']) for index in range(len(listed))} == set(folder.iterdir())
    (folder / os.fsdecode(b'\xe4.png')).touch()
    assert '\\udce4.png' in refused('meta', '--input', folder, '--output', tmp_path / 'b.txt')
