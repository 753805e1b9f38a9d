"""Runs of the installed programs in a folder, and what they leave there."""

import os
import subprocess
import sysconfig
from pathlib import Path

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = Path(sysconfig.get_path('scripts'))


def command(program: str, *arguments: str, processes: int = 1) -> list[str]:
    """The installed console script, under torchrun for several processes."""
    start = [str(SCRIPTS / program)]
    if processes > 1:
        port = 20000 + os.getpid() % 20000
        start = [
            str(SCRIPTS / 'torchrun'),
            f'--nproc_per_node={processes}',
            f'--master_port={port}',
            '--no-python',
            *start,
        ]
    return [*start, *arguments]


def environment():
    """One process's share of the cores, and no kernels in Triton's interpreter."""
    ours = {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    return {key: value for key, value in os.environ.items() if key != 'TRITON_INTERPRET'} | ours


def run(folder, program, *arguments, processes=1, code=0, **keywords):
    done = subprocess.run(
        command(program, *arguments, processes=processes),
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=300, check=False, **keywords,
    )  # fmt: skip
    assert done.returncode == code, f'exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}'
    return done


def weights(folder, name='tiny'):
    content = torch.load(folder / 'experiments' / name / 'models' / 'net_g_latest.pth', weights_only=True)
    return {f'{key}.{name}': value for key in ('params', 'params_ema') for name, value in content[key].items()}


def scalars(run_folder, tag):
    """Iterations to values, as TensorBoard shows them."""
    events = EventAccumulator(str(run_folder / 'tb_logger')).Reload()
    return {event.step: event.value for event in events.Scalars(tag)}


def losses(folder, name='tiny'):
    return list(scalars(folder / 'experiments' / name, 'losses/l_pix').values())


def assert_equal_to_the_bit(first, second):
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different
