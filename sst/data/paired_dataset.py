"""Pairs of HR and LR pictures: the samples of BasicSR's `PairedImageDataset`, in a fraction of its time."""

import os
from collections.abc import Iterator
from typing import Any

from basicsr.data.transforms import augment
from torch.utils.data import Dataset

from sst.data.samples import random_place, to_tensor
from sst.data.storage import Pictures, file_names, is_lmdb, listed_names, lmdb_keys
from sst.options.data import roots_of
from sst.utils.errors import UserError
from sst.utils.pixels import MEGAPIXELS


class PairedDataset(Dataset):
    """The pairs of one or several HR roots and their LR roots, folders or LMDBs, one root after the other.

    Equal to BasicSR's class to the last bit, from the same random numbers; but of a picture no more is decoded and
    converted than the crop needs, and pairing compares sets of names.

    Args:
        opt: a section `datasets` with `dataroot_gt`, `dataroot_lq`, `scale`, `phase`, if wanted `filename_tmpl`,
            `meta_info_file` and `max_megapixels`, and in training `gt_size`, `use_hflip` and `use_rot`.

    Raises:
        UserError: pictures without partner.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt
        gt_roots, lq_roots = roots_of(opt['dataroot_gt']), roots_of(opt['dataroot_lq'])
        pairs = [_pairs(gt, lq, opt) for gt, lq in zip(gt_roots, lq_roots, strict=True)]
        gt_names, lq_names = zip(*pairs, strict=True)
        self.gt, self.lq = (
            Pictures(zip(roots, names, strict=True), opt.get('max_megapixels', MEGAPIXELS))
            for roots, names in ((gt_roots, gt_names), (lq_roots, lq_names))
        )

    def __len__(self) -> int:
        return len(self.gt)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """BasicSR's dictionary: `lq` (3, h, w) and `gt` (3, H, W), RGB in [0, 1], `lq_path` and `gt_path`.

        Raises:
            UserError: a picture cannot be read; in training also sizes that do not fit each other or the crop.
        """
        gt, lq, scale = self.gt.open(index), self.lq.open(index), self.opt['scale']
        height, width = lq.shape
        if self.opt['phase'] == 'train':
            size = self.opt['gt_size'] // scale
            if gt.shape != (height * scale, width * scale):
                raise UserError(
                    f'pictures {gt.name} and {lq.name} are no pair: {gt.shape} is not {scale} times {lq.shape}; '
                    'make the LR picture again'
                )
            if min(height, width) < size:
                raise UserError(f'picture {lq.name} {lq.shape} is smaller than the crop of {size}; remove the pair')
            top, left = random_place(lq.shape, size)
            crops = [gt.crop(top * scale, left * scale, size * scale, size * scale), lq.crop(top, left, size, size)]
            hr, lr = augment(crops, self.opt['use_hflip'], self.opt['use_rot'])
        else:
            hr, lr = gt.crop(0, 0, height * scale, width * scale), lq.whole()
        return {
            'lq': to_tensor(lr),
            'gt': to_tensor(hr),
            'lq_path': self.lq.path(index),
            'gt_path': self.gt.path(index),
        }


def _pairs(gt_root: str, lq_root: str, opt: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The names of the HR pictures of a root and those of their LR partners, in the same order."""
    template = opt.get('filename_tmpl', '{}')
    if opt.get('meta_info_file'):
        gt_names = listed_names(opt['meta_info_file'])
        return gt_names, [_partner(os.path.basename(name), template) for name in gt_names]
    if is_lmdb(gt_root):  # partners have the same key
        gt_names, known, template = lmdb_keys(gt_root), lmdb_keys(lq_root), '{}'
    else:
        gt_names, known = file_names(gt_root), file_names(lq_root)
    lq_names = [_partner(name, template) for name in gt_names]
    if faults := list(_lonely(gt_root, lq_root, dict(zip(gt_names, lq_names, strict=True)), known, template)):
        raise UserError('\n'.join(faults))
    return gt_names, lq_names


def _partner(gt_name: str, template: str) -> str:
    stem, extension = os.path.splitext(gt_name)
    return f'{template.format(stem)}{extension}'


def _lonely(gt_root: str, lq_root: str, partners: dict[str, str], known: list[str], template: str) -> Iterator[str]:
    """A line if HR pictures have no partner among the `known` LR pictures, and one if some of these belong to none."""
    lq_names, wanted = set(known), set(partners.values())
    if lonely := [name for name, partner in partners.items() if partner not in lq_names]:
        yield (
            f'{len(lonely)} of {len(partners)} pictures in {gt_root} have no partner in {lq_root} '
            f'(filename_tmpl is "{template}"; first: {lonely[0]} needs {partners[lonely[0]]})'
        )
    if lonely := [name for name in known if name not in wanted]:
        whole = f'{len(known)} files in {lq_root}'
        yield f'{len(lonely)} of {whole} belong to no picture in {gt_root} (first: {lonely[0]})'
