"""The model class on validation sets: figures and pictures."""

import pytest
import torch
from model_runs import Loader, Pictures, make_opt, train

from sst.models import SSTModel
from sst.ops.backends.fused import INSTALLED
from sst.utils.errors import UserError


def test_the_moving_average_isvalidated_unless_asked_otherwise(tmp_path):
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
        model.validated.clear()
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
        model.validated.clear()
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
