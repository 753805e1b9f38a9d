import pytest

from sst.ops.kernels.configurations import Configuration
from tuning.candidates import Choices, candidates, plan
from tuning.compiling import Build, Layer

SMALL, LARGE = Layer(32, 16, 8, 6), Layer(32, 32, 96, 6)


@pytest.mark.parametrize('kernel', ['forward', 'query', 'key'])
def test_the_configuration_of_the_table_comes_first_and_none_comes_twice(kernel):
    build = Build(kernel, 'float16', LARGE, 90)
    found = candidates(build, Choices())
    assert found[0] == build.present()
    assert len(found) == len(set(found)) > 20


def test_blocks_are_no_larger_than_the_window():
    found = candidates(Build('forward', 'float16', SMALL, 90), Choices())
    assert {(c.block_m, c.block_n) for c in found} == {(32, 32), (32, 64), (64, 32), (64, 64)}


@pytest.mark.parametrize(
    ('kernel', 'layer', 'choices', 'left'),
    [
        ('forward', SMALL, Choices([64], [4], [2, 3, 4]), [(64, 64, 4, 2)]),  # one step: no stages to overlap
        ('forward', SMALL, Choices([32], [2, 4, 8], [2]), [(32, 32, 2, 2)]),  # 16 rows a warp
        ('forward', LARGE, Choices([128], [1, 8], [2]), [(128, 128, 8, 2)]),  # one warp would hold them all
        ('query', LARGE, Choices([64, 128], [8], [2]), [(64, 128, 4, 2), (128, 64, 8, 2), (128, 128, 8, 2)]),
        ('key', LARGE, Choices([32, 128], [8], [2]), [(32, 32, 2, 2), (32, 128, 8, 2)]),  # not 128 queries by 32 keys
    ],
)
def test_what_cannot_be_better_is_not_tried(kernel, layer, choices, left):
    _, *others = candidates(Build(kernel, 'float16', layer, 90), choices)
    assert [(c.block_m, c.block_n, c.num_warps, c.num_stages) for c in others] == left


def test_large_blocks_and_many_warps_are_tried():
    found = candidates(Build('forward', 'float16', LARGE, 90), Choices())
    assert Configuration(256, 128, num_warps=16) in found
    assert all(c.block_m >= 16 * c.num_warps for c in found)


def test_the_most_important_comes_first():
    builds = plan([SMALL, LARGE], ['query', 'forward'], ['bfloat16', 'float16'], 90)
    named = [(build.kernel, build.dtype, build.layer.window) for build in builds]
    usual = [('forward', 'float16', 96), ('query', 'bfloat16', 96), ('forward', 'float16', 8), ('query', 'bfloat16', 8)]
    assert named[:4] == usual
    assert len(named) == 8


def test_layers_that_share_a_row_are_swept_once():
    other = Layer(30, 34, 96, 6)  # as wide, but a row can tell it apart
    builds = plan([LARGE, other, Layer(32, 32, 96, 7)], ['key'], ['float16'], 80)
    assert {build.layer for build in builds} == {LARGE, other}
    assert len(builds) == 2


def test_another_number_of_programs_is_no_candidate():
    present = Build('key', 'float16', LARGE, 90).present()
    found = candidates(Build('key', 'float16', LARGE, 90), Choices([64], [8], [2]))
    assert found == [present] == [Configuration(64, 64)]
