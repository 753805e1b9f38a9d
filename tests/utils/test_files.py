"""Files are whole or not there; weights are read without running anything."""

import errno
import os
import pickle
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from sst.utils.errors import UserError
from sst.utils.files import atomic_save, atomic_write_text, load_torch, require_writable


def test_round_trip(tmp_path):
    file = tmp_path / 'net.pth'
    atomic_save({'params': {'a': torch.arange(3)}}, file)
    assert torch.equal(load_torch(file)['params']['a'], torch.arange(3))
    assert os.listdir(tmp_path) == ['net.pth']


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / 'net.pth'
    atomic_save(1, file)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        atomic_save(lambda: None, file)
    assert load_torch(file) == 1
    assert os.listdir(tmp_path) == ['net.pth']


def test_folders_that_cannot_be_written(tmp_path):
    require_writable(tmp_path)
    require_writable(tmp_path / 'none' / 'nor this')
    assert os.listdir(tmp_path) == []
    (tmp_path / 'file').touch()
    for place in ('file', 'file/folder'):
        with pytest.raises(UserError, match=f'{place}: .*made in .*file: '):
            require_writable(tmp_path / place)
    if os.path.isdir('/proc'):  # even root cannot write there
        with pytest.raises(UserError, match='/proc/none: .*made in /proc: '):
            require_writable(Path('/proc/none'))


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(UserError, match=r'^[^\n]*a\.txt: the disk is full; [^\n]*--auto_resume$'):
        atomic_write_text(tmp_path / 'a.txt', 'text')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('content', [torch.zeros(100_000), list(range(100_000))], ids=['tensor', 'list'])
def test_torch_hides_no_reason_why_it_cannot_write(tmp_path, content):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))  # Python ignores the signal
    try:
        with pytest.raises(UserError, match=r'^[^\n]*net\.pth: File too large; [^\n]*--auto_resume$'):
            atomic_save(content, tmp_path / 'net.pth')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


KILLED = """
import os, sys
from sst.utils.files import atomic_write_text
os.fsync = lambda descriptor: os.kill(os.getpid(), 9)
atomic_write_text(sys.argv[1], 'half')
"""


def test_what_a_killed_write_left_is_gone_after_the_next(tmp_path):
    subprocess.run([sys.executable, '-c', KILLED, str(tmp_path / 'a.txt')], check=False)
    assert len(os.listdir(tmp_path)) == 1
    atomic_write_text(tmp_path / 'a.txt', 'whole')
    assert os.listdir(tmp_path) == ['a.txt']


def test_a_missing_folder_is_one_line(tmp_path):
    (tmp_path / 'file').touch()
    for folder in ('none', 'file'):
        with pytest.raises(UserError, match=rf'^[^\n]*{folder}/a\.txt[^\n]*$'):
            atomic_write_text(tmp_path / folder / 'a.txt', 'text')


class Code:
    def __reduce__(self):
        return os.getcwd, ()


def whole(tmp_path):
    atomic_save({'params': {'a': torch.zeros(5000)}}, tmp_path / 'whole.pth')
    return (tmp_path / 'whole.pth').read_bytes()


def zip_of(tmp_path):
    with zipfile.ZipFile(tmp_path / 'texts.zip', 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    return (tmp_path / 'texts.zip').read_bytes()


def with_code(tmp_path):
    torch.save(Code(), tmp_path / 'code.pth')
    return (tmp_path / 'code.pth').read_bytes()


FOREIGN = {
    'it is empty': lambda _: b'',
    'it is truncated': lambda folder: whole(folder)[:9000],
    'it is a text': lambda _: b'just a text, and no weights\n',
    'it is a text file': lambda _: '\N{GREEK SMALL LETTER ALPHA}'.encode() * 4000,
    'web page': lambda _: b'<!DOCTYPE html><html>404</html>',
    'git lfs pull': lambda _: b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
    'zip archive of other files': zip_of,
    'posix.getcwd': with_code,
    'pickle that holds code': lambda _: pickle.dumps(Code()),
    'truncated pickle': lambda _: pickle.dumps(list(range(1000)), protocol=2)[:500],
    'safetensors': lambda _: (40).to_bytes(8, 'little') + b'{"a": {"dtype": "F32", "shape": [1]}}' + b' ' * 20,
    'another kind': lambda _: b'\x89PNG\r\n\x1a\n' + bytes(range(256)) * 8,
}


@pytest.mark.parametrize(('kind', 'content'), FOREIGN.items(), ids=FOREIGN)
def test_foreign_files_are_told_by_their_kind(tmp_path, kind, content):
    file = tmp_path / 'weights.pth'
    file.write_bytes(content(tmp_path))
    with pytest.raises(UserError, match=rf'^{file}: [^\n]*{kind}[^\n]*$'):
        load_torch(file)


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]


@pytest.mark.parametrize('part', ['data', 'pickle', 'name', 'checksum', 'locator'])
def test_a_flipped_bit_is_noticed(tmp_path, part):
    content = whole(tmp_path)
    directory = content.index(b'PK\x01\x02')
    position = {
        'data': 9000,
        'pickle': content.index(b'FloatStorage'),
        'name': content.index(b'data.pkl', directory),
        'checksum': directory + 16,
        'locator': content.rindex(b'PK\x06\x07') + 16,
    }[part]
    (tmp_path / 'net.pth').write_bytes(flipped(content, position))
    # a wrong locator makes it no whole zip from Python 3.14 on
    with pytest.raises(UserError, match=r'net\.pth: [^\n]*(is damaged|is truncated) [^\n]*fetch (or copy )?it again$'):
        load_torch(tmp_path / 'net.pth')


def test_files_without_checksums_load(tmp_path):
    torch.save({'a': torch.arange(3)}, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({'a': torch.arange(3)}, tmp_path / 'unchecked.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    for name in ('old.pth', 'unchecked.pth'):
        assert torch.equal(load_torch(tmp_path / name)['a'], torch.arange(3))


def test_no_file_and_folder(tmp_path):
    for path, kind in ((tmp_path / 'none.pth', 'no such file'), (tmp_path, 'folder')):
        with pytest.raises(UserError, match=rf'^{path}: [^\n]*{kind}[^\n]*$'):
            load_torch(path)
