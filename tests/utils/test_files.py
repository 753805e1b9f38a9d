"""Files are whole or not there; weights are read without running anything."""

import os
import pickle
import zipfile

import pytest
import torch

from sst.utils.errors import UserError
from sst.utils.files import atomic_save, atomic_write_text, load_torch


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


@pytest.mark.parametrize('error', [OSError(28, 'No space left on device'), RuntimeError('unexpected pos 64 vs 0')])
def test_a_full_disk_is_one_line(tmp_path, monkeypatch, error):
    def fail(descriptor):
        raise error

    monkeypatch.setattr(os, 'fsync', fail)
    with pytest.raises(UserError, match=r'^cannot write .*a\.txt: (No space left|unexpected pos)[^\n]*--auto_resume$'):
        atomic_write_text(tmp_path / 'a.txt', 'text')
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r'cannot write .*No such file or directory'):
        atomic_write_text(tmp_path / 'none' / 'a.txt', 'text')


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


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        (lambda _: b'', 'it is empty'),
        (lambda tmp: whole(tmp)[:9000], 'it is truncated'),
        (lambda _: b'just a text, and no weights\n', 'it is a text file'),
        (lambda _: '\N{GREEK SMALL LETTER ALPHA}'.encode() * 4000, 'it is a text file'),
        (lambda _: b'<!DOCTYPE html><html>404</html>', 'it is a web page'),
        (lambda _: b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n', 'git lfs pull'),
        (zip_of, 'it is a zip archive of other files'),
        (with_code, 'holds code'),
        (lambda _: pickle.dumps(Code()), 'pickle that holds code'),
        (lambda _: pickle.dumps(list(range(1000)), protocol=2)[:500], 'truncated pickle'),
        (lambda _: (40).to_bytes(8, 'little') + b'{"a": {"dtype": "F32", "shape": [1]}}' + b' ' * 20, 'safetensors'),
        (lambda _: b'\x89PNG\r\n\x1a\n' + bytes(range(256)) * 8, 'another kind'),
    ],
    ids=[
        'empty',
        'truncated',
        'text',
        'Greek',
        'web page',
        'LFS pointer',
        'zip',
        'code',
        'pickled code',
        'cut pickle',
        'safetensors',
        'picture',
    ],
)
def test_foreign_files(tmp_path, content, says):
    file = tmp_path / 'weights.pth'
    file.write_bytes(content(tmp_path))
    with pytest.raises(UserError, match=rf'^{file}: cannot be read as PyTorch weights; [^\n]*{says}[^\n]*$'):
        load_torch(file)


def test_no_file_and_folder(tmp_path):
    with pytest.raises(UserError, match=r'none\.pth: no such file$'):
        load_torch(tmp_path / 'none.pth')
    with pytest.raises(UserError, match='a folder, not a weights file'):
        load_torch(tmp_path)
