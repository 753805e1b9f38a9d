"""IPG: published sizes, graphs and attention beside their equations, batches, image sizes, gradients."""

import pytest
import torch
import torch.nn.functional as F
from helpers import assert_close, picture
from rival_checks import check_training_step, on_meta, parameters

from sst.rivals import ipg_arch
from sst.rivals.ipg_arch import IPG, SIZES, Global, Grapher, Local, detail, edges, position_index

COUNTS = {2: 18_129_887, 3: 18_314_527, 4: 16_955_463}
TINY = {
    'embed_dim': 120,
    'depths': [2],
    'num_heads': [2],
    'window_size': 2,
    'sample_size': 4,
    'top_k': 6,
    'mlp_ratio': 1.0,
}


@pytest.mark.parametrize('scale', COUNTS)
def test_published_counts(scale):
    assert parameters(on_meta(IPG, upscale=scale, **SIZES['IPG'])) == COUNTS[scale]


def test_defaults_are_the_published_size():
    assert parameters(on_meta(IPG)) == COUNTS[2]


def test_position_index_is_the_stored_buffer(case):
    golden = case('ipg_a')
    for key, stored in golden.arrays.items():
        if key.endswith('relative_position_index'):
            assert torch.equal(position_index(4, 8), torch.from_numpy(stored) % 11**2)


def test_local_samples_are_around_each_window():
    x = torch.arange(64.0).reshape(1, 8, 8, 1)
    sampling = Local(8, 8, 2, 4)
    samples = torch.cat(list(sampling.samples(x, 3))).reshape(4, 4, 4, 4)  # rows and columns of windows, then pixels
    assert torch.equal(samples[1, 2], x[0, 1:5, 3:7, 0])
    assert torch.equal(samples[0, 0], F.pad(x[0, :3, :3, 0], (1, 0, 1, 0)))
    assert torch.equal(sampling.restored(sampling.queries(x)), x)


def test_global_samples_of_a_group_lie_among_its_pixels():
    x = torch.arange(64.0).reshape(1, 8, 8, 1)
    sampling = Global(8, 8, 2, 4)
    samples = torch.cat(list(sampling.samples(x, 5))).reshape(4, 4, 4, 4)
    queries = sampling.queries(x).reshape(4, 4, 2, 2)
    assert torch.equal(queries[1, 3], x[0, 1::4, 3::4, 0])
    assert torch.equal(samples[1, 3], x[0, 1::2, 1::2, 0])
    assert torch.equal(sampling.restored(sampling.queries(x)), x)


@pytest.mark.parametrize('sampling', [Local(8, 12, 2, 4), Global(8, 12, 2, 4)], ids=['local', 'global'])
def test_detailed_pixels_have_more_edges(monkeypatch, sampling):
    """As many as their share of the detail allows, and to the most similar samples; in parts it is the same."""
    x = torch.randn(2, 8, 12, 16).double()
    lost = detail(x, 0)
    joined = edges(x, lost, sampling, 6)
    shares = sampling.queries(lost)[..., 0]
    budgets = (shares / shares.sum(1, keepdim=True) * 4 * 6).clamp(1, 16)
    samples = torch.cat(list(sampling.samples(F.normalize(x, dim=-1), 100)))
    inside = samples.any(-1).all(-1)  # samples beyond the map are equally similar, so no threshold parts them
    assert (joined.sum(-1) - budgets)[inside].abs().mean() < 1
    similarity = F.normalize(sampling.queries(x), dim=-1) @ samples.mT
    least = similarity.masked_fill(~joined, 2).amin(-1)
    greatest = similarity.masked_fill(joined, -2).amax(-1)
    assert (least > greatest).all()
    monkeypatch.setattr(ipg_arch, 'MOST_LOGITS', 150)
    assert torch.equal(edges(x, lost, sampling, 6), joined)


def test_detail_scale_pulls_towards_the_mean():
    x = torch.randn(2, 8, 8, 5).double()
    plain, scaled = detail(x, 0), detail(x, 10)
    mean = plain.mean(dim=(1, 2), keepdim=True)
    assert_close(scaled - mean, (plain - mean) / 10, 1e-12)


@pytest.mark.parametrize('sampling', [Local(4, 8, 2, 4), Global(4, 8, 2, 4)], ids=['local', 'global'])
@pytest.mark.parametrize('most', [2**26, 100], ids=['at once', 'in parts'])
def test_grapher_is_its_equation(monkeypatch, sampling, most):
    monkeypatch.setattr(ipg_arch, 'MOST_LOGITS', most)
    layer, x = Grapher(12, 3, 2, 4).double(), torch.randn(1, 4, 8, 12).double()
    edge = edges(x, detail(x, 0), sampling, 6)
    q = sampling.queries(layer.proj_group(x))
    kv = torch.cat(list(sampling.samples(layer.proj_sample(x), 100)))
    bias, results = layer.bias(), []
    for head in range(3):
        of_head = slice(4 * head, 4 * head + 4)
        k, v = kv[..., :12][..., of_head], kv[..., 12:][..., of_head]
        products = q[..., of_head] @ k.mT
        sizes = q[..., of_head].norm(dim=-1)[..., None] * k.norm(dim=-1)[:, None]
        cosine = torch.where(sizes > 0, products / sizes, 0)
        logits = torch.where(edge, cosine, -100) * layer.logit_scale[head].exp() + bias[head]
        results.append(logits.softmax(-1) @ v)
    with torch.no_grad():
        expected = layer.proj(sampling.restored(torch.cat(results, dim=-1)))
        assert_close(layer(x, sampling, edge), expected, 1e-12)


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('size', [(1, 1), (4, 9)], ids=str)
def test_batch_equals_single_images_at_any_size(size, scale):
    """In float64: in float32 an edge may be taken in one and left out in the other."""
    net = IPG(**TINY, upscale=scale).double().eval()
    images = picture(*size, batch=2).double()
    with torch.no_grad():
        together = net(images)
        assert_close(together, torch.cat([net(image[None]) for image in images]), 1e-12)
    assert together.shape == (2, 3, scale * size[0], scale * size[1])


def test_grapher_gradients():
    layer, sampling = Grapher(6, 2, 2, 4).double(), Local(4, 4, 2, 4)
    x = torch.randn(1, 4, 4, 6).double().requires_grad_()
    edge = edges(x.detach(), detail(x.detach(), 0), sampling, 6)
    parameters = dict(layer.named_parameters())

    def run(x, *values):
        return torch.func.functional_call(layer, dict(zip(parameters, values, strict=True)), (x, sampling, edge))

    assert torch.autograd.gradcheck(run, (x, *parameters.values()), fast_mode=True)


def test_training_step():
    check_training_step(IPG(**TINY), 2, 8, 8, rate=1e-4)


def test_convolutions_are_left_out_at_x4():
    assert not any('conv_block' in name for name, _ in IPG(**TINY, upscale=4).named_parameters())


@pytest.mark.parametrize(
    'wrong',
    [
        {'num_heads': [7]},
        {'diff_scales': [1, 2]},
        {'sample_size': 5},
        {'graph_flags': [0]},
        {'stage_spec': [['GN']]},
        {'img_range': 255.0},
    ],
    ids=str,
)
def test_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        IPG(**TINY | wrong)
