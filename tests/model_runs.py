"""A model without the loops around it: its options, batches, validation sets and steps."""

from pathlib import Path

import torch
from helpers import tiny_options

from sst.options import Options


class Pictures(torch.utils.data.Dataset):
    """A validation set as BasicSR's look."""

    def __init__(self, name='set', count=3):
        self.opt = {'name': name}
        generator = torch.Generator().manual_seed(3)
        self.pairs = [
            (torch.rand(3, 8, 9, generator=generator), torch.rand(3, 16, 18, generator=generator)) for _ in range(count)
        ]

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        lq, gt = self.pairs[index]
        return {'lq': lq, 'gt': gt, 'lq_path': f'{self.opt["name"]}/{index}.png', 'gt_path': ''}


class Loader:
    def __init__(self, dataset):
        self.dataset = dataset


def make_opt(folder: Path, *sets, **train) -> dict:
    """The options of a run in `folder`, as the driver gives them to the model."""
    for name in ('models', 'training_states', 'visualization'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    data = {'type': 'DownsampleImageDataset', 'dataroot_gt': 'HR'}
    opt = Options.model_validate(
        {
            'name': 'run',
            'scale': 2,
            'network_g': {'type': 'SST', **tiny_options(num_blocks=1)},
            'datasets': {'train': data | {'name': 'train', 'gt_size': 16, 'batch_size': 4}}
            | {f'val_{name}': data | {'name': name} for name in sets},
            'train': {
                'total_iter': 4,
                'ema_decay': 0.9,
                'optim_g': {'type': 'AdamW', 'lr': 1e-3, 'betas': [0.9, 0.9]},
                'scheduler': {'type': 'MultiStepLR', 'milestones': [3], 'gamma': 1},
                'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
                **train,
            },
            'val': {
                'val_freq': 2,
                'pbar': False,
                'num_workers': 0,
                'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}},
            },
        }
    ).plain()
    opt['path'] |= {name: str(folder / name) for name in ('models', 'training_states', 'visualization')}
    opt['path']['results_root'] = str(folder)
    return opt | {'is_train': True, 'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1}


def batch(seed: int, size: int = 4) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {
        'lq': torch.rand(size, 3, 8, 8, generator=generator),
        'gt': torch.rand(size, 3, 16, 16, generator=generator),
    }


def train(model, first: int, last: int) -> list[float]:
    losses = []
    for iteration in range(first, last + 1):
        model.update_learning_rate(iteration, -1)
        model.feed_data(batch(iteration))
        model.optimize_parameters(iteration)
        losses.append(model.get_current_log()['l_pix'])
    return losses


def weights(net) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def saved(folder):
    return sorted(path.name for path in [*(folder / 'models').iterdir(), *(folder / 'training_states').iterdir()])
