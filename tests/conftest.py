"""What all tests share."""

import os
import signal

os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE')  # before torch: idle threads sleep where cores are shared

import hypothesis
import pytest
import torch

if not torch.cuda.is_available():
    os.environ['TRITON_INTERPRET'] = '1'  # before Triton is imported: the fused kernels are tested on the CPU

import sst  # noqa: F401  # makes BasicSR importable and registers everything

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; programs inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as below nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

hypothesis.settings.register_profile('untimed', deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile('untimed')


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
