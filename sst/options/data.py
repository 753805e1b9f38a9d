"""The section `datasets`."""

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from sst.options.faults import Fault, fault, refuse, shown
from sst.options.parts import part_of
from sst.options.registries import DATASETS
from sst.options.section import STRICT, Section
from sst.utils.suggest import did_you_mean

SECTIONS = ('train', 'val', 'test', 'val_1', 'test_1')
SECTION_NAME = r'^(val|test)(_\w+)?$'
MOST_WORKERS = 256  # each is a process
LONGEST_NAME = 150  # bytes; file systems take 255, and names of pictures and times come to it


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


def roots_of(dataroot: str | list[str]) -> list[str]:
    """The folders and LMDBs that an option `dataroot_gt` or `dataroot_lq` names."""
    return [dataroot] if isinstance(dataroot, str) else dataroot


FolderName = Annotated[str, AfterValidator(_folder_name)]
NamePart = Annotated[str, AfterValidator(_part_of_name)]


class Loading(Section):
    """How training samples are drawn and loaded."""

    gt_size: int = Field(ge=1, le=65536, description='side of the HR crop in pixels, a multiple of scale')
    use_hflip: bool = Field(default=True, description='flip at random')
    use_rot: bool = Field(default=True, description='turn at random')
    batch_size: int = Field(ge=1, le=100_000, description='samples per iteration over all processes')
    num_workers: int = Field(default=4, ge=0, le=MOST_WORKERS, description='loading processes of each process')
    prefetch_mode: Literal['cpu', 'cuda'] | None = Field(default=None, description='load ahead: cpu, cuda or null')
    pin_memory: bool = Field(default=True, description='load into memory that a GPU reads directly')
    max_bad_images: int = Field(
        default=10,
        ge=0,
        description='images that may become unreadable during the run, in each process; the next one replaces each',
    )

    @model_validator(mode='after')
    def _loaded_ahead(self) -> Self:
        if self.prefetch_mode == 'cpu' and not self.num_workers:  # samples seed the random numbers of their process
            refuse([(('num_workers',), 'must be at least 1 with prefetch_mode cpu, not 0')])
        return self


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
