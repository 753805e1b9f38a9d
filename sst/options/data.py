"""The section `datasets`."""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Tag, model_validator

from sst.options.degradation import Degradation
from sst.options.faults import Fault, fault, refuse, shown
from sst.options.registered import registered
from sst.options.section import STRICT, OpenSection, Section, by_type
from sst.utils.suggest import did_you_mean

SECTIONS = ('train', 'val', 'test', 'val_1', 'test_1')
SECTION_NAME = r'^(val|test)(_\w+)?$'
MOST_WORKERS = 256  # each is a process
LONGEST_NAME = 150  # bytes; file systems take 255, and names of pictures and times come to it
PREPARE = 'what to type or do when the data is missing'


def _folder_name(name: str) -> str:
    if name.strip() != name or name in ('', '.', '..'):
        raise fault(f'{shown(name)}, allowed is the name of a folder, without path separators')
    return _part_of_name(name)


def _part_of_name(name: str) -> str:
    try:
        length = len(os.fsencode(name))
    except UnicodeEncodeError:
        raise fault(f'{shown(name)}, allowed in this locale are ASCII names; for others: export PYTHONUTF8=1') from None
    if re.search(r'[/\\]', name) or not name.isprintable() or length > LONGEST_NAME:
        raise fault(
            f'{shown(name)}, allowed is part of a file name: at most {LONGEST_NAME} bytes, without path separators'
        )
    return name


def _template(template: str) -> str:
    if template.count('{}') != 1 or re.search(r'[{}]', template.replace('{}', '')):
        raise fault(f'{shown(template)}, allowed is a text with one {{}}, which stands for the name of the HR file')
    return template


def _one_or_several(dataroot: Any) -> Any:
    roots = dataroot if isinstance(dataroot, list) else [dataroot]
    if not roots or not all(isinstance(root, str) and root for root in roots):
        raise fault(f'{shown(dataroot)}, allowed is a folder or LMDB, or a list of them')
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


class OurDataset(Section):
    """What the datasets of this program share."""

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
                    ((key,), f'{shown(root)}, allowed with io_backend lmdb is a name that ends in .lmdb')
                    for key in ('dataroot_gt', 'dataroot_lq')
                    for root in roots_of(getattr(self, key, []))
                    if not root.endswith('.lmdb')
                ]
            )
        return self


class Paired(OurDataset):
    """Pairs of HR and LR pictures."""

    type: Literal['PairedImageDataset'] = Field(description='the kind of dataset')
    dataroot_lq: Roots = Field(description='LR pictures, as dataroot_gt; of a list each belongs to the HR of its place')
    meta_info_file: str | None = Field(default=None, description='file that lists the pictures to use; null takes all')
    filename_tmpl: Template = Field(
        default='{}', description="name of the LR file without extension; {} is the HR file's"
    )

    @model_validator(mode='after')
    def _pairs(self) -> Self:
        gt_roots, lq_roots = roots_of(self.dataroot_gt), roots_of(self.dataroot_lq)
        if len(gt_roots) != len(lq_roots):
            text = f'{len(lq_roots)} given, allowed are as many as in dataroot_gt ({len(gt_roots)})'
            refuse([(('dataroot_lq',), text)])
        refuse(
            [
                (('dataroot_lq',), f'{shown(lq)}, allowed is a folder for a folder and an LMDB for an LMDB ({gt})')
                for gt, lq in zip(gt_roots, lq_roots, strict=True)
                if gt.endswith('.lmdb') != lq.endswith('.lmdb')
            ]
        )
        if self.meta_info_file and (len(gt_roots) > 1 or gt_roots[0].endswith('.lmdb')):
            text = f'{shown(self.meta_info_file)}, allowed with a single pair of folders; delete the line'
            refuse([(('meta_info_file',), text)])
        return self


class Downsample(OurDataset):
    """HR pictures; LR pictures are made of them by Pillow's bicubic."""

    type: Literal['DownsampleImageDataset'] = Field(description='the kind of dataset')


class _Degrading(OurDataset):
    type: Literal['DegradedImageDataset'] = Field(description='the kind of dataset')
    degradation: Degradation = Field(default=Degradation(), description='blur, resizing, noise and JPEG')


class Degraded(_Degrading):
    """HR pictures; LR pictures are made of them by random blur, resizing, noise and JPEG, each time alike."""

    seed: int = Field(default=0, ge=0, description='another number degrades each picture in another way')


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
            refuse([(('num_workers',), '0, allowed with prefetch_mode cpu is at least 1')])
        return self


class PairedTraining(Loading, Paired):
    """Pairs of HR and LR pictures to train with."""


class DownsampleTraining(Loading, Downsample):
    """HR pictures to train with; LR pictures are made of their crops by Pillow's bicubic."""


class DegradedTraining(Loading, _Degrading):
    """HR pictures to train with; LR pictures are made of their crops by random blur, resizing, noise and JPEG."""


class Other(OpenSection):
    """Any other dataset that is registered in BasicSR; its own keys are not checked."""

    name: FolderName = Field(description='name of the data, as in tables and folders')
    type: Annotated[str, registered('DATASET')] = Field(description='the kind of dataset: a name registered in BasicSR')
    prepare: str | None = Field(default=None, description=PREPARE)


class OtherTraining(Loading, Other):
    """Any other dataset that is registered in BasicSR, to train with."""


OURS = ('PairedImageDataset', 'DownsampleImageDataset', 'DegradedImageDataset')
Training = Annotated[
    Annotated[PairedTraining, Tag('<PairedImageDataset>')]
    | Annotated[DownsampleTraining, Tag('<DownsampleImageDataset>')]
    | Annotated[DegradedTraining, Tag('<DegradedImageDataset>')]
    | Annotated[OtherTraining, Tag('<other>')],
    by_type(*OURS),
]
Evaluation = Annotated[
    Annotated[Paired, Tag('<PairedImageDataset>')]
    | Annotated[Downsample, Tag('<DownsampleImageDataset>')]
    | Annotated[Degraded, Tag('<DegradedImageDataset>')]
    | Annotated[Other, Tag('<other>')],
    by_type(*OURS),
]


def _schema(schema: dict[str, Any]) -> None:
    sets = schema.pop('additionalProperties')
    schema['patternProperties'] = {SECTION_NAME: {'anyOf': [sets, {'type': 'null'}]}}
    schema['additionalProperties'] = False


class Datasets(Section):
    """`train`, and the sets to validate on (`val`, `val_1`, ...) or to test on (`test`, `test_1`, ...)."""

    model_config = STRICT | ConfigDict(extra='allow', json_schema_extra=_schema)
    __pydantic_extra__: dict[str, Evaluation]

    train: Training | None = Field(default=None, description='what to train with')

    @model_validator(mode='before')
    @classmethod
    def _sections(cls, sets: Any) -> Any:
        if isinstance(sets, Mapping):
            allowed = 'allowed: train, val, val_1, val_2, ..., test, test_1, test_2, ...'
            wrong = [key for key in sets if key != 'train' and not re.fullmatch(SECTION_NAME, key)]
            refuse([((key,), f'unknown section, {allowed}{did_you_mean(key, SECTIONS)}') for key in wrong])
        return sets

    @model_validator(mode='after')
    def _names(self) -> Self:
        faults: list[Fault] = []
        if getattr(self.train, 'optional', False):
            faults.append((('train', 'optional'), 'true, allowed for sets to validate on; delete the line'))
        first: dict[str, str] = {}
        for key, dataset in self.by_section().items():
            other = first.setdefault(dataset.name, key)
            if other != key:
                faults.append(((key, 'name'), f'{shown(dataset.name)}, which datasets.{other} has, allowed is another'))
        refuse(faults)
        return self

    def by_section(self) -> dict[str, OurDataset | Other]:
        """The sets under the names of their sections."""
        train: dict[str, OurDataset | Other] = {'train': self.train} if self.train else {}
        return train | (self.__pydantic_extra__ or {})
