"""Which requests the running program answers, what it keeps on the disk, and what it leaves there."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from screenshot_demo import ROOT, running_demo
from sst.upscaling.web.serving import _MOST_REQUESTS
from sst.upscaling.web.storage import own_folder

UPLOAD = 'gradio_api/upload'
MOST = 2_000_000  # bytes of all uploads and results


@pytest.fixture(scope='module')
def address(weights, temporary):
    options = ('--max-megapixels', '0.05', '--max-disk', str(MOST / 1e9), '--allow-host', 'demo.example.org')
    with running_demo(*weights, *options) as address:
        yield address


def port_of(address):
    return urlsplit(address).port


def ask(method, address, path='', headers=None, **options):
    return requests.request(method, f'{address}/{path}', headers=headers, timeout=60, **options)


def upload(address, content=b'content', name='a.png', headers=None):
    return ask('POST', address, UPLOAD, headers, files={'files': (name, content, 'image/png')})


def uploads(temporary):
    return sorted(path.name for path in temporary.glob('sst-demo-*/*/*.png') if len(path.parent.name) == 64)


@pytest.mark.parametrize(
    'host',
    [
        '127.0.0.1:PORT',
        '127.0.0.1',
        'localhost:PORT',
        'LocalHost.:PORT',
        'app.localhost:PORT',
        '[::1]:PORT',
        '192.0.2.7:PORT',
        socket.gethostname(),
        'demo.example.org',
        'DEMO.example.org:443',
    ],
)
def test_names_under_which_it_is_reached(address, host):
    answer = ask('GET', address, headers={'Host': host.replace('PORT', str(port_of(address)))})
    assert answer.status_code == 200
    assert '<html' in answer.text


@pytest.mark.parametrize(
    'host',
    [
        'evil.example:PORT',
        'evil.example',
        'localhost.evil.example',
        'notlocalhost',
        '127.0.0.1.evil.example:PORT',
        'evil.example@127.0.0.1',
        'user@localhost:PORT',
        'x.demo.example.org',
        'localhost/evil.example',
        '[evil]',
        'localhost:80:80',
        ':PORT',
    ],
)
def test_names_that_are_not_this_computers(address, host):
    """As in DNS rebinding: the name of a foreign page leads here."""
    for path in ('', 'config', 'gradio_api/info', 'assets/x.js'):
        answer = ask('GET', address, path, {'Host': host.replace('PORT', str(port_of(address)))})
        assert answer.status_code in (400, 403)
    assert ask('GET', address).status_code == 200


@pytest.mark.parametrize('lines', ['', 'Host: 127.0.0.1\r\nHost: evil.example\r\n'], ids=['none', 'two'])
def test_one_name_must_be_told(address, lines):
    with socket.create_connection(('127.0.0.1', port_of(address)), timeout=30) as connection:
        connection.sendall(f'GET / HTTP/1.0\r\n{lines}\r\n'.encode())
        assert connection.makefile('rb').readline().split()[1] in (b'400', b'403')


@pytest.mark.parametrize(
    'origin',
    ['http://evil.example', 'null', 'http://127.0.0.1:1', 'http://localhost:PORT', 'file://', '127.0.0.1:PORT'],
)
def test_other_pages_may_not_use_it(address, temporary, origin):
    before = uploads(temporary)
    headers = {'Origin': origin.replace('PORT', str(port_of(address)))}
    assert upload(address, name='foreign.png', headers=headers).status_code == 403
    join = {'data': [None], 'fn_index': 0, 'session_hash': 'x'}
    assert ask('POST', address, 'gradio_api/queue/join', headers, json=join).status_code == 403
    assert ask('OPTIONS', address, UPLOAD, headers).status_code == 403
    assert uploads(temporary) == before


@pytest.mark.parametrize(
    'headers',
    [
        {},
        {'Origin': 'http://127.0.0.1:PORT'},
        {'Origin': 'http://LOCALHOST:PORT', 'Host': 'localhost:PORT'},
        {'Origin': 'https://demo.example.org', 'Host': 'demo.example.org'},
        {'Origin': 'https://demo.example.org', 'Host': '127.0.0.1:PORT'},
    ],
    ids=['none', 'own', 'localhost', 'behind a proxy', 'behind a proxy that changes the name'],
)
def test_the_page_itself_may(address, temporary, headers):
    own = {name: value.replace('PORT', str(port_of(address))) for name, value in headers.items()}
    answer = upload(address, name='own.png', headers=own)
    assert answer.status_code == 200
    assert Path(answer.json()[0]).read_bytes() == b'content'


def test_no_address_is_fetched(address):
    other = 'http://127.0.0.1:1/private'
    for path in (f'gradio_api/file={other}', 'gradio_api/file=%68ttp://127.0.0.1:1/', f'gradio_api/proxy={other}'):
        assert ask('GET', address, path).status_code == 403


def test_requests_that_are_too_large_are_not_read(address):
    assert upload(address, bytes(MOST // 4 + 10_000)).status_code == 413
    assert ask('POST', address, 'gradio_api/queue/join', data=bytes(1_100_000)).status_code == 413
    assert ask('POST', address, UPLOAD, data=iter([b'x'] * 10)).status_code == 411  # in chunks of any number
    with socket.create_connection(('127.0.0.1', port_of(address)), timeout=30) as connection:
        connection.sendall(f'POST /{UPLOAD} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**12}\r\n\r\n'.encode())
        assert connection.makefile('rb').readline().split()[1] == b'413'


def test_uploads_together_stay_below_the_limit(address, temporary):
    examples = [path for path in temporary.glob('sst-demo-*/*/*.png') if len(path.parent.name) != 64]
    for index in range(12):
        answer = upload(address, os.urandom(400_000), f'{index}.png')
        assert answer.status_code == 200
        assert Path(answer.json()[0]).exists()
        (folder,) = temporary.glob('sst-demo-*')
        assert sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) <= MOST + 300_000  # examples
    assert uploads(temporary)[-1:] == ['9.png']
    assert '0.png' not in uploads(temporary)
    assert all(example.exists() for example in examples)
    assert ask('GET', address).status_code == 200


def test_many_uploads_at_once(address, temporary):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(upload(address, os.urandom(450_000), 'at once.png').status_code))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 200 in answers
    assert set(answers) <= {200, 507}


def first_status(connection):
    """The status that a request gets first: 100 where the page waits for its body."""
    return int(connection.makefile('rb').readline().split()[1])


def test_more_requests_at_once_than_the_limit_are_refused(address):
    head = f'POST /{UPLOAD} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n'
    head += 'Content-Type: multipart/form-data; boundary=x\r\n\r\n'
    statuses = []
    with ExitStack() as waiting:
        for _ in range(_MOST_REQUESTS + 20):
            connection = socket.create_connection(('127.0.0.1', port_of(address)), timeout=60)
            waiting.enter_context(connection).sendall(head.encode())
            statuses.append(first_status(connection))
        assert ask('GET', address).status_code == 503
    taken = statuses.count(100)
    assert statuses == [100] * taken + [503] * (len(statuses) - taken)
    assert _MOST_REQUESTS - 5 <= taken <= _MOST_REQUESTS
    deadline = time.monotonic() + 60
    while (status := ask('GET', address).status_code) != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status == 200


HOLDER = """
import sys, time
from sst.upscaling.web.storage import own_folder
with own_folder() as folder:
    (folder / 'picture.png').write_bytes(b'private')
    print(folder, flush=True)
    time.sleep(600)
"""


def held_folder():
    """A process that holds a folder, and the folder."""
    command = [sys.executable, '-c', HOLDER]
    process = subprocess.Popen(command, env=os.environ | {'PYTHONPATH': str(ROOT)}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_folders_of_killed_programs_go_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    monkeypatch.setattr(tempfile, 'tempdir', None)
    process, left = held_folder()
    with own_folder():
        assert (left / 'picture.png').exists()  # its program runs
    process.kill()
    process.wait()
    assert (left / 'picture.png').exists()
    (tmp_path / 'sst-demo-photos').mkdir()
    (tmp_path / 'sst-demo-photos' / 'mine.png').touch()
    (tmp_path / 'sst-demo-link').symlink_to(left.rename(tmp_path / 'elsewhere'))
    with own_folder() as own:
        assert {path.name for path in tmp_path.iterdir()} == {own.name, 'sst-demo-photos', 'sst-demo-link', 'elsewhere'}
        assert (tmp_path / 'elsewhere' / 'picture.png').exists()
    (tmp_path / 'elsewhere').rename(left)
    with own_folder():
        assert not left.exists()
    assert (tmp_path / 'sst-demo-photos' / 'mine.png').exists()


def test_the_folder_goes_with_the_terminal(weights, tmp_path):
    command = [sys.executable, str(ROOT / 'sst' / 'demo.py'), '--port', '0', *weights]
    with subprocess.Popen(
        command, env=os.environ | {'TMPDIR': str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split()[0]
        assert upload(address).status_code == 200
        assert list(tmp_path.glob('sst-demo-*/*/a.png'))
        process.send_signal(signal.SIGHUP)
        _, errors = process.communicate(timeout=60)
    assert errors == ''
    assert process.returncode == 0
    assert not list(tmp_path.glob('sst-demo-*'))
