"""CAT-A: published sizes, attention beside its equation, batches, image sizes, gradients."""

import pytest
import torch
from helpers import assert_close, picture
from rival_checks import check_batch, check_gradients, check_training_step, on_meta, parameters

from sst.rivals.cat_arch import CAT, SIZES, AxialAttention

COUNTS = {2: 16_456_103, 3: 16_640_743, 4: 16_603_815}
TINY = {
    'embed_dim': 96,
    'depth': [2],
    'num_heads': [4],
    'split_size_0': [2],
    'split_size_1': [0],
    'mlp_ratio': 1.0,
    'drop_path_rate': 0.0,
}


@pytest.mark.parametrize('scale', COUNTS)
def test_published_counts(scale):
    assert parameters(on_meta(CAT, upscale=scale, **SIZES['CAT-A'])) == COUNTS[scale]


def test_defaults_are_the_published_size():
    assert parameters(on_meta(CAT)) == COUNTS[2]


def by_its_equation(layer, qkv):
    """Attention in each window, where windows are H x w; the map is turned for those that are w x W."""
    if layer.axis == 1:
        qkv = qkv.transpose(1, 2)
    rows, columns = qkv.shape[1:3]
    position = (torch.arange(columns) - layer.shift) % columns  # of each column in the rolled map
    result = torch.zeros_like(qkv.chunk(3, dim=-1)[0])
    for first in range(0, columns, layer.short):
        inside = sorted(
            torch.nonzero(position // layer.short == first // layer.short).flatten(), key=lambda c: position[c]
        )
        inside = torch.stack(inside)
        q, k, v = qkv[:, :, inside].flatten(1, 2).unflatten(-1, (3, layer.heads, -1)).permute(2, 0, 3, 1, 4)
        y = torch.arange(rows).repeat_interleave(len(inside)).double()
        x = torch.arange(len(inside)).repeat(rows)
        steps = [y[:, None] - y, (x[:, None] - x).double()]
        bias = layer.pos(torch.stack(steps[::-1] if layer.axis == 1 else steps, dim=-1)).permute(2, 0, 1)
        torn = (inside[x] < layer.shift)[:, None] != (inside[x] < layer.shift)
        scores = q @ k.mT * q.shape[-1] ** -0.5 + bias - 100.0 * torn
        result[:, :, inside] = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2).unflatten(1, (rows, -1))
    return result.transpose(1, 2) if layer.axis == 1 else result


@pytest.mark.parametrize('shifted', [False, True])
@pytest.mark.parametrize('wide', [False, True])
@pytest.mark.parametrize('size', [(4, 4), (8, 12)], ids=str)
def test_attention_is_its_equation(size, wide, shifted):
    layer, qkv = AxialAttention(24, 2, 4, shifted, wide).double(), torch.randn(2, *size, 72).double()
    with torch.no_grad():
        assert_close(layer(qkv), by_its_equation(layer, qkv), 1e-12)


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('size', [(1, 1), (3, 8), (6, 5)], ids=str)
def test_batch_equals_single_images_at_any_size(size, scale):
    result = check_batch(CAT(**TINY, upscale=scale), *size)
    assert result.shape == (2, 3, scale * size[0], scale * size[1])
    assert result.isfinite().all()


def test_gradients():
    check_gradients(CAT(**TINY, upsampler='pixelshuffledirect'), 4, 6)


def test_training_step():
    check_training_step(CAT(**TINY), 2, 6, 8)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype):
    net, image = CAT(**TINY).eval(), picture(6, 8)
    with torch.no_grad():
        exact = net(image)
        assert_close(net.to(dtype)(image.to(dtype)), exact, 2e-2)


@pytest.mark.parametrize(
    'wrong',
    [{'num_heads': [3]}, {'split_size_0': [0]}, {'split_size_1': [4]}, {'split_size_0': [2, 2]}, {'img_range': 255.0}],
    ids=str,
)
def test_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CAT(**TINY | wrong)
