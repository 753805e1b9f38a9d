import pytest
from helpers import assert_close, picture, tiny_options

from benchmarking.published import PublishedSST
from sst.archs import SST
from sst.utils.errors import UserError


@pytest.mark.parametrize(
    ('upsampler', 'scale', 'size'),
    [
        ({'type': 'pixelshuffle_direct'}, 2, (12, 24)),
        ({'type': 'pixelshuffle_direct'}, 3, (7, 13)),
        ({'type': 'pixelshuffle', 'channels': 5}, 4, (1, 11)),
        ({'type': 'nearest_conv', 'channels': 5}, 3, (5, 2)),
        ({'type': 'nearest_conv', 'channels': 5}, 4, (13, 8)),
    ],
)
def test_same_function_and_gradients_as_sst(upsampler, scale, size):
    network = tiny_options(upsampler=upsampler, scale=scale)
    net = SST(**network)
    published = PublishedSST(network).load(net.state_dict())
    lr = picture(*size, batch=2)
    expected, actual = net(lr), published(lr)
    assert_close(actual, expected, 2e-6)
    expected.square().mean().backward()
    actual.square().mean().backward()
    gradients = dict(published.named_parameters())
    for name, parameter in net.named_parameters():
        gradient = gradients[name].grad.reshape(parameter.shape)
        assert_close(gradient, parameter.grad, 2e-5, name, floor=1e-4)


@pytest.mark.parametrize('changes', [{'bias': {'type': 'RPB'}}, {'gate': 'none'}, {'window_sizes': [4, 4]}])
def test_ablations_are_refused(changes):
    with pytest.raises(UserError, match='ablations are not benchmarked'):
        PublishedSST(tiny_options(**changes))
