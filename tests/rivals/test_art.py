"""ART: published sizes, attention beside its equation, batches, image sizes, gradients."""

import pytest
import torch
from helpers import assert_close, picture
from rival_checks import check_batch, check_gradients, check_training_step, on_meta, parameters

from sst.rivals import parts
from sst.rivals.art_arch import ART, SIZES, Attention

COUNTS = {2: 16_398_107, 3: 16_582_747, 4: 16_545_819}
TINY = {'embed_dim': 48, 'depths': [2], 'num_heads': [2], 'interval': [2], 'window_size': 4, 'mlp_ratio': 1.0}


@pytest.mark.parametrize('scale', COUNTS)
def test_published_counts(scale):
    assert parameters(on_meta(ART, upscale=scale, **SIZES['ART'])) == COUNTS[scale]


def test_defaults_are_the_published_size():
    assert parameters(on_meta(ART)) == COUNTS[2]


def by_its_equation(layer, x):
    """Attention of each pixel to the pixels of its group, one by one."""
    _, height, width, dim = x.shape
    q, k, v = layer.qkv(x).unflatten(-1, (3, layer.heads, -1)).unbind(3)
    result = torch.zeros_like(q)
    for y in range(height):
        for column in range(width):
            pixels = [(i, j) for i in range(height) for j in range(width) if together(layer, (y, column), (i, j))]
            step = layer.interval if layer.sparse else 1
            offsets = torch.tensor([[(y - i) // step, (column - j) // step] for i, j in pixels], dtype=x.dtype)
            keys, values = (torch.stack([t[0, i, j] for i, j in pixels]) for t in (k, v))  # (pixels, heads, d)
            scores = (keys * q[0, y, column]).sum(-1) * (dim // layer.heads) ** -0.5 + layer.pos(offsets)
            result[0, y, column] = (scores.softmax(0)[..., None] * values).sum(0)
    return layer.proj(result.flatten(-2))


def together(layer, one, other):
    if layer.sparse:
        return all(a % layer.interval == b % layer.interval for a, b in zip(one, other, strict=True))
    return all(a // layer.window == b // layer.window for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize('sparse', [False, True])
@pytest.mark.parametrize('most', [2**26, 40], ids=['at once', 'in parts'])
def test_attention_is_its_equation(monkeypatch, sparse, most):
    """Also where the map must be padded, and where the bias is built for a few queries at a time."""
    monkeypatch.setattr(parts, 'MOST_BIASES', most)
    layer, x = Attention(24, 2, 4, 3, sparse).double(), torch.randn(1, 8, 10, 24).double()
    with torch.no_grad():
        assert_close(layer(x), by_its_equation(layer, x), 1e-12)


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('size', [(1, 1), (3, 9), (10, 7)], ids=str)
def test_batch_equals_single_images_at_any_size(size, scale):
    result = check_batch(ART(**TINY, upscale=scale), *size)
    assert result.shape == (2, 3, scale * size[0], scale * size[1])
    assert result.isfinite().all()


def test_gradients():
    check_gradients(ART(**TINY, upsampler='pixelshuffledirect'), 5, 6)


def test_training_step():
    check_training_step(ART(**TINY), 2, 6, 9)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype):
    net, image = ART(**TINY).eval(), picture(6, 9)
    with torch.no_grad():
        exact = net(image)
        assert_close(net.to(dtype)(image.to(dtype)), exact, 2e-2)


@pytest.mark.parametrize(
    'wrong', [{'num_heads': [5]}, {'interval': [0]}, {'interval': [2, 2]}, {'img_range': 255.0}], ids=str
)
def test_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ART(**TINY | wrong)
