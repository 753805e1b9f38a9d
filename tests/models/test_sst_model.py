"""The model class without the loops around it: one process, random pictures."""

import copy
from pathlib import Path

import pytest
import torch
from helpers import assert_close, tiny_options

from sst.models import ESRModel, SSTModel
from sst.ops.backends.fused import INSTALLED
from sst.utils.errors import UserError


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
    for name in ('models', 'training_states', 'visualization'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    metric = {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True, 'better': 'higher'}
    return {
        'name': 'run',
        'is_train': True,
        'scale': 2,
        'num_gpu': 0,
        'dist': False,
        'rank': 0,
        'world_size': 1,
        'network_g': {'type': 'SST', **tiny_options(num_blocks=1)},
        'datasets': {'train': {}, **{f'val_{name}': {'name': name} for name in sets}},
        'path': {name: str(folder / name) for name in ('models', 'training_states', 'visualization')}
        | {'results_root': str(folder)},
        'train': {
            'total_iter': 4,
            'ema_decay': 0.9,
            'optim_g': {'type': 'AdamW', 'lr': 1e-3, 'betas': [0.9, 0.9]},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [100]},
            'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
            'accumulate': 1,
            'amp': None,
            'grad_clip': None,
            **train,
        },
        'val': {'val_freq': 2, 'metrics': {'psnr': metric}, 'pbar': False, 'num_workers': 0},
    }


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


def test_a_step_is_adamw_on_the_l1_loss(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    twin = copy.deepcopy(model.net_g)
    optimizer = torch.optim.AdamW(twin.parameters(), lr=1e-3, betas=(0.9, 0.9), fused=True)
    for iteration in (1, 2, 3):
        data = batch(iteration)
        loss = (twin(data['lq']) - data['gt']).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert train(model, iteration, iteration)[0] == pytest.approx(loss.item(), rel=1e-6)
    assert torch.equal(weights(model.net_g), weights(twin))


def test_moving_average(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    expected = weights(model.net_g)
    for iteration in (1, 2, 3):
        train(model, iteration, iteration)
        expected = 0.9 * expected + 0.1 * weights(model.net_g)
    assert_close(weights(model.net_g_ema), expected, 1e-6)


def test_accumulation_changes_nothing_but_memory(tmp_path):
    torch.manual_seed(1)
    whole = SSTModel(make_opt(tmp_path))
    parts = SSTModel(make_opt(tmp_path, accumulate=4))
    parts.net_g.load_state_dict(whole.net_g.state_dict())
    assert train(parts, 1, 5) == pytest.approx(train(whole, 1, 5), rel=1e-5)


def test_clipping_bounds_the_gradient(tmp_path):
    model = SSTModel(make_opt(tmp_path, grad_clip=0.01))
    train(model, 1, 1)
    norm = torch.cat([p.grad.flatten() for p in model.net_g.parameters()]).norm()
    assert norm.item() == pytest.approx(0.01, rel=1e-3)


def test_bf16_training_stays_near_float32(tmp_path):
    torch.manual_seed(1)
    exact, half = SSTModel(make_opt(tmp_path)), SSTModel(make_opt(tmp_path, amp='bf16'))
    half.net_g.load_state_dict(exact.net_g.state_dict())
    assert train(half, 1, 4) == pytest.approx(train(exact, 1, 4), rel=1e-2)
    assert all(p.dtype == torch.float32 for p in half.net_g.parameters())


def test_rates_follow_the_schedule(tmp_path):
    model = SSTModel(make_opt(tmp_path, scheduler={'type': 'MultiStepLR', 'milestones': [3], 'gamma': 0.5}))
    rates = []
    for iteration in range(1, 6):
        model.update_learning_rate(iteration, 2)
        rates += model.get_current_learning_rate()
    assert rates == pytest.approx([5e-4, 1e-3, 1e-3, 5e-4, 5e-4])


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    model.feed_data({'lq': torch.full((1, 3, 8, 8), float('nan')), 'gt': torch.zeros(1, 3, 16, 16)})
    model.optimize_parameters(1)
    with pytest.raises(UserError, match='not finite'):
        model.get_current_log()


# ---- checkpoints


def saved(folder):
    return sorted(path.name for path in [*(folder / 'models').iterdir(), *(folder / 'training_states').iterdir()])


@pytest.mark.parametrize('how', [{}, {'amp': 'bf16'}, {'optim_g': {'type': 'Muon', 'lr': 1e-3}}], ids=str)
def test_resumed_training_equals_uninterrupted_to_the_bit(tmp_path, how):
    torch.manual_seed(5)
    model = SSTModel(make_opt(tmp_path, **how))
    train(model, 1, 3)
    model.save(0, 3)
    train(model, 4, 6)

    torch.manual_seed(99)
    opt = make_opt(tmp_path, **how)
    file = str(tmp_path / 'models' / 'net_g_3.pth')
    opt['path'] |= {'pretrain_network_g': file, 'param_key_g': 'params', 'resume_models': file}
    resumed = SSTModel(opt)
    resumed.resume_training(torch.load(tmp_path / 'training_states' / '3.state', weights_only=True))
    train(resumed, 4, 6)
    assert torch.equal(weights(resumed.net_g), weights(model.net_g))
    assert torch.equal(weights(resumed.net_g_ema), weights(model.net_g_ema))


def test_a_checkpoint_waits_for_the_last_validation_set(tmp_path):
    model = SSTModel(make_opt(tmp_path, 'a', 'b'))
    model.save(0, 2)
    assert saved(tmp_path) == []
    model.validation(Loader(Pictures('a')), 2, None)
    assert saved(tmp_path) == []
    model.validation(Loader(Pictures('b')), 2, None)
    assert saved(tmp_path) == ['2.state', 'net_g_2.pth']
    state = torch.load(tmp_path / 'training_states' / '2.state', weights_only=True)
    assert state['best_metric_results']['b']['psnr']['iter'] == 2


def test_a_checkpoint_without_validation_is_written_at_once(tmp_path):
    model = SSTModel(make_opt(tmp_path, 'a'))
    model.save(0, 3)  # val_freq is 2
    assert saved(tmp_path) == ['3.state', 'net_g_3.pth']


def test_a_failing_validation_loses_no_checkpoint(tmp_path):
    model = SSTModel(make_opt(tmp_path, 'a'))
    model.save(0, 2)
    broken = Pictures('a')
    broken.pairs[1] = (torch.rand(4, 8, 8), torch.rand(3, 16, 16))
    with pytest.raises(UserError, match=r'fails on a/1\.png \(8x8\)'):
        model.validation(Loader(broken), 2, None)
    assert saved(tmp_path) == ['2.state', 'net_g_2.pth']


def test_a_checkpoint_that_cannot_be_written_is_an_error(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    model.opt['path']['models'] = str(tmp_path / 'gone')
    with pytest.raises(UserError, match='gone'):
        model.save(0, 3)


def test_checkpoints_hold_both_weights_and_the_network(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    train(model, 1, 1)
    model.save(-1, -1)
    content = torch.load(tmp_path / 'models' / 'net_g_latest.pth', weights_only=True)
    assert torch.equal(content['params']['stem.weight'], model.net_g.stem.weight)
    assert torch.equal(content['params_ema']['stem.weight'], model.net_g_ema.stem.weight)
    assert content['network_g']['window_sizes'] == [4, 6]


def test_the_end_of_a_run_has_a_state_to_go_on_from(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    model.save(0, 2)
    model.save(-1, -1)
    assert saved(tmp_path) == ['2.state', '4.state', 'net_g_2.pth', 'net_g_4.pth', 'net_g_latest.pth']


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    with torch.no_grad():
        model.net_g.stem.weight.fill_(float('nan'))
    with pytest.raises(UserError, match='not finite'):
        model.save(0, 1)
    assert saved(tmp_path) == []


@pytest.mark.parametrize('optimizers', [[], [{}], [{'state': {}, 'param_groups': []}], 'text', [None]], ids=str)
def test_a_state_without_this_optimiser_is_one_line(tmp_path, optimizers):
    model = SSTModel(make_opt(tmp_path))
    with pytest.raises(UserError, match='^[^\n]*does not fit train.optim_g[^\n]*$'):
        model.resume_training({'iter': 1, 'optimizers': optimizers})


def test_a_state_of_other_shapes_is_one_line(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    train(model, 1, 1)
    state = model.optimizers[0].state_dict()
    state['state'][0]['exp_avg'] = torch.zeros(5)
    with pytest.raises(UserError, match=r'exp_avg is \(5,\) for a weight of'):
        model.resume_training({'iter': 1, 'optimizers': [state]})


def test_recomputed_activations_change_nothing(tmp_path):
    losses = []
    for recompute in (False, True):
        torch.manual_seed(0)
        losses.append(train(SSTModel(make_opt(tmp_path, recompute=recompute)), 1, 3))
    assert losses[0] == losses[1]


# ---- rehearsal

REHEARSALS = [
    ({'type': 'EDSR', 'num_in_ch': 1, 'num_out_ch': 3, 'upscale': 2}, 'the network fails on a picture of 9x9'),
    ({'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'upscale': 4}, 'not scale 2'),
    ({'type': 'SwinIR', 'upscale': 2, 'img_size': 8, 'window_size': 8, 'embed_dim': 12, 'depths': [1], 'num_heads': [2],
      'upsampler': 'pixelshuffledirect'}, 'fails on a picture of 9x9'),
]  # fmt: skip


@pytest.mark.parametrize(('network', 'says'), REHEARSALS, ids=[says for _, says in REHEARSALS])
def test_a_network_that_cannot_do_it_is_refused(tmp_path, network, says):
    opt = make_opt(tmp_path)
    opt['network_g'], opt['datasets']['train'] = network, {'gt_size': 18}
    with pytest.raises(UserError, match=says):
        SSTModel(opt).rehearse()


def test_a_network_that_can_is_left_as_it_was(tmp_path):
    opt = make_opt(tmp_path)
    opt['datasets']['train'] = {'gt_size': 18}
    model = SSTModel(opt)
    before = copy.deepcopy(model.net_g.state_dict())
    model.rehearse()
    assert model.net_g.training
    assert all(torch.equal(value, before[name]) for name, value in model.net_g.state_dict().items())


def test_a_network_without_weights_is_not_trained(tmp_path):
    opt = make_opt(tmp_path)
    opt['network_g'] = {'type': 'Bicubic', 'scale': 2}
    with pytest.raises(UserError, match='no parameters to train'):
        SSTModel(opt)


# ---- validation


def test_the_moving_average_is_validated_unless_asked_otherwise(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    train(model, 1, 1)
    assert model.evaluated_network() is model.net_g_ema
    model.opt['val']['use_ema'] = False
    assert model.evaluated_network() is model.net_g


def test_tiles_self_ensemble_and_half_precision(tmp_path):
    model = SSTModel(make_opt(tmp_path, 'a'))
    figures = []
    for options in ({}, {'self_ensemble': True}, {'tile': 12}, {'tile': 1}, {'dtype': 'bfloat16'}):
        model.opt['val'] |= {'self_ensemble': False, 'tile': None, 'tile_overlap': 0, 'dtype': None} | options
        model.validation(Loader(Pictures('a')), 2, None)
        figures.append(model.best_metric_results.pop('a')['psnr']['val'])
        model._validated.clear()
    whole, ensemble, one_tile, tile_of_all_windows, half = figures
    assert whole == one_tile == tile_of_all_windows  # 12 holds both windows, and the pictures of 8 x 9 pixels
    assert ensemble != whole
    assert half != whole
    assert half == pytest.approx(whole, abs=0.05)
    assert model.net_g.stem.weight.dtype == torch.float32


@pytest.mark.skipif(not INSTALLED, reason='Triton is not installed')
def test_fused_layers_give_the_same_figures(tmp_path):
    model = SSTModel(make_opt(tmp_path, 'a'))
    figures = []
    for kernels in (False, True):
        model.opt['val']['fused'] = kernels
        model.validation(Loader(Pictures('a')), 2, None)
        figures.append(model.best_metric_results.pop('a')['psnr']['val'])
        model._validated.clear()
    assert figures[0] == pytest.approx(figures[1], abs=0.01)


def test_swinir_takes_any_size(tmp_path):
    opt = make_opt(tmp_path, 'a')
    small = {'embed_dim': 12, 'depths': [2], 'num_heads': [2], 'mlp_ratio': 1, 'img_size': 8}
    opt['network_g'] = {
        'type': 'SwinIR',
        'upscale': 2,
        'img_size': 8,
        'window_size': 4,
        'upsampler': 'pixelshuffledirect',
    }
    opt['network_g'] |= small
    model = SSTModel(opt)
    model.validation(Loader(Pictures('a')), 2, None)
    assert model.best_metric_results['a']['psnr']['val'] > 0


def test_validation_leaves_training_as_it_was(tmp_path):
    model = SSTModel(make_opt(tmp_path, 'a', ema_decay=0))
    model.validation(Loader(Pictures('a')), 2, None)
    assert model.net_g.training
    assert not hasattr(model, 'output')


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path):
    model = SSTModel(make_opt(tmp_path, 'a'))
    (tmp_path / 'visualization' / 'a').touch()  # where its folder would be
    with pytest.raises(UserError, match='cannot write .*visualization/a/0'):
        model.validation(Loader(Pictures('a')), 2, None, save_img=True)


def test_the_last_iteration_is_not_validated_twice(tmp_path):
    model = SSTModel(make_opt(tmp_path, 'a'))
    pictures = Pictures('a')
    model.validation(Loader(pictures), 2, None)
    model.save(-1, -1)
    pictures.pairs = None  # would fail if it were read again
    model.validation(Loader(pictures), 2, None)
    assert 'net_g_latest.pth' in saved(tmp_path)


def test_pictures_are_saved_and_shown(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    model = SSTModel(make_opt(tmp_path, 'a'))
    writer = SummaryWriter(str(tmp_path / 'tb'))
    model.validation(Loader(Pictures('a')), 2, writer, save_img=True)
    writer.close()
    assert (tmp_path / 'visualization' / 'a' / '1' / '1_2.png').exists()
    events = EventAccumulator(str(tmp_path / 'tb')).Reload()
    assert events.Tags()['scalars'] == ['metrics/a/psnr']
    assert sorted(events.Tags()['images']) == ['a/0', 'a/1', 'a/2']


def test_released_option_files_find_their_model_type():
    from basicsr.utils.registry import MODEL_REGISTRY

    assert MODEL_REGISTRY.get('ESRModel') is ESRModel
    assert issubclass(ESRModel, SSTModel)


def test_perceptual_and_missing_losses(tmp_path):
    with pytest.raises(UserError, match='pixel_opt'):
        SSTModel(make_opt(tmp_path, pixel_opt=None))


def test_weights_come_from_the_file_named(tmp_path):
    donor = SSTModel(make_opt(tmp_path))
    donor.save(-1, -1)
    opt = make_opt(tmp_path)
    opt['path']['pretrain_network_g'] = str(tmp_path / 'models' / 'net_g_latest.pth')
    assert torch.equal(weights(SSTModel(opt).net_g), weights(donor.net_g))
