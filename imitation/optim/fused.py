"""Elementwise rules in one pass over memory, for the CPU tensors of populations.

A dozen elementwise operations cost more than they compute where each reads and writes all weights and moments
of a population, which are too many for the cache. A rule that has such a pass keeps it beside its lines in
torch, which are for fewer weights, other tensors, and steps that are differentiated. Of the project outside
this package it needs ``mpc.kernels.compilation`` alone, which compiles kernels and keeps them.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from imitation.optim.algebra import Scalar
from imitation.optim.contract import Params
from mpc.kernels.compilation import kernel

_THREADS = 2  # of torch, up to which one core in one pass is faster
_REALS = {torch.float32: np.float32, torch.float64: np.float64}


class OnePass:
    """A kernel over rows of members.

    Args:
        function: takes ``reads`` tensors ``(K, P)``, ``members`` numbers of each member ``(K,)``, ``numbers``
            numbers, and, to fill, ``writes`` tensors ``(K, P)`` and ``counts`` tensors ``(K,)``.
        least: weights of all members from which on it saves more than the call costs.
    """

    def __init__(
        self,
        function: Callable[..., None],
        *,
        reads: int,
        writes: int,
        members: int = 0,
        numbers: int = 0,
        counts: int = 0,
        least: int = 0,
    ) -> None:
        self._writes, self._counts, self._least = writes, counts, least
        self._run = {}
        for dtype, real in (torch.float32, "f4"), (torch.float64, "f8"):
            rows, each = [f"{real}[:,::1]"], [f"{real}[::1]"]
            arguments = rows * reads + each * members + [real] * numbers + rows * writes + each * counts
            self._run[dtype] = kernel(f"void({', '.join(arguments)})")(function)

    def __call__(
        self, *groups: Params, members: Sequence[Scalar] = (), numbers: Sequence[float] = ()
    ) -> tuple[Params, ...] | None:
        """What it writes and counts, by the names of the first group; None where torch's lines are to do it.

        Args:
            groups: what it reads, tensors ``(K, ...)`` of the same names.
            members: one number for all, or one for each member ``(K,)``.
        """
        first = groups[0]
        if not self._takes(groups, members):
            return None
        filled = [self._filled([group[name] for group in groups], members, numbers) for name in first]
        return tuple(dict(zip(first, parts, strict=True)) for parts in zip(*filled, strict=True))

    def _takes(self, groups: Sequence[Params], members: Sequence[Scalar]) -> bool:
        """Whether the tensors are of one shape and kind that kernels take, large enough to gain, and nothing
        is differentiated through the step."""
        weights = sum(tensor.numel() for tensor in groups[0].values())
        if not weights or weights < self._least or torch.get_num_threads() > _THREADS:
            return False
        tensors = [tensor for group in groups for tensor in group.values()]
        kinds = {(tensor.dtype, tensor.is_cpu) for tensor in tensors}
        asked = tensors + [one for one in members if isinstance(one, Tensor)]
        tracked = torch.is_grad_enabled() and any(one.requires_grad for one in asked)
        one_shape = all(group[name].shape == p.shape for name, p in groups[0].items() for group in groups[1:])
        return one_shape and not tracked and len(kinds) == 1 and kinds <= {(kind, True) for kind in _REALS}

    def _filled(
        self, tensors: list[Tensor], members: Sequence[Scalar], numbers: Sequence[float]
    ) -> list[Tensor]:
        p, real = tensors[0], _REALS[tensors[0].dtype]
        filled = [torch.empty_like(p, memory_format=torch.contiguous_format) for _ in range(self._writes)]
        counts = [torch.empty(len(p), dtype=p.dtype) for _ in range(self._counts)]
        self._run[p.dtype](
            *[_rows(tensor) for tensor in tensors],
            *[_each(value, p) for value in members],
            *[real(value) for value in numbers],
            *[_rows(tensor) for tensor in filled],
            *[count.numpy() for count in counts],
        )
        return filled + counts


def one_pass(**options: int) -> Callable[[Callable[..., None]], OnePass]:
    """Decorates the function of a ``OnePass``."""
    return lambda function: OnePass(function, **options)


def _rows(tensor: Tensor) -> np.ndarray:
    """The same memory, ``(K, P)``."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    values = tensor.numpy()
    return np.ascontiguousarray(values if values.ndim == 2 else values.reshape(len(values), -1))


def _each(value: Scalar, like: Tensor) -> np.ndarray:
    """One number a member ``(K,)``."""
    plain = value.detach().to(like.dtype).numpy() if isinstance(value, Tensor) else value
    return np.full(len(like), plain, dtype=_REALS[like.dtype])
