"""Archives that claim too much or are damaged, through the command that unpacks them."""

import gzip
import io
import lzma
import tarfile
import tempfile
import tracemalloc
import zipfile
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prepare_data
from prepare import files

MEMBERS = {'benchmark/Set5/HR/a.png': b'picture' * 100, 'benchmark/B100/HR/b.png': bytes(1500)}


def zip_of(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def record(size, *, file_format=tarfile.GNU_FORMAT, pax=None):
    """A tar file of one record without the content that it claims to have."""
    entry = tarfile.TarInfo('benchmark/Set5/HR/a.png')
    entry.size, entry.pax_headers = size, pax or {}
    return entry.tobuf(file_format) + bytes(2048)


def tar_of(members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode='w') as archive:
        for name, member in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(member)
            archive.addfile(entry, io.BytesIO(member))
    return content.getvalue()


TAR = tar_of(MEMBERS)
ARCHIVES = {'zip': zip_of(MEMBERS), 'tar': TAR, 'tar.gz': gzip.compress(TAR), 'tar.xz': lzma.compress(TAR)}


@contextmanager
def little_memory():
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 1e7
    finally:
        tracemalloc.stop()


@pytest.fixture
def archive(tmp_path):
    """Where an archive lies, and the command that unpacks it below tmp_path/data."""
    file = tmp_path / 'benchmark.tar'
    return file, ('download', 'benchmark', '--from', file, '--output', tmp_path / 'data')


@pytest.mark.parametrize('kind', ARCHIVES)
def test_every_kind(archive, tmp_path, prepare, kind):
    file, command = archive
    file.write_bytes(ARCHIVES[kind])
    prepare(*command)
    assert (tmp_path / 'data/benchmark/Set5/HR/a.png').read_bytes() == MEMBERS['benchmark/Set5/HR/a.png']
    assert (tmp_path / 'data/benchmark/BSD100/HR/b.png').read_bytes() == MEMBERS['benchmark/B100/HR/b.png']


CLAIMS = {
    'tar': record(10**13),
    'tar.gz': gzip.compress(record(10**13)),
    'offsets beyond 64 bits': record(2**64),
    'negative': record(-512),
    'negative by pax': record(1, file_format=tarfile.PAX_FORMAT, pax={'size': '-1024'}),
    'short tar.gz': ARCHIVES['tar.gz'][:-100],
    'short zip': ARCHIVES['zip'][:-100],
}


@pytest.mark.parametrize('claim', CLAIMS)
def test_archives_that_claim_what_they_do_not_hold(archive, tmp_path, refused, claim):
    file, command = archive
    file.write_bytes(CLAIMS[claim])
    with little_memory():
        text = refused(*command)
    assert text.startswith(f'{file}: ')
    assert len(text.splitlines()) == 1
    assert not (tmp_path / 'data').exists()


def test_archives_that_unpack_to_too_much(archive, tmp_path, prepare, refused):
    file, command = archive
    file.write_bytes(zip_of({'benchmark/Set5/HR/bomb.png': bytes(5 * 10**7)}))
    for limit in ('0.049', '0', 'nan'):
        assert '--max-unpacked' in refused(*command, '--max-unpacked', limit)
        assert not (tmp_path / 'data').exists()
    with little_memory():
        prepare(*command, '--max-unpacked', '0.05')
    assert (tmp_path / 'data/benchmark/Set5/HR/bomb.png').stat().st_size == 5 * 10**7


def test_a_disk_without_room_is_told_before_anything_is_written(archive, tmp_path, refused, monkeypatch):
    file, command = archive
    file.write_bytes(ARCHIVES['tar'])
    monkeypatch.setattr(files, 'SPARE', 10**18)
    assert refused(*command).startswith(f'{tmp_path}/data: ')
    assert not (tmp_path / 'data').exists()


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(list(ARCHIVES)),
    changes=st.lists(st.tuples(st.integers(0, 12000), st.integers(0, 255)), max_size=6),
    end=st.integers(0, 12000),
)
def test_damaged_archives_are_one_line(kind, changes, end):
    content = bytearray(ARCHIVES[kind])
    for place, value in changes:
        content[place % len(content)] = value
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()) as said:
        file = Path(folder, 'benchmark.tar')
        file.write_bytes(content[: end + 1])
        code = 0
        try:
            prepare_data.main(['download', 'benchmark', '--from', str(file), '--output', f'{folder}/data'])
        except SystemExit as stop:
            code = stop.code
        assert [line.startswith('error: ') for line in said.getvalue().splitlines()] == [True] * (code == 2)
        assert code in (0, 2)
        assert {path.suffix for path in Path(folder).rglob('*') if path.is_file()} <= {'.png', '.tar'}
