"""AdamW in one pass over memory, for the CPU tensors of float32 and float64 that populations are made of.

A dozen elementwise operations cost more than they compute where each reads and writes all weights and moments
of a population, which are too many for the cache. Of the project outside this package it needs
``mpc.kernels.compilation`` alone, which compiles kernels and keeps them.
"""

import numpy as np
import torch
from torch import Tensor

from imitation.optim.contract import Params
from mpc.kernels.compilation import kernel

_MANY = 16_384  # weights from which on one pass saves more than calling the kernel costs


def _adamw(p, g, mean, square, shrink, step, new1, keep2, new2, unbias, eps, p_out, mean_out, square_out):
    for k in range(p.shape[0]):
        for i in range(p.shape[1]):
            slope = g[k, i]
            now = mean[k, i] + new1 * (slope - mean[k, i])
            squared = keep2 * square[k, i] + new2 * slope * slope
            p_out[k, i] = shrink[k] * p[k, i] - step[k] * (now / (np.sqrt(squared) * unbias + eps))
            mean_out[k, i], square_out[k, i] = now, squared


def _signature(real: str) -> str:
    rows, members = f"{real}[:,::1]", f"{real}[::1]"
    return f"void({', '.join([rows] * 4 + [members] * 2 + [real] * 5 + [rows] * 3)})"


_KERNELS = {
    torch.float32: (np.float32, kernel(_signature("f4"))(_adamw)),
    torch.float64: (np.float64, kernel(_signature("f8"))(_adamw)),
}


def fits(*groups: Params) -> bool:
    """Whether ``adamw`` takes all tensors, of one type and on the CPU, and they are large enough to gain."""
    if sum(tensor.numel() for tensor in groups[0].values()) < _MANY:
        return False
    kinds = {(tensor.dtype, tensor.is_cpu) for group in groups for tensor in group.values()}
    return len(kinds) == 1 and kinds <= {(kind, True) for kind in _KERNELS}


def adamw(
    p: Tensor,
    g: Tensor,
    moments: tuple[Tensor, Tensor],
    step: int,
    lr: float | Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, mean and square ``(K, ...)`` after step number ``step``; ``lr``: one rate, or ``(K,)``."""
    real, run = _KERNELS[p.dtype]
    rate = np.broadcast_to(np.asarray(lr, dtype=np.float64), len(p))
    members = 1 - rate * weight_decay, rate / (1 - beta1**step)
    numbers = 1 - beta1, beta2, 1 - beta2, (1 - beta2**step) ** -0.5, eps
    moved, mean, square = (torch.empty(p.shape, dtype=p.dtype) for _ in range(3))
    run(
        *map(_rows, (p, g, *moments)), *(one.astype(real) for one in members), *map(real, numbers),
        *map(_rows, (moved, mean, square)),
    )  # fmt: skip
    return moved, mean, square


def _rows(tensor: Tensor) -> np.ndarray:
    """The same memory, ``(K, P)``."""
    return tensor.detach().reshape(len(tensor), -1).contiguous().numpy()
