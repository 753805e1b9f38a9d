"""What all tests share."""

import os

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch: idle threads sleep where cores are shared

import pytest
import torch

if not torch.cuda.is_available():
    os.environ['TRITON_INTERPRET'] = '1'  # before Triton is imported: the fused kernels are tested on the CPU

import sst  # noqa: F401  # makes BasicSR importable and registers everything


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
