"""LPIPS as a loss, with a package of that name that computes something simple."""

import sys
from types import ModuleType
from urllib.error import URLError

import pytest
import torch
from torch import nn

from sst.models import LPIPSLoss
from sst.utils.errors import UserError


class Distance(nn.Module):
    """The mean squared distance of each pair, of images in [-1, 1]."""

    def __init__(self, net, verbose):
        super().__init__()
        self.net, self.weight = net, nn.Parameter(torch.ones(1))

    def forward(self, first, second, normalize=False):
        assert not self.training
        if normalize:
            first, second = 2 * first - 1, 2 * second - 1
        return self.weight * ((first - second) ** 2).mean((1, 2, 3), keepdim=True)


@pytest.fixture
def package(monkeypatch):
    module = ModuleType('lpips')
    module.LPIPS = Distance
    monkeypatch.setitem(sys.modules, 'lpips', module)
    return module


@pytest.mark.parametrize('signed', [False, True])
def test_the_range_of_images_is_the_model_s(package, signed):
    loss = LPIPSLoss(0.5, signed=signed)
    sr, hr = torch.rand(2, 3, 8, 8, requires_grad=True), torch.rand(2, 3, 8, 8)
    first, second = (2 * sr - 1, 2 * hr - 1) if signed else (sr, hr)
    value = loss(first, second)
    assert value.item() == pytest.approx(0.5 * 4 * ((sr - hr) ** 2).mean().item())
    value.backward()
    assert sr.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())


def test_the_network_is_an_option(package):
    assert LPIPSLoss().distance.net == 'vgg'
    assert LPIPSLoss(network='alex').distance.net == 'alex'


def test_missing_weights_are_told_with_what_to_type(package):
    def fails(**_):
        raise URLError('no network')

    package.LPIPS = fails
    with pytest.raises(UserError, match=r'weights of vgg.*no network.*loss_weight=0'):
        LPIPSLoss()


def test_a_missing_package_is_told_with_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, 'lpips', None)
    with pytest.raises(UserError, match=r"lpips.*pip install 'sst-sr\[perceptual\]'.*loss_weight=0"):
        LPIPSLoss()
