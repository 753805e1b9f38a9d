from pathlib import Path

import pytest
import torch
import yaml
from basicsr.archs import build_network
from helpers import assert_close
from released import golden

import convert_official
from sst.checkpoints.fitting import load_weights
from sst.options import load_options

RELEASED = """\
name: SST_light_x2
model_type: ESRModel
scale: 2
num_gpu: auto
manual_seed: 1
datasets:
  train:
    name: DIV2K
    type: PairedImageDataset
    dataroot_gt: DIV2K_HR.lmdb
    dataroot_lq: DIV2K_X2.lmdb
    io_backend: {type: lmdb}
    gt_size: 128
    use_hflip: true
    use_rot: true
    use_shuffle: true
    num_worker_per_gpu: 8
    batch_size_per_gpu: 16
    dataset_enlarge_ratio: 100
    prefetch_mode: ~
network_g:
  type: SST
  dim: 48
  n_blocks: 5
  window_sizes: [8, 16, 32, 16, 32, 64]
  num_heads: [3, 3, 3, 3, 3, 3]
  ranks: [16, 16, 16, 24, 24, 24]
  exp_ratio: 1.5
  rib_hidden_dim: 32
  gate_type: DWC
path:
  pretrain_network_g: ~
  strict_load_g: true
train:
  ema_decay: 0.999
  optim_g: {type: AdamW, lr: 0.0005, weight_decay: 0, betas: [0.9, 0.9]}
  scheduler: {type: MultiStepLR, milestones: [250000, 400000], gamma: 0.5}
  total_iter: 500000
  warmup_iter: 20000
  pixel_opt: {type: L1Loss, loss_weight: 1.0, reduction: mean}
logger:
  print_freq: 100
  save_checkpoint_freq: 5000
  use_tb_logger: true
dist_params: {backend: nccl, port: 29500}
"""


def test_weights(tmp_path):
    weights, options, image, expected = golden('light_x2')
    torch.save({'params': weights, 'params_ema': weights}, tmp_path / 'net.pth')
    convert_official.main([str(tmp_path / 'net.pth'), '--output', str(tmp_path / 'ours')])
    content = torch.load(tmp_path / 'ours' / 'net.pth', weights_only=True)
    assert content.keys() == {'params', 'params_ema'}
    assert 'stem.weight' in content['params']
    net = build_network(options).eval()
    load_weights(net, str(tmp_path / 'ours' / 'net.pth'))
    with torch.no_grad():
        assert_close(net(image), expected, 2e-6)


def test_option_file(tmp_path):
    (tmp_path / 'released.yml').write_text(RELEASED)
    convert_official.main([str(tmp_path / 'released.yml'), '--output', str(tmp_path / 'ours')])
    options = load_options(tmp_path / 'ours' / 'released.yml')
    assert options['datasets']['train']['batch_size'] == 64  # 16 on each of 4 GPUs
    assert options['network_g']['bias'] == {'type': 'RIB', 'ranks': [16, 16, 16, 24, 24, 24], 'hidden': 32, 'bands': 10}
    assert options['train']['warmup_iter'] == 20000


def test_option_file_of_escrib(tmp_path):
    network = """\
network_g:
  type: ESCRIB
  dim: 64
  pdim: 16
  kernel_size: 13
  n_blocks: 5
  conv_blocks: 5
  window_size: 64
  num_heads: 4
  upscaling_factor: 2
  exp_ratio: 1.25
  attn_type: RIB
  rank: 16
  rib_hidden_dim: 32
  rib_n_freqs: 10
  gate_type: DWC
path:
"""
    start, end = RELEASED.index('network_g:'), RELEASED.index('path:')
    (tmp_path / 'released.yml').write_text(RELEASED[:start] + network + RELEASED[end:].removeprefix('path:\n'))
    convert_official.main([str(tmp_path / 'released.yml'), '--output', str(tmp_path / 'ours')])
    for file in (tmp_path / 'released.yml', tmp_path / 'ours' / 'released.yml'):  # it can be used as it is, too
        found = load_options(file)['network_g']
        ours = load_options(Path(__file__).parents[2] / 'options' / 'test_ESCRIB_x2.yml')['network_g']
        assert found == ours


def test_weights_keep_the_options_given_with_them(tmp_path):
    weights, _, _, _ = golden('light_x2')
    torch.save({'params': weights}, tmp_path / 'net.pth')
    (tmp_path / 'released.yml').write_text(RELEASED)
    files = [str(tmp_path / name) for name in ('net.pth', 'released.yml', 'ours')]
    convert_official.main([files[0], '--output', files[2], '--options', files[1]])
    content = torch.load(tmp_path / 'ours' / 'net.pth', weights_only=True)
    assert content['network_g']['window_sizes'] == [8, 16, 32, 16, 32, 64]


@pytest.mark.parametrize(
    ('name', 'content', 'words'),
    [
        ('net.pth', b'hello', 'text file'),
        ('a.yml', b'name: x', 'no network_g'),
        ('a.yml', b'a: [', 'a.yml'),
        ('a.yml', b'network_g: {type: {}, n_blocks: 5}\n', 'type'),
        ('a.yml', RELEASED.replace('  train:', '  train: 5\n  other:').encode(), 'datasets.train'),
        ('a.yml', RELEASED.replace('lr: 0.0005', 'lr: fast').encode(), 'train.optim_g.lr'),
        ('a.yml', yaml.safe_dump({'network_g': {'dim': 3}}).encode(), 'n_blocks'),
    ],
)
def test_foreign_files_are_one_line(tmp_path, capsys, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SystemExit) as caught:
        convert_official.main([str(tmp_path / name), '--output', str(tmp_path / 'ours')])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / 'ours' / name).exists()


def test_a_file_is_never_overwritten(tmp_path, capsys):
    (tmp_path / 'released.yml').write_text(RELEASED)
    with pytest.raises(SystemExit):
        convert_official.main([str(tmp_path / 'released.yml'), '--output', str(tmp_path)])
    assert 'another --output' in capsys.readouterr().err
    assert (tmp_path / 'released.yml').read_text() == RELEASED
