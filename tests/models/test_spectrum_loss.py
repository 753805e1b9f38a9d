"""The strength of frequencies as a loss."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sst.models import SpectrumLoss
from sst.utils.errors import UserError


def stripes(phase, strength=0.4):
    """Grey stripes of 8 pixels, (1, 3, 64, 64)."""
    wave = 0.5 + strength * torch.sin(2 * math.pi * torch.arange(64) / 8 + phase)
    return wave.expand(1, 3, 64, 64)


def test_the_value_is_that_of_the_equation():
    sr, hr = torch.rand(2, 3, 24, 32), torch.rand(2, 3, 24, 32)
    taper = np.sin(np.pi * np.arange(8) / 8) ** 2
    found = []
    for image, other in zip(sr.numpy(), hr.numpy(), strict=True):
        for top in range(0, 24 - 7, 4):
            for left in range(0, 32 - 7, 4):
                strengths = []
                for picture in (image, other):
                    luma = np.tensordot((0.299, 0.587, 0.114), picture[:, top : top + 8, left : left + 8], 1)
                    strengths.append(np.abs(np.fft.rfft2(luma * np.outer(taper, taper))) / 8)
                found.append(np.abs(strengths[0] - strengths[1]).mean())
    assert SpectrumLoss(0.5, size=8)(sr, hr).item() == pytest.approx(0.5 * np.mean(found), rel=1e-5)


def test_it_minds_lost_detail_and_not_its_place():
    loss, hr = SpectrumLoss(), stripes(0)
    moved, flat = stripes(math.pi / 2), torch.full_like(hr, 0.5)
    assert F.l1_loss(moved, hr) > F.l1_loss(flat, hr)
    assert loss(moved, hr) < 0.3 * loss(flat, hr)
    assert loss(hr, hr) == 0


def test_it_brings_detail_back():
    """Descent on a faint wave makes it as strong as the other one, at its own place."""
    weak, loss = stripes(1.0, strength=0.02).clone().requires_grad_(), SpectrumLoss()
    optimiser = torch.optim.Adam([weak], lr=0.01)
    for _ in range(200):
        optimiser.zero_grad()
        loss(weak, stripes(0)).backward()
        optimiser.step()
    assert weak.detach()[..., 16:48, 16:48].std() > 0.9 * stripes(0).std()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_flat_images_have_finite_gradients(dtype):
    sr = torch.zeros(1, 3, 32, 32, dtype=dtype, requires_grad=True)
    SpectrumLoss()(sr, torch.rand(1, 3, 32, 32)).backward()
    assert sr.grad is not None
    assert sr.grad.isfinite().all()


@pytest.mark.parametrize('size', [2, 7, 0])
def test_other_sizes_are_refused(size):
    with pytest.raises(UserError, match='size'):
        SpectrumLoss(size=size)


def test_patches_smaller_than_a_window_are_refused():
    with pytest.raises(UserError, match='gt_size'):
        SpectrumLoss(size=16)(torch.rand(1, 3, 12, 40), torch.rand(1, 3, 12, 40))
