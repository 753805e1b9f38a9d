"""What the model class writes and goes on from."""

import pytest
import torch
from model_runs import Loader, Pictures, make_opt, saved, train, weights

from sst.driver.resume import read_whole_state
from sst.models import SSTModel
from sst.utils.errors import UserError


@pytest.mark.parametrize('how', [{}, {'amp': 'bf16'}, {'optim_g': {'type': 'Muon', 'lr': 1e-3}}], ids=str)
def test_resumed_training_equals_uninterrupted_to_the_bit(tmp_path, how):
    torch.manual_seed(5)
    model = SSTModel(make_opt(tmp_path, **how))
    train(model, 1, 3)
    model.save(0, 3)
    train(model, 4, 6)

    torch.manual_seed(99)
    resumed = SSTModel(make_opt(tmp_path, **how))
    resumed.resume_training(read_whole_state(tmp_path / 'training_states' / '3.state'))
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
    model.save(0, 3)
    state = read_whole_state(tmp_path / 'training_states' / '3.state')
    with pytest.raises(UserError, match=r'^[^\n]*3\.state[^\n]*train\.optim_g[^\n]*$'):
        model.resume_training(state | {'optimizers': optimizers})


def test_a_state_of_other_shapes_is_one_line(tmp_path):
    model = SSTModel(make_opt(tmp_path))
    train(model, 1, 1)
    model.save(0, 3)
    state = read_whole_state(tmp_path / 'training_states' / '3.state')
    state['optimizers'][0]['state'][0]['exp_avg'] = torch.zeros(5)
    with pytest.raises(UserError, match=r'exp_avg.*\(5,\)'):
        model.resume_training(state)


def test_the_last_iteration_is_not_validated_twice(tmp_path):
    model = SSTModel(make_opt(tmp_path, 'a'))
    pictures = Pictures('a')
    model.validation(Loader(pictures), 2, None)
    model.save(-1, -1)
    pictures.pairs = None  # would fail if it were read again
    model.validation(Loader(pictures), 2, None)
    assert 'net_g_latest.pth' in saved(tmp_path)


def test_weights_come_from_the_file_named(tmp_path):
    donor = SSTModel(make_opt(tmp_path))
    donor.save(-1, -1)
    opt = make_opt(tmp_path)
    opt['path']['pretrain_network_g'] = str(tmp_path / 'models' / 'net_g_latest.pth')
    assert torch.equal(weights(SSTModel(opt).net_g), weights(donor.net_g))


def test_a_run_killed_at_its_very_end_does_not_validate_again(tmp_path):
    model = SSTModel(make_opt(tmp_path, 'a'))
    pictures = Pictures('a')
    model.save(0, 4)
    model.validation(Loader(pictures), 4, None)
    resumed = SSTModel(make_opt(tmp_path, 'a'))
    resumed.resume_training(read_whole_state(tmp_path / 'training_states' / '4.state'))
    pictures.pairs = None  # would fail if it were read again
    resumed.validation(Loader(pictures), 4, None)
    assert resumed.best_metric_results == model.best_metric_results
