"""Safetensors files are told from others, read whole, and refused in one line."""

import pytest
import torch

from sst.utils.errors import UserError
from sst.utils.safetensors_files import is_safetensors, read_safetensors, write_safetensors

TENSORS = {'a': torch.arange(6.0).reshape(2, 3).mT, 'half': torch.ones(2, dtype=torch.bfloat16), 'n': torch.tensor(3)}


def test_round_trip(tmp_path):
    write_safetensors(tmp_path / 'x.safetensors', TENSORS, {'key': 'Wert ü'})
    tensors, texts = read_safetensors(tmp_path / 'x.safetensors')
    assert texts == {'key': 'Wert ü'}
    assert tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(tensors[name], TENSORS[name]) and tensors[name].dtype == TENSORS[name].dtype for name in TENSORS
    )
    assert [file.name for file in tmp_path.iterdir()] == ['x.safetensors']


def test_told_by_content_not_by_name(tmp_path):
    write_safetensors(tmp_path / 'x.pth', TENSORS, {})
    torch.save(TENSORS, tmp_path / 'y.safetensors')
    (tmp_path / 'text').write_text('eight by{te}')
    assert is_safetensors(tmp_path / 'x.pth')
    assert not is_safetensors(tmp_path / 'y.safetensors')
    assert not is_safetensors(tmp_path / 'text')
    assert not is_safetensors(tmp_path / 'none')


@pytest.mark.parametrize('share', [0.1, 0.5, 0.99])
def test_a_truncated_file_is_one_line(tmp_path, share):
    write_safetensors(tmp_path / 'x.safetensors', TENSORS, {})
    content = (tmp_path / 'x.safetensors').read_bytes()
    (tmp_path / 'x.safetensors').write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r'^[^\n]*x\.safetensors: [^\n]*truncated[^\n]*$'):
        read_safetensors(tmp_path / 'x.safetensors')


def test_a_file_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r'^[^\n]*none/x\.safetensors(?!.*auto_resume)[^\n]*$'):
        write_safetensors(tmp_path / 'none' / 'x.safetensors', TENSORS, {})
