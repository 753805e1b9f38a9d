"""The kinds of input that are damaged, and what reads them."""

import asyncio
import io
import random
import shutil
from collections.abc import Callable
from copy import deepcopy
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from PIL import Image
from starlette.responses import PlainTextResponse

from soaking.fuzz import Attempt
from soaking.mutations import NASTY_TEXTS, damaged, damaged_text, damaged_value
from soaking.settings import NETWORK, draw, make_data
from sst.checkpoints.networks import built
from sst.checkpoints.pretrained import save_pretrained
from sst.checkpoints.weights import read_weights
from sst.data.encoded_image import EncodedImage
from sst.data.sets import build_dataset
from sst.data.storage import listed_names
from sst.driver.resume import read_whole_state
from sst.models import SSTModel
from sst.options import checked_options
from sst.upscaling.pictures import read_image
from sst.upscaling.videos.source import decoded, main_stream, opened, packets, probe
from sst.upscaling.web.gate import Gate
from sst.upscaling.web.storage import Storage
from sst.utils.files import load_torch

FORMATS = ('PNG', 'JPEG', 'WEBP', 'TIFF', 'BMP', 'GIF')


def all_kinds(root: Path) -> dict[str, Attempt]:
    """What is tried, by name. Whole files of each kind are written into `root` first."""
    whole = root / 'whole'
    make_data(whole)
    return {
        'options': _options(whole),
        'overrides': _overrides(whole),
        'weights': _weights(whole),
        'damaged states': _states(whole),
        'foreign states': _foreign_states(whole),
        'databases': _databases(whole),
        'lists': _lists(whole),
        'training images': _training_images(),
        'images': _images(),
        'videos': _videos(whole),
        'requests': _requests(whole),
    }


def _options(whole: Path) -> Attempt:
    texts = [yaml.safe_dump(draw(random.Random(number), 'run')[0]) for number in range(5)]

    def attempt(rng: random.Random, folder: Path) -> object:
        content = damaged_text(rng, rng.choice(texts)).encode(errors='surrogatepass')
        (folder / 'run.yml').write_bytes(damaged(rng, content) if rng.random() < 0.3 else content)
        return checked_options(folder / 'run.yml', root=folder)

    return attempt


def _overrides(whole: Path) -> Attempt:
    options = draw(random.Random(0), 'run')[0]
    (whole / 'run.yml').write_text(yaml.safe_dump(options))
    keys = [f'{section}:{key}' for section, values in options.items() if isinstance(values, dict) for key in values]

    def attempt(rng: random.Random, folder: Path) -> object:
        key = rng.choice([*keys, *options, *NASTY_TEXTS])
        return checked_options(whole / 'run.yml', [f'{key}={rng.choice(NASTY_TEXTS)}'], root=folder)

    return attempt


def _weights(whole: Path) -> Attempt:
    net = built(NETWORK, 'cpu')
    save_pretrained(net, whole / 'net.safetensors')
    torch.save({'params': net.state_dict(), 'network_g': NETWORK}, whole / 'net.pth')
    torch.save(net.state_dict(), whole / 'old.pth', _use_new_zipfile_serialization=False)
    contents = [path.read_bytes() for path in [*sorted(whole.glob('*.pth')), whole / 'net.safetensors']]
    entries = {'params': net.state_dict(), 'network_g': NETWORK}

    def attempt(rng: random.Random, folder: Path) -> object:
        if rng.random() < 0.3:
            torch.save(damaged_value(rng, entries), folder / 'net.pth')
        else:
            (folder / 'net.pth').write_bytes(damaged(rng, rng.choice(contents)))
        return read_weights(str(folder / 'net.pth'))

    return attempt


def _trained(whole: Path) -> tuple[SSTModel, Path]:
    """A model, and the state that it has saved after an iteration."""
    options = draw(random.Random(0), 'run')[0]
    options['train'] |= {'optim_g': {'type': 'AdamW', 'lr': 1e-3}, 'amp': 'fp16', 'ema_decay': 0.9}
    (whole / 'trained.yml').write_text(yaml.safe_dump(options))
    opt = checked_options(whole / 'trained.yml').plain()
    opt |= {'is_train': True, 'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1}
    for name in ('models', 'training_states'):
        (whole / name).mkdir()
        opt['path'][name] = str(whole / name)
    model = SSTModel(opt)
    model.feed_data({'lq': torch.rand(4, 3, 8, 8), 'gt': torch.rand(4, 3, 16, 16)})
    model.optimize_parameters(1)
    model.save_now(1)
    return model, whole / 'training_states/1.state'


def _copy(whole: Path, folder: Path, name: str, content: bytes) -> None:
    """The files of a checkpoint, one of them with other content."""
    for file in ('models/net_g_1.pth', 'training_states/1.state'):
        (folder / file).parent.mkdir(exist_ok=True)
        shutil.copy(whole / file, folder / file)
    (folder / name).write_bytes(content)


def _states(whole: Path) -> Attempt:
    _trained(whole)
    contents = {name: (whole / name).read_bytes() for name in ('models/net_g_1.pth', 'training_states/1.state')}

    def attempt(rng: random.Random, folder: Path) -> object:
        name = rng.choice(list(contents))
        content = damaged(rng, contents[name])
        _copy(whole, folder, name, content)
        state = read_whole_state(folder / 'training_states/1.state')
        if content != contents[name] and state['digests'] != load_torch(whole / 'training_states/1.state')['digests']:
            raise AssertionError('a damaged checkpoint passes for a whole one')
        return state

    return attempt


def _foreign_states(whole: Path) -> Attempt:
    """Whole files with other content, as another version or program might write them, without digests."""
    options = load_torch(whole / 'training_states/1.state')
    del options['digests']
    opt = checked_options(whole / 'trained.yml').plain()
    opt |= {'is_train': True, 'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1}
    model = SSTModel(opt)

    def attempt(rng: random.Random, folder: Path) -> object:
        content = io.BytesIO()
        torch.save(damaged_value(rng, options), content)
        _copy(whole, folder, 'training_states/1.state', content.getvalue())
        state = read_whole_state(folder / 'training_states/1.state')
        deepcopy(model).resume_training(state)
        return state

    return attempt


def _dataset(root: Path, **changes: Any) -> object:
    options = {'name': 'set', 'type': 'PairedImageDataset', 'dataroot_gt': f'{root}/HR', 'dataroot_lq': f'{root}/LR'}
    more = {'phase': 'train', 'scale': 2, 'gt_size': 16, 'use_hflip': True, 'use_rot': True, 'max_megapixels': 1}
    dataset = build_dataset(options | more | changes)
    return [dataset[index] for index in range(len(dataset))]


def _databases(whole: Path) -> Attempt:
    data = whole / 'data'
    files = [
        ('data.mdb', (data / 'HR.lmdb/data.mdb').read_bytes()),
        ('meta_info.txt', (data / 'HR.lmdb/meta_info.txt').read_bytes()),
    ]

    def attempt(rng: random.Random, folder: Path) -> object:
        place = folder / f'{rng.getrandbits(60):x}.lmdb'  # open databases are remembered by their name
        shutil.copytree(data / 'HR.lmdb', place)
        name, content = rng.choice(files)
        (place / name).write_bytes(damaged(rng, content))
        try:
            return _dataset(data, dataroot_gt=str(place), dataroot_lq=str(data / 'LR.lmdb'))
        finally:
            shutil.rmtree(place)

    return attempt


def _lists(whole: Path) -> Attempt:
    text = (whole / 'data/HR.lmdb/meta_info.txt').read_text()

    def attempt(rng: random.Random, folder: Path) -> object:
        content = damaged_text(rng, text).encode(rng.choice(['utf-8', 'utf-16']), errors='surrogatepass')
        (folder / 'list.txt').write_bytes(damaged(rng, content) if rng.random() < 0.5 else content)
        listed_names(str(folder / 'list.txt'))
        return _dataset(whole / 'data', meta_info_file=str(folder / 'list.txt'))

    return attempt


def encoded(height: int, width: int) -> list[bytes]:
    """An image of blurred noise in each of `FORMATS`, and with 16 bits."""
    pixels = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8), (5, 5), 1)
    contents = []
    for name in FORMATS:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, name)
        contents.append(file.getvalue())
    deep = cv2.imencode('.png', pixels.astype(np.uint16) * 257)[1].tobytes()
    return [*contents, deep]


def _training_images() -> Attempt:
    contents = encoded(24, 30)

    def attempt(rng: random.Random, folder: Path) -> object:
        image = EncodedImage(damaged(rng, rng.choice(contents)), 'image', 1.0)
        height, width = image.shape
        return image.whole() if rng.random() < 0.5 else image.crop(height // 2, 0, min(8, height // 2), min(8, width))

    return attempt


def _images() -> Attempt:
    contents = encoded(24, 30)

    def attempt(rng: random.Random, folder: Path) -> object:
        path = folder / rng.choice(['a.png', 'a.jpg', 'a.tif', 'a.tga', 'a'])
        path.write_bytes(damaged(rng, rng.choice(contents)))
        return read_image(path, 1.0).whole()

    return attempt


def clip(path: Path, frames: int = 6) -> bytes:
    """The content of a video of grey frames of 64x48, written to `path`."""
    import av  # an extra

    with av.open(str(path), 'w') as container:
        video = container.add_stream('libx264', rate=25)
        video.height, video.width, video.pix_fmt = 48, 64, 'yuv420p'
        video.codec_context.time_base = Fraction(1, 25)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 40 * index, np.uint8), 'rgb24')
            container.mux(video.encode(frame))
        container.mux(video.encode())
    return path.read_bytes()


def _videos(whole: Path) -> Attempt:
    contents = [clip(whole / 'clip.mp4'), clip(whole / 'clip.mkv')]

    def attempt(rng: random.Random, folder: Path) -> object:
        path = folder / 'clip.mp4'
        path.write_bytes(damaged(rng, rng.choice(contents)))
        probe(path)
        with opened(path) as container:
            video = main_stream(container, path)
            return sum(len(decoded(packet, path)) for packet in packets(container, path, [video]))

    return attempt


def _requests(whole: Path) -> Attempt:
    """What a browser, or somebody else, sends to the web demo."""
    (whole / 'uploads').mkdir()
    reached: list[str] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope['path'])
        await PlainTextResponse('page')(scope, receive, send)

    gate = Gate(page, '127.0.0.1', ['demo.example.org'], Storage(whole / 'uploads', 10**7), 10**6)
    places = ['127.0.0.1:7860', 'localhost', 'demo.example.org', 'evil.example', '127.0.0.1@evil.example', '[::1', '']
    hosts = [place.encode() for place in places] + [
        b'\xff\0',
        b'a' * 9000,
        b'localhost.evil.example',
        b'localhost:7860/x',
    ]
    lengths = [b'10', b'-1', b'1e9', b'99999999999', b'', b'\xb2', b'0x10', b'10, 10']

    def attempt(rng: random.Random, folder: Path) -> object:
        headers = [(b'host', rng.choice(hosts)) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
        headers += [(b'origin', b'http://' + rng.choice(hosts)) for _ in range(rng.choice([0, 0, 1, 2]))]
        headers += [(b'content-length', rng.choice(lengths)) for _ in range(rng.choice([0, 1, 1, 2]))]
        path = rng.choice(['/', '/gradio_api/upload', '/gradio_api/file=/etc/passwd', *NASTY_TEXTS])
        scope = {
            'type': rng.choice(['http', 'http', 'http', 'websocket']),
            'method': rng.choice(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'TRACE', '']),
            'path': path,
            'raw_path': path.encode(errors='replace'),
            'query_string': damaged(rng, b'file=http://evil.example'),
            'headers': headers,
            'http_version': '1.1',
            'scheme': 'http',
        }
        reached.clear()
        answers = asyncio.run(_answers(gate, scope))
        evil = [name for name, value in headers if name in (b'host', b'origin') and b'evil' in value]
        if reached and (evil or scope['type'] != 'http'):
            raise AssertionError(f'a foreign request reaches the page: {scope}')
        if not answers:
            raise AssertionError(f'a request stays without an answer: {scope}')
        return answers

    return attempt


async def _answers(app: Callable[..., Any], scope: dict[str, Any]) -> list[Any]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {'type': 'http.request', 'body': b'', 'more_body': False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent
