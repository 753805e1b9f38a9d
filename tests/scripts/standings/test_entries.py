import pytest

from sst.rivals.figures import published_figures
from sst.utils.errors import UserError
from standings.entries import GROUPS, NAMES, Entry, chosen


def test_groups_and_names_are_chosen_once():
    assert chosen(['SwinIR-light', 'light']) == ['SwinIR-light', *(n for n in GROUPS['light'] if n != 'SwinIR-light')]
    assert set(chosen(['light', 'classical'])) == set(NAMES)


def test_an_unknown_name_lists_the_nearest_and_all():
    with pytest.raises(UserError) as fault:
        chosen(['SwinIR-ligt'])
    assert '"SwinIR-light"' in str(fault.value)
    assert all(name in str(fault.value) for name in NAMES)


@pytest.mark.parametrize('model', NAMES)
def test_every_model_has_an_option_file(model):
    if model.startswith('SRFormer'):
        pytest.importorskip('spandrel_extra_arches')
    for scale in (2, 3, 4):
        assert Entry(model, scale).options()['scale'] == scale


def test_published_figures_have_one_unit():
    hat = published_figures('HAT', 2)
    assert (hat['latency'], hat['memory'], hat['training']) == pytest.approx((0.7099, 9.07e9, 0.432))
    assert (hat['parameters'], hat['multiply_adds']) == pytest.approx((20.6e6, 5.81e12))
    assert hat['sets']['Urban100'] == {'psnr': 34.45, 'ssim': 0.9466}
    light = published_figures('SwinIR-light', 4)
    assert (light['parameters'], light['multiply_adds']) == pytest.approx((930e3, 63.6e9))
    assert published_figures('SST', 3)['latency'] == pytest.approx(0.1942)
    assert published_figures('none of them', 2) == {'sets': {}, 'sources': []}
