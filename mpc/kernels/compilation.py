"""How kernels are compiled and cached on disk.

Compiled code lives in a folder named after a hash of every kernel source, of the versions that made it
and of the processor that it is for, so a changed kernel can never meet stale code, nor a processor that of
another one that shares the home. Kernels carry explicit signatures, those of one function compiled one after
the other, so processes that compile at the same time write the same entries. Folders that no process has
started from for a long time are removed when a new one is made.
"""

import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.registry import cpu_target

from mpc.kernels.lanes import WIDTH

_LONG = 90 * 24 * 3600  # seconds without a start after which a folder of the cache is removed

allocating = numba.njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorates a piece of a kernel: compiled into each kernel that calls it, never to be called from Python."""

# Without Numba's runtime no references are counted, for its locks take up to a quarter of a small label.
part = numba.njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)
"""The same for a piece that makes no arrays, as nearly all do: the kernel gives it what it needs."""

inlined = numba.njit(nogil=True, error_model="numpy", forceinline=True, _nrt=False)
"""Decorates a piece so short that a call would cost as much as it does."""

ZERO, ONE, NONE = np.int64(0), np.int64(1), np.int64(-1)
"""What is handed to parts in place of plain numbers: in Numba a plain 0 has a type of its own,
for which a part is compiled a second time."""


def _digest() -> str:
    """What compiled code depends on: sources as Numba tells them apart, versions, processor and options.

    The width of a vector is no part of a kernel's signature, and Numba numbers the files of two processors
    in one index, where both may take the same number at the same time: each must have a folder of its own.
    """
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"{source} {source.stat().st_mtime_ns}".encode())
        digest.update(source.read_bytes())
    for version in (numba.__version__, np.__version__, llvmlite.__version__, platform.python_version()):
        digest.update(version.encode())
    digest.update(repr(cpu_target.target_context.codegen().magic_tuple()).encode())
    digest.update(f"boundscheck={numba.config.BOUNDSCHECK} lanes={WIDTH}".encode())
    return digest.hexdigest()[:16]


def _remove_forgotten(kernels: Path) -> None:
    """Remove the folders that no process has started from for ``_LONG``.

    What a process loaded from them stays loaded, and should it compile yet another kernel it makes its folder
    anew: at worst, something is compiled once more.
    """
    for folder in kernels.glob("[0-9a-f]" * 16):
        with suppress(OSError):  # another process may do the same
            if time.time() - folder.stat().st_mtime > _LONG:
                shutil.rmtree(folder)


@cache
def cache_folder() -> Path:
    """The first writable of $CENTRALPATH_CACHE, the user's cache and the temporary folder."""
    digest = _digest()
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    temporary = f"{tempfile.gettempdir()}/{os.getuid()}"
    for root in filter(None, (os.environ.get("CENTRALPATH_CACHE"), home, temporary)):
        folder = Path(root) / "centralpath" / "kernels" / digest
        try:
            if not folder.exists():
                _remove_forgotten(folder.parent)
            folder.mkdir(parents=True, exist_ok=True)
            os.utime(folder)
            # Anyone may make that folder in the temporary one, and who owns it can put any code into it.
            if root == temporary and os.stat(root).st_uid != os.getuid():
                continue
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    raise OSError(
        "no folder to cache compiled kernels in: set CENTRALPATH_CACHE to a folder that can be written"
    )


def kernel(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function for ``signature`` now, or load it from the cache, saying so if it takes long."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        if numba.config.DISABLE_JIT:
            return function
        done = cache_folder() / f"{function.__module__}.{function.__qualname__}.done"
        if not done.exists():
            name = f"{function.__module__}.{function.__qualname__}"
            print(f"centralpath: compiling {name} (once, some seconds) ...", file=sys.stderr, flush=True)
        before = numba.config.CACHE_DIR
        numba.config.CACHE_DIR = str(cache_folder())
        try:
            compiled = numba.njit(signature, nogil=True, cache=True, error_model="numpy")(function)
        finally:
            numba.config.CACHE_DIR = before
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()
        return compiled

    return decorate
