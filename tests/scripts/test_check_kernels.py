import os
import subprocess
import sys
from pathlib import Path

import pytest

from sst.ops.backends import fused

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')
def test_kernels_of_the_forward_pass_fit_into_the_registers_of_a_gpu_that_is_not_there(tmp_path):
    kernels = ['--kernels', 'forward', 'linear', 'depthwise']
    command = [sys.executable, 'scripts/check_kernels.py', 'options/test_SST_x2.yml', *kernels]
    environment = os.environ | {'TRITON_CACHE_DIR': str(tmp_path)}
    done = subprocess.run([*command, '--capabilities', '80'], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('/ 0 /') == 6 + 2  # of its layers, and one each of its ConvFFN
