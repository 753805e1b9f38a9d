"""Pictures that cannot be used, said in one line wherever they turn up: in this process or in a loading one."""

from typing import Any, NamedTuple

import cv2
from torch.utils.data import Dataset, default_collate

from sst.utils.errors import UserError


class _Unusable(NamedTuple):
    """Takes a fault out of a worker: the loader would wrap it in the worker's stack trace."""

    text: str


class Careful(Dataset):
    """A dataset whose `UserError`s reach the process that reads the loader: see `collate` and `usable`."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: Any) -> Any:
        try:
            return self.dataset[place]
        except UserError as fault:
            return _Unusable(str(fault))


class Named(Dataset):
    """A BasicSR dataset that names the picture it cannot read.

    Args:
        dataset: with `paths`, as BasicSR's datasets have them.
        kind: what the pictures are for, as `training`.
        remedy: what to do about one.
    """

    def __init__(self, dataset: Any, kind: str, remedy: str = 'replace or remove it (its pair too)') -> None:
        self.dataset, self.kind, self.remedy = dataset, kind, remedy

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """Raises `UserError` where the picture cannot be read or is smaller than the crop."""
        try:
            return self.dataset[index]
        except (OSError, ValueError, cv2.error, AttributeError, TypeError) as fault:
            # BasicSR passes on the None that OpenCV or LMDB return for what they cannot read.
            if isinstance(fault, AttributeError | TypeError) and 'NoneType' not in str(fault):
                raise
            reason = ' '.join(str(fault).split())
            if 'NoneType' in reason:
                reason = 'it, or its LQ partner, is no readable picture'
            name = picture_name(self.dataset, index)
            raise UserError(f'{self.kind} picture {name} cannot be used: {reason}; {self.remedy}') from fault


def picture_name(dataset: Any, index: int) -> str:
    """The path of a dataset's picture where it tells, else its number."""
    paths = getattr(dataset, 'paths', None)
    place = paths[index] if paths is not None else index
    return str(place.get('gt_path') or place) if isinstance(place, dict) else str(place)


def collate(samples: list[Any]) -> Any:
    """A batch of samples; the first fault among them takes the place of the whole batch."""
    return next((sample for sample in samples if isinstance(sample, _Unusable)), None) or default_collate(samples)


def usable(batch: Any) -> Any:
    """The batch itself. Raises the `UserError` that a loading process met in making it."""
    if isinstance(batch, _Unusable):
        raise UserError(batch.text)
    return batch


def lost_loader(fault: BaseException) -> str:
    """What is said of a loading process that was killed, where that is what a fault comes from; '' for other faults."""
    cause = fault.__cause__ if isinstance(fault, UserError) else fault
    if isinstance(cause, RuntimeError) and str(cause).startswith('DataLoader worker'):
        return str(cause).splitlines()[0].strip(' .')
    cut_off = isinstance(fault, ConnectionResetError | EOFError)  # in the middle of a batch
    return 'its connection was lost' if cut_off else ''
