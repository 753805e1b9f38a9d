"""Runs of BasicSR's pipelines for tests, with a model of one number and pictures of noise."""

import json
import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from basicsr.archs import ARCH_REGISTRY
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn

from sst.models import SSTModel
from sst.utils.files import atomic_save, load_torch


@ARCH_REGISTRY.register()
class DriverTestNet(nn.Module):
    """One convolution and nearest enlargement."""

    def __init__(self, scale):
        super().__init__()
        self.scale, self.conv = scale, nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return nn.functional.interpolate(self.conv(x), scale_factor=self.scale)


@MODEL_REGISTRY.register()
class DriverTestModel:
    """The interface that BasicSR's loops call; its one weight sums up what it was fed, in order."""

    def __init__(self, opt):
        self.opt, self.value, self.seen = opt, torch.zeros((), dtype=torch.float64), []
        if opt['path'].get('resume_models'):
            self.value = load_torch(opt['path']['resume_models'])['value']

    def resume_training(self, state):
        assert state['stream']['seed'] == self.opt['manual_seed']

    def rehearse(self):
        self.receive('preparing')

    def receive(self, moment):
        """Get the signals that the run's name tells, as `training 2 2`, a second apart; not where it goes on."""
        when, *signals = self.opt['name'].split()
        for index, number in enumerate(signals if when == moment and not self.opt['start_iter'] else []):
            time.sleep(1.1 * bool(index))
            os.kill(os.getpid(), int(number))

    def update_learning_rate(self, current_iter, warmup_iter):
        self.iteration = current_iter

    def feed_data(self, batch):
        self.batch = batch

    def optimize_parameters(self, current_iter):
        self.value = self.value * 0.9 + self.batch['lq'].double().mean() * current_iter
        if self.opt['name'] == 'killed' and current_iter == 7:
            raise KeyboardInterrupt
        if current_iter == 7:
            self.receive('training')

    def get_current_log(self):
        return {'l_pix': float(self.value)}

    def get_current_learning_rate(self):
        return [0.1]

    def save(self, epoch, current_iter):
        if current_iter == 6:
            self.receive('saving')
        label = 'latest' if current_iter == -1 else current_iter
        content = {'params': DriverTestNet(2).state_dict(), 'value': self.value}
        atomic_save(content, f'{self.opt["path"]["models"]}/net_g_{label}.pth')
        if current_iter != -1:
            state = {'epoch': epoch, 'iter': current_iter, 'optimizers': [], 'stream': self.opt['stream']}
            atomic_save(state, f'{self.opt["path"]["training_states"]}/{current_iter}.state')

    def save_now(self, current_iter):
        self.save(0, current_iter)

    def validation(self, loader, current_iter, tb_logger, save_img):
        name = loader.dataset.opt['name']
        if tb_logger:
            tb_logger.add_scalar(f'metrics/{name}', current_iter, current_iter)
        if not self.opt['is_train']:
            self.seen.append(name)
            results = {name: {'psnr': 30.0, 'images': len(loader.dataset)} for name in self.seen}
            for file in ('metrics.json', 'metrics.csv'):
                Path(self.opt['path']['results_root'], file).write_text(json.dumps(results))


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
        'meta_info_file': None,
        'filename_tmpl': '{}',
        'io_backend': {'type': 'disk'},
        'prepare': f'python scripts/prepare_data.py {name}',
        **extra,
    }


def common(name):
    return {
        'name': name,
        'model_type': 'DriverTestModel',
        'scale': 2,
        'num_gpu': 0,
        'manual_seed': 3,
        'dist_params': {'backend': 'auto', 'port': 29500},
        'network_g': {'type': 'DriverTestNet', 'scale': 2},
        'path': {'pretrain_network_g': None, 'param_key_g': None, 'strict_load_g': True, 'resume_state': None},
        'val': {'val_freq': 5, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr'}}},
    }


def training(name='run', **data):
    stream = {
        'gt_size': 8,
        'use_hflip': True,
        'use_rot': True,
        'batch_size': 4,
        'num_workers': 0,
        'pin_memory': True,
        'prefetch_mode': None,
    }
    return common(name) | {
        'datasets': {'train': dataset('Train', **(stream | data)), 'val': dataset('Val')},
        'train': {
            'total_iter': 10,
            'warmup_iter': -1,
            'accumulate': 1,
            'ema_decay': 0.9,
            'optim_g': {'type': 'AdamW', 'lr': 1.0},
        },
        'logger': {'print_freq': 2, 'save_checkpoint_freq': 3, 'use_tb_logger': True, 'wandb': {'project': None}},
    }


def evaluation():
    return common('run') | {'datasets': {'test_1': dataset('Val'), 'test_2': dataset('Urban100')}}


def latest(root, name='run'):
    return load_torch(root / f'experiments/{name}/models/net_g_latest.pth')['value']


@MODEL_REGISTRY.register()
class StoppedInValidation(SSTModel):
    """Gets SIGTERM in the validation of iteration 5 while its run is called `stopped`."""

    def _evaluate(self, dataset, current_iter, *others):
        if self.opt['name'] == 'stopped' and current_iter == 5 and dataset.opt['name'] == 'Second':
            os.kill(os.getpid(), signal.SIGTERM)
        return super()._evaluate(dataset, current_iter, *others)


def whole_training(name):
    """Training with our own model and two sets to validate on."""
    options = training(name)
    options['model_type'] = 'StoppedInValidation'
    options['datasets']['val_2'] = dataset('Val') | {'name': 'Second'}
    options['val']['metrics']['psnr'] |= {'crop_border': 2, 'better': 'higher'}
    options['train'] |= {'pixel_opt': {'type': 'L1Loss'}, 'scheduler': {'type': 'MultiStepLR', 'milestones': [8]}}
    return options
