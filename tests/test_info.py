"""`sst-info` tells what is in a file, whoever wrote it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import tiny_options
from released import golden
from safetensors.torch import save_file

from sst.archs import SST
from sst.checkpoints.pretrained import save_pretrained
from sst.checkpoints.published import PUBLISHED
from sst.info import main
from sst.utils.visible import visible

ROOT = Path(__file__).parents[1]
METADATA = {'name': 'Tiny', 'training_data': 'DIV2K', 'licence': 'CC0'}


def about(capsys, *files):
    assert main([*map(str, files), '--json']) == 0
    return json.loads(capsys.readouterr().out)


def lines(capsys, file):
    assert main([str(file)]) == 0
    return dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if not line.startswith('tr'))


def test_our_safetensors(tmp_path, capsys):
    net = SST(**tiny_options(scale=3))
    file = save_pretrained(net, tmp_path / 'net.safetensors', METADATA)
    (found,) = about(capsys, file)
    assert (found['format'], found['names'], found['entries']) == ('safetensors', 'ours', [])
    assert (found['model'], found['scale'], found['windows']) == ('Tiny', 3, [4, 6])
    assert found['parameters'] == sum(p.numel() for p in net.parameters())
    assert found['dtype'] == {'float32': found['parameters']}
    assert found['bytes'] == file.stat().st_size
    assert found['metadata'] == METADATA
    assert found['network_g']['bias']['ranks'] == [2, 4]
    assert main([str(file)]) == 0
    shown = capsys.readouterr().out
    assert 'windows        4 6\n' in shown
    assert 'training data  DIV2K\n' in shown


def test_each_fault_has_its_line(capsys):
    edsr = ROOT / 'options/_base_/models/EDSR.yml'
    assert main(['SST-tiny-x2', 'no\nsuch', '--network', str(edsr)]) == 2
    faults = [line.removeprefix('error: ').split(':')[0] for line in capsys.readouterr().err.splitlines()]
    assert faults[:2] == ['network_g.type', 'network_g.upscale']
    assert faults[-1] == r'no\nsuch'


def test_our_checkpoints(tmp_path, capsys):
    net = SST(**tiny_options()).half()
    options = {'type': 'SST', **tiny_options()}
    torch.save({'params': net.state_dict(), 'params_ema': net.state_dict(), 'network_g': options}, tmp_path / 'n.pth')
    (found,) = about(capsys, tmp_path / 'n.pth')
    assert (found['format'], found['entries'], found['entry']) == ('PyTorch', ['params', 'params_ema'], 'params_ema')
    assert found['model'].startswith('SST of dim 12, num_blocks 2')
    assert list(found['dtype']) == ['float16']
    assert lines(capsys, tmp_path / 'n.pth')['windows'] == '4 6'


def test_released_files(tmp_path, capsys):
    weights, _, _, _ = golden('light_x2')
    torch.save({'params': weights}, tmp_path / 'released.pth')
    (found,) = about(capsys, tmp_path / 'released.pth')
    assert (found['names'], found['scale'], found['windows'], found['network_g']) == ('released', 2, None, None)
    assert 'window_sizes' in found['model']
    assert found['parameters'] == sum(value.numel() for value in weights.values())
    assert 'unknown' in lines(capsys, tmp_path / 'released.pth')['windows']


@pytest.mark.parametrize(('told', 'model'), [({}, 'SST-light or SST-light+'), ({'network_g': {}}, 'SST-light+')])
def test_models_of_the_paper(tmp_path, capsys, told, model):
    options = PUBLISHED['SST-light+'] | {'scale': 4}
    state = {name: torch.zeros(value.shape) for name, value in SST(**options).state_dict().items()}
    torch.save({'params': state} | dict.fromkeys(told, options), tmp_path / 'net.pth')
    (found,) = about(capsys, tmp_path / 'net.pth')
    assert (found['model'], found['scale']) == (model, 4)


def test_other_networks(tmp_path, capsys):
    torch.save({'params': torch.nn.Linear(3, 2).state_dict(), 'network_g': {'type': 'EDSR'}}, tmp_path / 'net.pth')
    (found,) = about(capsys, tmp_path / 'net.pth')
    assert (found['names'], found['model'], found['scale'], found['parameters']) == ('other', 'EDSR', None, 8)
    assert lines(capsys, tmp_path / 'net.pth')['model'] == 'EDSR'


def test_bad_files_are_a_line_each_and_the_rest_go_on(tmp_path, capsys):
    good = save_pretrained(SST(**tiny_options()), tmp_path / 'good.safetensors')
    (tmp_path / 'cut.safetensors').write_bytes(good.read_bytes()[:3000])
    (tmp_path / 'empty.pth').touch()
    (tmp_path / 'text\x1b[0m.safetensors').write_text('hello')
    names = ('cut.safetensors', 'empty.pth', 'none.pth', 'text\x1b[0m.safetensors')
    assert main([*(str(tmp_path / name) for name in names), str(good)]) == 2
    out, err = capsys.readouterr()
    assert 'good.safetensors' in out
    assert len(err.splitlines()) == len(names)
    for name, line in zip(names, err.splitlines(), strict=True):
        assert line.startswith(f'error: {tmp_path}/{visible(name)}: ')


def test_as_a_program(tmp_path):
    file = save_pretrained(SST(**tiny_options()), tmp_path / 'net.safetensors')
    command = [sys.executable, str(ROOT / 'sst' / 'info.py'), str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'scale          x2' in done.stdout


@pytest.mark.parametrize('kind', ['safetensors', 'pth'])
@pytest.mark.parametrize('key', ['network_g', 'metadata'])
@pytest.mark.parametrize('inside', ['deep', 'many'])
def test_descriptions_without_end_are_one_line(tmp_path, capsys, kind, key, inside):
    state = SST(**tiny_options()).state_dict()
    value: list = [1]
    for _ in range(200 if inside == 'deep' else 30):
        value = [value] if inside == 'deep' else [value, value]
    if kind == 'pth':
        torch.save({'params': state, key: value}, tmp_path / 'x.pth')
    else:
        text = '[' * 200_000 + ']' * 200_000 if inside == 'deep' else json.dumps({'x': [1] * 200_000})
        save_file(state, tmp_path / 'x.safetensors', metadata={key: text})
    assert main([str(tmp_path / f'x.{kind}')]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f'x.{kind}: its {key} ' in line


def test_control_characters_of_others_are_shown_as_numbers(tmp_path, capsys):
    evil = 'DIV2K\n\x1b[31mred\u202e'
    file = save_pretrained(SST(**tiny_options()), tmp_path / 'a\x1b[0m.safetensors', METADATA | {'training_data': evil})
    assert main([str(file)]) == 0
    out = capsys.readouterr().out
    assert r'training data  DIV2K\n\x1b[31mred\u202e' in out.splitlines()
    main([str(file), '--json'])
    shown = capsys.readouterr().out
    assert json.loads(shown)[0]['metadata']['training_data'] == evil
    assert not {'\x1b', '\u202e'} & set(out + shown)


def test_a_wrong_command_is_one_line(capsys):
    with pytest.raises(SystemExit, match='2'):
        main(['--nonsense'])
    assert len(capsys.readouterr().err.splitlines()) == 1
