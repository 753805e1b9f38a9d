"""Datasets and the endless stream that training reads. BasicSR's registry holds the datasets."""

from sst.data.sets import build_dataset
from sst.data.stream import StreamDataset, StreamSampler, TrainLoader, build_train_loader, stream_facts

__all__ = ['StreamDataset', 'StreamSampler', 'TrainLoader', 'build_dataset', 'build_train_loader', 'stream_facts']
