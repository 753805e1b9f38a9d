"""Memory that a computation takes."""

import sys
from contextlib import suppress
from pathlib import Path

import torch


class PeakMemory:
    """Measures from its construction on.

    Args:
        device (torch.device): whose memory.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(device)
        self.before = _resident('VmRSS')
        with suppress(OSError):
            Path('/proc/self/clear_refs').write_text('5', encoding='utf-8')  # the peak counts from here

    def peak(self) -> int:
        """Bytes: on CUDA the most that torch had allocated, weights included; on the CPU how much the process grew."""
        if self.device.type == 'cuda':
            return torch.cuda.max_memory_allocated(self.device)
        return _resident('VmHWM') - self.before


def _resident(field: str) -> int:
    """Bytes of memory of this process: VmRSS now, VmHWM at its peak. Linux alone tells; 0 elsewhere."""
    if sys.platform != 'linux':
        return 0
    lines = Path('/proc/self/status').read_text(encoding='utf-8').splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f'{field}:'))
