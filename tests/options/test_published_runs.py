"""Every published run has its option file, with the paper's network, crops, batch and schedule."""

from pathlib import Path

import pytest
import torch
from basicsr.archs import build_network

from sst.options import load_options

FOLDER = Path(__file__).parents[2] / 'options'
# model: (data, the paper's default first; total batch; LR patch; parameters at x2, x3, x4; windows)
LIGHT, BASE, LARGE = (
    (893_340, 899_835, 908_928),
    (11_676_707, 11_861_347, 12_119_843),
    (20_314_947, 20_730_147, 21_311_427),
)
LARGEST = (33_892_195, 34_307_395, 34_888_675)
ESC_RIB = (1_007_796, 1_016_451, 1_028_568)
PLAIN, PLUS = [16, 32, 64, 16, 32, 64], [16, 32, 48, 32, 48, 96]
MODELS = {
    'SST_light': (['DIV2K', 'DFLIP'], 64, 64, LIGHT, [8, 16, 32, 16, 32, 64]),
    'SST_light_plus': (['DIV2K', 'DFLIP'], 64, 96, LIGHT, PLUS),
    'SST': (['DF2K'], 32, 64, BASE, PLAIN),
    'SST_plus': (['DF2K'], 32, 96, BASE, PLUS),
    'SST_L': (['DF2K', 'DFLIP'], 32, 64, LARGE, PLAIN),
    'SST_L_plus': (['DF2K', 'DFLIP'], 32, 96, LARGE, PLUS),
    'SST_XL_plus': (['DFLIP'], 32, 96, LARGEST, PLUS),
    'ESCRIB': (['DFLIP'], 64, 64, ESC_RIB, [64]),
}
SCALES = (2, 3, 4)
TRAINING = [
    (f'train_{model}{"" if data == sets[0] else f"_{data}"}', model, data, scale)
    for model, (sets, *_) in MODELS.items()
    for data in sets
    for scale in SCALES
]


def check_network(options, model, scale):
    *_, parameters, windows = MODELS[model]
    assert (options['scale'], options['network_g']['scale']) == (scale, scale)
    with torch.device('meta'):
        net = build_network(options['network_g'])
    assert type(net).__name__ == model.split('_')[0]
    assert list(net.windows) == windows
    assert sum(parameter.numel() for parameter in net.parameters()) == parameters[scale - 2]


@pytest.mark.parametrize(('name', 'model', 'data', 'scale'), TRAINING, ids=[f'{name}_x{s}' for name, *_, s in TRAINING])
def test_training(name, model, data, scale):
    options = load_options(FOLDER / f'{name}_x{scale}.yml')
    _, batch, patch, *_ = MODELS[model]
    check_network(options, model, scale)
    train, stream = options['train'], options['datasets']['train']
    assert (stream['name'], stream['batch_size'], stream['gt_size']) == (data, batch, patch * scale)
    assert stream['type'] == ('DownsampleImageDataset' if data == 'DFLIP' else 'PairedImageDataset')
    optimiser = {'type': 'AdamW', 'lr': 5e-4, 'betas': [0.9, 0.9], 'weight_decay': 0}
    if scale == 2:
        milestones = [250_000, 400_000, 450_000, 475_000, 490_000]
        assert (train['total_iter'], train['warmup_iter'], train['optim_g']) == (500_000, 20_000, optimiser)
        assert options['path']['pretrain_network_g'] is None
    else:
        milestones = [125_000, 200_000, 225_000, 237_500, 245_000]
        assert (train['total_iter'], train['optim_g']) == (250_000, optimiser | {'lr': 2.5e-4})
        assert options['path']['pretrain_network_g'] == f'experiments/{name}_x{scale - 1}/models/net_g_latest.pth'
    assert (train['scheduler']['milestones'], train['scheduler']['gamma']) == (milestones, 0.5)
    assert (train['ema_decay'], train['pixel_opt']['type']) == (0.999, 'L1Loss')
    assert options['val']['val_freq'] == options['logger']['save_checkpoint_freq'] == 5000


@pytest.mark.parametrize('scale', SCALES)
@pytest.mark.parametrize('model', MODELS)
def test_testing(model, scale):
    options = load_options(FOLDER / f'test_{model}_x{scale}.yml')
    check_network(options, model, scale)
    assert options['path']['pretrain_network_g'] == f'experiments/train_{model}_x{scale}/models/net_g_latest.pth'
    names = [dataset['name'] for dataset in options['datasets'].values()]
    assert names == ['Set5', 'Set14', 'BSD100', 'Urban100', 'Manga109', 'DIV2K-val', 'LSDIR-val']
    assert {metric['crop_border'] for metric in options['val']['metrics'].values()} == {scale}


def test_every_file_is_short():
    lengths = {path.name: len(path.read_text().splitlines()) for path in FOLDER.glob('*.yml')}
    assert {name: lines for name, lines in lengths.items() if lines > 20} == {}
