"""What each program says of weights that leave options of their network open: its own options, and no others."""

from pathlib import Path

import pytest
import torch
from basicsr.archs import build_network
from helpers import tiny_options
from PIL import Image

import analyze
import export_onnx
import sst
from sst import demo, upscale
from sst.archs import SST
from sst.checkpoints.pretrained import MissingOptionsError
from sst.options import OptionsError, load_options

TEST_ANY = Path(__file__).parents[2] / 'options' / 'test_any.yml'
EDSR = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 4}
IN_PYTHON = ('window_sizes=[N, N]', 'network_g={')
ON_COMMAND_LINES = ('--window-sizes', '--num-heads', '--network ')


@pytest.fixture
def files(tmp_path):
    """A network that nothing names, and one whose windows and heads nothing tells."""
    torch.save(build_network(dict(EDSR)).state_dict(), tmp_path / 'edsr.pth')
    torch.save(SST(**tiny_options(bias={'type': 'CPE'})).state_dict(), tmp_path / 'bare.pth')
    Image.new('RGB', (8, 8)).save(tmp_path / 'a.png')
    return tmp_path


def answer(capsys, program, *argv):
    try:
        code = program([str(word) for word in argv])
    except SystemExit as end:
        code = end.code
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_python_gets_them_as_data(files):
    with pytest.raises(MissingOptionsError, match=r'window_sizes=\[N, N\].*num_heads=N') as fault:
        sst.from_pretrained(files / 'bare.pth')
    assert set(fault.value.missing) == {'window_sizes', 'num_heads'}
    with pytest.raises(MissingOptionsError, match='network_g={') as fault:
        sst.from_pretrained(files / 'edsr.pth')
    assert set(fault.value.missing) == {'network_g'}


def test_sst_upscale(files, capsys):
    line = answer(capsys, upscale.main, files / 'a.png', '-n', files / 'edsr.pth')
    assert [word in line for word in (*ON_COMMAND_LINES, *IN_PYTHON)] == [False, False, True, False, False]
    line = answer(capsys, upscale.main, files / 'a.png', '-n', files / 'bare.pth')
    assert '--window-sizes N,N' in line
    assert '--num-heads N' in line
    assert not any(word in line for word in IN_PYTHON)


def test_export_onnx(files, capsys):
    line = answer(capsys, export_onnx.main, files / 'bare.pth', '-o', files / 'net.onnx')
    assert '--window-sizes N N' in line
    assert '--network FILE.yml' in line  # it has no --num-heads
    assert not any(word in line for word in ('--num-heads', *IN_PYTHON))


@pytest.mark.parametrize('name', ['edsr', 'bare'])
def test_option_files(files, name):
    with pytest.raises(OptionsError, match='network_g') as fault:
        load_options(TEST_ANY, [f'path:pretrain_network_g={files / name}.pth'])
    assert ('--force_yml network_g:window_sizes=[N,N]' in str(fault.value)) == (name == 'bare')
    assert not any(word in str(fault.value) for word in (*ON_COMMAND_LINES, *IN_PYTHON))


@pytest.mark.parametrize('name', ['edsr', 'bare'])
def test_programs_that_have_no_options_for_it(files, capsys, name):
    pytest.importorskip('gradio')
    file, more = files / f'{name}.pth', ('--images', files / 'a.png', '--out', files)
    for line in (
        answer(capsys, demo.main, '--model', file, '--device', 'cpu'),
        answer(capsys, analyze.main, 'field', '--models', file, '--device', 'cpu', *more),
    ):
        assert 'sst.save_pretrained' in line
        assert not any(word in line for word in ON_COMMAND_LINES)
