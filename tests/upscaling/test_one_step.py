"""sst-upscale with SSTReal."""

import numpy as np
import pytest
import torch
from helpers import errors
from picture_files import saved
from PIL import Image
from real_networks import lively

import sst


@pytest.fixture
def real(place):
    torch.manual_seed(0)
    return str(sst.save_pretrained(lively(), place / 'real.safetensors'))


def test_a_small_file(upscale, real):
    saved('a.png', 20, 30, 3)
    code, out, _ = upscale('a.png', '-n', real, model=False)
    assert code == 0
    assert '30x20 to 120x80' in out[0]
    upscaler = sst.load_model(real, 'cpu')
    assert np.array_equal(np.asarray(Image.open('results/a_x4.png')), upscaler(np.asarray(Image.open('a.png'))))


def test_seed_and_guidance_change_the_result(upscale, real):
    saved('a.png', 12, 10, 3)
    results = []
    for name, *more in (('b.png',), ('c.png', '--seed', '0'), ('d.png', '--seed', '1'), ('e.png', '--guidance', '0')):
        assert upscale('a.png', '-n', real, '-o', name, *more, model=False)[0] == 0
        results.append(np.asarray(Image.open(name)))
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    assert not np.array_equal(results[0], results[3])


def test_tiles_give_the_whole_picture(upscale, real):
    saved('a.png', 70, 190, 3)
    for name, tile in (('whole.png', '0'), ('tiles.png', '64')):
        assert upscale('a.png', '-n', real, '-o', name, '-t', tile, model=False)[0] == 0
    whole, tiles = (np.asarray(Image.open(name)).astype(int) for name in ('whole.png', 'tiles.png'))
    assert abs(whole - tiles).max() <= 1


def test_a_dry_run(upscale, real):
    saved('a.png', 20, 30, 3)
    code, out, _ = upscale('a.png', '-n', real, '--dry-run', model=False)
    assert code == 0
    assert any('120x80' in line for line in out)


@pytest.mark.parametrize(
    ('more', 'named'),
    [
        (['--guidance', '11'], '--guidance'),
        (['--guidance', 'much'], "'much'"),
        (['--guidance', 'nan'], '--guidance'),
        (['--seed', '-1'], '--seed'),
        (['--seed', '1.5'], '--seed'),
    ],
)
def test_values_out_of_range_are_refused(upscale, real, more, named):
    saved('a.png', 6, 6, 3)
    code, _, err = upscale('a.png', '-n', real, *more, model=False)
    assert code == 2
    assert errors(err) == err[-1:]
    assert named in err[-1]


@pytest.mark.parametrize('more', [['--guidance', '1'], ['--seed', '3']], ids=str)
def test_other_networks_refuse_them(upscale, more):
    saved('a.png', 6, 6, 3)
    code, _, err = upscale('a.png', *more)
    assert code == 2
    assert errors(err) == err[-1:]
    assert f'{more[0][2:]} {more[1]}: ' in err[-1]
