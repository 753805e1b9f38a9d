"""How much memory is free, and how large the tiles of an image may be."""

import contextlib
import gc
import math
import os
from pathlib import Path

import torch
from torch import nn

from sst.archs import AttentionNetwork, SSTReal, WindowNetwork
from sst.archs.sstreal_options import ffn_hidden
from sst.inference.probing import NetworkProperties
from sst.inference.spans import rounded_up, side_of_tile

# On a CPU larger tiles gain little: they only save computing the overlaps twice.
MOST_ON_CPU = 1_200_000_000  # bytes, without the gaps between blocks that the allocator keeps
MOST_OF_SSTREAL = 3_500_000_000  # on a CPU, because its tiles read 64 pixels or more on each side
MOST_PIXELS = 2048 * 2048  # of a tile
MOST_VALUES = 2**31 - 1  # of a map, because kernels count them in 32 bits
SMALLEST = 64  # LR pixels a side
_ASSUMED = 4_000_000_000  # bytes, if the system does not say


def free_memory(device: torch.device) -> float:
    """Bytes that this process can still allocate on a device, as far as the system says."""
    if device.type == 'cuda':
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == 'mps':
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return min(_free_on_machine(), _free_in_group())


def own_memory() -> int:
    """Bytes that this process uses now; 0 if the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return os.sysconf('SC_PAGE_SIZE') * int(Path('/proc/self/statm').read_text().split()[1])
    return 0


def _free_on_machine() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path('/proc/meminfo').read_text(encoding='utf-8').splitlines():
            if line.startswith('MemAvailable:'):
                return 1024 * int(line.split()[1])
    with contextlib.suppress(OSError, ValueError, AttributeError):  # AttributeError on Windows
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 4
    return _ASSUMED


def _free_in_group() -> float:
    """Bytes up to the limit of a container; infinite without one."""
    for limit, used in (
        ('/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory.current'),
        ('/sys/fs/cgroup/memory/memory.limit_in_bytes', '/sys/fs/cgroup/memory/memory.usage_in_bytes'),
    ):
        with contextlib.suppress(OSError, ValueError):  # ValueError: the limit is "max"
            return max(0, int(Path(limit).read_bytes()) - int(Path(used).read_bytes()))
    return math.inf


class TileSize:
    """Chooses the size of tiles for the memory that is free: the argument `tile` of `Tiler`.

    Args:
        net (nn.Module): on its device, in the dtype that it computes in.
        overlap (int): LR pixels that a tile reads beyond its border.
        multiple (int): the size of a tile is a multiple of it.
        properties (NetworkProperties | None): of a network other than an AttentionNetwork.
    """

    def __init__(
        self, net: nn.Module, overlap: int, multiple: int, properties: NetworkProperties | None = None
    ) -> None:
        self.overlap, self.multiple = overlap, multiple
        self.most_on_cpu = MOST_OF_SSTREAL if isinstance(net, SSTReal) else MOST_ON_CPU
        self.most_pixels = MOST_PIXELS
        if isinstance(net, AttentionNetwork):
            self.most_pixels = min(MOST_PIXELS, MOST_VALUES // _widest(net))
            properties = NetworkProperties(net.scale, multiple, _values(net))
        assert properties is not None, 'of other networks they must be given'
        self.properties = properties
        weight = net.stem.weight if isinstance(net, AttentionNetwork) else next(net.parameters(), torch.zeros(()))
        self.device, self.element_size = weight.device, weight.element_size()

    def __call__(self, height: int, width: int) -> int | None:
        """LR pixels a side of a tile, for an image of this size; None if the image fits as a whole."""
        budget = self._budget()
        if height * width <= self.most_pixels and self.needed(height, width, width) <= budget:
            return None
        smallest = rounded_up(SMALLEST, self.multiple)
        tile = math.isqrt(self.most_pixels) // self.multiple * self.multiple
        while tile > smallest:
            side = side_of_tile(tile, self.overlap, self.multiple)
            if side**2 <= self.most_pixels and self.needed(side, side, width) <= budget:
                break
            tile -= self.multiple
        return max(tile, smallest)

    def _budget(self) -> float:
        free = free_memory(self.device)
        return 0.7 * free if self.device.type != 'cpu' else min(0.5 * free, self.most_on_cpu)

    def needed(self, height: int, width: int, whole_width: int) -> int:
        """Bytes that a tile needs, about: maps of the widest layer and the upsampler, and its rows of the result."""
        enlarged = self.properties.scale**2
        rows = 2 * 3 * 4 * enlarged * height * whole_width if self.device.type == 'cpu' else 0
        return int(height * width * (self.properties.values * self.element_size + 4 * 3 * 4 * enlarged)) + rows


def _values(net: AttentionNetwork) -> int:
    """Values that a network of ours has in memory at once for each LR pixel."""
    if isinstance(net, SSTReal):
        return 20 * net.options['dim'] + 4 * _upsampled(net)
    assert isinstance(net, WindowNetwork)
    return 7 * net.widest + 3 * _upsampled(net)


def _widest(net: AttentionNetwork) -> int:
    """Channels of the widest map of a network of ours, counted for each LR pixel."""
    if isinstance(net, SSTReal):
        dim = net.options['dim']
        return max(3 * dim, 2 * ffn_hidden(dim, net.options['ffn_expansion']), _upsampled(net))
    assert isinstance(net, WindowNetwork)
    return max(net.widest, _upsampled(net))


def _upsampled(net: AttentionNetwork) -> int:
    """Values of the upsampler's widest map for each LR pixel."""
    if isinstance(net, SSTReal):
        return net.options['upsampler_channels'] * net.scale**2
    return (net.options['upsampler'].get('channels') or 3) * net.scale**2


def is_out_of_memory(fault: BaseException) -> bool:
    """Whether an error of CUDA, MPS or the CPU allocator says that there is not enough memory."""
    text = str(fault)
    return (
        isinstance(fault, torch.OutOfMemoryError | MemoryError)
        or 'out of memory' in text
        or ("can't allocate memory" in text and 'DefaultCPUAllocator' in text)
    )


def empty_cache(device: torch.device) -> None:
    """Give memory back to a device after a failed computation."""
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.empty_cache()
    elif device.type == 'mps':
        torch.mps.empty_cache()
