"""Options against code that is not ours."""

import pytest
import torch
from pydantic import ValidationError

from sst.models.optimiser import build_optimisers
from sst.options import load_options
from sst.options.parts import from_signature, parameters_of
from sst.options.registries import OPTIMISERS, scale_in

PERCEPTUAL = 'train: {{perceptual_opt: {{type: PerceptualLoss, {}}}}}'
REFUSED = [
    ('train: {optim_g: {type: adamw}}', 'train.optim_g.type', ['"adamw"', '"AdamW"?']),
    ('train: {optim_g: {type: Optimizer}}', 'train.optim_g.type', ['"Optimizer"']),
    ('train: {optim_g: {beta: [0.9, 0.9]}}', 'train.optim_g.beta', ['"betas"?']),
    ('train: {optim_g: {params: 3}}', 'train.optim_g.params', []),
    ('train: {optim_g: {betas: [2, 0.9]}}', 'train.optim_g.betas', ['[2, 0.9]', 'AdamW']),
    ('train: {optim_g: {betas: [0.9, .nan]}}', 'train.optim_g.betas.1', ['NaN']),
    ('train: {optim_g: {weight_decay: -1}}', 'train.optim_g.weight_decay', ['-1', 'AdamW']),
    ('train: {optim_g: {betas: [0.9]}}', 'train.optim_g.betas', ['[0.9]', 'AdamW']),
    ('train: {optim_g: {fused: abc}}', 'train.optim_g.fused', ['"abc"']),
    ('train: {optim_g: {maximize: null}}', 'train.optim_g.maximize', ['null']),
    ('train: {optim_g: {differentiable: true}}', 'train.optim_g.differentiable', ['true', 'AdamW']),
    ('train: {optim_g: {type: LBFGS}}', 'train.optim_g.type', ['"LBFGS"', 'AdamW']),
    ('train: {pixel_opt: {type: L1Los}}', 'train.pixel_opt.type', ['"L1Los"', '"L1Loss"?']),
    ('train: {pixel_opt: {loss_wieght: 1}}', 'train.pixel_opt.loss_wieght', ['"loss_weight"?']),
    ('train: {pixel_opt: {loss_weight: x}}', 'train.pixel_opt.loss_weight', ['"x"']),
    ('train: {pixel_opt: {reduction: none}}', 'train.pixel_opt.reduction', ['"none"']),
    ('train: {pixel_opt: {type: GANLoss, gan_type: lsgan}}', 'train.pixel_opt.type', ['"GANLoss"']),
    ('train: {perceptual_opt: {type: PerceptualLoss}}', 'train.perceptual_opt.layer_weights', []),
    (PERCEPTUAL.format('layer_weights: null'), 'train.perceptual_opt.layer_weights', ['null']),
    (PERCEPTUAL.format('layer_weights: {}'), 'train.perceptual_opt.layer_weights', []),
    (PERCEPTUAL.format('layer_weights: {conv5_5: 1}'), 'train.perceptual_opt.layer_weights.conv5_5', ['"conv5_4"?']),
    (PERCEPTUAL.format('layer_weights: {conv5_4: x}'), 'train.perceptual_opt.layer_weights.conv5_4', ['"x"']),
    (
        PERCEPTUAL.format('layer_weights: {conv5_4: 1}, vgg_type: vgg91'),
        'train.perceptual_opt.vgg_type',
        ['"vgg91"', '"vgg19"?'],
    ),
    (PERCEPTUAL.format('layer_weights: {conv5_4: 1}, criterion: l2'), 'train.perceptual_opt.criterion', ['"l2"']),
    ('val: {metrics: {psnr: {type: calc_psnr}}}', 'val.metrics.psnr.type', ['"calc_psnr"', '"calculate_psnr"?']),
    ('val: {metrics: {psnr: {crop_boarder: 2}}}', 'val.metrics.psnr.crop_boarder', ['"crop_border"?']),
    ('val: {metrics: {psnr: {img: 2}}}', 'val.metrics.psnr.img', ['crop_border']),
    ('val: {metrics: {psnr: {crop_border: x}}}', 'val.metrics.psnr.crop_border', ['"x"']),
    ('val: {metrics: {psnr: {crop_border: -.inf}}}', 'val.metrics.psnr.crop_border', ['-Infinity']),
    ('val: {metrics: {psnr: {test_y_channel: 1}}}', 'val.metrics.psnr.test_y_channel', ['1']),
    ('val: {metrics: {psnr: {input_order: CHW}}}', 'val.metrics.psnr.input_order', ['"CHW"', 'HWC']),
    ('val: {metrics: {psnr: {type: calculate_psnr_pt}}}', 'val.metrics.psnr.type', []),
    (
        'val: {metrics: {x: {type: calculate_niqe, crop_border: 2, convert_to: rgb}}}',
        'val.metrics.x.convert_to',
        ['"rgb"'],
    ),
    ('val: {metrics: {psnr: {better: more}}}', 'val.metrics.psnr.better', ['"more"']),
    ('val: {metrics: {x: {type: calculate_psnr}}}', 'val.metrics.x.crop_border', ['calculate_psnr']),
    (
        'network_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3, upscale: 2, num_feats: 3}',
        'network_g.num_feats',
        ['"num_feat"?'],
    ),
    ('network_g: {type: EDSR, num_in_ch: 3, upscale: 2}', 'network_g.num_out_ch', ['EDSR']),
    ('network_g: {type: SwinIR, upscale: 2, windows_size: 8}', 'network_g.windows_size', ['"window_size"?']),
]


@pytest.mark.parametrize(('text', 'key', 'mentioned'), REFUSED, ids=[text for text, *_ in REFUSED])
def test_refusal(refusal, text, key, mentioned):
    message = refusal(text)
    assert message.startswith(f'{key}: ')
    assert [text for text in mentioned if text not in message] == []


def test_every_optimiser_that_is_let_in_trains_convolutions(leaf):
    for name in OPTIMISERS.keys() - OPTIMISERS.unfit.keys():
        options = load_options(leaf(f'train: {{optim_g: {{type: {name}}}}}'))['train']['optim_g']
        net = torch.nn.Conv2d(3, 4, 3)
        optimisers_of_it = build_optimisers(list(net.parameters()), options)
        net(torch.ones(1, 3, 3, 3)).sum().backward()
        before = net.weight.detach().clone()
        for optimiser in optimisers_of_it:
            optimiser.step()
        assert not torch.equal(net.weight, before), name


def test_losses_and_optimisers_of_other_types(leaf):
    text = 'train: {pixel_opt: {type: CharbonnierLoss, eps: 1e-9}, optim_g: {type: SGD, momentum: 0.9}}'
    train = load_options(leaf(text))['train']
    assert train['pixel_opt'] == {'type': 'CharbonnierLoss', 'loss_weight': 1.0, 'reduction': 'mean', 'eps': 1e-9}
    assert train['optim_g']['momentum'] == 0.9


class Base:
    def __init__(self, width: int, scale: int = 4) -> None: ...


class Passing(Base):
    def __init__(self, depth: int = 3, **kwargs) -> None: ...


class Closed(Base):
    def __init__(self, depth: int = 3) -> None: ...


class Anything:
    def __init__(self, **kwargs) -> None: ...


def test_parameters_handed_on_to_the_base():
    assert set(parameters_of(Passing)) == {'width', 'scale', 'depth'}
    assert set(parameters_of(Closed)) == {'depth'}


def test_nothing_is_known_of_bare_kwargs():
    assert from_signature('Anything', Anything).model_validate({'type': 'Anything', 'x': 1}).model_dump()['x'] == 1
    with pytest.raises(ValidationError):
        from_signature('Closed', Closed).model_validate({'type': 'Closed', 'x': 1})


@pytest.mark.parametrize(
    ('network', 'found'),
    [
        ({'scale': 2, 'upscale': 3}, ('scale', 2)),
        ({'dim': 4, 'upscale': '3'}, ('upscale', '3')),
        ({'upscaling_factor': 4}, ('upscaling_factor', 4)),
        ({'up_scale': 3}, ('up_scale', 3)),
        ({'upsampling': 2}, ('upsampling', 2)),
        ({'upsampling': 'nearest', 'up_scale': True}, ('', None)),
        ({}, ('', None)),
    ],
)
def test_the_scale_under_any_name(network, found):
    assert scale_in(network) == found
