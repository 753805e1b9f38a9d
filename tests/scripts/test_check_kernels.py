import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from sst.ops.backends import fused
from sst.ops.kernels.configurations import KERNELS
from tuning.compiling import POINTWISE, Build, Layer
from tuning.sweep import usage_of

ROOT = Path(__file__).parents[2]

SST_L_PLUS = Layer(head_dim=32, rank=32, window=96, num_heads=6)
SST_PLUS = [Layer(head_dim=30, rank=34, window=96, num_heads=6), Layer(head_dim=30, rank=18, window=48, num_heads=6)]
LIGHT = Layer(head_dim=16, rank=24, window=96, num_heads=3)
MOST_SLOTS = {'forward': 1.0, 'query': 1.25, 'key': 1.5}  # on sm_90, in times of the exponentials


@pytest.mark.skipif(not fused.INSTALLED, reason='Triton is not installed')
def test_kernels_of_the_forward_pass_fit_into_the_registers_of_a_gpu_that_is_not_there(tmp_path):
    kernels = ['--kernels', 'forward', *POINTWISE]
    command = [sys.executable, 'scripts/check_kernels.py', 'options/test_SST_x2.yml', *kernels]
    environment = os.environ | {'TRITON_CACHE_DIR': str(tmp_path)}
    done = subprocess.run([*command, '--capabilities', '80'], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('/ 0 /') == 6 + 4  # of its layers, and one each of its ConvFFN


@pytest.fixture(scope='module')
def compiled(tmp_path_factory):
    """Compiles for a layer as the table says; gives what it takes, and the table's configuration."""
    pytest.importorskip('triton')
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv('TRITON_CACHE_DIR', str(tmp_path_factory.mktemp('triton')))
        environment.setenv('TRITON_INTERPRET', '0')  # of the process that compiles
        with ProcessPoolExecutor(1, multiprocessing.get_context('spawn')) as pool:
            pool.submit(int).result()  # it has started, with this environment

            def compile_in_process(kernel, dtype, capability, layer=SST_L_PLUS):
                build = Build(kernel, dtype, layer, capability)
                return pool.submit(usage_of, build, build.present()).result(), build.present()

            environment.undo()
            yield compile_in_process


@pytest.mark.parametrize('dtype', ['bfloat16', 'float32'])
@pytest.mark.parametrize('kernel', KERNELS)
def test_no_warp_repeats_the_work_of_another(compiled, kernel, dtype):
    usage, configuration = compiled(kernel, dtype, 90)
    threads = 32 * configuration.num_warps
    logits = configuration.block_m * configuration.block_n
    rescaled = 4 if kernel == 'forward' else 0  # at most: an exponential for each row that a thread has a part of
    assert usage.loop.exponentials <= logits // threads + rescaled
    if dtype != 'float32':
        assert usage.loop.slots(logits, configuration.num_warps) <= MOST_SLOTS[kernel]
    assert usage.spilled == 0


@pytest.mark.parametrize('capability', [80, 89])
@pytest.mark.parametrize('kernel', ['query', 'key'])
def test_gradient_kernels_spill_little_on_smaller_gpus(compiled, kernel, capability):
    usage, _ = compiled(kernel, 'bfloat16', capability)
    assert usage.spilled <= 64


@pytest.mark.parametrize('layer', SST_PLUS, ids=lambda layer: f'rank {layer.rank}')
@pytest.mark.parametrize('kernel', KERNELS)
def test_heads_of_30_are_read_by_16_bytes(compiled, kernel, layer):
    usage, configuration = compiled(kernel, 'float16', 90, layer)
    logits = configuration.block_m * configuration.block_n
    assert usage.loop.slots(logits, configuration.num_warps) <= MOST_SLOTS[kernel] + 0.05
    assert usage.loop.loads <= 10  # 26 with heads of 30 as they are
    assert usage.loop.narrow == (2 if kernel == 'key' else 0)  # log-sum-exp and delta are numbers of 4 bytes
    assert usage.spilled == 0


@pytest.mark.parametrize(
    ('layer', 'capability', 'most'),
    [(SST_L_PLUS, 80, 1.08), (SST_L_PLUS, 89, 1.08), (SST_PLUS[1], 80, 1.1), (SST_PLUS[1], 89, 1.1), (LIGHT, 90, 0.92)],
    ids=str,
)
def test_large_tiles_of_the_forward_kernel_spill_nothing(compiled, layer, capability, most):
    usage, configuration = compiled('forward', 'float16', capability, layer)
    assert configuration.block_n == 128
    assert usage.loop.slots(configuration.block_m * 128, configuration.num_warps) <= most
    assert usage.spilled == 0
