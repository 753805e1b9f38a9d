"""Which process this is among all, and how they agree."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from sst.options.schema import Dist
from sst.utils.errors import SharedError, UserError

Result = TypeVar('Result')


@dataclass(frozen=True)
class Place:
    """A process among all (`rank` of `world`) and on its machine (`local_rank` of `local_world`)."""

    launcher: str
    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1


def detect(launcher: str | None, env: Mapping[str, str]) -> Place:
    """The place that torchrun's or SLURM's variables give; a single process without them.

    Raises:
        UserError: variables are missing or senseless, or `none` was asked for under several processes.
    """
    if launcher is None:
        launcher = 'pytorch' if {'RANK', 'WORLD_SIZE', 'LOCAL_RANK'} <= set(env) else 'none'
        # SLURM sets the number of tasks in a batch script too, which runs once: only a step (srun) starts them all.
        if launcher == 'none' and 'SLURM_STEP_ID' in env and _number(_slurm_tasks, env) > 1:
            launcher = 'slurm'
    if launcher == 'pytorch':
        return _place(launcher, env, 'RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'torchrun --nproc_per_node=N sst/train.py ...')
    if launcher == 'slurm':
        return _place(launcher, env, 'SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID', 'srun python sst/train.py ...')
    if _number(lambda env: int(env.get('WORLD_SIZE') or 1), env) > 1:
        raise UserError(
            f'--launcher none under {env["WORLD_SIZE"]} processes: each would train the same run alone; '
            'leave --launcher out, or start a single process with: python sst/train.py ...'
        )
    return Place('none')


def _number(read: Callable[[Mapping[str, str]], int], env: Mapping[str, str]) -> int:
    try:
        return read(env)
    except ValueError as fault:
        raise UserError(
            f'WORLD_SIZE or SLURM_NTASKS is no number ({fault}); unset it, or start with: torchrun --nproc_per_node=N '
            'sst/train.py ...'
        ) from fault


def _slurm_tasks(env: Mapping[str, str]) -> int:
    return int(env.get('SLURM_STEP_NUM_TASKS') or env.get('SLURM_NTASKS') or 1)


def _slurm_local_tasks(env: Mapping[str, str]) -> int:
    """Tasks on this machine, from a text as `8(x3),4`: eight on the first three machines, four on the fourth."""
    counts = env.get('SLURM_STEP_TASKS_PER_NODE') or env.get('SLURM_TASKS_PER_NODE') or '1'
    machines = [
        int(count) for count, times in re.findall(r'(\d+)(?:\(x(\d+)\))?', counts) for _ in range(int(times or 1))
    ]
    return machines[min(int(env.get('SLURM_NODEID', 0)), len(machines) - 1)]


def _place(launcher: str, env: Mapping[str, str], rank_key: str, world_key: str, local_key: str, start: str) -> Place:
    try:
        rank, local_rank = int(env[rank_key]), int(env[local_key])
        world = _slurm_tasks(env) if launcher == 'slurm' and world_key in env else int(env[world_key])
        local_world = _slurm_local_tasks(env) if launcher == 'slurm' else int(env.get('LOCAL_WORLD_SIZE', 1))
    except KeyError as missing:
        raise UserError(
            f'--launcher {launcher} needs the variable {missing.args[0]}, which is not set; start with: {start}'
        ) from missing
    except ValueError as fault:
        raise UserError(
            f'--launcher {launcher}: a variable of the environment is no number ({fault}); start with: {start}'
        ) from fault
    if not 0 <= rank < world:
        raise UserError(f'--launcher {launcher}: {rank_key}={rank} must lie in 0 ... {world - 1}; start with: {start}')
    return Place(launcher, rank, world, local_rank, max(local_world, local_rank + 1))


def choose_device(place: Place, num_gpu: int | str) -> torch.device:
    """The process's device: cuda:local_rank, or cpu for `num_gpu` 0 and for `auto` without a GPU.

    Raises:
        UserError: more processes than GPUs, or a GPU asked for where there is none.
    """
    if num_gpu == 0:
        return torch.device('cpu')
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count:
        if num_gpu == 'auto':
            return torch.device('cpu')
        raise UserError(f'num_gpu: {num_gpu}, but there is no usable GPU; for the CPU add: --force_yml num_gpu=0')
    if isinstance(num_gpu, int) and num_gpu not in (1, place.world):
        raise UserError(
            f'num_gpu: {num_gpu}, but {place.world} process(es) were started, each of which drives one GPU; start '
            f'torchrun --nproc_per_node={num_gpu} ..., or add: --force_yml num_gpu=auto'
        )
    if place.launcher == 'slurm' and count == 1:  # srun --gpus-per-task=1 shows each task its own GPU only
        return torch.device('cuda', 0)
    if place.local_world > count:
        raise UserError(
            f'{place.local_world} processes on this machine, but {count} GPU(s): start {count} here '
            f'(torchrun --nproc_per_node={count} ...), or use the CPU: --force_yml num_gpu=0'
        )
    return torch.device('cuda', place.local_rank)


def join(place: Place, device: torch.device, options: Dist) -> None:
    """Select the device. If there are several processes, join their group.

    Args:
        options: the section `dist_params`.
    """
    if device.type == 'cuda':
        torch.cuda.set_device(device)
    if place.launcher == 'none':
        return
    if place.launcher == 'pytorch':
        _end_with_parent()
    backend: str = options.backend
    if backend == 'auto':
        backend = 'nccl' if device.type == 'cuda' else 'gloo'
    if backend == 'nccl' and device.type != 'cuda':
        raise UserError(
            'dist_params.backend: nccl needs GPUs; on the CPU take gloo: --force_yml dist_params:backend=gloo'
        )
    if place.launcher == 'slurm':
        os.environ.setdefault('MASTER_ADDR', slurm_master(os.environ))
        os.environ.setdefault('MASTER_PORT', str(options.port))
    try:
        dist.init_process_group(
            backend, rank=place.rank, world_size=place.world, device_id=device if backend == 'nccl' else None
        )
    except (ValueError, RuntimeError) as fault:
        address = f'{os.environ.get("MASTER_ADDR")}:{os.environ.get("MASTER_PORT")}'
        raise UserError(
            f'cannot join the other {place.world - 1} process(es) through {backend} at {address}: '
            f'{" ".join(str(fault).split())}; '
            'is the port free, and does every machine reach that address?'
        ) from fault


def _end_with_parent() -> None:
    """Make Linux kill this process when torchrun ends. Otherwise it could write into a run that was started again."""
    if sys.platform == 'linux':
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def slurm_master(env: Mapping[str, str]) -> str:
    """The first machine of the SLURM step: all processes meet there."""
    if int(env.get('SLURM_STEP_NUM_NODES') or env.get('SLURM_NNODES') or 1) == 1:
        return '127.0.0.1'
    nodes = env.get('SLURM_STEP_NODELIST') or env.get('SLURM_NODELIST', '')
    if shutil.which('scontrol'):
        answer = subprocess.run(['scontrol', 'show', 'hostnames', nodes], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.split():
            return answer.stdout.split()[0]
    raise UserError(
        f'cannot find the first machine of "{nodes}" (scontrol show hostnames gave nothing); '
        'name it: export MASTER_ADDR=<its name or address>'
    )


def agree(call: Callable[[], Result]) -> Result:
    """Run `call` in every process; a `UserError` in one is raised in all, so that none waits for the others."""
    result, fault = _attempt(call)
    if dist.is_initialized():
        faults: list[str | None] = [None] * dist.get_world_size()
        dist.all_gather_object(faults, fault)
        fault = '\n'.join(dict.fromkeys(text for text in faults if text)) or None
    if fault:
        raise SharedError(fault)
    return result  # type: ignore[return-value]  # None only where call gave None


def from_first(call: Callable[[], Result]) -> Result:
    """Call `call` in rank 0 and give every process its result or its `UserError`."""
    if not dist.is_initialized():
        return call()
    answer: list[Any] = [_attempt(call) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(answer, src=0)
    result, fault = answer[0]
    if fault:
        raise SharedError(fault)
    return result


def lost_others(fault: BaseException) -> bool:
    """Whether a fault comes from the loss of another process of the group."""
    if not dist.is_initialized():
        return False
    by_name = isinstance(fault, RuntimeError) and re.search(r'gloo|NCCL|[Cc]onnection (closed|reset)', str(fault))
    return isinstance(fault, dist.DistError) or bool(by_name)


def tells_first() -> bool:
    """Whether this process is the first of the group to say why the run ends. Needs no other process to be alive."""
    store: Any = dist.distributed_c10d._get_default_store()
    try:
        return store.add('sst-told', 1) == 1
    except (RuntimeError, dist.DistError):  # it was in the process that is gone
        return True


def leave() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _attempt(call: Callable[[], Result]) -> tuple[Result | None, str | None]:
    try:
        return call(), None
    except UserError as fault:
        return None, str(fault)
