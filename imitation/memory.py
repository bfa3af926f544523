"""Memory that training frees is kept for its next step."""

import ctypes
import os
import sys
from functools import cache

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's mallopt
_KEPT = 256 << 20  # bytes that may lie free at the end of the heap
_LARGE = 32 << 20  # bytes from which on a block is the system's own; older glibc takes no more


@cache
def keep_freed() -> None:
    """Have glibc keep up to 256 MB of what this process frees, and give blocks below 32 MB from its heap.

    A step makes and frees activations and weights of a few megabytes. By default they are given back to the
    system and asked for again, step after step, in some processes and not in others: a page fault for each
    4 kB of them takes as long as the step itself. Without glibc, or where the environment says otherwise
    (MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_, GLIBC_TUNABLES), nothing is changed.
    """
    asked = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & os.environ.keys()
    if asked or sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and mallopt(_MAP, _LARGE):
        mallopt(_TRIM, _KEPT)
