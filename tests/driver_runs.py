"""Runs of BasicSR's pipelines for tests, with a network of one convolution and pictures of noise."""

import os
import time

import cv2
import numpy as np
import torch
from basicsr.archs import ARCH_REGISTRY
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn

from sst.models import SSTModel
from sst.utils.files import load_torch


@ARCH_REGISTRY.register()
class DriverTestNet(nn.Module):
    """One convolution and nearest enlargement."""

    def __init__(self, scale):
        super().__init__()
        self.scale, self.conv = scale, nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return nn.functional.interpolate(self.conv(x), scale_factor=self.scale)


@MODEL_REGISTRY.register()
class SignalledModel(SSTModel):
    """Gets the signals that the run's name tells, as `training 2 2`, a second apart; not where it goes on."""

    def receive(self, moment):
        when, *signals = self.opt['name'].split()
        for index, number in enumerate(signals if when == moment else []):
            time.sleep(1.1 * bool(index))
            os.kill(os.getpid(), int(number))

    def resume_training(self, resume_state):
        super().resume_training(resume_state)
        self.receive = lambda moment: None

    def rehearse(self):
        self.receive('preparing')
        super().rehearse()

    def optimize_parameters(self, current_iter):
        super().optimize_parameters(current_iter)
        if self.opt['name'] == 'killed' and current_iter == 7:
            raise KeyboardInterrupt
        if current_iter == 7:
            self.receive('training')

    def save(self, epoch, current_iter):
        if current_iter == 6:
            self.receive('saving')
        super().save(epoch, current_iter)

    def _evaluate(self, dataset, current_iter, *others):
        if current_iter == 5 and dataset.opt['name'] == 'Second':
            self.receive('validating')
        return super()._evaluate(dataset, current_iter, *others)


def pictures(folder, count, size):
    folder.mkdir(parents=True)
    for index in range(count):
        noise = np.random.RandomState(index).randint(0, 255, (size, size, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{index}.png'), noise)


def dataset(name, **extra):
    return {
        'name': name,
        'type': 'PairedImageDataset',
        'dataroot_gt': f'datasets/{name}/HR',
        'dataroot_lq': f'datasets/{name}/LR',
        'prepare': f'python scripts/prepare_data.py {name}',
        **extra,
    }


def common(name):
    return {
        'name': name,
        'model_type': 'SignalledModel',
        'scale': 2,
        'num_gpu': 0,
        'manual_seed': 3,
        'network_g': {'type': 'DriverTestNet', 'scale': 2},
        'path': {},
        'val': {'val_freq': 5, 'num_workers': 0, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2}}},
    }


def training(name='run', **data):
    sampling = {'gt_size': 8, 'batch_size': 4, 'num_workers': 0}
    return common(name) | {
        'datasets': {'train': dataset('Train', **(sampling | data)), 'val': dataset('Val')},
        'train': {
            'total_iter': 10,
            'ema_decay': 0.9,
            'optim_g': {'type': 'AdamW', 'lr': 0.01},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [8]},
            'losses': [{'type': 'L1Loss'}],
        },
        'logger': {'print_freq': 2, 'save_checkpoint_freq': 3},
    }


def evaluation():
    return common('run') | {'datasets': {'test_1': dataset('Val'), 'test_2': dataset('Urban100')}}


def latest(root, name='run'):
    """All weights, trained and averaged, as one vector."""
    content = load_torch(root / f'experiments/{name}/models/net_g_latest.pth')
    return torch.cat([value.flatten() for key in ('params', 'params_ema') for value in content[key].values()])
