"""Degraded pairs: crops as ever, registered, and a function of (seed, position) or of (seed, name) alone."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import assert_same, batches
from skimage import data
from stored import noise, write_folder, write_lmdb

from sst.data import build_dataset, degraded_dataset
from sst.data.degradation_options import Degradation
from sst.data.stream import seeded
from sst.ops.imresize import imresize

OFF = {'blur_prob': 0, 'resize_prob': [0, 0, 1], 'noise_prob': 0, 'jpeg_prob': 0}
PLAIN = {'first': OFF, 'second': OFF, 'final_sinc_prob': 0}
BLURRED = {'first': OFF | {'blur_prob': 1}, 'second': OFF, 'final_sinc_prob': 1}


@pytest.fixture
def root(tmp_path):
    sizes = {'a.png': (140, 150), 'b/c.png': (90, 133), 'b/d/e.jpg': (64, 32), 'f.png': (7, 70)}
    return write_folder(tmp_path / 'HR', {name: noise(*size) for name, size in sizes.items()})


def dataset(roots, degradation=None, **changes):
    section = {'name': 'x', 'type': 'DegradedImageDataset', 'dataroot_gt': roots, 'scale': 2, 'phase': 'val', 'seed': 0}
    return build_dataset(section | {'degradation': Degradation(**(degradation or {})).model_dump()} | changes)


def training(roots, degradation=None, **changes):
    crops = {'phase': 'train', 'gt_size': 32, 'use_hflip': True, 'use_rot': True}
    return dataset(roots, degradation, **(crops | changes))


def drawn(data, index, position=0):
    with seeded(3, position):
        return data[index]


def eight_bit(tensor):
    """(H, W, 3) integers of a sample's tensor, which holds nothing finer."""
    values = tensor.permute(1, 2, 0).mul(255)
    assert torch.allclose(values, values.round(), atol=1e-4)
    return values.round().int().numpy()


def bicubic(hr, scale):
    """Not rounded."""
    return imresize(hr.astype(float), 1 / scale).clip(0, 255)


@pytest.mark.parametrize('index', range(4))
def test_hr_crops_are_those_of_plain_downsampling(root, index):
    plain = training(root, type='DownsampleImageDataset')
    for position in range(20):
        sample = drawn(training(root), index, position)
        assert torch.equal(sample['gt'], drawn(plain, index, position)['gt'])
        assert sample['lq'].shape == (3, 16, 16)


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('index', [0, 3], ids=['large', 'smaller than the crop'])
def test_without_degradations_lr_is_bicubic_of_the_crop(root, scale, index):
    pictures = training(root, PLAIN, scale=scale, gt_size=16 * scale)
    for position in range(20):
        sample = drawn(pictures, index, position)
        error = np.abs(eight_bit(sample['lq']) - bicubic(eight_bit(sample['gt']), scale))
        assert error[2:-2, 2:-2].max() < 0.51  # further out LR knows more than the crop


def test_crops_are_degraded_with_what_surrounds_them(tmp_path):
    picture = noise(60, 70)
    windows = np.lib.stride_tricks.sliding_window_view(picture, (32, 32, 3))[:, :, 0]
    pictures = training(write_folder(tmp_path, {'a.png': picture}), PLAIN, use_hflip=False, use_rot=False)
    whole, compared = bicubic(picture, 2), 0
    for position in range(60):
        sample = drawn(pictures, 0, position)
        top, left = np.argwhere((windows == eight_bit(sample['gt'])).all(axis=(2, 3, 4)))[0]
        inside = 4 <= top <= 60 - 36 and 4 <= left <= 70 - 36
        if inside and top % 2 == left % 2 == 0:
            lr = whole[top // 2 : top // 2 + 16, left // 2 : left // 2 + 16]
            assert np.abs(eight_bit(sample['lq']) - lr).max() < 0.51
            compared += 1
    assert compared > 5


@pytest.mark.parametrize('scale', [2, 4])
def test_no_border_shows_in_the_crop(tmp_path, scale, monkeypatch):
    root = write_folder(tmp_path, {'a.png': noise(400, 400)})
    pictures = training(root, BLURRED, scale=scale, gt_size=16 * scale)
    narrow = [drawn(pictures, 0, position) for position in range(30)]
    monkeypatch.setattr(degraded_dataset, 'MARGIN', 2 * degraded_dataset.MARGIN)
    for position, sample in enumerate(narrow):
        wide = drawn(pictures, 0, position)
        assert torch.equal(sample['gt'], wide['gt'])
        assert np.abs(eight_bit(sample['lq']) - eight_bit(wide['lq'])).max() <= 1


@pytest.mark.parametrize('kind', ['folder', 'database'])
def test_workers_change_nothing_and_resume_goes_on(root, kind):
    pictures = training(write_lmdb(Path(root)) if kind == 'database' else root)
    one = batches(pictures, 0)
    assert_same(batches(pictures, 1), one)
    assert_same(batches(pictures, 2), one)
    assert_same(batches(pictures, 2, start_iter=2), one[2:])
    assert not torch.equal(one[0][0], one[1][0])


def test_each_position_degrades_otherwise(tmp_path):
    root = write_folder(tmp_path, {'a.png': data.astronaut()[:64, :64]})
    pictures = training(root, gt_size=64, use_hflip=False, use_rot=False)
    samples = [drawn(pictures, 0, position) for position in range(10)]
    assert all(torch.equal(sample['gt'], samples[0]['gt']) for sample in samples)
    assert len({sample['lq'].numpy().tobytes() for sample in samples}) == 10


def test_validation_degrades_each_picture_alike(root):
    pictures = dataset(root)
    first = [pictures[index] for index in range(len(pictures))]
    state = random.getstate(), np.random.get_state()[1].copy()
    again = [dataset(root)[index] for index in reversed(range(len(pictures)))][::-1]
    assert random.getstate() == state[0]
    assert np.array_equal(np.random.get_state()[1], state[1])
    for sample, other in zip(first, again, strict=True):
        assert torch.equal(sample['lq'], other['lq'])
    other = dataset(root, seed=1)
    assert not any(torch.equal(sample['lq'], other[index]['lq']) for index, sample in enumerate(first))


def test_another_picture_or_a_database_changes_no_validation(root):
    before = {sample['gt_path']: sample['lq'] for sample in dataset(root)}
    stored = [sample['lq'] for sample in dataset(write_lmdb(Path(root)))]
    write_folder(Path(root), {'0.png': noise(40, 40)})
    after = {sample['gt_path']: sample['lq'] for sample in dataset(root)}
    assert len(after) == 5
    for from_database, (path, lq) in zip(stored, before.items(), strict=True):
        assert torch.equal(after[path], lq)
        assert torch.equal(from_database, lq)


@pytest.mark.parametrize('scale', [2, 3])
def test_validation_takes_whole_pictures(root, scale):
    sample = dataset(root, PLAIN, scale=scale)[1]
    hr = noise(90, 133)[:, : 133 // scale * scale]
    assert np.array_equal(eight_bit(sample['gt']), hr)
    assert np.abs(eight_bit(sample['lq']) - bicubic(hr, scale)).max() < 0.51
