"""Option files for tests: a small training file, and changes to it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sst.options import OptionsError, load_options

DEMO = Path(__file__).parents[2] / 'options' / 'demo.yml'


@pytest.fixture
def leaf(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a file over options/demo.yml."""

    def write(text: str) -> Path:
        path = tmp_path / 'leaf.yml'
        path.write_text(f'_base_: {DEMO}\n{text}\n', encoding='utf-8')
        return path

    return write


@pytest.fixture
def refusal(leaf: Callable[[str], Path]) -> Callable[[str], str]:
    """The one line that refuses a file over options/demo.yml; it names that file, which is cut off."""

    def load(text: str) -> str:
        path = leaf(text)
        with pytest.raises(OptionsError) as caught:
            load_options(path)
        message = str(caught.value)
        assert '\n' not in message
        assert message.startswith(f'{path}: ')
        return message.removeprefix(f'{path}: ')

    return load
