"""The section `datasets`."""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from sst.options.degradation import Degradation
from sst.options.faults import Fault, fault, refuse, shown
from sst.options.parts import PartOptions, part_of
from sst.options.registries import DATASETS
from sst.options.section import STRICT, Section
from sst.utils.suggest import did_you_mean

SECTIONS = ('train', 'val', 'test', 'val_1', 'test_1')
SECTION_NAME = r'^(val|test)(_\w+)?$'
MOST_WORKERS = 256  # each is a process
LONGEST_NAME = 150  # bytes; file systems take 255, and names of pictures and times come to it
PREPARE = 'what to type or do when the data is missing'


def _folder_name(name: str) -> str:
    if name.strip() != name or name in ('', '.', '..'):
        raise fault(f'must be the name of a folder, without path separators, not {shown(name)}')
    return _part_of_name(name)


def _part_of_name(name: str) -> str:
    try:
        length = len(os.fsencode(name))
    except UnicodeEncodeError:
        text = f'must be an ASCII name in this locale, not {shown(name)}; for others type: export PYTHONUTF8=1'
        raise fault(text) from None
    if re.search(r'[/\\]', name) or not name.isprintable() or length > LONGEST_NAME:
        raise fault(
            f'must be part of a file name, at most {LONGEST_NAME} bytes without path separators, not {shown(name)}'
        )
    return name


def _template(template: str) -> str:
    if template.count('{}') != 1 or re.search(r'[{}]', template.replace('{}', '')):
        raise fault(f'must hold {{}} once, which stands for the name of the HR file, not {shown(template)}')
    return template


def _one_or_several(dataroot: Any) -> Any:
    roots = dataroot if isinstance(dataroot, list) else [dataroot]
    if not roots or not all(isinstance(root, str) and root for root in roots):
        raise fault(f'must be a folder or LMDB, or a list of them, not {shown(dataroot)}')
    return dataroot


def roots_of(dataroot: str | list[str]) -> list[str]:
    """The folders and LMDBs that an option `dataroot_gt` or `dataroot_lq` names."""
    return [dataroot] if isinstance(dataroot, str) else dataroot


FolderName = Annotated[str, AfterValidator(_folder_name)]
NamePart = Annotated[str, AfterValidator(_part_of_name)]
Template = Annotated[str, AfterValidator(_template)]
Roots = Annotated[str | list[str], BeforeValidator(_one_or_several)]


class IOBackend(Section):
    """How pictures are stored."""

    type: Literal['disk', 'lmdb'] = Field(default='disk', description='files in a folder, or one LMDB database')


class OurDataset(PartOptions):
    """What our datasets share."""

    name: FolderName = Field(description='name of the data, as in tables and folders')
    dataroot_gt: Roots = Field(
        description='HR pictures, relative to the root folder: a folder, an LMDB (its name ends in .lmdb), or a list'
    )
    io_backend: IOBackend | None = Field(default=None, description='not needed: names that end in .lmdb are databases')
    optional: bool = Field(
        default=False, description='whether training may start without this set to validate on, if it is missing'
    )
    prepare: str | None = Field(default=None, description=PREPARE)

    @model_validator(mode='after')
    def _databases(self) -> Self:
        if self.io_backend and self.io_backend.type == 'lmdb':
            refuse(
                [
                    ((key,), f'must be a name that ends in .lmdb, because io_backend is lmdb, not {shown(root)}')
                    for key in ('dataroot_gt', 'dataroot_lq')
                    for root in roots_of(getattr(self, key, []))
                    if not root.endswith('.lmdb')
                ]
            )
        return self


class Paired(OurDataset):
    """Pairs of HR and LR images."""

    dataroot_lq: Roots = Field(description='LR pictures, as dataroot_gt; of a list each belongs to the HR of its place')
    meta_info_file: str | None = Field(default=None, description='file that lists the pictures to use; null takes all')
    filename_tmpl: Template = Field(
        default='{}', description="name of the LR file without extension; {} is the HR file's"
    )

    @model_validator(mode='after')
    def _pairs(self) -> Self:
        gt_roots, lq_roots = roots_of(self.dataroot_gt), roots_of(self.dataroot_lq)
        if len(gt_roots) != len(lq_roots):
            text = f'must have as many entries as dataroot_gt ({len(gt_roots)}), not {len(lq_roots)}'
            refuse([(('dataroot_lq',), text)])
        refuse(
            [
                (
                    ('dataroot_lq',),
                    f'must be {"an LMDB" if gt.endswith(".lmdb") else "a folder"}, as {gt} is, not {shown(lq)}',
                )
                for gt, lq in zip(gt_roots, lq_roots, strict=True)
                if gt.endswith('.lmdb') != lq.endswith('.lmdb')
            ]
        )
        if self.meta_info_file and (len(gt_roots) > 1 or gt_roots[0].endswith('.lmdb')):
            text = f'needs a single pair of folders, so {shown(self.meta_info_file)} cannot be used; delete the line'
            refuse([(('meta_info_file',), text)])
        return self


class Downsample(OurDataset):
    """HR images; LR images are made of them, or of the crops to train with, by Pillow's bicubic."""


class Degraded(OurDataset):
    """HR images; LR images are made of them by random blur, resizing, noise and JPEG.

    Sets to evaluate get the same LR images each time; training gets other ones each time.
    """

    degradation: Degradation = Field(default=Degradation(), description='blur, resizing, noise and JPEG')
    seed: int | None = Field(
        default=None, ge=0, description='of sets to evaluate: another number degrades each image in another way'
    )

    @model_validator(mode='after')
    def _seeded(self) -> Self:
        trains = 'gt_size' in type(self).model_fields
        if trains and self.seed is not None:
            refuse([(('seed',), 'must be left out, because training draws from manual_seed')])
        if not trains:
            self.seed = self.seed or 0
        return self


class Loading(Section):
    """How training samples are drawn and loaded."""

    gt_size: int = Field(ge=1, le=65536, description='side of the HR crop in pixels, a multiple of scale')
    use_hflip: bool = Field(default=True, description='flip at random')
    use_rot: bool = Field(default=True, description='turn at random')
    batch_size: int = Field(ge=1, le=100_000, description='samples per iteration over all processes')
    num_workers: int = Field(default=4, ge=0, le=MOST_WORKERS, description='loading processes of each process')
    prefetch_mode: Literal['cpu', 'cuda'] | None = Field(default=None, description='load ahead: cpu, cuda or null')
    pin_memory: bool = Field(default=True, description='load into memory that a GPU reads directly')

    @model_validator(mode='after')
    def _loaded_ahead(self) -> Self:
        if self.prefetch_mode == 'cpu' and not self.num_workers:  # samples seed the random numbers of their process
            refuse([(('num_workers',), 'must be at least 1 with prefetch_mode cpu, not 0')])
        return self


for name, section in (
    ('PairedImageDataset', Paired),
    ('DownsampleImageDataset', Downsample),
    ('DegradedImageDataset', Degraded),
):
    DATASETS.describe(name, section)

Training = Annotated[Any, part_of(DATASETS, Loading, nullable=True)]
Evaluation = Annotated[Any, part_of(DATASETS)]


def _schema(schema: dict[str, Any]) -> None:
    sets = schema.pop('additionalProperties')
    schema['patternProperties'] = {SECTION_NAME: {'anyOf': [sets, {'type': 'null'}]}}
    schema['additionalProperties'] = False


class Datasets(Section):
    """`train`, and the sets to validate on (`val`, `val_1`, ...) or to test on (`test`, `test_1`, ...)."""

    model_config = STRICT | ConfigDict(extra='allow', json_schema_extra=_schema)
    __pydantic_extra__: dict[str, Evaluation]

    train: Training = Field(default=None, description='what to train with')

    @model_validator(mode='before')
    @classmethod
    def _sections(cls, sets: Any) -> Any:
        if isinstance(sets, Mapping):
            known = 'sections are train, val, val_1, val_2, ..., test, test_1, test_2, ...'
            wrong = [key for key in sets if key != 'train' and not re.fullmatch(SECTION_NAME, key)]
            refuse([((key,), f'unknown section; {known}{did_you_mean(key, SECTIONS)}') for key in wrong])
        return sets

    @model_validator(mode='after')
    def _names(self) -> Self:
        faults: list[Fault] = []
        if getattr(self.train, 'optional', False):
            faults.append((('train', 'optional'), 'is for sets to validate on, not for training; delete the line'))
        first: dict[str, str] = {}
        for key, dataset in self.by_section().items():
            other = first.setdefault(dataset.name, key)
            if other != key:
                faults.append(
                    (
                        (key, 'name'),
                        f'must differ from the name of datasets.{other}, which is {shown(dataset.name)} too',
                    )
                )
        refuse(faults)
        return self

    def by_section(self) -> dict[str, Any]:
        """The sets under the names of their sections."""
        train: dict[str, Any] = {'train': self.train} if self.train else {}
        return train | (self.__pydantic_extra__ or {})
