import pytest
import torch
from torch import nn

from sst.inference import self_ensemble


def test_is_the_mean_over_the_eight_symmetries():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2)).double()
    lr = torch.rand(2, 3, 5, 7, dtype=torch.float64)
    with torch.no_grad():
        answers = []
        for quarter_turns in range(4):
            for mirrored in (False, True):
                turned = torch.rot90(lr.flip(-1) if mirrored else lr, quarter_turns, (-2, -1))
                answer = torch.rot90(net(turned), -quarter_turns, (-2, -1))
                answers.append(answer.flip(-1) if mirrored else answer)
        expected = torch.stack(answers).mean(0)
        assert torch.allclose(self_ensemble(net, lr), expected, atol=1e-14)


def test_turning_the_picture_turns_the_result():
    net = nn.Conv2d(1, 1, 3, padding=1).double()
    lr = torch.rand(1, 1, 4, 6, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(self_ensemble(net, lr.mT), self_ensemble(net, lr).mT)


def test_what_is_symmetric_stays_itself():
    lr = torch.rand(1, 3, 4, 6)
    assert self_ensemble(lambda x: x, lr).numpy() == pytest.approx(lr.numpy())
