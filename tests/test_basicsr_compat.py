"""BasicSR imports without a word, and its names can be replaced for a while."""

import subprocess
import sys
from pathlib import Path

import pytest

from sst.basicsr_compat import install, paired_paths_from_folder, replaced
from sst.utils.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    'before', ['', "import sys; sys.modules['distutils'] = None; "], ids=['as installed', 'without distutils']
)
def test_import_gives_no_warning(before):
    code = (
        f'{before}from sst import basicsr_compat; basicsr_compat.install(); import basicsr.data.data_util as d; '
        'import torch; d.duf_downsample(torch.rand(1, 3, 40, 40), 13, 2)'
    )
    answer = subprocess.run(
        [sys.executable, '-W', 'error::DeprecationWarning:basicsr', '-W', 'default', '-c', code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert 'basicsr' not in answer.stderr


def test_install_twice():
    install()
    install()


def test_replaced_only_for_a_while():
    import basicsr.train as module

    before = module.build_model
    swap = replaced(module, build_model=len)
    with swap:
        assert module.build_model is len
    assert module.build_model is before


def test_replacing_what_is_not_there():
    import basicsr.train as module

    swap = replaced(module, build_nothing=len)
    with pytest.raises(AttributeError, match=r'basicsr\.train has no build_nothing: .*basicsr==1\.4\.2'):
        swap.__enter__()


def folders(tmp_path, lq, gt):
    for folder, names in (('LR', lq), ('HR', gt)):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / name).touch()
    return [str(tmp_path / 'LR'), str(tmp_path / 'HR')]


def test_pairs_come_in_the_order_of_names(tmp_path):
    names = [f'{number}.png' for number in (10, 2, 1, 33, 4)]
    paths = folders(tmp_path, [name.replace('.', 'x2.') for name in names], [*names, '.hidden'])
    pairs = paired_paths_from_folder(paths, ['lq', 'gt'], '{}x2')
    assert [Path(pair['gt_path']).name for pair in pairs] == ['1.png', '10.png', '2.png', '33.png', '4.png']
    assert [Path(pair['lq_path']).name for pair in pairs] == ['1x2.png', '10x2.png', '2x2.png', '33x2.png', '4x2.png']


def test_pictures_without_partner(tmp_path):
    paths = folders(tmp_path, ['a.png', 'c.png'], ['a.png', 'b.png'])
    with pytest.raises(UserError) as fault:
        paired_paths_from_folder(paths, ['lq', 'gt'], '{}')
    lonely_gt, lonely_lq = str(fault.value).splitlines()
    assert lonely_gt.startswith('1 of 2 pictures in')
    assert lonely_gt.endswith('first: b.png needs b.png)')
    assert lonely_lq.startswith('1 of 2 files in')
    assert lonely_lq.endswith('(first: c.png)')
