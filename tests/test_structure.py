"""The house's rules that a machine can check."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = [
    {'utils', 'install_basicsr'},
    {'basicsr_compat', 'options'},
    {'ops'},
    {'archs'},
    {'rivals'},
    {'checkpoints'},
    {'analysis', 'data', 'inference', 'metrics'},
    {'api', 'interop', 'models'},
    {'driver', 'upscaling'},
    {'demo', 'info', 'test', 'train', 'upscale'},
]
LEVELS = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
MODULES = sorted(path for path in (ROOT / 'sst').rglob('*.py') if path != ROOT / 'sst' / '__init__.py')


def room_of(module: Path) -> str:
    return module.relative_to(ROOT / 'sst').parts[0].removesuffix('.py')


def imported_rooms(module: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split('.')[0] == 'sst':
            names = node.module.split('.')[1:] or [alias.name for alias in node.names]
            rooms.add(names[0])
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split('.')[1] for alias in node.names if alias.name.startswith('sst.')}
    return rooms


@pytest.mark.parametrize('module', MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(module):
    own = room_of(module)
    allowed = {room for room, level in LEVELS.items() if level < LEVELS[own]} | {own}
    assert imported_rooms(module) <= allowed


def test_only_ops_imports_attention_kernels():
    for module in MODULES:
        if room_of(module) != 'ops':
            names = ast.unparse(ast.parse(module.read_text()))
            assert 'import flash_attn' not in names
            assert 'from flash_attn' not in names
            assert 'import triton' not in names


def test_every_command_of_the_readme_names_files_that_are_there():
    names = ('analyze', 'api', 'train', 'evaluate', 'performance', 'reliability', 'reproduce', 'upscale')
    text = ''.join((ROOT / name).read_text() for name in ('README.md', *(f'docs/{name}.md' for name in names)))
    words = {word.strip('`|,;().') for word in text.split()}
    named = {word for word in words if word.startswith(('sst/', 'scripts/', 'options/'))}
    assert named
    assert [word for word in sorted(named) if not (ROOT / word).exists()] == []


def test_every_program_answers_a_wrong_command_line_in_one_line():
    programs = [*(ROOT / 'sst').rglob('*.py'), *(ROOT / 'scripts').rglob('*.py')]
    assert [path.name for path in programs if 'argparse.ArgumentParser(' in path.read_text()] == []
