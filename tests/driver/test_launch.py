"""Who started the processes is found from the environment; they come to terms through torch.distributed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sst.driver.launch import Place, agree, choose_device, detect, from_first, join, slurm_master
from sst.options.schema import Dist
from sst.utils.errors import UserError

TORCHRUN = {'RANK': '5', 'WORLD_SIZE': '8', 'LOCAL_RANK': '1', 'LOCAL_WORLD_SIZE': '4'}
SLURM = {
    'SLURM_PROCID': '9',
    'SLURM_NTASKS': '28',
    'SLURM_LOCALID': '1',
    'SLURM_STEP_ID': '0',
    'SLURM_NODEID': '3',
    'SLURM_STEP_TASKS_PER_NODE': '8(x3),4',
}


@pytest.mark.parametrize(
    ('launcher', 'env', 'place'),
    [
        (None, {}, Place('none')),
        ('none', {}, Place('none')),
        (None, TORCHRUN, Place('pytorch', 5, 8, 1, 4)),
        ('pytorch', TORCHRUN, Place('pytorch', 5, 8, 1, 4)),
        (None, SLURM, Place('slurm', 9, 28, 1, 4)),
        ('slurm', SLURM, Place('slurm', 9, 28, 1, 4)),
        (None, SLURM | {'SLURM_STEP_NUM_TASKS': '1'}, Place('none')),
        (None, {key: value for key, value in SLURM.items() if key != 'SLURM_STEP_ID'}, Place('none')),
        (None, SLURM | TORCHRUN, Place('pytorch', 5, 8, 1, 4)),
    ],
    ids=[
        'alone',
        'alone asked for',
        'torchrun',
        'torchrun asked for',
        'srun',
        'srun asked for',
        'srun of one shell',
        'batch script without srun',
        'torchrun inside srun',
    ],
)
def test_detect(launcher, env, place):
    assert detect(launcher, env) == place


@pytest.mark.parametrize(
    ('launcher', 'env', 'says'),
    [
        ('pytorch', {}, 'needs the variable RANK.*torchrun --nproc_per_node'),
        ('slurm', {}, 'needs the variable SLURM_PROCID.*srun'),
        ('pytorch', TORCHRUN | {'RANK': 'x'}, 'no number'),
        ('pytorch', TORCHRUN | {'RANK': '8'}, r'RANK=8 must lie in 0 \.\.\. 7'),
        ('none', TORCHRUN, '--launcher none under 8 processes'),
    ],
    ids=['no torchrun', 'no srun', 'rank is a word', 'rank beyond world', 'none under torchrun'],
)
def test_senseless_environments(launcher, env, says):
    with pytest.raises(UserError, match=says):
        detect(launcher, env)


def gpus(monkeypatch, count):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: count > 0)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)


@pytest.mark.parametrize(
    ('count', 'place', 'num_gpu', 'device'),
    [
        (0, Place('none'), 'auto', 'cpu'),
        (2, Place('none'), 0, 'cpu'),
        (2, Place('none'), 'auto', 'cuda:0'),
        (2, Place('none'), 1, 'cuda:0'),
        (4, Place('pytorch', 7, 8, 3, 4), 'auto', 'cuda:3'),
        (4, Place('pytorch', 7, 8, 3, 4), 8, 'cuda:3'),
        (1, Place('slurm', 3, 4, 3, 4), 'auto', 'cuda:0'),
        (0, Place('pytorch', 1, 2, 1, 2), 'auto', 'cpu'),
    ],
    ids=[
        'no GPU',
        'CPU asked for',
        'GPU',
        'GPU asked for',
        'fourth of a machine',
        'all GPUs counted',
        'GPU bound by SLURM',
        'gloo',
    ],
)
def test_device(monkeypatch, count, place, num_gpu, device):
    gpus(monkeypatch, count)
    assert choose_device(place, num_gpu) == torch.device(device)


@pytest.mark.parametrize(
    ('count', 'place', 'num_gpu', 'says'),
    [
        (2, Place('pytorch', 0, 4, 0, 4), 'auto', r'4 processes on this machine, but 2 GPU\(s\): start 2 here'),
        (0, Place('none'), 1, 'num_gpu: 1, but there is no usable GPU.*--force_yml num_gpu=0'),
        (4, Place('none'), 4, '1 process.*start torchrun --nproc_per_node=4'),
    ],
    ids=['too many processes', 'no GPU', 'several GPUs for one process'],
)
def test_refused_devices(monkeypatch, count, place, num_gpu, says):
    gpus(monkeypatch, count)
    with pytest.raises(UserError, match=says):
        choose_device(place, num_gpu)


def test_nccl_needs_gpus():
    with pytest.raises(UserError, match=r'nccl needs GPUs.*backend=gloo'):
        join(Place('pytorch', 0, 2, 0, 2), torch.device('cpu'), Dist(backend='nccl'))


def test_slurm_master(monkeypatch, tmp_path):
    assert slurm_master({'SLURM_NNODES': '1'}) == '127.0.0.1'
    scontrol = tmp_path / 'scontrol'
    scontrol.write_text('#!/bin/sh\n[ "$1 $2 $3" = "show hostnames node[3-4]" ] && printf "node3\\nnode4\\n"\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    assert slurm_master({'SLURM_NNODES': '2', 'SLURM_NODELIST': 'node[3-4]'}) == 'node3'
    with pytest.raises(UserError, match='export MASTER_ADDR'):
        slurm_master({'SLURM_NNODES': '2', 'SLURM_NODELIST': 'other'})


def test_alone_nothing_is_shared():
    assert agree(lambda: 3) == from_first(lambda: 3) == 3


TWO = """
import os
import pathlib
import sys
import torch
from sst.driver.launch import agree, choose_device, detect, from_first, join, leave
from sst.driver.resume import AlreadyFinished, load_resume_state
from sst.options import checked_options
from sst.options.schema import Dist
from sst.utils.errors import UserError

place = detect(None, os.environ)
join(place, torch.device('cpu'), Dist())
assert torch.distributed.get_backend() == 'gloo'
total = torch.tensor([place.rank + 1.0])
torch.distributed.all_reduce(total)
assert total.item() == 3
assert from_first(lambda: place.rank + 10) == 10
assert agree(lambda: place.rank) == place.rank

def fail_in(rank):
    if place.rank == rank:
        raise UserError(f'fault of {rank}')

for call, text in ((lambda: agree(lambda: fail_in(1)), 'fault of 1'),
                   (lambda: from_first(lambda: fail_in(0)), 'fault of 0')):
    try:
        call()
    except UserError as fault:
        assert str(fault) == text
    else:
        raise AssertionError(text)

options = checked_options(sys.argv[2], ['train:total_iter=4', 'train:scheduler={type: MultiStepLR, milestones: [1]}'])
try:
    load_resume_state(options, pathlib.Path(sys.argv[1]), auto=True)
except AlreadyFinished:
    pass
else:
    raise AssertionError('not finished')
leave()
os.write(1, f'done {place.rank}\\n'.encode())
"""


def test_two_gloo_processes(tmp_path):
    script = tmp_path / 'two.py'
    script.write_text(TWO)
    (tmp_path / 'training_states').mkdir()
    (tmp_path / 'training_states/4.state').touch()
    (tmp_path / 'finished.json').write_text('{"iter": 4}')
    root = Path(__file__).resolve().parents[2]
    torchrun = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    answer = subprocess.run(
        [*torchrun, script, tmp_path, root / 'options/demo.yml'],
        env=os.environ | {'PYTHONPATH': str(root), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert sorted(line for line in answer.stdout.splitlines() if line.startswith('done')) == ['done 0', 'done 1']


@pytest.mark.parametrize(
    'env', [{'WORLD_SIZE': 'abc'}, TORCHRUN | {'RANK': 'x'}, {'SLURM_STEP_ID': '0', 'SLURM_NTASKS': 'x'}], ids=str
)
def test_variables_that_are_no_numbers_are_one_line(env):
    with pytest.raises(UserError, match=r'^[^\n]*no number[^\n]*$'):
        detect(None, env)
