"""TensorFloat-32 and where it must not be used."""

import pytest
import torch
from helpers import tiny_options

from sst.archs import SST
from sst.archs.bias.factored import RIB
from sst.ops.backends import reference
from sst.utils.precision import full_float32, use_tf32


@pytest.fixture(autouse=True)
def restored():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.mark.parametrize('allowed', [True, False])
def test_products_and_convolutions_follow(allowed):
    use_tf32(allowed)
    assert torch.backends.cuda.matmul.allow_tf32 == allowed
    assert torch.backends.cudnn.allow_tf32 == allowed


def test_full_float32_ends_with_its_block():
    use_tf32(True)
    seen = []

    def fail():
        with full_float32():
            seen.append((_now(), torch.backends.cudnn.allow_tf32))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [('highest', False)]
    assert (_now(), torch.backends.cudnn.allow_tf32) == ('high', True)


@pytest.mark.parametrize('backend', ['reference', 'sdpa'])
def test_tables_and_the_reference_are_exact(backend, monkeypatch):
    seen = {'tables': [], 'attention': []}
    hidden, attend = RIB.hidden, reference.Reference.attend
    monkeypatch.setattr(RIB, 'hidden', lambda *a: seen['tables'].append(_now()) or hidden(*a))
    monkeypatch.setattr(reference.Reference, 'attend', lambda *a: seen['attention'].append(_now()) or attend(*a))
    use_tf32(True)
    net = SST(**tiny_options(num_blocks=1, backend=backend))
    net(torch.rand(1, 3, 6, 6)).sum().backward()
    with torch.no_grad():
        net.eval()(torch.rand(1, 3, 6, 6))
    assert set(seen['tables']) == {'highest'}
    assert set(seen['attention']) == ({'highest'} if backend == 'reference' else set())
    assert _now() == 'high'


def _now() -> str:
    return torch.get_float32_matmul_precision()
