"""The model class without the loops around it: one process, random pictures."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from helpers import assert_close, tiny_escrib
from model_runs import Loader, Pictures, batch, make_opt, train, weights

from sst.models import ESRModel, SSTModel
from sst.ops.backends.fused import INSTALLED
from sst.utils.errors import UserError


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


def test_losses_are_added_and_logged_by_name(tmp_path):
    torch.manual_seed(1)
    sections = [{'type': 'L1Loss', 'loss_weight': 1.0}, {'type': 'MSELoss'}, {'type': 'L1Loss', 'loss_weight': 0.5}]
    listed = SSTModel(make_opt(tmp_path, losses=sections[::2], pixel_opt=None))
    single = SSTModel(make_opt(tmp_path, pixel_opt={'type': 'L1Loss', 'loss_weight': 1.5}))
    single.net_g.load_state_dict(listed.net_g.state_dict())
    for model in (listed, single):
        model.feed_data(batch(1))
        model.optimize_parameters(1)
    assert listed.get_current_log().keys() == {'l_L1Loss', 'l_L1Loss.2'}
    assert sum(listed.get_current_log().values()) == pytest.approx(single.get_current_log()['l_pix'], rel=1e-6)
    for ours, theirs in zip(listed.net_g.parameters(), single.net_g.parameters(), strict=True):
        assert_close(ours.grad, theirs.grad, 1e-6)
    assert SSTModel(make_opt(tmp_path, losses=sections)).losses.keys() == {
        'l_pix',
        'l_L1Loss',
        'l_MSELoss',
        'l_L1Loss.2',
    }


@pytest.mark.parametrize(('key', 'name'), [('pixel_opt', 'l_pix'), ('perceptual_opt', 'l_percep')])
def test_aliases_mean_a_loss_of_the_list(tmp_path, key, name):
    section = {'type': 'CharbonnierLoss', 'loss_weight': 0.5}
    listed = SSTModel(make_opt(tmp_path, pixel_opt=None, losses=[section]))
    alias = SSTModel(make_opt(tmp_path, **{'pixel_opt': None, key: section}))
    alias.net_g.load_state_dict(listed.net_g.state_dict())
    for model in (listed, alias):
        model.feed_data(batch(1))
        model.optimize_parameters(1)
    assert alias.get_current_log() == {name: listed.get_current_log()['l_CharbonnierLoss']}
    for ours, theirs in zip(listed.net_g.parameters(), alias.net_g.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


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


def test_recomputed_activations_change_nothing(tmp_path):
    losses = []
    for recompute in (False, True):
        torch.manual_seed(0)
        losses.append(train(SSTModel(make_opt(tmp_path, recompute=recompute)), 1, 3))
    assert losses[0] == losses[1]


@pytest.mark.skipif(not INSTALLED, reason='Triton is not installed')
@pytest.mark.parametrize('recompute', [False, True])
def test_fused_layers_train_the_same_network(tmp_path, recompute):
    losses, networks = [], []
    for kernels in (False, True):
        torch.manual_seed(0)
        model = SSTModel(make_opt(tmp_path, fused_layers=kernels, recompute=kernels and recompute))
        model.feed_data(batch(1))
        model.optimize_parameters(1)
        losses.append(model.get_current_log()['l_pix'])
        networks.append(model.net_g)
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    gradients = [torch.cat([p.grad.flatten() for p in net.parameters()]) for net in networks]
    assert not torch.equal(*gradients)  # the kernels sum in another order
    assert_close(*gradients, 1e-5)


@pytest.mark.parametrize('recompute', [False, True])
def test_escrib_trains_and_validates(tmp_path, recompute):
    opt = make_opt(tmp_path, 'set', recompute=recompute, accumulate=2)
    opt['network_g'] = {'type': 'ESCRIB', **tiny_escrib()}
    torch.manual_seed(0)
    model = SSTModel(opt)
    model.rehearse()
    losses = [train(model, 1, 1)[0] for _ in range(8)]  # the same batch each time
    assert losses[-1] < losses[0]
    data = Pictures()
    model.opt['val'] |= {'dtype': 'bfloat16', 'metrics': model.opt['val']['metrics']}
    model.validation(Loader(data), 1, None)
    assert model.best_metric_results['set']['psnr']['val'] > 0


REHEARSALS = [
    ({'type': 'EDSR', 'num_in_ch': 1, 'num_out_ch': 3, 'upscale': 2}, '9x9'),
    ({'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'upscale': 4}, 'not scale 2'),
    ({'type': 'SwinIR', 'upscale': 2, 'img_size': 8, 'window_size': 8, 'embed_dim': 12, 'depths': [1], 'num_heads': [2],
      'upsampler': 'pixelshuffledirect'}, '9x9'),
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


def test_released_option_files_find_their_model_type():
    from basicsr.utils.registry import MODEL_REGISTRY

    assert MODEL_REGISTRY.get('ESRModel') is ESRModel
    assert issubclass(ESRModel, SSTModel)


def _join(rank, folder, results):
    dist.init_process_group('gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    model = SimpleNamespace(opt={'dist': True}, device=torch.device('cpu'))
    results[rank] = SSTModel._all_of(model, [True, rank == 0, False])  # type: ignore[arg-type]
    dist.destroy_process_group()


def test_processes_take_the_kernels_that_all_of_them_can_use(tmp_path):
    results = torch.multiprocessing.Manager().dict()
    torch.multiprocessing.spawn(_join, (str(tmp_path), results), nprocs=2)
    assert dict(results) == {0: [True, False, False], 1: [True, False, False]}
