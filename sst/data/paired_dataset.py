"""Pairs of HR and LR images: the samples of BasicSR's `PairedImageDataset`, in a fraction of its time."""

import os
import re
from collections.abc import Iterator
from typing import Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from sst.data.image_dataset import ImageDataset, Roots, random_place
from sst.data.storage import file_names, is_lmdb, leaves_folder, listed_names, lmdb_keys
from sst.options.data import roots_of
from sst.options.faults import fault, refuse, shown
from sst.options.registries import DATASETS
from sst.utils.errors import UserError


def _template(template: str) -> str:
    if template.count('{}') != 1 or re.search(r'[{}]', template.replace('{}', '')):
        raise fault(f'must hold {{}} once, which stands for the name of the HR file, not {shown(template)}')
    if leaves_folder(template):
        raise fault(f'must not lead out of the folder of the LR files, as {shown(template)} does')
    return template


@DATASETS.register('PairedImageDataset')
class PairedDataset(ImageDataset):
    """Pairs of HR and LR images in folders or LMDBs.

    Takes the place of BasicSR's class and gives the same samples to the bit, from the same random numbers. But it
    decodes only what a crop needs, compares sets of names to find the pairs, and takes several roots.

    Args:
        opt: as for `ImageDataset`, with `dataroot_gt` and `dataroot_lq`; `filename_tmpl` and `meta_info_file` are
            optional.

    Raises:
        UserError: an image has no partner.
    """

    class Options(ImageDataset.Options):
        """The options of pairs."""

        dataroot_lq: Roots = Field(
            description='LR pictures, as dataroot_gt; of a list each belongs to the HR of its place'
        )
        meta_info_file: str | None = Field(
            default=None, description='file that lists the pictures to use; null takes all'
        )
        filename_tmpl: Annotated[str, AfterValidator(_template)] = Field(
            default='{}', description="name of the LR file without extension; {} is the HR file's"
        )

        @model_validator(mode='after')
        def _pairs(self) -> Self:
            gt_roots, lq_roots = roots_of(self.dataroot_gt), roots_of(self.dataroot_lq)
            if len(gt_roots) != len(lq_roots):
                text = f'must have as many entries as dataroot_gt ({len(gt_roots)}), not {len(lq_roots)}'
                refuse([(('dataroot_lq',), text)])
            for gt, lq in zip(gt_roots, lq_roots, strict=True):
                if is_lmdb(gt) != is_lmdb(lq):
                    kind = 'an LMDB' if is_lmdb(gt) else 'a folder'
                    refuse([(('dataroot_lq',), f'must be {kind}, as {gt} is, not {shown(lq)}')])
            if self.meta_info_file and (len(gt_roots) > 1 or is_lmdb(gt_roots[0])):
                text = (
                    f'needs a single pair of folders, so {shown(self.meta_info_file)} cannot be used; delete the line'
                )
                refuse([(('meta_info_file',), text)])
            return self

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        gt_roots, lq_roots = roots_of(opt['dataroot_gt']), roots_of(opt['dataroot_lq'])
        pairs = [_pairs(gt, lq, opt) for gt, lq in zip(gt_roots, lq_roots, strict=True)]
        self.gt = self.files(gt_roots, [gt_names for gt_names, _ in pairs])
        self.lq = self.files(lq_roots, [lq_names for _, lq_names in pairs])

    def training_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        gt, lq, scale = self.gt.open(index), self.lq.open(index), self.opt['scale']
        (height, width), size = lq.shape, self.opt['gt_size'] // self.opt['scale']
        if gt.shape != (height * scale, width * scale):
            raise UserError(
                f'pictures {gt.name} and {lq.name} are not a pair: {gt.shape} is not {scale} times {lq.shape}; '
                'make the LR picture again'
            )
        if min(height, width) < size:
            raise UserError(f'picture {lq.name} {lq.shape} is smaller than the crop of {size}; remove the pair')
        top, left = random_place(lq.shape, size)
        crops = [gt.crop(top * scale, left * scale, size * scale, size * scale), lq.crop(top, left, size, size)]
        hr, lr = self.augment(crops)
        return hr, lr

    def whole_pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        lq, scale = self.lq.open(index), self.opt['scale']
        height, width = lq.shape
        return self.gt.open(index).crop(0, 0, height * scale, width * scale), lq.whole()


def _pairs(gt_root: str, lq_root: str, opt: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The names of a root's HR images and those of their LR partners, in the same order."""
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
    """Yield a line if HR images lack a partner among the `known` LR images, and a line for the reverse."""
    lq_names, wanted = set(known), set(partners.values())
    if lonely := [name for name, partner in partners.items() if partner not in lq_names]:
        yield (
            f'{len(lonely)} of {len(partners)} pictures in {gt_root} have no partner in {lq_root} '
            f'(filename_tmpl is "{template}"; first: {lonely[0]} needs {partners[lonely[0]]})'
        )
    if lonely := [name for name in known if name not in wanted]:
        whole = f'{len(known)} files in {lq_root}'
        yield f'{len(lonely)} of {whole} belong to no picture in {gt_root} (first: {lonely[0]})'
