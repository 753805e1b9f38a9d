"""Samples that cannot be made are reported in one line, whether this process or a loading process meets them."""

from typing import Any, NamedTuple

import cv2
from torch.utils.data import Dataset, default_collate

from sst.utils.errors import UserError


class _Fault(NamedTuple):
    """Stands for a sample. An exception would reach the reader of the loader with the stack trace of a worker."""

    text: str


class CheckedSamples(Dataset):
    """A dataset that returns a fault in place of a sample that cannot be made; `collate` and `usable` handle it.

    Args:
        dataset: as BasicSR's, with `paths`, or a `StreamDataset` of one.
        kind: what the samples are for, such as `training`.
    """

    def __init__(self, dataset: Any, kind: str) -> None:
        self.dataset, self.kind = dataset, kind

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, place: Any) -> Any:
        try:
            return self.dataset[place]
        except UserError as fault:
            return _Fault(str(fault))
        except (OSError, ValueError, cv2.error, AttributeError, TypeError) as fault:
            reason = ' '.join(str(fault).split())
            if 'NoneType' in reason:  # BasicSR passes on the None that OpenCV or LMDB return for what they cannot read
                reason = 'it, or its LQ partner, is not a readable picture'
            elif isinstance(fault, AttributeError | TypeError):
                raise
            name = _image_name(self.dataset, place)
            remedy = 'replace or remove it (its pair too)'
            return _Fault(f'{self.kind} picture {name} cannot be used: {reason}; {remedy}')


def _image_name(dataset: Any, place: Any) -> str:
    """Return the path of a sample's image if the dataset has paths, else its number."""
    index = place[1] if isinstance(place, tuple) else place
    paths = getattr(getattr(dataset, 'dataset', dataset), 'paths', None)
    entry = paths[index] if paths is not None else index
    return str(entry.get('gt_path') or entry) if isinstance(entry, dict) else str(entry)


def collate(samples: list[Any]) -> Any:
    """Make a batch of samples; the first fault among them takes the place of the whole batch."""
    return next((sample for sample in samples if isinstance(sample, _Fault)), None) or default_collate(samples)


def usable(batch: Any) -> Any:
    """Return the batch, or raise the `UserError` that was met while it was made."""
    if isinstance(batch, _Fault):
        raise UserError(batch.text)
    return batch


def why_loading_ended(fault: BaseException) -> str:
    """Say why a loading process has ended, if that caused the fault; else ''."""
    cause = fault.__cause__ if isinstance(fault, UserError) else fault
    if isinstance(cause, RuntimeError) and str(cause).startswith('DataLoader worker'):
        return str(cause).splitlines()[0].strip(' .')
    in_mid_batch = isinstance(fault, ConnectionResetError | EOFError)
    return 'its connection was lost' if in_mid_batch else ''
