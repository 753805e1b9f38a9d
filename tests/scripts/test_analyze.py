"""`scripts/analyze.py` with small networks: files, numbers, refusals."""

import json

import cv2
import numpy as np
import pytest
import torch
from helpers import tiny_options
from PIL import Image
from real_networks import lively

import analyze
from sst import save_pretrained
from sst.analysis import Region, local_attribution
from sst.archs import SST
from sst.checkpoints.networks import built

SWINIR = {
    'type': 'SwinIR',
    'upscale': 2,
    'img_size': 8,
    'window_size': 4,
    'depths': [2],
    'embed_dim': 12,
    'num_heads': [2],
    'upsampler': 'pixelshuffledirect',
    'mlp_ratio': 2,
    'resi_connection': '1conv',
    'img_range': 1.0,
}


@pytest.fixture
def work(tmp_path):
    torch.manual_seed(0)
    save_pretrained(SST(**tiny_options()), tmp_path / 'first.safetensors')
    save_pretrained(SST(**tiny_options(gate='pointwise')), tmp_path / 'second.safetensors')
    save_pretrained(SST(**tiny_options(bias={'type': 'RoPE'}, gate='none')), tmp_path / 'rope.safetensors')
    save_pretrained(built(SWINIR, 'cpu'), tmp_path / 'swinir.safetensors', network_g=SWINIR)
    save_pretrained(lively(), tmp_path / 'real.safetensors')
    (tmp_path / 'images').mkdir()
    random = np.random.default_rng(0)
    for name, shape in (('a', (40, 33, 3)), ('b', (37, 44, 3))):
        cv2.imwrite(str(tmp_path / f'images/{name}.png'), random.integers(0, 256, shape, np.uint8))
    return tmp_path


def run(work, kind, *arguments, models='first,second', images=('images',)):
    named = ','.join(str(work / f'{model}.safetensors') for model in models.split(','))
    paths = ['--images', *(str(work / image) for image in images)] if images else []
    analyze.main([kind, '--models', named, *paths, '--out', str(work / 'out'), '--device', 'cpu', *arguments])
    return json.loads((work / f'out/{kind}.json').read_text())['numbers']


def check_figures(work, kind):
    with Image.open(work / f'out/{kind}.png') as image:
        pixels = np.asarray(image.convert('RGB'))
    assert min(pixels.shape[:2]) > 200
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    assert (work / f'out/{kind}.pdf').read_bytes().startswith(b'%PDF')


def test_attribution_maps_of_two_systems(work):
    arguments = ('--at', '10,12', '--window', '6', '--steps', '3')
    numbers = run(work, 'lam', *arguments, models='first,swinir', images=('images/a.png',))
    assert numbers['region'] == {'top': 12, 'left': 10, 'height': 6, 'width': 6}
    assert set(numbers['models']) == {'first', 'swinir'}
    check_figures(work, 'lam')

    lr = torch.from_numpy(cv2.imread(str(work / 'images/b.png'))[..., ::-1].copy()).permute(2, 0, 1)[None] / 255
    found = run(work, 'lam', *arguments, '--lr', models='first', images=('images/b.png',))['models']['first']
    net = analyze.load_models([str(work / 'first.safetensors')], None, work, 'cpu')[0].net
    expected = local_attribution(net, lr, Region(12, 10, 6, 6), steps=3)
    assert found['diffusion_index'] == pytest.approx(expected.index)
    assert found['difference'] == pytest.approx(expected.difference)


@pytest.mark.parametrize('kind', ['lam', 'spectrum', 'crops'])
def test_sstreal_is_analysed_from_its_lr_image(work, kind):
    more = {'lam': ('--window', '8', '--steps', '2'), 'crops': ('--window', '12')}.get(kind, ())
    run(work, kind, *more, models='real', images=('images/a.png',))
    check_figures(work, kind)


def test_receptive_fields(work):
    numbers = run(work, 'field', '--side', '15', models='first,swinir')
    assert numbers['side'] == 15
    for sides in numbers['models'].values():
        assert 1 <= sides['0.5'] <= sides['0.9'] <= sides['0.99'] <= 15
    check_figures(work, 'field')


def test_biases(work):
    numbers = run(work, 'bias', '--block', '2', models='first', images=())
    assert [len(layer['singular_values']) for layer in numbers.values()] == [2, 2]  # heads
    assert [len(layer['singular_values'][0]) for layer in numbers.values()] == [2, 4]  # ranks
    check_figures(work, 'bias')


def test_distances(work):
    numbers = run(work, 'distance')
    for layers in numbers.values():
        assert len(layers) == 4
        for layer in layers:
            assert all(0 < distance < layer['window'] * 2**0.5 for distance in layer['heads'])
    check_figures(work, 'distance')


def test_gates(work):
    numbers = run(work, 'gates', '--layer', '2', models='first,second,rope', images=('images/a.png',))
    assert 0 < numbers['first']['mean'] < 1
    assert numbers['rope']['mean'] is None
    check_figures(work, 'gates')


def test_spectra(work):
    numbers = run(work, 'spectrum')
    assert set(numbers) == {'first', 'second', 'bicubic'}
    assert all(power > 0 for found in numbers.values() for power in found['power'])
    check_figures(work, 'spectrum')


def test_crops(work):
    numbers = run(work, 'crops', '--window', '12', models='first,swinir')
    assert set(numbers) == {'a', 'b'}
    for found in numbers.values():
        assert set(found['psnr']) == {'first', 'swinir', 'bicubic'}
        assert found['region']['height'] == 12
    by_hand = run(work, 'crops', '--window', '12', '--at', '3,4', images=('images/a.png',))
    assert by_hand['a']['region'] == {'top': 4, 'left': 3, 'height': 12, 'width': 12}
    check_figures(work, 'crops')


@pytest.mark.parametrize(
    ('kind', 'how', 'words'),
    [
        ('lam', {'images': ()}, ['--images']),
        ('lam', {}, ['one image']),
        ('lam', {'images': ('images/a.png',), 'more': ('--at', '30,30')}, ['--at', '32x40']),
        ('lam', {'images': ('images/a.png',), 'more': ('--at', '292')}, ['--at', 'X,Y', "'292'"]),
        ('lam', {'images': ('images/a.png',), 'more': ('--steps', '0')}, ['--steps', 'from 1 on', "'0'"]),
        ('lam', {'images': ('images/none.png',)}, ['none.png', 'no such file']),
        ('lam', {'images': ('images/a.png',), 'more': ('--sigma', '0')}, ['--sigma']),
        ('crops', {'more': ('--lr',)}, ['--lr']),
        ('bias', {'images': (), 'models': 'rope'}, ['RoPE', 'logits']),
        ('bias', {'images': (), 'models': 'swinir'}, ['swinir', 'SST']),
        ('bias', {'images': (), 'more': ('--block', '3')}, ['--block', '1 to 2']),
        ('gates', {'images': ('images/a.png',), 'more': ('--layer', '9')}, ['--layer', '1 to 2']),
        ('lam', {'models': 'none', 'images': ('images/a.png',)}, ['none.safetensors']),
    ],
)
def test_what_cannot_be_analysed_is_refused(work, capsys, kind, how, words):
    more = how.pop('more', ())
    with pytest.raises(SystemExit) as ended:
        run(work, kind, *more, **how)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert all(word in told for word in words), told


def test_networks_of_different_scales_are_refused(work, capsys):
    save_pretrained(SST(**tiny_options(scale=3)), work / 'third.safetensors')
    with pytest.raises(SystemExit):
        run(work, 'spectrum', models='first,third')
    assert 'x3' in capsys.readouterr().err


def test_names_of_the_league_need_their_weights(work, capsys):
    with pytest.raises(SystemExit):
        analyze.main(['field', '--models', 'PFT', '--images', str(work / 'images'), '--root', str(work)])
    assert 'experiments/rivals/PFT_x2.pth' in capsys.readouterr().err
