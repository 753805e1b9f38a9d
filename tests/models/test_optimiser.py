"""Fused optimisers against torch's plain ones: a loop over the weights."""

import copy

import pytest
import torch
from helpers import assert_close
from model_runs import batch, make_opt

from sst.models import SSTModel
from sst.models.optimiser import build_optimiser, build_optimisers, restore
from sst.utils.errors import UserError

OPTIONS = {
    'AdamW': {'type': 'AdamW', 'lr': 1e-2, 'betas': [0.9, 0.99], 'weight_decay': 0.1},
    'AdamW, amsgrad': {'type': 'AdamW', 'lr': 1e-2, 'amsgrad': True},
    'Adam': {'type': 'Adam', 'lr': 1e-2, 'weight_decay': 0.1},
    'SGD': {'type': 'SGD', 'lr': 1e-2, 'momentum': 0.9, 'nesterov': True},
    'Adagrad': {'type': 'Adagrad', 'lr': 1e-2},
}
WITHOUT = {'type': 'RMSprop', 'lr': 1e-2}  # torch has no fused one


def weights(layout=torch.channels_last):
    """A convolution in the layout of the maps, a depthwise one, a matrix and a bias."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((5, 3, 3, 3), (7, 1, 3, 3), (4, 13), (17,))
    values = [torch.randn(shape, generator=generator) for shape in shapes]
    return [torch.nn.Parameter(v.to(memory_format=layout) if v.dim() == 4 else v) for v in values]


def step(optimizer, trained, first, last, scaler=None, clip=None):
    for number in range(first, last + 1):
        generator = torch.Generator().manual_seed(number)
        for weight in trained:
            gradient = torch.randn(weight.shape, generator=generator)
            weight.grad = torch.empty_like(weight).copy_(gradient if scaler is None else scaler.scale(gradient))
        if scaler is None:
            optimizer.step()
            continue
        if clip:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(trained, clip)
        scaler.step(optimizer)
        scaler.update()


def flat(tensors):
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


@pytest.mark.parametrize('options', OPTIONS.values(), ids=OPTIONS)
def test_fused_steps_are_the_plain_ones(options):
    fused, plain = weights(), weights()
    optimizer = build_optimiser(fused, options)
    assert optimizer.defaults['fused'] is True
    step(optimizer, fused, 1, 5)
    step(build_optimiser(plain, options | {'fused': False}), plain, 1, 5)
    assert_close(flat(fused), flat(plain), 1e-6)


@pytest.mark.parametrize('clip', [None, 0.1])
def test_loss_scaling_and_clipping_are_the_plain_ones(clip):
    results = []
    for fused in (True, False):
        trained, scaler = weights(), torch.amp.GradScaler('cpu', init_scale=1024.0, growth_interval=2)
        optimizer = build_optimiser(trained, OPTIONS['AdamW'] | {'fused': fused})
        step(optimizer, trained, 1, 5, scaler, clip)
        results.append(flat(trained))
    assert_close(*results, 1e-6)


def test_a_step_with_infinite_gradients_is_left_out():
    trained, scaler = weights(), torch.amp.GradScaler('cpu', init_scale=1024.0)
    before = flat(trained)
    optimizer = build_optimiser(trained, OPTIONS['AdamW'])
    for weight in trained:
        weight.grad = scaler.scale(torch.full_like(weight, float('inf')))
    scaler.step(optimizer)
    scaler.update()
    assert torch.equal(flat(trained), before)
    assert scaler.get_scale() == 512


@pytest.mark.parametrize('clip', [None, 0.5])
@pytest.mark.parametrize('broken', ['matrix', 'vector', None])
def test_of_several_optimisers_all_or_none_take_a_step(broken, clip, tmp_path):
    model = SSTModel(make_opt(tmp_path, grad_clip=clip, optim_g={'type': 'Muon', 'lr': 1e-3}))
    model.scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)
    net = model.net_g
    before = flat(net.parameters())
    if broken:
        weight = net.blocks[0].layers[0].attn.qkv
        victim = weight.weight if broken == 'matrix' else weight.bias
        victim.register_hook(lambda gradient: gradient * float('inf'))
    model.update_learning_rate(1)
    model.feed_data(batch(0))
    model.optimize_parameters(1)
    assert len(model.optimizers) == 2
    assert torch.equal(flat(net.parameters()), before) == (broken is not None)
    assert model.scaler.get_scale() == (512 if broken else 1024)


@pytest.mark.parametrize('choice', [{'fused': False}, {'foreach': True}, {'foreach': False}], ids=str)
def test_what_is_asked_for_is_taken(choice):
    optimizer = build_optimiser(weights(), OPTIONS['AdamW'] | choice)
    assert not optimizer.defaults['fused']
    assert optimizer.defaults | choice == optimizer.defaults


def test_an_optimiser_without_fused_steps_is_plain():
    trained, expected = weights(), weights()
    step(build_optimiser(trained, WITHOUT), trained, 1, 3)
    step(torch.optim.RMSprop(expected, lr=1e-2), expected, 1, 3)
    assert torch.equal(flat(trained), flat(expected))


def test_what_cannot_be_fused_is_plain_unless_asked_for():
    """As on a device that lacks the kernel."""
    trained = [torch.nn.Parameter(torch.zeros(3, dtype=torch.complex64))]
    assert not build_optimiser(trained, OPTIONS['AdamW']).defaults['fused']
    with pytest.raises(
        UserError, match=r'^train\.optim_g\.fused: true, which AdamW refuses on cpu \([^\n]*leave it out$'
    ):
        build_optimiser(trained, OPTIONS['AdamW'] | {'fused': True})


@pytest.mark.parametrize('options', [*OPTIONS.values(), WITHOUT], ids=[*OPTIONS, 'RMSprop'])
@pytest.mark.parametrize('layout', [torch.channels_last, torch.contiguous_format], ids=['as it lies', 'otherwise'])
def test_going_on_from_a_state_is_the_same_to_the_bit(options, layout, tmp_path):
    trained = weights()
    optimizer = build_optimiser(trained, options)
    step(optimizer, trained, 1, 3)
    state = copy.deepcopy(optimizer.state_dict())
    for memory in state['state'].values():
        for name, value in memory.items():
            if torch.is_tensor(value) and value.dim() == 4:
                memory[name] = value.to(memory_format=layout)
    torch.save(state, tmp_path / 'state')
    resumed = copy.deepcopy(trained)
    step(optimizer, trained, 4, 6)

    second = build_optimiser(resumed, options)
    restore(second, torch.load(tmp_path / 'state', weights_only=True))
    step(second, resumed, 4, 6)
    assert torch.equal(flat(resumed), flat(trained))


@pytest.mark.parametrize('before', [True, False])
def test_a_state_of_the_other_kind_serves(before):
    """A run may go on where steps are computed otherwise."""
    trained = weights()
    first = build_optimiser(trained, OPTIONS['AdamW'] | {'fused': before})
    step(first, trained, 1, 3)
    resumed = copy.deepcopy(trained)
    second = build_optimiser(resumed, OPTIONS['AdamW'] | {'fused': not before})
    restore(second, copy.deepcopy(first.state_dict()))
    assert second.param_groups[0]['fused'] is not before
    step(first, trained, 4, 6)
    step(second, resumed, 4, 6)
    assert_close(flat(resumed), flat(trained), 1e-6)


MUON = {'type': 'Muon', 'lr': 1e-2, 'weight_decay': 0.1}


def test_muon_takes_the_matrices_and_adamw_the_rest():
    trained, expected = weights(), weights()
    *rest, matrix, bias = expected
    plain = [
        torch.optim.Muon([matrix], lr=1e-2, weight_decay=0.1, adjust_lr_fn='match_rms_adamw'),
        torch.optim.AdamW([*rest, bias], lr=1e-2, betas=(0.9, 0.99), weight_decay=0.1),
    ]
    optimisers = build_optimisers(trained, MUON)
    for number in range(1, 6):
        for both, parameters in ((optimisers, trained), (plain, expected)):
            generator = torch.Generator().manual_seed(number)
            for weight in parameters:
                weight.grad = torch.empty_like(weight).copy_(torch.randn(weight.shape, generator=generator))
            for optimizer in both:
                optimizer.step()
    assert_close(flat(trained), flat(expected), 1e-6)


def test_muon_has_one_optimiser_where_there_is_one_kind_of_weights():
    matrix, bias = torch.nn.Parameter(torch.zeros(3, 4)), torch.nn.Parameter(torch.zeros(3))
    assert [type(optimizer).__name__ for optimizer in build_optimisers([matrix], MUON)] == ['Muon']
    assert [type(optimizer).__name__ for optimizer in build_optimisers([bias], MUON)] == ['AdamW']
