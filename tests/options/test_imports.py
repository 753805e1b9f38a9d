"""`imports`: parts of the user, from files and modules outside this repository."""

import logging

import pytest

from sst.archs import SST
from sst.options import OptionsError, load_options

PARTS = '''\
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from sst.archs.bias import PositionalBias
from sst.options.registries import BIASES, SCHEDULES

@BIASES.register()
class Slope{number}(PositionalBias):
    """A bias of these tests."""
    def __init__(self, num_heads, start: float = 0.5, kind: str = 'row'):
        super().__init__()
        self.slopes = torch.nn.Parameter(torch.full((num_heads,), start))

@ARCH_REGISTRY.register()
class Plain{number}(torch.nn.Module):
    def __init__(self, scale, width: int = 8):
        super().__init__()

@SCHEDULES.register()
class Constant{number}:
    def rate(self, iteration, base):
        return base
'''
count = iter(range(100))


@pytest.fixture
def parts(tmp_path):
    """A file with parts whose names nothing else has, and their number."""
    number = next(count)
    path = tmp_path / f'my_parts_{number}.py'
    path.write_text(PARTS.format(number=number))
    return path, number


def test_parts_of_a_file_beside_the_options(leaf, parts, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger('basicsr'), 'propagate', True)
    caplog.set_level(logging.INFO, logger='basicsr')
    path, number = parts
    network = f'{{bias: {{type: Slope{number}, start: 2}}}}'
    options = load_options(
        leaf(f'imports: [{path.name}]\nnetwork_g: {network}\ntrain: {{scheduler: {{type: Constant{number}}}}}')
    )
    assert options['imports'] == [str(path)]
    assert options['network_g']['bias'] == {'type': f'Slope{number}', 'start': 2}
    net = SST(**options['network_g'])
    slopes = [weight for name, weight in net.named_parameters() if name.endswith('slopes')]
    assert {slope.item() for weight in slopes for slope in weight} == {2.0}
    assert any(str(path) in record.getMessage() for record in caplog.records)


def test_parts_of_a_module_and_of_the_command_line(leaf, parts, tmp_path, monkeypatch):
    path, number = parts
    package = tmp_path / f'my_package_{number}'
    package.mkdir()
    path.rename(package / 'parts.py')
    monkeypatch.chdir(tmp_path)
    network = f'network_g={{type: Plain{number}, scale: 2}}'
    options = load_options(leaf(''), [f'imports=[{package.name}.parts]', network])
    assert options['network_g'] == {'type': f'Plain{number}', 'scale': 2}


@pytest.mark.parametrize(
    ('bias', 'key', 'mentioned'),
    [
        ('{type: Slope, strt: 2}', 'strt', '"start"?'),
        ('{type: Slope, start: steep}', 'start', '"steep"'),
        ('{type: Slope, kind: 3}', 'kind', '3'),
        ('{type: Slop}', 'type', '"Slope'),
    ],
)
def test_their_options_are_checked(leaf, parts, bias, key, mentioned):
    path, number = parts
    bias = bias.replace('Slope', f'Slope{number}')
    with pytest.raises(OptionsError) as caught:
        load_options(leaf(f'imports: [{path.name}]\nnetwork_g: {{bias: {bias}}}'))
    assert f'network_g.bias.{key}: ' in str(caught.value)
    assert mentioned in str(caught.value)


@pytest.mark.parametrize(
    ('content', 'mentioned'),
    [
        (None, 'absent.py'),
        ('x = 1\nraise ValueError("broken")', 'line 2'),
        ('def', 'line 1'),
        ('import nothing_there', 'nothing_there'),
    ],
)
def test_files_that_cannot_be_loaded(leaf, tmp_path, content, mentioned):
    name = 'absent.py' if content is None else f'faulty_{next(count)}.py'
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(OptionsError) as caught:
        load_options(leaf(f'imports: [{name}]'))
    assert '\n' not in str(caught.value)
    assert mentioned in str(caught.value)


def test_a_file_called_as_a_module_is_refused(leaf, tmp_path):
    (tmp_path / 'json.py').write_text('')
    with pytest.raises(OptionsError, match='rename'):
        load_options(leaf('imports: [json.py]'))


@pytest.mark.parametrize('value', ['x.py', '[1]', 'null'])
def test_imports_are_a_list_of_texts(leaf, value):
    with pytest.raises(OptionsError, match='imports'):
        load_options(leaf(f'imports: {value}'))
