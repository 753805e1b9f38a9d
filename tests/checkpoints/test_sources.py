"""Weights by file, folder, name and address."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers import tiny_options

from sst.archs import SST
from sst.checkpoints import sources
from sst.checkpoints.pretrained import save_pretrained
from sst.checkpoints.sources import find_weights, shipped
from sst.utils.errors import UserError


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Two files that ship."""
    folder = tmp_path / 'weights'
    folder.mkdir()
    for name in ('SST-tiny-x2', 'SST-tiny-x4'):
        (folder / f'{name}.safetensors').touch()
    (folder / 'README.md').touch()
    monkeypatch.setattr(sources, 'FOLDER', folder)
    return folder


def test_names_are_those_of_the_files(weights):
    assert list(shipped()) == ['SST-tiny-x2', 'SST-tiny-x4']
    assert find_weights('sst-TINY-x2') == weights / 'SST-tiny-x2.safetensors'


def test_an_unknown_name_lists_the_names_and_the_other_ways(weights):
    with pytest.raises(UserError) as fault:
        find_weights('SST-tinny-x2')
    for word in ('SST-tinny-x2: ', 'SST-tiny-x2, SST-tiny-x4', 'did you mean "SST-tiny-x2"?', 'hf://owner/repo/file'):
        assert word in str(fault.value)


def test_a_file_goes_before_a_name(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'SST-tiny-x2').touch()
    assert find_weights('SST-tiny-x2').resolve() == tmp_path / 'SST-tiny-x2'


def test_a_folder_is_its_model(tmp_path):
    with pytest.raises(UserError, match=r'a folder without model\.safetensors'):
        find_weights(tmp_path)
    file = save_pretrained(SST(**tiny_options()), tmp_path)
    assert find_weights(str(tmp_path)) == file == tmp_path / 'model.safetensors'


CALLS = [
    ('hf://a/b/c.pth', [('a/b', 'c.pth', None)]),
    ('hf://a.x/b-1/folder/c.safetensors', [('a.x/b-1', 'folder/c.safetensors', None)]),
    ('hf://a/b@v1.0/c.pth', [('a/b', 'c.pth', 'v1.0')]),
    ('hf://a/b', [('a/b', 'model.safetensors', None)]),
]


@pytest.mark.parametrize(('address', 'expected'), CALLS, ids=[address for address, _ in CALLS])
def test_an_address_is_downloaded(monkeypatch, address, expected):
    hub = pytest.importorskip('huggingface_hub')
    calls = []

    def download(repository, name, revision):
        calls.append((repository, name, revision))
        return f'/cache/{name}'

    monkeypatch.setattr(hub, 'hf_hub_download', download)
    assert find_weights(address).name == expected[0][1].split('/')[-1]
    assert calls == expected


# Parts that could lead out of the cache, or that a terminal would obey.
ELSEWHERE = (
    'a/b/../c.pth', 'a/b/x/../../c.pth', 'a/b/..', 'a/b/./c.pth', '../b/c.pth', 'a/../c.pth', 'a/b@../c.pth',
    'a/b@v1/../c.pth', 'a/b//etc/passwd', 'a/b/x//c.pth', 'a/b/x/', '/a/b/c.pth', 'a/b/..\\c.pth', 'a/b/C:\\c.pth',
    'a/b@v\\1/c.pth', 'a/b/c\n.pth', 'a/b/c\0.pth', 'a/b@v\x1b[2J/c.pth',
)  # fmt: skip


@pytest.mark.parametrize('rest', ['', 'a', 'a/', 'a/b c/d', 'a/b@/c', *ELSEWHERE], ids=ascii)
def test_an_address_of_another_form_never_reaches_the_hub(monkeypatch, rest):
    hub = pytest.importorskip('huggingface_hub')
    calls = []
    monkeypatch.setattr(hub, 'hf_hub_download', lambda *arguments, **_: calls.append(arguments))
    with pytest.raises(UserError, match='hf://owner/repo/file') as fault:
        find_weights(f'hf://{rest}')
    assert str(fault.value).isprintable()
    assert calls == []


def test_a_failed_download_is_one_line(monkeypatch):
    hub = pytest.importorskip('huggingface_hub')

    def download(*_, **__):
        raise OSError('404 Client Error.\n\nRepository Not Found')

    monkeypatch.setattr(hub, 'hf_hub_download', download)
    with pytest.raises(UserError, match=r'^hf://a/b/c\.pth: [^\n]*404 Client Error\. Repository Not Found$'):
        find_weights('hf://a/b/c.pth')


def test_without_huggingface_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(UserError, match=r"pip install 'sst-sr\[hub\]'"):
        find_weights('hf://a/b/c.pth')


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as one download needs: `files` by path."""

    files: dict[str, bytes]

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_content):
        content = self.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        if content is None:
            self.send_header('X-Error-Code', 'EntryNotFound')
        self.send_header('ETag', '"0123456789abcdef"')
        self.send_header('X-Repo-Commit', '0' * 40)
        self.send_header('Content-Length', str(len(content or b'')))
        self.end_headers()
        if with_content and content:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


CODE = """
import sys, sst
print(sst.load_model(sys.argv[1]))
sst.load_model('hf://a/b/none.pth')
"""


def test_a_download_from_a_hub_on_this_machine(tmp_path):
    pytest.importorskip('huggingface_hub')
    file = save_pretrained(SST(**tiny_options(scale=3)), tmp_path / 'net.safetensors')
    Hub.files = {'/a/b/resolve/main/net.safetensors': file.read_bytes()}
    server = ThreadingHTTPServer(('127.0.0.1', 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f'http://127.0.0.1:{server.server_port}'
    settings = {'HF_ENDPOINT': address, 'HF_HOME': str(tmp_path / 'home'), 'HF_HUB_DISABLE_XET': '1', 'NO_PROXY': '*'}
    command = [sys.executable, '-c', CODE, 'hf://a/b/net.safetensors']
    try:
        done = subprocess.run(
            command, env=os.environ | settings, capture_output=True, text=True, timeout=120, check=False
        )
    finally:
        server.shutdown()
        server.server_close()
    assert 'Upscaler(x3' in done.stdout, done.stderr
    assert 'UserError: hf://a/b/none.pth: cannot be downloaded' in done.stderr
    assert list((tmp_path / 'home').rglob('net.safetensors'))
