"""SSTRealModel: one step against the equations, weight decay, and what is refused."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from basicsr.utils.registry import LOSS_REGISTRY
from helpers import tiny_real_options
from model_runs import make_opt
from real_networks import lively
from torch import nn

from sst.archs import SSTReal
from sst.models import SSTRealModel
from sst.models.consistency import layer_seed, level, sample_noise
from sst.models.optimiser import build_optimisers, undecayed
from sst.options import Options, OptionsError, checked_options
from sst.utils.errors import UserError
from sst.utils.meta import on_meta

OPTIONS = Path(__file__).parents[2] / 'options'
SEED, BATCH = 5, 4


def real_opt(folder, network=None, consistency=None, **train):
    opt = make_opt(folder) | {'scale': 4, 'manual_seed': SEED, 'model_type': 'SSTRealModel'}
    opt['network_g'] = {'type': 'SSTReal', **tiny_real_options(**(network or {}))}
    opt['datasets']['train'] |= {'gt_size': 32, 'batch_size': BATCH}
    plain = checked_options(OPTIONS / 'train_SSTReal_tiny_x4.yml').plain()['train']['consistency']
    opt['train'] |= {'consistency': plain | (consistency or {}), 'pixel_opt': charbonnier(0.5)} | train
    return opt


def charbonnier(weight):
    return {'type': 'CharbonnierLoss', 'loss_weight': weight, 'eps': 1e-12}


def batch(seed=0, enlarged=True):
    generator = torch.Generator().manual_seed(seed)
    images = {
        'lq': torch.rand(BATCH, 3, 8, 8, generator=generator),
        'gt': torch.rand(BATCH, 3, 32, 32, generator=generator),
    }
    return images | ({'lq_up': torch.rand(BATCH, 3, 32, 32, generator=generator)} if enlarged else {})


def lively_model(folder, network=None, **more):
    torch.manual_seed(0)
    model = SSTRealModel(real_opt(folder, network, **more))
    weights = lively(**(network or {})).state_dict()
    for net in (model.net_g, model.net_g_ema):
        net.load_state_dict(weights)
    return model


def step(model, iteration, data):
    model.feed_data(data)
    model.optimize_parameters(iteration)
    return model.get_current_log()


@pytest.mark.parametrize('indices', [[0, 0, 0, 0], [2, 2, 2, 2], [0, 3, 1, 0]])
def test_a_step_is_the_published_one(tmp_path, monkeypatch, indices):
    iteration = 3
    first = (iteration - 1) * BATCH
    drawn = {first + place: index for place, index in enumerate(indices[:BATCH])}
    monkeypatch.setattr('sst.models.real_model.drawn_level', lambda seed, position, count: drawn[position])
    consistency = {'start_steps': 5, 'end_steps': 3, 'length': 9, 'middle_weight': 0.25}  # from step 3 on 5 levels
    model = lively_model(tmp_path, {'dropout': 0.5}, consistency=consistency)
    net, data = deepcopy(model.net_g), batch()
    log = step(model, iteration, data)

    lq, gt, enlarged = (2 * data[key] - 1 for key in ('lq', 'gt', 'lq_up'))
    noise = sample_noise(SEED, list(drawn), (3, 32, 32))
    targets, inputs, sigmas = [], [], []
    for place, index in enumerate(drawn.values()):
        one = slice(place, place + 1)
        (alpha, sigma), (next_alpha, next_sigma) = (
            level(each, 5, real_opt(tmp_path)['train']['consistency']) for each in (index, index + 1)
        )
        x = gt[one] + alpha * (enlarged[one] - gt[one]) + sigma * noise[one]
        with torch.no_grad():
            targets.append(net.eval().denoised(x, sigma, lq[one])[1])
        if index == 0:
            assert torch.equal(targets[-1], gt[one])
        inputs.append(gt[one] + next_alpha * (enlarged[one] - gt[one]) + next_sigma * noise[one])
        sigmas.append(next_sigma)
    torch.manual_seed(layer_seed(SEED, iteration, 0))
    with torch.no_grad():
        outputs = net.train()(torch.cat(inputs), torch.tensor(sigmas), lq)
    target = torch.cat(targets)
    middle, last = (0.5 * ((output - target) ** 2 + 1e-12).sqrt().mean().item() for output in outputs)
    assert log == pytest.approx({'l_pix': last, 'l_pix_middle': 0.25 * middle}, rel=1e-5)
    assert model.net_g.training


def test_parts_of_a_batch_give_its_gradient(tmp_path):
    gradients = []
    for parts in (1, 2):
        model = lively_model(tmp_path, accumulate=parts)
        log = step(model, 2, batch())
        gradients.append((log['l_pix'], model.net_g.stem.weight.grad.clone()))
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    torch.testing.assert_close(gradients[0][1], gradients[1][1], rtol=1e-4, atol=1e-7)


class NotingLoss(nn.Module):
    """The mean squared distance. It notes what it gets, and in which range it is told images to be."""

    def __init__(self, loss_weight=1.0, signed=False):
        super().__init__()
        self.signed, self.pairs = signed, []

    def forward(self, output, target):
        self.pairs.append((output, target))
        return ((output - target) ** 2).mean()


@pytest.fixture
def noting_loss(monkeypatch):
    monkeypatch.setitem(LOSS_REGISTRY._obj_map, 'NotingLoss', NotingLoss)
    return {'type': 'NotingLoss'}


def test_losses_get_images_from_minus_1_and_are_told_so(tmp_path, monkeypatch, noting_loss):
    monkeypatch.setattr('sst.models.real_model.drawn_level', lambda *_: 0)
    model, data = lively_model(tmp_path, pixel_opt=noting_loss), batch()
    step(model, 1, data)
    loss = model.losses['l_pix']
    assert loss.signed
    assert len(loss.pairs) == 2
    for _, target in loss.pairs:
        assert torch.equal(target, 2 * data['gt'] - 1)


def test_the_target_has_the_precision_of_the_training(tmp_path, monkeypatch, noting_loss):
    monkeypatch.setattr('sst.models.real_model.drawn_level', lambda *_: 1)
    consistency = {'start_steps': 4, 'end_steps': 4}
    model = lively_model(tmp_path, consistency=consistency, amp='bf16', pixel_opt=noting_loss)
    net, data = deepcopy(model.net_g).eval(), batch()
    step(model, 1, data)
    (_, target), _ = model.losses['l_pix'].pairs

    lq, gt, enlarged = (2 * data[key] - 1 for key in ('lq', 'gt', 'lq_up'))
    alpha, sigma = level(1, 5, model.opt['train']['consistency'])
    x = gt + alpha * (enlarged - gt) + sigma * sample_noise(SEED, [0, 1, 2, 3], (3, 32, 32))
    with torch.no_grad():
        exact = net.denoised(x, sigma, lq)[1]
        with torch.autocast('cpu', torch.bfloat16):
            mixed = net.denoised(x, sigma, lq)[1]
    assert (target - mixed).norm() < 0.1 * (mixed - exact).norm()


def test_the_noise_of_a_sample_is_that_of_its_position_in_any_process(tmp_path, monkeypatch):
    positions = []

    def noted(seed, places, shape):
        positions.append(places)
        return sample_noise(seed, places, shape)

    monkeypatch.setattr('sst.models.real_model.sample_noise', noted)
    for world_size, rank in ((1, 0), (2, 0), (2, 1)):
        model = lively_model(tmp_path)
        model.opt |= {'world_size': world_size, 'rank': rank}
        step(model, 3, {key: images[rank::world_size] for key, images in batch().items()})
    assert positions == [[8, 9, 10, 11], [8, 10], [9, 11]]


def test_every_weight_learns(tmp_path):
    model = lively_model(tmp_path)
    step(model, 1, batch())
    assert [name for name, weight in model.net_g.named_parameters() if weight.grad is None] == []


def test_recomputed_activations_give_the_same_gradient(tmp_path):
    gradients = []
    for recompute in (False, True):
        model = lively_model(tmp_path, {'dropout': 0.3}, recompute=recompute)
        step(model, 1, batch())
        gradients.append(model.net_g.stem.weight.grad.clone())
    torch.testing.assert_close(*gradients)


def test_lr_is_enlarged_where_the_dataset_does_not(tmp_path):
    model = lively_model(tmp_path)
    data = batch(enlarged=False)
    model.feed_data(data)
    expected = torch.nn.functional.interpolate(data['lq'], scale_factor=4, mode='bicubic', align_corners=False)
    torch.testing.assert_close(model.lq_up, (255 * expected).round().clamp(0, 255) / 255)


def test_bfloat16_trains(tmp_path):
    model = lively_model(tmp_path, amp='bf16')
    assert step(model, 1, batch())['l_pix'] == pytest.approx(
        step(lively_model(tmp_path), 1, batch())['l_pix'], rel=0.05
    )


def test_368_of_the_released_weights_do_not_decay():
    with on_meta():
        net = SSTReal()
    free = net.undecayed()
    assert (len(free), len(list(net.parameters()))) == (368, 1620)
    ends = {name.rpartition('blocks.')[2].lstrip('0123456789.') for name in free}
    assert ends >= {'modulation.bias', 'fuse.bias', 'lr_stem.bias', 'last_upsampler.convs.3.weight'}
    assert not {name for name in free if name.endswith(('gamma', 'stem.weight', '.conv.bias'))}


@pytest.mark.parametrize('kind', ['AdamW', 'SGD', 'Muon'])
def test_only_the_others_decay(tmp_path, kind):
    if not hasattr(torch.optim, kind):
        pytest.skip(f'this PyTorch has no {kind}')
    net = lively()
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    options = {'type': kind, 'lr': 0.1, 'weight_decay': 0.5}
    for optimiser in build_optimisers(list(net.parameters()), options, undecayed(net)):
        for group in optimiser.param_groups:
            for weight in group['params']:
                weight.grad = torch.zeros_like(weight)
        optimiser.step()
    kept = {name for name, weight in net.named_parameters() if torch.equal(weight, before[name])}
    assert kept - {name for name in kept if not before[name].any()} == {
        name for name in net.undecayed() if before[name].any()
    }


def test_a_loss_without_weight_is_not_built(tmp_path):
    lpips = {'type': 'LPIPSLoss', 'loss_weight': 0}
    assert list(SSTRealModel(real_opt(tmp_path, perceptual_opt=lpips)).losses) == ['l_pix']
    with pytest.raises(UserError, match='loss_weight'):
        SSTRealModel(real_opt(tmp_path, perceptual_opt=lpips, pixel_opt=charbonnier(0)))


def test_lpips_without_its_package_or_weights_is_refused_in_words(tmp_path):
    with pytest.raises(UserError, match=r'train\.perceptual_opt: LPIPSLoss .*loss_weight=0'):
        SSTRealModel(real_opt(tmp_path, perceptual_opt={'type': 'LPIPSLoss', 'loss_weight': 0.5, 'network': 'vgg'}))


@pytest.mark.parametrize(
    ('change', 'place'),
    [
        ('model_type=SSTModel', 'model_type: must be SSTRealModel'),
        ('train:consistency:start_steps=0', 'start_steps'),
        ('train:consistency:sigma_min=1', 'sigma_min'),
        ('train:consistency:noise_rho=-1', 'noise_rho'),
        ('train:consistency:middle_wieght=1', 'middle_weight'),
        ('datasets:train:degradation:second_prob=2', 'second_prob'),
        ('train:perceptual_opt={type: LPIPSLoss, signed: true}', 'signed'),
        ('train:consistency_opt={}', 'consistency_opt: .*use consistency'),
        ('train:align_opt={}', 'align_opt: .*delete it'),
        ('scale=2', 'scale'),
    ],
)
def test_faulty_options_are_refused(change, place):
    with pytest.raises(OptionsError, match=place):
        checked_options(OPTIONS / 'train_SSTReal_tiny_x4.yml', [change])


@pytest.mark.parametrize(
    ('change', 'place'),
    [('model_type=SSTRealModel', 'model_type: must be SSTModel'), ('train:consistency={}', r'train\.consistency')],
)
def test_other_networks_do_not_start_from_noise(change, place):
    with pytest.raises(OptionsError, match=place):
        checked_options(OPTIONS / 'demo.yml', [change])


def test_the_released_recipe():
    options = checked_options(OPTIONS / 'train_SSTReal_x4.yml')
    assert isinstance(options, Options)
    train, data = options.plain()['train'], options.plain()['datasets']['train']
    assert (train['total_iter'], train['warmup_iter'], train['ema_decay'], train['amp']) == (
        400_000,
        10_000,
        0.999,
        'bf16',
    )
    assert train['optim_g'] == {'type': 'AdamW', 'lr': 1e-4, 'betas': [0.9, 0.99], 'weight_decay': 2e-4}
    assert train['grad_clip'] is None
    assert [train[key]['loss_weight'] for key in ('perceptual_opt', 'pixel_opt')] == [0.5, 0.5]
    assert (train['consistency']['start_steps'], train['consistency']['end_steps']) == (4, 3)
    assert (data['gt_size'], data['batch_size'], data['type']) == (512, 40, 'RealImageDataset')
    assert options.val.val_freq == options.logger.save_checkpoint_freq == 10_000
