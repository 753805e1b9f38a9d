"""Datasets and the endless stream that training reads. BasicSR's registry holds the datasets."""

from sst.data.degraded_dataset import DegradedImageDataset
from sst.data.downsample_dataset import DownsampleImageDataset
from sst.data.loader import build_train_loader
from sst.data.real_dataset import RealImageDataset
from sst.data.sets import build_dataset

__all__ = ['DegradedImageDataset', 'DownsampleImageDataset', 'RealImageDataset', 'build_dataset', 'build_train_loader']
