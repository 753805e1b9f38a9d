import hashlib
import io
import re
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from prepare import fetch, files

PNG = cv2.imencode('.png', np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8))[1].tobytes()


class Server(ThreadingHTTPServer):
    """A loopback server of `files` with the faults of real ones."""

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.files = {}
        self.ranges = True  # whether it can send a part
        self.breaks = 0  # answers to come that end in the middle
        self.claims = 0  # bytes that it promises too many
        self.kind = 'application/octet-stream'
        self.asked = []  # (path, Range)
        self.version = '"1"'

    @property
    def url(self):
        return f'http://127.0.0.1:{self.server_port}'


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        server, wanted = self.server, self.headers.get('Range')
        server.asked.append((self.path, wanted))
        content = server.files.get(self.path.split('?')[0].lstrip('/'))
        if content is None:
            self.send_error(404)
            return
        start = 0
        if wanted and server.ranges and self.headers.get('If-Range', server.version) == server.version:
            start = int(wanted.removeprefix('bytes=').removesuffix('-'))
            if start >= len(content):
                self.send_response(416)
                self.send_header('Content-Range', f'bytes */{len(content)}')
                self.send_header('Content-Length', '0')
                self.end_headers()
                return
            self.send_response(206)
            self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
        else:
            self.send_response(200)
        body = content[start:]
        self.send_header('Content-Length', str(len(body) + server.claims))
        self.send_header('Content-Type', server.kind)
        self.send_header('ETag', server.version)
        self.end_headers()
        if server.breaks:
            server.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(fetch, 'PAUSES', (0, 0))
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def zip_of(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w') as archive:
        for name in names:
            archive.writestr(name, PNG)
    return content.getvalue()


def tar_of(names, *links):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode='w') as archive:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(PNG)
            archive.addfile(entry, io.BytesIO(PNG))
        for name in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, '/etc/passwd'
            archive.addfile(entry)
    return content.getvalue()


def pictures(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*.png'))


BENCHMARK = tar_of([f'benchmark/{name}' for name in ('B100/HR/a.png', 'B100/LR_bicubic/X2/ax2.png', 'Set5/HR/b.png')])
UNPACKED = ['benchmark/BSD100/HR/a.png', 'benchmark/BSD100/LR_bicubic/X2/ax2.png', 'benchmark/Set5/HR/b.png']


def download(prepare_or_refused, server, folder, *names):
    return prepare_or_refused('download', *names, '--output', folder, '--base-url', server.url)


def test_div2k_goes_into_our_layout(server, tmp_path, prepare):
    server.files['DIV2K_train_HR.zip'] = zip_of('DIV2K_train_HR/', 'DIV2K_train_HR/0001.png', 'readme.txt')
    for scale in (2, 3, 4):
        name = f'DIV2K_train_LR_bicubic_X{scale}.zip'
        server.files[name] = zip_of(f'DIV2K_train_LR_bicubic/X{scale}/0001x{scale}.png')
    download(prepare, server, tmp_path, 'DIV2K')
    expected = ['DIV2K/HR/0001.png'] + [f'DIV2K/LR_bicubic/X{scale}/0001x{scale}.png' for scale in (2, 3, 4)]
    assert pictures(tmp_path) == expected
    assert (tmp_path / 'DIV2K' / 'HR' / '0001.png').read_bytes() == PNG


def test_second_run_compares_and_unpacks_what_is_missing(server, tmp_path, prepare, refused, capsys):
    server.files['benchmark.tar'] = BENCHMARK
    archive = tmp_path / 'archives' / 'benchmark.tar'
    download(prepare, server, tmp_path, 'benchmark')
    assert pictures(tmp_path) == UNPACKED
    digest = hashlib.sha256(BENCHMARK).hexdigest()
    assert (tmp_path / 'archives' / 'benchmark.tar.sha256').read_text() == f'{digest}  benchmark.tar\n'
    (tmp_path / UNPACKED[0]).unlink()
    (tmp_path / UNPACKED[1]).write_bytes(PNG[:50])
    capsys.readouterr()
    download(prepare, server, tmp_path, 'benchmark')
    assert '2 files unpacked, 1 ' in capsys.readouterr().out
    assert len(server.asked) == 1
    archive.write_bytes(BENCHMARK[:-1] + b'!')
    assert 'archives/benchmark.tar.sha256' in download(refused, server, tmp_path, 'benchmark')
    archive.unlink()
    capsys.readouterr()
    download(prepare, server, tmp_path, 'benchmark')
    assert 'unpacked before' in capsys.readouterr().out


@pytest.mark.parametrize('ranges', [True, False])
def test_broken_connections_are_resumed(server, tmp_path, prepare, ranges):
    server.files['benchmark.tar'] = BENCHMARK
    server.ranges, server.breaks = ranges, 2
    download(prepare, server, tmp_path, 'benchmark')
    assert (tmp_path / 'archives' / 'benchmark.tar').read_bytes() == BENCHMARK
    starts = [int(wanted.strip('bytes=-')) if wanted else 0 for _, wanted in server.asked]
    half, three_quarters = len(BENCHMARK) // 2, len(BENCHMARK) * 3 // 4
    assert starts[0] == 0
    assert half - fetch.CHUNK < starts[1] <= half
    if ranges:
        assert three_quarters - fetch.CHUNK < starts[2] <= three_quarters
    assert len(starts) == 3
    assert pictures(tmp_path) == UNPACKED


def test_the_next_run_goes_on(server, tmp_path, prepare, refused, monkeypatch):
    monkeypatch.setattr(fetch, 'PAUSES', ())
    server.files['benchmark.tar'] = BENCHMARK
    server.breaks = 1
    text = download(refused, server, tmp_path, 'benchmark')
    part = tmp_path / 'archives' / 'benchmark.tar.part'
    there = part.stat().st_size
    assert f'{there} bytes are in {part}; ' in text
    download(prepare, server, tmp_path, 'benchmark')
    assert server.asked[-1] == ('/benchmark.tar', f'bytes={there}-')
    assert there > 0
    assert pictures(tmp_path) == UNPACKED


def test_a_file_that_changed_on_the_server_starts_again(server, tmp_path, prepare, refused, monkeypatch):
    monkeypatch.setattr(fetch, 'PAUSES', ())
    server.files['benchmark.tar'] = b'an older version' * 1000
    server.breaks = 1
    download(refused, server, tmp_path, 'benchmark')
    server.files['benchmark.tar'], server.version = BENCHMARK, '"2"'
    download(prepare, server, tmp_path, 'benchmark')
    assert pictures(tmp_path) == UNPACKED


def test_a_whole_part_is_taken(server, tmp_path, prepare):
    server.files['benchmark.tar'] = BENCHMARK
    (tmp_path / 'archives').mkdir()
    (tmp_path / 'archives' / 'benchmark.tar.part').write_bytes(BENCHMARK)
    download(prepare, server, tmp_path, 'benchmark')
    assert pictures(tmp_path) == UNPACKED


def test_what_servers_lack(server, tmp_path, refused, monkeypatch):
    text = download(refused, server, tmp_path, 'Flickr2K')
    assert re.match(f'{server.url}/Flickr2K.tar: .* 404 ', text)
    server.files['benchmark.tar'] = BENCHMARK
    server.claims = 10
    assert 'benchmark.tar' in download(refused, server, tmp_path, 'benchmark')
    server.claims, server.kind = 0, 'text/html; charset=utf-8'
    assert 'web page' in download(refused, server, tmp_path, 'benchmark')
    monkeypatch.setattr(files, 'SPARE', 10**18)
    server.kind = 'application/x-tar'
    assert download(refused, server, tmp_path, 'benchmark').startswith(f'{tmp_path}/archives: ')
    assert pictures(tmp_path) == []


def test_an_unreachable_server_says_what_to_do(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(fetch, 'PAUSES', (0,))
    text = refused('download', 'benchmark', '--output', tmp_path, '--base-url', 'http://127.0.0.1:9')
    assert f'{tmp_path}/archives/benchmark.tar' in text
    assert 'refused' in text


def test_archives_fetched_by_hand(tmp_path, prepare, refused):
    file = tmp_path / 'Downloads' / 'benchmark.tar'
    file.parent.mkdir()
    file.write_bytes(BENCHMARK)
    prepare('download', 'benchmark', '--from', file, '--output', tmp_path / 'data')
    assert pictures(tmp_path / 'data') == UNPACKED
    command = ('download', 'benchmark', '--output', tmp_path / 'other', '--from')
    assert 'benchmark.tar' in refused(*command, file.rename(tmp_path / 'b.tar'))
    assert refused(*command, file).startswith(f'--from {file}: ')
    second = BENCHMARK.index(b'benchmark/B100/LR')
    changed = BENCHMARK[:second] + b'B' + BENCHMARK[second + 1 :]
    wrong = (
        BENCHMARK[:700],
        BENCHMARK[:second],
        changed,
        b'<html>' * 200,
        zip_of('benchmark/B100/HR/a.png')[:-30],
        zip_of('other/a.png'),
    )
    for content in wrong:
        file.write_bytes(content)
        assert refused(*command, file).startswith(f'{file}: ')


def test_no_member_leaves_the_folder(tmp_path, prepare):
    names = ['../evil.png', '/tmp/evil.png', 'benchmark/Set5/HR/../../../evil.png', 'benchmark/Set5/HR/good.png']
    file = tmp_path / 'benchmark.tar'
    file.write_bytes(tar_of(names, 'benchmark/Set5/HR/link.png'))
    prepare('download', 'benchmark', '--from', file, '--output', tmp_path / 'data')
    assert pictures(tmp_path) == ['data/benchmark/Set5/HR/good.png']


def test_a_dataset_repository(tmp_path, prepare, refused, monkeypatch):
    hub = pytest.importorskip('huggingface_hub')
    asked = []

    def snapshot_download(repository, *, local_dir, **where):
        asked.append((repository, where))
        if len(asked) == 1:
            raise ConnectionError('no route')
        for path in ('HR/data.mdb', 'HR/meta_info.txt', 'README.md'):
            files.write_file(local_dir / path, [path.encode()])

    monkeypatch.setattr(hub, 'snapshot_download', snapshot_download)
    command = ('download', 'DFLIP', '--output', tmp_path)
    assert refused(*command).startswith('dslisleedh/DFLIP: ')
    for _ in range(2):  # the second time nothing is downloaded
        prepare(*command)
        assert {path.name for path in (tmp_path / 'DFLIP/HR.lmdb').iterdir()} == {'data.mdb', 'meta_info.txt'}
    assert asked == [('dslisleedh/DFLIP', {'repo_type': 'dataset', 'endpoint': 'https://huggingface.co'})] * 2


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('LSDIR', 'needs registration'),
        ('LSDIR-val', 'datasets/benchmark/LSDIR-val/HR'),
        ('Manga109', 'manga109.org'),
        ('DF2K', 'download DIV2K Flickr2K'),
        ('Set5', 'download benchmark'),
        ('DIV3K', 'did you mean "DIV2K"?'),
    ],
)
def test_what_cannot_be_downloaded_says_what_to_do(tmp_path, refused, name, words):
    assert words in refused('download', 'benchmark', name, '--output', tmp_path / 'data')
    assert not (tmp_path / 'data').exists()


def test_a_wrong_address_is_refused(tmp_path, refused):
    text = refused('download', 'benchmark', '--output', tmp_path, '--base-url', 'ftp://mirror')
    assert text.startswith('--base-url ftp://mirror: ')
