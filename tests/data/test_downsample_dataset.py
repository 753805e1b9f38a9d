"""HR pictures of any kind become pairs; a sample depends on (seed, position) alone."""

import os
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
import torch
from batches import assert_same, batches
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from stored import noise, write_folder, write_lmdb

from sst.data import build_dataset
from sst.data.image_dataset import extend
from sst.data.stream import seeded
from sst.utils.errors import UserError

SIZES = {'a.png': (40, 51), 'b/c.png': (33, 33), 'b/d/e.jpg': (64, 32), 'f.png': (7, 70)}


@pytest.fixture
def root(tmp_path):
    return write_folder(tmp_path / 'HR', {name: noise(*size) for name, size in SIZES.items()})


def dataset(roots, **changes):
    section = {'name': 'x', 'type': 'DownsampleImageDataset', 'dataroot_gt': roots, 'scale': 2, 'phase': 'val'}
    return build_dataset(section | changes)


def training(roots, **changes):
    return dataset(roots, **({'phase': 'train', 'gt_size': 32, 'use_hflip': True, 'use_rot': True} | changes))


def eight_bit(tensor):
    """(H, W, 3) uint8 of a sample's tensor, which holds nothing finer."""
    values = tensor.permute(1, 2, 0).mul(255)
    assert torch.allclose(values, values.round(), atol=1e-4)
    return values.round().byte().numpy()


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([2, 3, 4]), st.integers(1, 8), st.integers(0, 99))
@settings(max_examples=40)
def test_lr_is_pillow_s_of_the_hr_crop(tmp_path_factory, height, width, scale, lr_size, seed):
    folder = tmp_path_factory.mktemp('any')
    root = write_folder(folder, {'a.png': noise(height, width)})
    with seeded(seed, 0):
        sample = training(root, scale=scale, gt_size=lr_size * scale)[0]
    hr, lr = eight_bit(sample['gt']), eight_bit(sample['lq'])
    assert hr.shape == (lr_size * scale, lr_size * scale, 3)
    shrunk = Image.fromarray(hr).resize((lr_size, lr_size), Image.Resampling.BICUBIC)
    assert np.array_equal(lr, np.asarray(shrunk))


def test_crops_are_parts_of_the_picture(root):
    picture = noise(40, 51)
    places = {picture[y : y + 32, x : x + 32].tobytes(): (y, x) for y in range(40 - 32 + 1) for x in range(51 - 32 + 1)}
    found, turned = set(), set()
    for position in range(200):
        with seeded(0, position):
            hr = eight_bit(training(root)[0]['gt'])
        for turn in range(8):
            upright = np.rot90(hr, turn % 4)
            upright = upright.transpose(1, 0, 2) if turn >= 4 else upright
            if upright.tobytes() in places:
                found.add(places[upright.tobytes()])
                turned.add(turn)
                break
        else:
            pytest.fail('the crop is no part of the picture')
    assert {y for y, _ in found} == set(range(9))
    assert {x for _, x in found} == set(range(20))
    assert len(turned) == 8


def test_without_augmentation_crops_stay_upright(root):
    windows = np.lib.stride_tricks.sliding_window_view(noise(40, 51), (32, 32), axis=(0, 1))
    for position in range(20):
        with seeded(0, position):
            hr = eight_bit(training(root, use_hflip=False, use_rot=False)[0]['gt'])
        assert (windows == hr.transpose(2, 0, 1)).all(axis=(2, 3, 4)).any()


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 30))
def test_small_pictures_are_reflected(height, width, size):
    picture = noise(height, width)
    extended = extend(picture, size)
    assert extended.shape == (max(height, size), max(width, size), 3)

    def mirrored(place, side):
        place %= max(2 * side - 2, 1)
        return min(place, 2 * side - 2 - place)

    rows = [mirrored(place, height) for place in range(extended.shape[0])]
    columns = [mirrored(place, width) for place in range(extended.shape[1])]
    assert np.array_equal(extended, picture[rows][:, columns])


@pytest.mark.parametrize('kind', ['folder', 'database'])
def test_workers_change_nothing(root, kind):
    data = training(write_lmdb(Path(root)) if kind == 'database' else root)
    one = batches(data, 0)  # opens the database here, before the workers are forked
    assert_same(batches(data, 1), one)
    assert_same(batches(data, 2), one)


@pytest.mark.parametrize('phase', [dataset, training], ids=['validation', 'training'])
def test_a_database_gives_what_its_folder_gives(root, phase):
    folder, database = phase(root), phase(write_lmdb(Path(root)))
    assert [database[index]['gt_path'] for index in range(4)] == ['a', 'b/c', 'b/d/e', 'f']
    assert [os.path.relpath(folder[index]['gt_path'], root) for index in range(4)] == sorted(SIZES)
    for index in range(4):
        samples = []
        for data in (folder, database):
            with seeded(0, index):
                samples.append(data[index])
        assert torch.equal(samples[0]['gt'], samples[1]['gt'])
        assert torch.equal(samples[0]['lq'], samples[1]['lq'])


def test_a_list_of_roots_is_one_dataset(root, tmp_path):
    second = write_folder(tmp_path / 'second', {'z.png': noise(36, 36, seed=1)})
    data = dataset([root, write_lmdb(Path(second))])
    assert [Path(data[index]['gt_path']).name for index in range(len(data))] == [
        'a.png',
        'c.png',
        'e.jpg',
        'f.png',
        'z',
    ]
    assert torch.equal(data[4]['gt'], dataset(second)[0]['gt'])


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_validation_takes_whole_pictures(root, scale):
    sample = dataset(root, scale=scale)[0]
    hr = noise(40, 51)[: 40 // scale * scale, : 51 // scale * scale]
    assert np.array_equal(eight_bit(sample['gt']), hr)
    shrunk = Image.fromarray(hr).resize((51 // scale, 40 // scale), Image.Resampling.BICUBIC)
    assert np.array_equal(eight_bit(sample['lq']), np.asarray(shrunk))


def test_only_pictures_count_and_links_are_followed(root, tmp_path):
    Path(root, 'notes.txt').write_text('no picture')
    Path(root, '.hidden.png').write_bytes(b'')
    elsewhere = write_folder(tmp_path / 'elsewhere', {'g.PNG': noise(40, 40)})
    Path(root, 'link').symlink_to(elsewhere)
    Path(root, 'b', 'circle').symlink_to(root)
    data = dataset(root)
    assert [os.path.relpath(data[index]['gt_path'], root) for index in range(len(data))] == sorted(
        [*SIZES, 'link/g.PNG']
    )


def test_a_root_without_pictures_is_named(root, tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match=r'^dataset x: no pictures in \S+/empty; '):
        dataset([root, str(tmp_path / 'empty')])


def spoil(root):
    Path(root, 'a.png').write_bytes(cv2.imencode('.png', noise(40, 40))[1].tobytes()[:-100])


@pytest.mark.parametrize('workers', [0, 1])
def test_an_unreadable_picture_is_one_line(root, workers):
    data = training(root)
    spoil(root)
    with pytest.raises(UserError, match=rf'^picture {root}/a\.png cannot be read: .*damaged[^\n]+$'):
        batches(data, workers)


def test_a_key_that_is_not_in_the_database(root):
    database = Path(write_lmdb(Path(root)))
    with open(database / 'meta_info.txt', 'a') as names:
        names.write('zz.png (40,40,3) 1\n')
    with pytest.raises(UserError, match=r'HR\.lmdb/zz cannot be read: its key'):
        dataset(str(database))[4]


def test_a_database_that_is_cut_off(root):
    database = Path(write_lmdb(Path(root)))
    pictures = dataset(str(database))
    os.truncate(database / 'data.mdb', (database / 'data.mdb').stat().st_size // 2)
    with pytest.raises(UserError, match=r'HR\.lmdb cannot be read: '):
        pictures[0]


def test_a_database_whose_last_pages_are_free_is_whole(root):
    database = Path(write_lmdb(Path(root)))
    with lmdb.open(str(database), map_size=2**24) as stored:
        for sizes in ([3000], [0], [50000, 0]):
            with stored.begin(write=True) as transaction:
                for size in sizes:
                    transaction.put(b'more', bytes(size)) if size else transaction.delete(b'more')
        pages = stored.info()['last_pgno'] + 1
        assert (database / 'data.mdb').stat().st_size < pages * stored.stat()['psize']
    assert len(list(dataset(str(database)))) == len(SIZES)


def test_a_picture_smaller_than_the_scale(tmp_path):
    root = write_folder(tmp_path, {'a.png': noise(40, 1)})
    with pytest.raises(UserError, match=r'a\.png is smaller than the scale 2'):
        dataset(root)[0]
