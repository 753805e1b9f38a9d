"""Decides on the machine itself whether `auto` takes the fused kernels: they must be right, and not slower.

Each case of a network is computed on a small map that needs padding and compared with the equations in float32. Then
the fused kernels and the backend that `auto` would take instead are timed. What was found is kept in the user's cache
under the GPU, its driver, the versions of torch and Triton, and a hash of the kernels' source.
"""

import hashlib
import json
import logging
import os
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sst.ops import verdicts
from sst.ops.backends import BACKENDS
from sst.ops.backends.base import Inputs
from sst.ops.heads import pad_heads
from sst.ops.kernels.layout import worthwhile_padding
from sst.ops.terms import Factored
from sst.ops.verdicts import Case
from sst.ops.windows import pad_to_multiple, partition, windows_along
from sst.utils.errors import UserError, reason_of
from sst.utils.files import atomic_write_text, user_cache
from sst.utils.precision import full_float32

logger = logging.getLogger('basicsr')

SWITCH = 'SST_FUSED'  # 0 in the environment switches the fused kernels off
LIMITS = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}  # relative L2 error, as in the tests
QUERIES = 96  # pixels of a map that are compared, of larger maps than
FEW = 1024  # pixels, of which all are
SIZE = (360, 640)  # LR of 1280 x 720 at x2: the map that is timed, unless something else is known
REPEATS = 5
NOT_SLOWER = 1.02  # a little more time than the other backend is still not slower

Agree = Callable[[Sequence[bool]], Sequence[bool]]
Clock = Callable[[Callable[[], Any], torch.device], float]  # the seconds that some work takes


@dataclass(frozen=True)
class Verdict:
    """What a check found."""

    taken: bool
    reason: str


def decide(
    cases: Iterable[Case],
    device: torch.device,
    size: tuple[int, int] = SIZE,
    batch: int = 1,
    *,
    agree: Agree = lambda taken: taken,
    seconds_of: Clock | None = None,
) -> None:
    """Check each case that was not decided yet, and record the verdicts for `auto`.

    Args:
        cases: of a network, each once.
        device (torch.device): where it will run.
        size (tuple[int, int]), batch (int): height and width of the maps to time, and how many.
        agree (Callable): makes one list of decisions of those of all processes, which all call it alike.
        seconds_of (Callable | None): times a function. None: the median of some calls.
    """
    new = [case for case in dict.fromkeys(cases) if not verdicts.known(device, case)]
    kept = _read_cache(device)
    found = {}
    for case in new:
        found[case] = kept.get(case.name) or examine(case, device, size, batch, seconds_of)
    _write_cache(device, {case.name: verdict for case, verdict in found.items() if not _is_passing(verdict)})
    for case, taken in zip(new, agree([found[case].taken for case in new]), strict=True):
        verdicts.record(device, case, taken)
        if not found[case].taken:
            logger.info(f'Window attention: fused is not taken for {case.name}: {found[case].reason}.')
        elif not taken:
            logger.info(f'Window attention: fused is not taken for {case.name}: another process cannot.')


def takes(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    error: Callable[[], float],
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    seconds_of: Clock | None = None,
) -> bool:
    """Whether other kernels of ours are taken, by the same rules: right, and not slower.

    Args:
        name (str): of the case, in the cache and in the log.
        error (Callable): gives their relative L2 error; at most that of attention in `dtype` is right.
        ours, theirs (Callable): one pass, by our kernels and by torch.
    """
    verdict = _read_cache(device).get(name) or _judged(device, dtype, error, ours, theirs, 'torch', seconds_of)
    _write_cache(device, {} if _is_passing(verdict) else {name: verdict})
    if not verdict.taken:
        _log_once(f'Fused kernels are not taken for {name}: {verdict.reason}.')
    return verdict.taken


@cache
def _log_once(text: str) -> None:
    logger.info(text)


def examine(
    case: Case,
    device: torch.device,
    size: tuple[int, int],
    batch: int,
    seconds_of: Clock | None = None,
) -> Verdict:
    """Whether the fused kernels are right and not slower for a case. A fault of theirs is a verdict, too."""
    try:
        inputs = _random_inputs(case, device, *size, batch)
    except torch.OutOfMemoryError as fault:
        return Verdict(False, f'{type(fault).__name__}: {reason_of(fault)}')
    able = (b for b in BACKENDS.values() if b.name != 'fused' and b.automatic(inputs) and not b.unsupported(inputs))
    other = next(able)
    ours, theirs = _work(BACKENDS['fused'], _padded(inputs), case), _work(other, inputs, case)
    return _judged(device, case.dtype, lambda: worst_error(case, device), ours, theirs, other.name, seconds_of)


def _judged(
    device: torch.device,
    dtype: torch.dtype,
    error: Callable[[], float],
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    other: str,
    seconds_of: Clock | None,
) -> Verdict:
    if os.environ.get(SWITCH) == '0':
        return Verdict(False, f'{SWITCH}=0 is set')
    try:
        if not (found := error()) <= LIMITS[dtype]:
            return Verdict(False, f'the relative error is {found:.1e}, above {LIMITS[dtype]:.0e}')
        our_time, their_time = ((seconds_of or median_seconds)(work, device) for work in (ours, theirs))
    except Exception as fault:  # of the compiler, the driver, or for lack of memory
        return Verdict(False, f'{type(fault).__name__}: {reason_of(fault)}')
    return Verdict(our_time <= NOT_SLOWER * their_time, f'{1000 * our_time:.3g} ms, {other} {1000 * their_time:.3g} ms')


def worst_error(case: Case, device: torch.device) -> float:
    """The largest relative L2 error, of values and gradients, at some pixels of a map that needs padding."""
    inputs = _random_inputs(case, device, case.window + case.window // 2 + 1, case.window + 3, 1)
    generator = torch.Generator(device).manual_seed(1)
    height, width = inputs.qkv.shape[1:3]
    chosen = torch.randperm(height * width, generator=generator, device=device)
    if height * width > FEW:
        chosen = chosen[:QUERIES]
    leaves = _leaves(inputs)
    exact = [leaf.detach().float().requires_grad_() for leaf in leaves]
    with torch.set_grad_enabled(case.gradients), full_float32():
        results = BACKENDS['fused'](_padded(inputs)).flatten(1, 2)[0, chosen].float()
        expected = _equations(case, exact, chosen)
    pairs = [(results, expected)]
    if case.gradients:
        weight = torch.randn(results.shape, generator=generator, device=device)
        with full_float32():
            ours = torch.autograd.grad(results, leaves, weight)
            theirs = torch.autograd.grad(expected, exact, weight)
        pairs += zip(ours, theirs, strict=True)
    return max(((a.double() - b.double()).norm() / b.double().norm().clamp_min(1e-30)).item() for a, b in pairs)


def _equations(case: Case, leaves: Sequence[Tensor], chosen: Tensor) -> Tensor:
    """Eq. 4 to 6 and 11 in float32 at some pixels of one map: (pixels, C)."""
    qkv, *others = leaves
    factors, gate = (others[:2] if case.rank else None), (others[-1] if case.gated else None)
    width, window = qkv.shape[2], case.window
    y, x = chosen // width, chosen % width
    token = y % window * window + x % window
    place = y // window * windows_along(width, window) + x // window
    tokens = partition(pad_to_multiple(qkv, window), window).unflatten(-1, (3, case.num_heads, case.head_dim))
    out = qkv.new_zeros(len(chosen), case.num_heads, case.head_dim)
    for number, (q, k, v) in enumerate(part.unbind(1) for part in tokens):
        here = place == number
        logits = torch.einsum('qhd,khd->hqk', q[token[here]], k) * case.head_dim**-0.5
        if factors:
            logits = logits + factors[0][:, token[here]] @ factors[1].transpose(1, 2)
        out = out.index_put((here.nonzero()[:, 0],), torch.einsum('hqk,khd->qhd', logits.softmax(-1), v))
    out = out.flatten(1)
    return out if gate is None else out * gate.flatten(1, 2)[0, chosen]


def _random_inputs(case: Case, device: torch.device, height: int, width: int, batch: int) -> Inputs:
    """Random inputs of a case, from a generator of their own, whose logits are of the size of 1."""
    generator = torch.Generator(device).manual_seed(0)
    channels = case.num_heads * case.head_dim

    def random(*shape: int, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
        values = torch.randn(shape, generator=generator, device=device) * scale
        return values.to(dtype).requires_grad_(case.gradients)

    term = None
    if case.rank:
        shape = (case.num_heads, case.window**2, case.rank)
        term = Factored(*(random(*shape, dtype=torch.float32, scale=case.rank**-0.25) for _ in range(2)))
    qkv = random(batch, height, width, 3 * channels, dtype=case.map_dtype)
    gate = random(batch, height, width, channels, dtype=case.map_dtype) if case.gated else None
    return Inputs(qkv, case.window, case.num_heads, term, None, gate, 0, case.dtype)


def _padded(inputs: Inputs) -> Inputs:
    """The same as networks give them to the fused kernels."""
    padding = worthwhile_padding(inputs.head_dim)
    return replace(inputs, qkv=pad_heads(inputs.qkv, 3 * inputs.num_heads, padding), padding=padding)


def _leaves(inputs: Inputs) -> list[Tensor]:
    return [inputs.qkv, *(inputs.factors or ()), *([] if inputs.gate is None else [inputs.gate])]


def _work(backend: Any, inputs: Inputs, case: Case) -> Callable[[], Any]:
    """One pass of a backend, with its gradients where the case has them."""

    def work() -> None:
        with torch.set_grad_enabled(case.gradients):
            out = backend(inputs)
        if case.gradients:
            torch.autograd.grad(out.float().sum(), _leaves(inputs))

    return work


def median_seconds(work: Callable[[], Any], device: torch.device) -> float:
    """The median of some calls, after two to warm up."""
    times = []
    for number in range(2 + REPEATS):
        begin = time.perf_counter()
        work()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        if number >= 2:
            times.append(time.perf_counter() - begin)
    return statistics.median(times)


def _is_passing(verdict: Verdict) -> bool:
    """Whether a verdict may be another one next time."""
    return SWITCH in verdict.reason or 'OutOfMemory' in verdict.reason


def _cache_file() -> Path:
    return user_cache() / 'fused_checks.json'


@cache
def machine_of(device: torch.device) -> str:
    """All that verdicts depend on beside the case, as one text."""
    sources = hashlib.sha256()
    for path in sorted((Path(__file__).parent / 'kernels').glob('*.py')):
        sources.update(path.read_bytes())
    name, driver = 'CPU', ''
    if device.type == 'cuda':
        name = torch.cuda.get_device_name(device)
        with suppress(OSError):  # Linux alone tells
            driver = Path('/proc/driver/nvidia/version').read_text(encoding='utf-8').split('\n')[0]
    try:
        triton = metadata.version('triton')
    except metadata.PackageNotFoundError:
        triton = 'none'
    versions = f'driver {driver}, torch {torch.__version__}, triton {triton}'
    return f'{name}, {versions}, {sources.hexdigest()[:16]}'


def _read_cache(device: torch.device) -> dict[str, Verdict]:
    """The kept verdicts of this machine, by the names of their cases; empty where the file is missing or damaged."""
    try:
        found = json.loads(_cache_file().read_text(encoding='utf-8'))[machine_of(device)]
        return {name: Verdict(bool(taken), str(reason)) for name, (taken, reason) in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError):  # RuntimeError: no home folder
        return {}


def _write_cache(device: torch.device, new: dict[str, Verdict]) -> None:
    """Add verdicts to those that are kept. A cache that cannot be written is no fault."""
    before = _read_cache(device)
    if not new or new.keys() <= before.keys():
        return
    try:
        try:
            kept = json.loads(_cache_file().read_text(encoding='utf-8'))
        except (OSError, ValueError):
            kept = {}
        kept = kept if isinstance(kept, dict) else {}
        kept[machine_of(device)] = {name: [v.taken, v.reason] for name, v in (before | new).items()}
        _cache_file().parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(_cache_file(), json.dumps(kept, indent=1))
    except (OSError, RuntimeError, UserError) as fault:
        logger.info(f'What the check of the fused kernels found cannot be kept: {reason_of(fault)}.')
