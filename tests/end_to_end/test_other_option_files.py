"""Option files in the style of BasicSR, and of the released SST, train and test as they are."""

import json

import pytest
from runs import run

TRAIN = """\
name: {name}
model_type: {model}
scale: 2
num_gpu: auto  # 1 in most files, which needs a GPU
manual_seed: 10
datasets:
  train:
    name: DIV2K
    type: PairedImageDataset
    dataroot_gt: data/HR
    dataroot_lq: data/LR
    meta_info_file: data/meta_info.txt
    filename_tmpl: '{{}}x2'
    io_backend:
      type: disk
    gt_size: 32
    use_hflip: true
    use_rot: true
    use_shuffle: true
    num_worker_per_gpu: 1
    batch_size_per_gpu: 2
    dataset_enlarge_ratio: 100
    prefetch_mode: ~
  val:
    name: Set5
    type: PairedImageDataset
    dataroot_gt: data/HR
    dataroot_lq: data/LR
    filename_tmpl: '{{}}x2'
    io_backend:
      type: disk
network_g:
{network}
path:
  pretrain_network_g: ~
  strict_load_g: true
  resume_state: ~
train:
  ema_decay: 0.999
  optim_g:
    type: Adam
    lr: !!float 1e-4
    weight_decay: 0
    betas: [0.9, 0.99]
  scheduler:
    type: MultiStepLR
    milestones: [!!float 2e5, 400000]
    gamma: 0.5
  total_iter: !!float 4
  warmup_iter: -1  # no warm up
  pixel_opt:
    type: L1Loss
    loss_weight: 1.0
    reduction: mean
val:
  val_freq: !!float 5e3
  save_img: false
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: 2
      test_y_channel: false
logger:
  print_freq: 1
  save_checkpoint_freq: !!float 5e3
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~
dist_params:
  backend: nccl
  port: 29500
"""
TEST = """\
name: {name}_test
model_type: {model}
scale: 2
num_gpu: auto
manual_seed: 0
datasets:
  test_1:
    name: Set5
    type: PairedImageDataset
    dataroot_gt: data/HR
    dataroot_lq: data/LR
    filename_tmpl: '{{}}x2'
    io_backend:
      type: disk
network_g:
{network}
path:
  pretrain_network_g: experiments/{name}/models/net_g_latest.pth
  strict_load_g: true
val:
  save_img: true
  suffix: ~
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: 2
      test_y_channel: true
    ssim:
      type: calculate_ssim
      crop_border: 2
      test_y_channel: true
"""
EDSR = """\
  type: EDSR
  num_in_ch: 3
  num_out_ch: 3
  num_feat: 8
  num_block: 2
  upscale: 2
  res_scale: 0.1
  img_range: 255.
  rgb_mean: [0.4488, 0.4371, 0.4040]"""
SWINIR = """\
  type: SwinIR
  upscale: 2
  in_chans: 3
  img_size: 16
  window_size: 8
  img_range: 1.
  depths: [2, 2]
  embed_dim: 12
  num_heads: [2, 2]
  mlp_ratio: 2
  upsampler: 'pixelshuffle'
  resi_connection: '1conv'"""
RELEASED = """\
  type: SST
  dim: 12
  n_blocks: 1
  window_sizes: [4, 8]
  num_heads: [2, 2]
  exp_ratio: 1.5
  attn_type: RIB
  ranks: [2, 4]
  rib_hidden_dim: 32
  rib_n_freqs: 10
  upscaling_factor: 2
  gate_type: DWC
  upsampler_type: pixelshuffle
  intermediate_dim: 8"""


@pytest.mark.parametrize(
    ('model', 'network'),
    [('SRModel', EDSR), ('SwinIRModel', SWINIR), ('ESRModel', RELEASED)],
    ids=['EDSR', 'SwinIR', 'released SST'],
)
def test_trains_and_tests(folder, model, network):
    (folder / 'data/meta_info.txt').write_text(''.join(f'p{index}.png (36,44,3)\n' for index in range(4)))
    for file, text in (('train.yml', TRAIN), ('test.yml', TEST)):
        (folder / file).write_text(text.format(name='theirs', model=model, network=network))
    run(folder, 'sst-train', '-opt', 'train.yml')
    states = [path.name for path in (folder / 'experiments/theirs/models').iterdir()]
    assert 'net_g_latest.pth' in states
    run(folder, 'sst-test', '-opt', 'test.yml')
    figures = json.loads((folder / 'results/theirs_test/metrics.json').read_text())
    assert figures['Set5']['images'] == 5
    assert 5 < figures['Set5']['psnr'] < 40
