"""ASID-D8: published size and cost, batches, gradients, its shared attention maps and its grids."""

import pytest
import torch
from helpers import assert_close, picture
from rival_checks import check_batch, check_gradients, check_training_step, multiply_adds, on_meta, parameters

from sst.rivals.asid_arch import SIZES, ASIDd8, Block, ChannelAttention, SpatialLayer
from sst.rivals.parts import strided, unstrided

COUNTS = {2: 732_146, 3: 738_641, 4: 747_734}
PAPER_MULTIPLY_ADDS = {2: 190.5e9, 3: 86.4e9, 4: 49.6e9}  # for 1280x720
TINY = {'num_feat': 16, 'res_num': 2, 'window_size': 4}


@pytest.mark.parametrize('scale', COUNTS)
def test_published_counts(scale):
    assert parameters(on_meta(ASIDd8, upsampling=scale, **SIZES['ASID-D8'])) == COUNTS[scale]


def test_defaults_are_the_published_size():
    shapes = [
        {key: value.shape for key, value in net.state_dict().items()}
        for net in (on_meta(ASIDd8), on_meta(ASIDd8, **SIZES['ASID-D8']))
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize('scale', PAPER_MULTIPLY_ADDS)
def test_multiply_adds_are_the_papers(scale):
    net = on_meta(ASIDd8, upsampling=scale, **SIZES['ASID-D8'])
    counted = multiply_adds(net, 720 // scale, 1280 // scale)
    assert counted == pytest.approx(PAPER_MULTIPLY_ADDS[scale], rel=0.002)


@pytest.mark.parametrize('size', [(1, 1), (3, 20), (15, 22)], ids=str)
def test_batch_equals_single_images_at_any_size(size):
    result = check_batch(ASIDd8(**TINY, upsampling=3), *size)
    assert result.shape == (2, 3, 3 * size[0], 3 * size[1])
    assert result.isfinite().all()


def test_small_images_are_extended_by_zeros():
    net, image = ASIDd8(**TINY).eval(), picture(5, 7)
    with torch.no_grad():
        assert_close(net(image), net(torch.nn.functional.pad(image, (0, 9, 0, 11)))[..., :10, :14], 1e-6)


def test_strided_groups():
    x = torch.arange(8 * 6).reshape(1, 8, 6, 1)
    groups = strided(x, 4, 2)  # pixels 2 rows and 3 columns apart
    assert groups.shape == (6, 8, 1)
    assert torch.equal(groups[4].flatten(), x[0, 1::2, 1::3].flatten())
    assert torch.equal(unstrided(groups, 4, 2, 8, 6), x)


@pytest.mark.parametrize(('grid', 'rows'), [(False, range(4, 8)), (True, range(1, 16, 4))], ids=['window', 'grid'])
def test_what_a_pixel_attends_to(grid, rows):
    """(5, 5) sees its window, or its grid of four pixels along each side; the GFN sees a pixel further."""
    layer, x = SpatialLayer(4, 4, grid=grid, place=None), torch.randn(1, 16, 16, 4, requires_grad=True)
    layer.gfn.project_out.weight.data.zero_()
    layer(x, [])[0, 5, 5].sum().backward()
    seen = x.grad.abs().sum(dim=-1)[0] > 0
    expected = torch.zeros(16, 16, dtype=torch.bool)
    for row in rows:
        expected[row, list(rows)] = True
    assert torch.equal(seen, expected)


def test_six_maps_are_computed_once():
    x, maps = torch.randn(1, 8, 8, 16), []
    Block(16, 4, computes_maps=True)(x, maps)
    computed = list(maps)
    Block(16, 4, computes_maps=False)(x, maps)
    assert len(maps) == 6
    assert all(one is other for one, other in zip(maps, computed, strict=True))
    assert all(torch.allclose(attention.sum(dim=-1), torch.ones(4, 16)) for attention in maps)


@pytest.mark.parametrize('grid', [False, True])
def test_channel_attention_of_nothing_is_nothing_in_half_precision(grid):
    layer = ChannelAttention(4, 4, grid=grid).half()
    assert not layer(torch.zeros(1, 8, 8, 4, dtype=torch.float16)).any()


def test_gradients():
    check_gradients(ASIDd8(num_feat=8, res_num=2, window_size=4), 6, 9)


def test_training_step():
    check_training_step(ASIDd8(**TINY), 2, 16, 20)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16], ids=str)
def test_half_precision(dtype):
    net, image = ASIDd8(**TINY).eval(), picture(17, 22)
    with torch.no_grad():
        exact = net(image)
        assert_close(net.to(dtype)(image.to(dtype)), exact, 3e-2)


@pytest.mark.parametrize(
    'wrong', [{'num_feat': 10}, {'num_feat': 4}, {'bias': False}, {'pe': False}, {'block_num': 2}], ids=str
)
def test_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ASIDd8(**TINY | wrong)
