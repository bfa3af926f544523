"""Named tensors with a member axis as vectors, one for each member."""

import torch
from torch import Tensor

from imitation.optim.contract import Params, per_member

Scalar = float | Tensor
"""One number, or one a member ``(K,)``."""


def zeros(params: Params) -> Params:
    return {name: torch.zeros_like(p) for name, p in params.items()}


def plus(a: Params, scale: Scalar, b: Params) -> Params:
    """``a + scale b``."""
    if isinstance(scale, Tensor):
        return {name: p + per_member(scale, p) * b[name] for name, p in a.items()}
    return {name: torch.add(p, b[name], alpha=scale) for name, p in a.items()}


def times(scale: Scalar, a: Params) -> Params:
    """``scale a``."""
    return {name: per_member(scale, p) * p for name, p in a.items()}


def minus(a: Params, b: Params) -> Params:
    """``a - b``."""
    return {name: p - b[name] for name, p in a.items()}


def mixed(a: Params, b: Params, share: Scalar) -> Params:
    """``(1 - share) a + share b``."""
    if isinstance(share, Tensor):
        return {name: torch.lerp(p, b[name], per_member(share, p)) for name, p in a.items()}
    return {name: torch.lerp(p, b[name], share) for name, p in a.items()}


def dot(a: Params, b: Params) -> Tensor:
    """``<a, b>`` of each member ``(K,)``, a tensor at a time."""
    return torch.stack([flattened(p * b[name]).sum(dim=1) for name, p in a.items()]).sum(dim=0)


def flattened(p: Tensor) -> Tensor:
    """``(K, ...)`` as ``(K, P)``."""
    return p.flatten(1) if p.dim() > 1 else p[:, None]


def norm(a: Params) -> Tensor:
    """``||a||`` of each member ``(K,)``."""
    return dot(a, a).sqrt()


def running(mean: Params, new: Params, discount: float) -> Params:
    """``discount mean + (1 - discount) new``."""
    return {name: torch.lerp(mean[name], p, 1 - discount) for name, p in new.items()}


def clamped(a: Params, bound: float) -> tuple[Params, Tensor]:
    """Each entry brought into ``[-bound, bound]``, and the share of entries that were not ``(K,)``."""
    beyond = torch.cat([flattened((p.abs() > bound).to(p.dtype)) for p in a.values()], dim=1)
    return {name: p.clamp(-bound, bound) for name, p in a.items()}, beyond.mean(dim=1)


def decayed(p: Tensor, way: Tensor, lr: Scalar, weight_decay: float) -> Tensor:
    """``(1 - lr wd) p - lr way``: a step with decoupled decay, of one tensor."""
    rate = per_member(lr, p)
    return (p * (1 - rate * weight_decay)).sub_(rate * way)


def picked(mask: Tensor, a: Params, b: Params) -> Params:
    """``a`` of the members where ``mask (K,)`` holds, ``b`` of the others."""
    return {n: torch.where(mask.view(-1, *[1] * (p.dim() - 1)), p, b[n]) for n, p in a.items()}


def over(a: Tensor, b: Tensor) -> Tensor:
    """``a / b``, with 0/0 = 0."""
    return torch.where(b == 0, torch.zeros_like(a), a / torch.where(b == 0, torch.ones_like(b), b))


def size(params: Params) -> int:
    """Bytes of one copy of the weights."""
    return sum(p.numel() * p.element_size() for p in params.values())
