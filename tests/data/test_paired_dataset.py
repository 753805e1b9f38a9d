"""The samples are BasicSR's, to the bit; folders, databases and lists of them give the same."""

from pathlib import Path

import pytest
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset
from stored import noise, write_folder, write_lmdb

from sst.data import build_dataset
from sst.data.paired_dataset import PairedDataset
from sst.data.storage import listed_names
from sst.data.stream import seeded
from sst.utils.errors import UserError

TRAINING = {'phase': 'train', 'gt_size': 16, 'use_hflip': True, 'use_rot': True}


@pytest.fixture
def roots(tmp_path):
    """(HR folder, LR folder) with pictures of several sizes, LR names ending in x2."""
    sizes = {'b.1.png': (12, 9), 'a.png': (8, 8), 'c.jpg': (11, 20)}
    hr = {name: noise(2 * height, 2 * width) for name, (height, width) in sizes.items()}
    lr = {f'{Path(name).stem}x2{Path(name).suffix}': noise(*size, seed=1) for name, size in sizes.items()}
    return write_folder(tmp_path / 'HR', hr), write_folder(tmp_path / 'LR', lr)


def options(gt, lq, **changes):
    return {
        'name': 'x',
        'type': 'PairedImageDataset',
        'dataroot_gt': gt,
        'dataroot_lq': lq,
        'filename_tmpl': '{}x2',
        'io_backend': {'type': 'disk'},
        'scale': 2,
        'phase': 'val',
        **changes,
    }


def samples(dataset):
    """Every sample, from random numbers of its own."""
    for index in range(len(dataset)):
        with seeded(3, index):
            yield dataset[index]


def assert_same(samples, expected, keys=('lq', 'gt', 'lq_path', 'gt_path')):
    for sample, other in zip(samples, expected, strict=True):
        for key in keys:
            assert torch.equal(sample[key], other[key]) if torch.is_tensor(sample[key]) else sample[key] == other[key]


@pytest.mark.parametrize('phase', [{'phase': 'val'}, TRAINING], ids=['validation', 'training'])
@pytest.mark.parametrize('listed', [False, True], ids=['folder', 'listed'])
def test_samples_are_basicsr_s(roots, tmp_path, phase, listed):
    (tmp_path / 'names.txt').write_text('a.png (16,16,3)\nc.jpg (22,40,3)\n')
    opt = options(*roots, **phase, meta_info_file=str(tmp_path / 'names.txt') if listed else None)
    theirs = PairedImageDataset(dict(opt, io_backend={'type': 'disk'}))
    theirs.paths.sort(key=lambda pair: pair['gt_path'])  # BasicSR's order is the disk's
    assert_same(samples(build_dataset(opt)), samples(theirs))


NAMES = ['Screenshot at 10.30.45 AM.png', 'b.1.PNG', 'gr\xfcn.png', 'c 2.jpg']


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'latin-1', 'utf-16-le'])
@pytest.mark.parametrize('form', ['{} (16,16,3)', '{} (16, 16, 3) 1', '{} 1', '{}'])
@pytest.mark.parametrize('end', ['\n', '\r\n'], ids=['LF', 'CRLF'])
def test_lists_of_any_program(tmp_path, encoding, form, end):
    root = write_folder(tmp_path / 'HR', {name: noise(16, 16) for name in NAMES})
    (tmp_path / 'names.txt').write_bytes(end.join([*map(form.format, NAMES), '', '']).encode(encoding))
    opt = options(root, root, filename_tmpl='{}', scale=1, meta_info_file=str(tmp_path / 'names.txt'))
    if encoding in ('latin-1', 'utf-16-le'):  # neither tells what it is
        with pytest.raises(UserError, match=rf'{tmp_path}/names.txt: [^\n]*UTF-8[^\n]*$'):
            build_dataset(opt)
    else:
        assert [sample['gt_path'] for sample in samples(build_dataset(opt))] == [f'{root}/{name}' for name in NAMES]


@pytest.mark.parametrize('text', ['', '\n\n', 'a.png (16,16,3)\n# no picture\n'], ids=['empty', 'blank', 'remark'])
def test_lists_that_name_no_picture(roots, tmp_path, text):
    (tmp_path / 'names.txt').write_text(text)
    with pytest.raises(UserError, match=rf'{tmp_path}/names.txt: [^\n]*names no picture'):
        build_dataset(options(*roots, meta_info_file=str(tmp_path / 'names.txt')))


def test_a_database_gives_what_its_folder_gives(roots, tmp_path):
    hr, lr = roots
    for path in Path(lr).iterdir():
        path.rename(path.with_name(path.name.replace('x2', '')))
    databases = [write_lmdb(Path(root)) for root in (hr, lr)]
    folders = samples(build_dataset(options(hr, lr, filename_tmpl='{}', **TRAINING)))
    ours = list(samples(build_dataset(options(*databases, **TRAINING))))
    assert [sample['gt_path'] for sample in ours] == [sample['lq_path'] for sample in ours] == ['a', 'b.1', 'c']
    assert_same(ours, folders, keys=('lq', 'gt'))


def test_a_list_is_one_root_after_the_other(roots, tmp_path):
    second = [write_folder(tmp_path / name, {'z.png': noise(size, size)}) for name, size in (('HR2', 32), ('LR2', 16))]
    gt, lq = zip(roots, [write_lmdb(Path(root)) for root in second], strict=True)
    both = list(samples(build_dataset(options(list(gt), list(lq)))))
    assert [Path(sample['gt_path']).name for sample in both] == ['a.png', 'b.1.png', 'c.jpg', 'z']
    assert_same(both[:3], samples(build_dataset(options(*roots))))
    assert_same(both[3:], samples(build_dataset(options(gt[1], lq[1]))))


def test_pictures_without_partner(roots):
    hr, lr = roots
    Path(lr, 'ax2.png').rename(Path(lr, 'dx2.png'))
    with pytest.raises(UserError) as fault:
        build_dataset(options(hr, lr))
    lonely_gt, lonely_lq = str(fault.value).splitlines()
    assert lonely_gt.startswith(f'dataset x: 1 of 3 pictures in {hr} have no partner')
    assert lonely_gt.endswith('first: a.png needs ax2.png)')
    assert lonely_lq.startswith(f'dataset x: 1 of 3 files in {lr}')
    assert lonely_lq.endswith('(first: dx2.png)')


def no_pair(hr, lr):
    write_folder(Path(lr), {'ax2.png': noise(8, 9)})


def too_small(hr, lr):
    write_folder(Path(hr), {'a.png': noise(14, 14)})
    write_folder(Path(lr), {'ax2.png': noise(7, 7)})


def damaged(hr, lr):
    Path(lr, 'ax2.png').write_bytes(b'no picture')


def gone(hr, lr):
    Path(lr, 'ax2.png').unlink()


@pytest.mark.parametrize(
    ('spoil', 'says'),
    [
        (no_pair, r'a\.png and .*ax2\.png are .*pair: .*16.* is not 2 times .*9'),
        (too_small, r'ax2\.png .*7, 7.* is smaller than the crop of 8'),
        (damaged, r'ax2\.png cannot be read: .*damaged'),
        (gone, r'ax2\.png cannot be read: No such file'),
    ],
)
def test_an_unusable_pair_is_one_line(roots, spoil, says):
    dataset = build_dataset(options(*roots, **TRAINING))
    spoil(*roots)
    with pytest.raises(UserError, match=f'^pictures? [^\n]*{says}[^\n]*$'):
        dataset[0]


@pytest.mark.parametrize('name', ['../secret.png', '/etc/secret.png', 'a/../../b.png', 'a\\..\\b.png', 'C:\\b.png'])
def test_a_list_does_not_lead_out_of_its_folder(roots, tmp_path, name):
    (tmp_path / 'list.txt').write_text(f'{name} (40,40,3)\n')
    with pytest.raises(UserError, match=r'list\.txt: .* out of the folder'):
        listed_names(str(tmp_path / 'list.txt'))


@pytest.mark.parametrize('template', ['../{}', '/{}', '{}/../../x', '..\\{}'])
def test_a_template_does_not_lead_out_of_its_folder(template):
    with pytest.raises(ValueError, match='lead out of the folder'):
        PairedDataset.Options(name='x', dataroot_gt='a', dataroot_lq='b', filename_tmpl=template)
