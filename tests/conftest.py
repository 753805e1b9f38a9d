"""What all tests share."""

import os

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch: idle threads sleep where cores are shared

import pytest
import torch

import sst  # noqa: F401  # makes BasicSR importable and registers everything


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
