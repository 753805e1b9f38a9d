"""The page in a real browser, served by the real program."""

import os
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from picture_files import exif_of, noise
from PIL import Image

from screenshot_demo import SWITCHES, find_browser, running_demo

GUARD = """
import os, socket

resolve, connect = socket.getaddrinfo, socket.socket.connect

def check(host):
    if host and not str(host).startswith(('127.', '::1', 'localhost')):
        with open(os.environ['SST_TEST_CONNECTIONS'], 'a') as file:
            file.write(f'{host}\\n')
        raise OSError('no network in tests')

def checked_resolve(host, *others, **options):
    check(host)
    return resolve(host, *others, **options)

def checked_connect(self, address):
    if self.family != socket.AF_UNIX:
        check(address[0])
    return connect(self, address)

socket.getaddrinfo, socket.socket.connect = checked_resolve, checked_connect
"""


@pytest.fixture(scope='module')
def connections(tmp_path_factory):
    """A file of the connections to other computers that programs try while it is used."""
    folder = tmp_path_factory.mktemp('guard')
    (folder / 'sitecustomize.py').write_text(GUARD)
    paths = [str(folder), *filter(None, [os.environ.get('PYTHONPATH')])]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', os.pathsep.join(paths))
        patch.setenv('SST_TEST_CONNECTIONS', str(folder / 'connections'))
        yield folder / 'connections'


@pytest.fixture(scope='module')
def address(weights, connections, temporary):
    """Of the program, which reaches no other computer and leaves no file behind."""
    with running_demo(*weights, '--max-megapixels', '0.05') as address:
        yield address
    assert not connections.exists()
    assert list(temporary.iterdir()) == []


@pytest.fixture(scope='module')
def browser():
    sync_api = pytest.importorskip('playwright.sync_api')
    path = find_browser()
    if path is None:
        pytest.skip('neither Chromium nor Chrome is installed')
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        yield browser
        browser.close()


@pytest.fixture
def page(address, browser):
    """The page, opened; no request may leave this computer."""
    page = browser.new_page()
    page.set_default_timeout(60_000)
    hosts = set()
    page.on('request', lambda request: hosts.add(urlsplit(request.url).hostname))
    page.goto(address)
    page.wait_for_selector('#enlarge')
    yield page
    page.close()
    assert hosts - {None} == {'127.0.0.1'}


def drop(page, path):
    page.set_input_files('#upload input[type=file]', path)


def asked(address, fn_index, data):
    """What the server says to a request that passes the page by."""
    session = {'session_hash': 'past-the-page'}
    requests.post(f'{address}/gradio_api/queue/join', json={'data': data, 'fn_index': fn_index, **session}, timeout=60)
    with requests.get(f'{address}/gradio_api/queue/data', params=session, stream=True, timeout=60) as answer:
        for line in answer.iter_lines(decode_unicode=True):
            if 'process_completed' in line:
                return line
    raise AssertionError('no answer')


@pytest.mark.parametrize('place', ['FOLDER/private.png', 'http://192.0.2.1/private.png', 'http://127.0.0.1:1/a.png'])
def test_no_other_file_is_shown_or_fetched(address, tmp_path, place):
    """What would be fetched, the server is asked for: a fixture sees that it connects to nothing."""
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / 'private.png')
    functions = requests.get(f'{address}/config', timeout=60).json()['dependencies']
    upload = {'path': place.replace('FOLDER', str(tmp_path)), 'meta': {'_type': 'gradio.FileData'}}
    answers = [
        asked(address, function['id'], values[: len(function['inputs'])])
        for values in ([upload, 'Tiny-x2', '2', None], [upload] * 4)
        for function in functions
        if len(function['inputs']) in (1, 4)
    ]
    assert answers
    assert all('"success":false' in answer for answer in answers)


def test_a_picture_is_enlarged_compared_and_downloaded(page, tmp_path):
    Image.fromarray(noise(40, 60, 3)).save(tmp_path / 'photo.jpg', exif=exif_of())
    drop(page, tmp_path / 'photo.jpg')
    page.wait_for_selector('#size:has-text("60 × 40 pixels")')
    page.click('#scale label:has-text("×4")')
    page.click('#enlarge')
    page.wait_for_selector('#facts:has-text("240 × 160 pixels")')
    facts = page.inner_text('#facts')
    assert 'Tiny-x2' in facts
    assert 's on CPU' in facts
    assert 'the network enlarges x2; from there to x4 it is bicubic interpolation' in facts
    page.wait_for_function(
        '[...document.querySelectorAll("#comparison img")].filter(one => one.naturalWidth).length == 2'
    )
    sizes = page.eval_on_selector_all('#comparison img', 'all => all.map(one => [one.naturalWidth, one.naturalHeight])')
    assert sizes == [[240, 160], [240, 160]]
    with page.expect_download() as download:
        page.click('#download')
    assert download.value.suggested_filename == 'photo_x4.jpg'
    with Image.open(download.value.path()) as image:
        assert (image.format, image.size, image.getexif()[0x0110]) == ('JPEG', (240, 160), 'A camera')


def test_an_example_another_network_and_a_free_scale(page):
    page.click('#examples img >> nth=0')
    page.wait_for_selector('#preview img')
    page.click('#model input')
    page.click('[role=option]:has-text("Tiny-x3")')
    page.wait_for_selector('#scale label.selected:has-text("×3")')
    page.click('#scale label:has-text("other")')
    page.fill('#other input', '2.5')
    page.click('#enlarge')
    page.wait_for_selector('#facts:has-text("400 × 400 pixels")')
    assert 'Tiny-x3' in page.inner_text('#facts')


def test_files_that_cannot_be_enlarged(page, tmp_path):
    (tmp_path / 'text.png').write_text('hello <b>you</b>')
    Image.new('RGB', (300, 200)).save(tmp_path / 'large.png')
    for name, said in (('text.png', 'it is a text file'), ('large.png', '300 x 200 pixels')):
        drop(page, tmp_path / name)
        page.wait_for_selector(f'#size:has-text("{said}")')
        page.click('#enlarge')
        page.wait_for_selector(f'.toast-body:has-text("{said}")')
        page.click('#upload [aria-label="Remove this file"], #upload [aria-label="Clear"]')
        page.wait_for_selector('#upload input[type=file]', state='attached')


def test_a_press_without_a_picture(page):
    page.click('#enlarge')
    page.wait_for_selector('.toast-body:has-text("there is no picture yet; drop one, or choose an example")')


def test_nothing_is_wider_than_a_phone(address, browser):
    page = browser.new_page(viewport={'width': 360, 'height': 700})
    page.goto(address)
    page.wait_for_selector('#examples img')
    assert page.evaluate('document.documentElement.scrollWidth') <= 360
    page.close()


def test_uploads_lie_in_the_folder_that_goes_away(address, temporary):
    picture = BytesIO()
    Image.fromarray(noise(8, 8, 3)).save(picture, 'PNG')
    files = {'files': ('a.png', picture.getvalue(), 'image/png')}
    (uploaded,) = requests.post(f'{address}/gradio_api/upload', files=files, timeout=30).json()
    assert Path(uploaded).read_bytes() == picture.getvalue()
    assert Path(uploaded).is_relative_to(temporary)
