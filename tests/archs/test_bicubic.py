import numpy as np
import pytest
import torch
from basicsr.archs import build_network

from sst.archs.bicubic_arch import Bicubic
from sst.ops.imresize import imresize


def test_is_in_the_registry_and_has_no_parameters():
    network = build_network({'type': 'Bicubic', 'scale': 3})
    assert isinstance(network, Bicubic)
    assert not list(network.parameters())


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_enlarges_each_picture_of_a_batch_as_imresize_does(scale):
    levels = np.random.default_rng(0).integers(0, 256, (2, 7, 11, 3), dtype=np.uint8)
    batch = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
    result = Bicubic(scale)(batch)
    assert result.shape == (2, 3, 7 * scale, 11 * scale)
    assert result.dtype == torch.float32
    for picture, enlarged in zip(levels, result, strict=True):
        assert np.array_equal(enlarged.mul(255).round().byte().permute(1, 2, 0).numpy(), imresize(picture, scale))


def test_quantises_and_clips_its_input():
    batch = torch.tensor([-0.3, 1.2, 100.4 / 255]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    result = Bicubic(2)(batch).mul(255)
    assert torch.allclose(result[0, :, 0, 0], torch.tensor([0.0, 255.0, 100.0]))
