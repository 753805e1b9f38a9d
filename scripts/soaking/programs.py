"""Programs that get damaged files: exit codes, what they say, and what they leave on the disk."""

import json
import random
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
import yaml

import convert_official
from soaking.archives import archives
from soaking.fuzz import Attempt
from soaking.inputs import clip, encoded
from soaking.mutations import NASTY_TEXTS, damaged, damaged_text
from soaking.running import require, run
from soaking.settings import NETWORK, draw, make_data
from sst import info, upscale
from sst.checkpoints.networks import built
from sst.checkpoints.pretrained import save_pretrained
from sst.checkpoints.weights import read_weights
from sst.driver.run import run_testing, run_training
from sst.options import load_options
from sst.upscaling.pictures import read_image
from sst.upscaling.videos import probe

SIZE = (24, 30)  # of the images
RELEASED = """\
name: SST_light_x2
model_type: ESRModel
scale: 2
num_gpu: auto
manual_seed: 1
datasets:
  train:
    name: DIV2K
    type: PairedImageDataset
    dataroot_gt: DIV2K_HR.lmdb
    dataroot_lq: DIV2K_X2.lmdb
    io_backend: {type: lmdb}
    gt_size: 128
    use_shuffle: true
    batch_size_per_gpu: 16
network_g:
  type: SST
  dim: 48
  n_blocks: 5
  window_sizes: [8, 16]
  num_heads: [3, 3]
  ranks: [16, 16]
  exp_ratio: 1.5
  rib_hidden_dim: 32
  gate_type: DWC
train:
  ema_decay: 0.999
  optim_g: {type: AdamW, lr: 0.0005, weight_decay: 0, betas: [0.9, 0.9]}
  scheduler: {type: MultiStepLR, milestones: [250000, 400000], gamma: 0.5}
  total_iter: 500000
  pixel_opt: {type: L1Loss, loss_weight: 1.0, reduction: mean}
dist_params: {backend: nccl, port: 29500}
"""
ESCRIB = """\
network_g:
  type: ESCRIB
  dim: 64
  pdim: 16
  kernel_size: 13
  n_blocks: 5
  conv_blocks: 5
  window_size: 64
  num_heads: 4
  attn_type: RIB
"""
REAL = """\
network_g:
  type: EDMUNet
  dim: 72
  intermediate_dim: 64
  emb_channels: 64
  noise_channels: 32
  num_blocks: 4
  fuse_lr_till: 1
  ig_idx: 1
  window_sizes: [8, 16]
  num_heads: 3
  attn_type: RIB
  ranks: [4, 4]
"""


def programs(root: Path) -> dict[str, Attempt]:
    """What is tried, by name. Whole files are written into `root` first."""
    whole = root / 'programs'
    make_data(whole)
    net = built(NETWORK, 'cpu')
    save_pretrained(net, whole / 'net.safetensors')
    torch.save({'params': net.state_dict(), 'network_g': NETWORK}, whole / 'net.pth')
    return {
        'archives': archives(),
        'sst-upscale, images': _upscale(whole, _pictures(), ('a.png', 'a.jpg', 'a.webp', 'a.tif'), _check_image),
        'sst-upscale, videos': _upscale(whole, [clip(whole / 'clip.mp4', 2)], ('clip.mp4', 'clip.mkv'), _check_video),
        'sst-info': _info(whole),
        'sst-train': _train(whole),
        'sst-test': _test(whole),
        'convert_official': _convert(whole),
    }


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _pictures() -> list[bytes]:
    return encoded(*SIZE)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob('*') if path.is_file()]


def _check_image(path: Path) -> None:
    require(read_image(path, 10).whole().size > 0, f'{path.name} is empty')


def _check_video(path: Path) -> None:
    require(probe(path).width > 0, f'{path.name} is empty')


def _upscale(whole: Path, contents: Sequence[bytes], names: Sequence[str], check: Callable[[Path], None]) -> Attempt:
    """A damaged file and a whole one together: the whole one is enlarged whatever becomes of the other."""
    good = whole / f'good{Path(names[0]).suffix}'
    good.write_bytes(contents[0])

    def attempt(rng: random.Random, folder: Path) -> object:
        place = _empty(folder / 'upscale')
        source, out = place / rng.choice(names), place / 'out'
        source.write_bytes(damaged(rng, rng.choice(contents)))
        models = ['-n', str(whole / 'net.safetensors'), '--device', 'cpu', '--suffix', 'x2']
        answer = run(upscale.main, [str(source), str(good), '-o', str(out), *models])
        left = {path.stem: path for path in _files(out)}
        require(left.keys() == {'good_x2'} | (set() if answer.refused else {f'{source.stem}_x2'}), f'left: {left}')
        for path in left.values():
            check(path)
        return answer.taken()

    return attempt


def _weights(rng: random.Random, whole: Path, place: Path) -> Path:
    """A damaged weights file."""
    content = (whole / rng.choice(['net.pth', 'net.safetensors'])).read_bytes()
    file = place / rng.choice(['a.pth', 'a.safetensors'])
    file.write_bytes(damaged(rng, content))
    return file


def _info(whole: Path) -> Attempt:
    def attempt(rng: random.Random, folder: Path) -> object:
        file = _weights(rng, whole, _empty(folder / 'info'))
        answer = run(info.main, [str(file), str(whole / 'net.pth'), '--json'])
        require(len(json.loads(answer.output)) == 2 - answer.refused, 'other files than the damaged one are missing')
        return answer.taken()

    return attempt


def _arguments(rng: random.Random, file: Path) -> list[str]:
    """An option file, and now and then an argument that makes no sense."""
    nasty = rng.choice(['', '', '', '--force_yml', '--launcher', '--auto_resume', '--local_rank', *NASTY_TEXTS])
    return ['-opt', str(file), *([nasty, rng.choice(NASTY_TEXTS)] if nasty and rng.random() < 0.3 else [])]


def _train(whole: Path) -> Attempt:
    """Damaged options of a training. A run that is refused, or only planned, writes nothing."""
    texts = [yaml.safe_dump(draw(random.Random(number), 'run')[0]) for number in range(5)]

    def attempt(rng: random.Random, folder: Path) -> object:
        place = _empty(folder / 'train')
        (place / 'data').symlink_to(whole / 'data')
        (place / 'run.yml').write_bytes(damaged_text(rng, rng.choice(texts)).encode(errors='surrogatepass'))
        answer = run(partial(run_training, place), [*_arguments(rng, place / 'run.yml'), '--dry-run'])
        require(sorted(path.name for path in place.iterdir()) == ['data', 'run.yml'], 'something is written')
        return answer.taken()

    return attempt


def _test(whole: Path) -> Attempt:
    """Damaged options of a test. A test that is refused writes nothing, another one its table."""
    options = draw(random.Random(0), 'run')[0]
    sets = {f'test_{key}': {'name': key, **_paired(ending)} for key, ending in (('A', ''), ('B', '.lmdb'))}
    kept = {key: options[key] for key in ('name', 'scale', 'num_gpu', 'manual_seed', 'network_g')}
    test = {**kept, 'datasets': sets, 'path': {'pretrain_network_g': 'net.pth'}, 'val': options['val']}
    del test['val']['val_freq']
    text = yaml.safe_dump(test)

    def attempt(rng: random.Random, folder: Path) -> object:
        place = _empty(folder / 'test')
        (place / 'data').symlink_to(whole / 'data')
        shutil.copy(whole / 'net.pth', place)
        (place / 'run.yml').write_bytes(damaged_text(rng, text).encode(errors='surrogatepass'))
        answer = run(partial(run_testing, place), _arguments(rng, place / 'run.yml'))
        tables = [path for path in _files(place / 'results') if path.suffix == '.csv']
        require(bool(tables) != answer.refused, f'exit code {answer.code}, and these tables: {tables}')
        return answer.taken()

    return attempt


def _paired(ending: str) -> dict[str, str]:
    roots = {'dataroot_gt': f'data/HR{ending}', 'dataroot_lq': f'data/LR{ending}'}
    return {'type': 'PairedImageDataset', **roots}


def _convert(whole: Path) -> Attempt:
    """Weights and option files of the release. What is written can be read."""

    def attempt(rng: random.Random, folder: Path) -> object:
        place = _empty(folder / 'convert')
        if rng.random() < 0.5:
            file = place / 'released.yml'
            text = rng.choice([RELEASED, ESCRIB, REAL])
            file.write_bytes(damaged_text(rng, text).encode(errors='surrogatepass'))
        else:
            file = _weights(rng, whole, place)
        answer = run(convert_official.main, [str(file), '--output', str(place / 'out')])
        left = _files(place / 'out')
        require([path.name for path in left] == ([] if answer.refused else [file.name]), f'left: {left}')
        for path in left:
            load_options(path) if path.suffix == '.yml' else read_weights(str(path))
        return answer.taken()

    return attempt
