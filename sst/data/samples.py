"""Samples that cannot be made are reported in one line, whether this process or a loading process meets them."""

import logging
from typing import Any, NamedTuple

import cv2
from torch.utils.data import Dataset, default_collate

from sst.data.stream import epoch_order
from sst.utils.errors import UserError

logger = logging.getLogger('basicsr')
REPLACED = 'replaced'  # entry of a batch


class _Fault(NamedTuple):
    """Stands for a sample. An exception would reach the reader of the loader with the stack trace of a worker."""

    text: str


class _Replaced(NamedTuple):
    """A sample that stands in for others, which cannot be made, and what is wrong with those."""

    sample: Any
    faults: list[str]


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


class ReplacingSamples(Dataset):
    """If an image cannot be read, the next one in the order of its epoch takes its place.

    It is cropped with the random numbers of the position. So every process and every later run finds the same sample.

    Args:
        samples: of a `StreamDataset`.
        seed: of the stream.
        most: images in a row that may be passed over.
    """

    def __init__(self, samples: CheckedSamples, seed: int, most: int) -> None:
        self.samples, self.seed, self.most = samples, seed, min(most, len(samples) - 1)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: tuple[int, int]) -> Any:
        sample = self.samples[place]
        if self.most <= 0 or not isinstance(sample, _Fault):
            return sample
        faults = [sample.text]
        epoch, number = divmod(place[0], len(self))
        order = epoch_order(len(self), self.seed, epoch)
        for step in range(1, self.most + 1):
            other = self.samples[(place[0], int(order[(number + step) % len(self)]))]
            if not isinstance(other, _Fault):
                return _Replaced(other, faults)
            faults.append(other.text)
        return _Fault(f'{faults[0]}; the next {self.most} images cannot be used either')


def collate(samples: list[Any]) -> Any:
    """Make a batch of samples; the first fault among them takes the place of the whole batch.

    What was wrong with images that others stand in for is in the batch's entry `replaced`.
    """
    if fault := next((sample for sample in samples if isinstance(sample, _Fault)), None):
        return fault
    replaced = [text for sample in samples if isinstance(sample, _Replaced) for text in sample.faults]
    batch = default_collate([sample.sample if isinstance(sample, _Replaced) else sample for sample in samples])
    return batch | {REPLACED: replaced} if replaced else batch


def usable(batch: Any) -> Any:
    """Return the batch, or raise the `UserError` that was met while it was made."""
    if isinstance(batch, _Fault):
        raise UserError(batch.text)
    return batch


class ReplacedImages:
    """Names each image that another one stands in for, once, and counts them.

    Args:
        most: of them; one more ends the run.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.faults: set[str] = set()

    def note(self, batch: Any) -> Any:
        """Take note of what was replaced in a batch, and return it as the dataset makes it.

        Raises:
            UserError: there are too many by now.
        """
        texts: list[str] = batch.pop(REPLACED, []) if isinstance(batch, dict) else []
        for text in dict.fromkeys(texts):
            if text in self.faults:
                continue
            self.faults.add(text)
            logger.warning(f'{text}. The next image takes its place ({len(self.faults)} of {self.most} that may)')
        if len(self.faults) > self.most:
            raise UserError(
                f'{len(self.faults)} training images have become unreadable, the last: {texts[-1]}; is the disk there? '
                'To allow more: --force_yml datasets:train:max_bad_images=N'
            )
        return batch


def why_loading_ended(fault: BaseException) -> str:
    """Say why a loading process has ended, if that caused the fault; else ''."""
    cause = fault.__cause__ if isinstance(fault, UserError) else fault
    if isinstance(cause, RuntimeError) and str(cause).startswith('DataLoader worker'):
        return str(cause).splitlines()[0].strip(' .')
    in_mid_batch = isinstance(fault, ConnectionResetError | EOFError)
    return 'its connection was lost' if in_mid_batch else ''
