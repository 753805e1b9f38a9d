"""Has the C library keep freed memory: every layer of a network frees large maps, and the next one needs as much.

Needs nothing but the standard library, because programs call it before anything else is imported.
"""

import ctypes
import os
import sys

# <malloc.h> of glibc: parameter, value.
_KEEP = {
    -4: 0,  # M_MMAP_MAX: large blocks come from the heap, too, where they stay when they are freed
    -1: -1,  # M_TRIM_THRESHOLD: the heap's end is never given back
    -8: 1,  # M_ARENA_MAX: one heap for all threads; the heaps of others hold no block above 64 MB
}


def keep_memory() -> bool:
    """Have this process keep the memory that it frees, and use it again, until it ends.

    By default glibc gives large blocks back to the system and takes them page by page again, in every layer of a
    network. It can double the time on a CPU. Where the environment sets the allocator (`MALLOC_...`, or glibc.malloc
    in `GLIBC_TUNABLES`) that stays.

    Returns:
        bool: whether it is done. False with another C library than glibc.
    """
    set_by_user = any(name.startswith('MALLOC_') for name in os.environ)
    if sys.platform != 'linux' or set_by_user or 'glibc.malloc' in os.environ.get('GLIBC_TUNABLES', ''):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, 'gnu_get_libc_version'):
        return False
    done = [library.mallopt(parameter, value) for parameter, value in _KEEP.items()]
    return all(done)
