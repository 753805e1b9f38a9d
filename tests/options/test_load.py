"""Whole files: what comes out, and one line for each thing that is wrong."""

import inspect
import logging
import re
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sst.options import OptionsError, load_options
from sst.options.schema import Options

ROOT = Path(__file__).parents[2]
DEMO = ROOT / 'options' / 'demo.yml'

DEGRADED = 'datasets: {{val_2: {{name: x, type: DegradedImageDataset, dataroot_gt: a, degradation: {}}}}}'
VAL = 'datasets: {{val_1: {{{}}}}}'
LQ = 'datasets.val_1.dataroot_lq'
META = 'datasets.val_1.meta_info_file'
FIRST = 'datasets.val_2.degradation.first'
EDSR = 'network_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3, upscale: 2}'
ESCRIB = (  # as in the released files
    'network_g: {{type: ESCRIB, dim: 64, pdim: 16, kernel_size: 13, n_blocks: 5, conv_blocks: 5, window_size: 64, '
    'num_heads: {}}}'
)
REFUSED = [
    # top level
    ('nmae: x', 'nmae', ['"name"?']),
    ('name: runs/x', 'name', ['"runs/x"']),
    ('name: "a\\0b"', 'name', ['"a\\u0000b"']),
    (f'name: {"x" * 200}', 'name', ['150']),
    ('model_type: SSTModle', 'model_type', ['"SSTModle"', '"SSTModel"?']),
    ('scale: two', 'scale', ['"two"']),  # others refer to it
    ('scale: "2"', 'scale', ['"2"']),
    ('scale: true', 'scale', ['true']),
    ('num_gpu: -1', 'num_gpu', ['-1', '0']),
    ('num_gpu: false', 'num_gpu', ['false', '0']),
    ('manual_seed: -1', 'manual_seed', ['-1', '0']),
    ('val: {suffix: a/b}', 'val.suffix', ['"a/b"']),
    ('dist_params: {backend: nccl2}', 'dist_params.backend', ['"nccl2"', '"nccl"?']),
    ('val: {metrics: {images: {type: calculate_psnr, crop_border: 2}}}', 'val.metrics.images', []),
    ('val: null', 'val', ['null']),
    ('val: {min_size: 32}', 'val.min_size', ['64', 'delete']),
    ('path: {pretrain_network: x.pth}', 'path.pretrain_network', ['"pretrain_network_g"?']),
    ('logger: {wandb: {projcet: x}}', 'logger.wandb.projcet', ['"project"?']),
    # data
    ('datasets: {trian: {name: x}}', 'datasets.trian', ['"train"?']),
    ('datasets: {train: {batch_size: 4, batch_size_per_gpu: 4}}', 'datasets.train.batch_size_per_gpu', ['batch_size']),
    ('datasets: {train: {num_worker_per_gpu: x}}', 'datasets.train.num_workers', ['"x"']),
    ('use_shuffle: true', 'use_shuffle', []),
    ('datasets: {val_1: {scale: 2}}', 'datasets.val_1.scale', []),
    ('train: {accumulate: 3}\ndatasets: {train: {batch_size: 8}}', 'datasets.train.batch_size', ['8', '3']),
    ('datasets: {train: {gt_size: 65}}', 'datasets.train.gt_size', ['65', '2', '64']),
    ('datasets: {train: {prefetch_mode: gpu}}', 'datasets.train.prefetch_mode', ['"gpu"']),
    ('datasets: {train: null}', 'datasets.train', []),
    ('datasets: {train: {optional: true}}', 'datasets.train.optional', []),
    ('datasets: {val_1: {gt_size: 64}}', 'datasets.val_1.gt_size', ['PairedImageDataset']),
    ('datasets: {val_1: {name: demo}}', 'datasets.val_1.name', ['"demo"']),
    ('datasets: {val_1: {name: ..}}', 'datasets.val_1.name', ['".."']),
    ('datasets: {val_1: {filename_tmpl: "{}{x}"}}', 'datasets.val_1.filename_tmpl', ['"{}{x}"']),
    ('datasets: {val_1: {io_backend: {type: tar}}}', 'datasets.val_1.io_backend.type', ['"tar"']),
    ('datasets: {val_1: {type: PairedDataset}}', 'datasets.val_1.type', ['"PairedDataset"', 'BasicSR']),
    ('datasets: {val_1: {type: SingleImageDataset, mean: {r: [.nan]}}}', 'datasets.val_1.mean.r.0', ['NaN']),
    ('datasets: {val_2: {name: x}}', 'datasets.val_2.type', ['PairedImageDataset']),
    (
        VAL.format('io_backend: {type: lmdb}, dataroot_gt: a.lmdb, dataroot_lq: b'),
        'datasets.val_1.dataroot_lq',
        ['"b"'],
    ),
    ('datasets: {val_1: {dataroot_gt: []}}', 'datasets.val_1.dataroot_gt', ['[]']),
    ('datasets: {val_1: {dataroot_gt: 3}}', 'datasets.val_1.dataroot_gt', ['3', 'LMDB']),
    (VAL.format('dataroot_gt: [a, b], dataroot_lq: [c]'), LQ, ['1', 'dataroot_gt', '2']),
    ('datasets: {val_1: {dataroot_gt: a.lmdb, dataroot_lq: b}}', LQ, ['"b"', 'LMDB']),
    (
        VAL.format('dataroot_gt: [a, b], dataroot_lq: [a, b], meta_info_file: c'),
        'datasets.val_1.meta_info_file',
        ['"c"'],
    ),
    (
        VAL.format('type: DownsampleImageDataset, dataroot_lq: b'),
        'datasets.val_1.dataroot_lq',
        ['DownsampleImageDataset'],
    ),
    (DEGRADED.format('{first: {noise_range: [9, 3]}}'), f'{FIRST}.noise_range', ['[9.0, 3.0]', '3', '0', '9']),
    (DEGRADED.format('{first: {noise_range: [9]}}'), f'{FIRST}.noise_range', ['[9]', '2']),
    (DEGRADED.format('{first: {blur_sigma: [0, 3]}}'), f'{FIRST}.blur_sigma.0', ['0']),
    (DEGRADED.format('{first: {resize_range: [1.2, 2]}}'), f'{FIRST}.resize_range', ['[1.2, 2.0]', '1']),
    (DEGRADED.format('{first: {resize_prob: [1, 1, 0]}}'), f'{FIRST}.resize_prob', ['[1.0, 1.0, 0.0]', '1']),
    (DEGRADED.format('{first: {jpeg_range: [30.5, 95]}}'), f'{FIRST}.jpeg_range.0', ['30.5']),
    (DEGRADED.format('{first: {jpeg_rnge: [1, 2]}}'), f'{FIRST}.jpeg_rnge', ['"jpeg_range"?']),
    (DEGRADED.format('{jpeg_range2: [1, 2]}'), 'datasets.val_2.degradation.jpeg_range2', ['jpeg_range']),
    ('datasets: {train: {second_blur_prob: 1}}', 'datasets.train.second_blur_prob', ['blur_prob']),
    # network
    ('network_g: {num_heads: 5}', 'network_g.num_heads', ['5', '1', '2', '3', '4', '6', '8']),
    ('network_g: {n_blocks: 3}', 'network_g.n_blocks', ['num_blocks']),
    ('network_g: {bias: {rank: 3}}', 'network_g.bias.rank', ['"ranks"?']),
    ('network_g: {type: null}', 'network_g.type', ['null', 'SST', 'from_weights', 'BasicSR']),
    ('network_g: {type: [a]}', 'network_g.type', ['["a"]', 'SST']),
    (ESCRIB.format(0), 'network_g', ['num_heads', '0', '1']),
    (ESCRIB.format('[4]'), 'network_g', ['num_heads', '[4]', '1']),
    ('network_g: {scale: 4}', 'network_g.scale', ['4', '2']),
    ('network_g: {type: RRDBNet, num_in_ch: 3, num_out_ch: 3, scale: 4}', 'network_g.scale', ['4', '2']),
    ('network_g: 3', 'network_g', ['3']),
    (f'{EDSR}\nval: {{dtype: "float16"}}', 'val.dtype', ['"float16"']),
    (f'{EDSR}\nval: {{fused: true}}', 'val.fused', ['true']),
    (f'{EDSR}\nval: {{graphs: 1000}}', 'val.graphs', ['1000']),
    (f'{EDSR}\ntrain: {{fused_layers: true}}', 'train.fused_layers', ['false', 'EDSR']),
    # training
    ('train: {total_itr: 5}', 'train.total_itr', ['"total_iter"?']),
    ('train: {total_iter: 0}', 'train.total_iter', ['0', '1']),
    ('train: {grad_clip: .nan}', 'train.grad_clip', ['NaN']),
    ('train: {losses: [], pixel_opt: null}', 'train.losses', ['pixel_opt']),
    ('train: {losses: [{type: L1Los}]}', 'train.losses.0.type', ['"L1Loss"?']),
    ('train: {optim_g: {lr: 0}}', 'train.optim_g.lr', ['0']),
    ('train: {scheduler: {periods: [5]}}', 'train.scheduler.periods', ['[5]', 'total_iter', '1200']),
    ('train: {scheduler: {restart_weights: [1, 1]}}', 'train.scheduler.restart_weights', ['[1.0, 1.0]', '1200']),
    ('train: {scheduler: {type: Cosine}}', 'train.scheduler.type', ['"Cosine"', 'CosineAnnealingRestartLR']),
    ('train: {scheduler: {type: MultiStepLR}}', 'train.scheduler.milestones', []),
    ('train: {scheduler: {type: MultiStepLR, milestones: [3, 3]}}', 'train.scheduler.milestones', ['[3, 3]']),
    ('train: {gan_opt: {type: GANLoss}}', 'train.gan_opt', []),
]


@pytest.mark.parametrize(('text', 'key', 'mentioned'), REFUSED, ids=[text for text, *_ in REFUSED])
def test_refusal_names_file_and_key(refusal, text, key, mentioned):
    message = refusal(text)
    assert message.startswith(f'{key}: ')
    assert [text for text in mentioned if text not in message] == []


BASICSR = """\
model_type: SRModel
num_gpu: 1
is_train: true
print_network: false
find_unused_parameters: false
dist_params: {backend: nccl, port: 29500}
datasets:
  train:
    phase: train
    io_backend: {type: disk}
    use_hflip: true
    use_rot: true
    use_shuffle: true
    num_worker_per_gpu: 6
    batch_size_per_gpu: 4
    dataset_enlarge_ratio: 100
    prefetch_mode: ~
    num_prefetch_queue: 1
    persistent_workers: true
  val_1:
    phase: val
    io_backend: {type: disk}
    use_shuffle: false
    batch_size_per_gpu: 1
    num_worker_per_gpu: 1
    use_hflip: false
path: {pretrain_network_g: ~, strict_load: false, resume_state: ~}
train: {total_iter: !!float 3e5, scheduler: {periods: [4e5]}}
val: {val_freq: !!float 5e3}
logger: {print_freq: 1e2, save_checkpoint_freq: !!float 6}
"""


def test_basicsr_s_keys_are_taken_with_a_note_or_left_out(leaf, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger('basicsr'), 'propagate', True)
    caplog.set_level(logging.INFO, logger='basicsr')
    path = leaf(BASICSR)
    found, plain = load_options(path, processes=2), load_options(DEMO)
    train, val = found['datasets']['train'], found['datasets']['val_1']
    assert (found['model_type'], found['num_gpu'], found['path']['strict_load_g']) == ('SSTModel', 1, False)
    assert (train['batch_size'], train['num_workers']) == (8, 6)
    assert train.keys() == plain['datasets']['train'].keys()
    assert val.keys() == plain['datasets']['val_1'].keys()
    assert found.keys() == plain.keys()
    notes = [record.getMessage() for record in caplog.records]
    assert all(note.startswith(f'{path}: ') for note in notes)
    left_out = ('is_train', 'print_network', 'use_shuffle', 'dataset_enlarge_ratio', 'phase', 'persistent_workers')
    taken = ('model_type', 'batch_size_per_gpu', 'num_worker_per_gpu', 'strict_load')
    for key in left_out + taken:
        assert any(key in note for note in notes), key


def test_sizes_that_sstreal_is_extended_to_are_known(leaf, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger('basicsr'), 'propagate', True)
    caplog.set_level(logging.INFO, logger='basicsr')
    path = leaf('val: {min_size: 64}')
    assert load_options(path)['val'] == load_options(DEMO)['val']
    (note,) = {record.getMessage() for record in caplog.records}
    assert note.startswith(f'{path}: val.min_size 64')


def test_whole_numbers_are_integers_however_they_are_written(leaf):
    found = load_options(leaf(BASICSR + 'scale: !!float 2\nname: x${scale}\nmanual_seed: 5e3\n'))
    numbers = [found['train']['total_iter'], found['val']['val_freq'], found['logger']['save_checkpoint_freq']]
    numbers += [*found['train']['scheduler']['periods'], found['scale'], found['network_g']['scale']]
    numbers += [found['datasets']['train']['gt_size'], found['manual_seed']]
    assert numbers == [300_000, 5000, 6, 400_000, 2, 2, 64, 5000]
    assert all(type(number) is int for number in numbers)
    assert found['name'] == 'x2'


def test_a_file_s_batch_goes_before_its_base_s(tmp_path, leaf):
    (tmp_path / 'base.yml').write_text(f'_base_: {DEMO}\ndatasets: {{train: {{batch_size_per_gpu: 3}}}}')
    assert load_options(tmp_path / 'base.yml')['datasets']['train']['batch_size'] == 3
    (tmp_path / 'leaf.yml').write_text('_base_: base.yml\ndatasets: {train: {batch_size: 5}}')
    assert load_options(tmp_path / 'leaf.yml', processes=2)['datasets']['train']['batch_size'] == 5
    override = ['datasets:train:batch_size_per_gpu=${mul:2,${scale}}']
    assert load_options(tmp_path / 'leaf.yml', override, processes=2)['datasets']['train']['batch_size'] == 8


def test_every_fault_has_its_line(leaf):
    path = leaf(
        'nmae: x\nnetwork_g: {dmi: 3, dim: "4"}\ntrain: {optim_g: {bets: 3}}\nval: {metrics: {psnr: {crop: 1}}}'
    )
    with pytest.raises(OptionsError) as caught:
        load_options(path)
    keys = [line.split(': ')[1] for line in str(caught.value).splitlines()]
    assert sorted(keys) == ['network_g.dim', 'network_g.dmi', 'nmae', 'train.optim_g.bets', 'val.metrics.psnr.crop']


def test_a_fault_names_the_file_of_the_chain(tmp_path):
    (tmp_path / 'base.yml').write_text(f'_base_: {DEMO}\nscale: 4\ntrain: {{total_iter: x}}')
    (tmp_path / 'leaf.yml').write_text('_base_: base.yml\nscale: 2')
    with pytest.raises(OptionsError, match=rf'^{tmp_path}/base.yml: train.total_iter: '):
        load_options(tmp_path / 'leaf.yml')


def test_an_empty_file_lacks_what_has_no_default(tmp_path):
    (tmp_path / 'empty.yml').touch()
    with pytest.raises(OptionsError) as caught:
        load_options(tmp_path / 'empty.yml')
    keys = [line.split(': ')[1] for line in str(caught.value).splitlines()]
    assert keys == ['name', 'scale', 'datasets', 'network_g']


def test_result_is_plain_and_complete_and_loads_again(tmp_path):
    options = load_options(DEMO)
    (tmp_path / 'saved.yml').write_text(yaml.safe_dump(options))
    assert yaml.safe_load((tmp_path / 'saved.yml').read_text()) == options == load_options(tmp_path / 'saved.yml')
    assert options['network_g']['num_heads'] == [3, 3, 3]
    assert options['train']['accumulate'] == 1
    assert options['datasets']['train']['gt_size'] == 64
    assert options['train']['scheduler']['periods'] == [1200]
    assert options['val']['metrics']['psnr']['crop_border'] == 2


def test_test_file_has_no_training_sections():
    options = load_options(ROOT / 'options' / 'test.yml')
    assert 'train' not in options
    assert 'logger' not in options
    assert 'train' not in options['datasets']


def test_training_data_without_training():
    with pytest.raises(OptionsError, match=r'data/demo.yml: datasets.train: '):
        load_options(DEMO, ['train=null'])


def test_null_leaves_out_a_set_or_metric():
    options = load_options(DEMO, ['datasets:val_1=null', 'val:metrics:ssim=null'])
    assert list(options['datasets']) == ['train']
    assert list(options['val']['metrics']) == ['psnr']


def test_scale_of_the_command_line_carries_through():
    options = load_options(ROOT / 'options' / 'test.yml', ['scale=4'])
    assert options['network_g']['scale'] == 4
    assert options['val']['metrics']['psnr']['crop_border'] == 4
    for dataset in options['datasets'].values():
        assert dataset['dataroot_lq'].endswith('/LR_bicubic/X4')
        assert dataset['filename_tmpl'] == '{}x4'


def test_other_datasets_may_have_other_keys(leaf):
    options = load_options(leaf('datasets: {val_1: {type: SingleImageDataset, mean: [0.5, 0.5, 0.5]}}'))
    assert options['datasets']['val_1']['mean'] == [0.5, 0.5, 0.5]


def test_other_networks_replace_ours(leaf):
    options = load_options(leaf(EDSR))
    assert options['network_g'] == {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'upscale': 2}


# A key with one letter wrong, anywhere in a file.

DEMO_OPTIONS = load_options(DEMO)
FREE = [('val', 'metrics')]  # the user names what stands below


def places(section: dict, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in section.items():
        found += [(*above, key)] if above not in FREE else []
        found += places(value, (*above, key)) if isinstance(value, dict) else []
    return found


@pytest.mark.parametrize(
    ('overrides', 'start'),
    [
        (['scale=5'], '--force_yml: scale: '),
        (['network_g:scale=5'], '--force_yml: network_g.scale: '),
        (['a=5'], '--force_yml: a: '),
    ],
)
def test_a_value_of_the_command_line_is_not_blamed_on_a_file_that_takes_it(overrides, start):
    with pytest.raises(OptionsError) as caught:
        load_options(Path(__file__).parents[2] / 'options' / 'test.yml', overrides)
    assert [line.startswith(start) for line in str(caught.value).splitlines()] == [True]


def known_names() -> set[str]:
    schema = Options.model_json_schema()
    sections = [schema, *schema['$defs'].values()]
    optimiser = inspect.signature(torch.optim.AdamW).parameters
    return {name for section in sections for name in section.get('properties', {})} | set(optimiser) | {'input_order'}


@settings(max_examples=40)
@given(data=st.data())
def test_any_misspelt_key_is_refused_by_name(tmp_path_factory, data):
    *section, key = data.draw(st.sampled_from(places(DEMO_OPTIONS)))
    at = data.draw(st.integers(0, len(key) - 1))
    letter = data.draw(st.sampled_from('abcdefghijklmnopqrstuvwxyz_'))
    wrong = data.draw(
        st.sampled_from([key[:at] + key[at + 1 :], key[:at] + letter + key[at:], key[:at] + key[at] + key[at:]])
    )
    assume(wrong and wrong not in known_names())
    assume(not (section == ['datasets'] and re.fullmatch(r'(val|test)(_\w+)?', wrong)))
    content: dict = {wrong: 1}
    for part in reversed(section):
        content = {part: content}
    path = tmp_path_factory.mktemp('misspelt') / 'leaf.yml'
    path.write_text(yaml.safe_dump({'_base_': str(DEMO), **content}))
    with pytest.raises(OptionsError) as caught:
        load_options(path)
    lines = str(caught.value).splitlines()
    assert f'{path}: {".".join([*section, wrong])}: ' in lines[0]
    assert len(lines) == 1
