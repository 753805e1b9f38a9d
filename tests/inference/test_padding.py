import pytest
import torch

from sst.inference import padded


@pytest.mark.parametrize('shape', [(8, 8), (5, 11), (3, 2), (1, 1)])
def test_the_network_sees_multiples_and_the_result_has_the_right_size(shape):
    def nearest(lr):
        assert lr.shape[-2] % 8 == lr.shape[-1] % 8 == 0
        return torch.nn.functional.interpolate(lr, scale_factor=3)

    lr = torch.rand(1, 3, *shape)
    expected = torch.nn.functional.interpolate(lr, scale_factor=3)
    assert torch.equal(padded(nearest, lr, scale=3, multiple=8), expected)
