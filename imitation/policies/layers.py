"""Layers of one model or of a population: tensors without or with a leading member axis."""

import torch
from torch import Tensor
from torch.nn import functional as F

from imitation.policies.contract import Tensors

ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "tanh": torch.tanh, "silu": F.silu, "sigmoid": torch.sigmoid}
_EPS = 1e-5


def named(tensors: Tensors, layer: str) -> tuple[Tensor, Tensor]:
    """Weight and bias of a body's layer."""
    return tensors[f"body.{layer}.weight"], tensors[f"body.{layer}.bias"]


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``x W' + b``: ``x (..., n)`` and ``W (m, n)``, or ``x (K, B, n)`` and ``W (K, m, n)``."""
    if weight.dim() == 2:
        return F.linear(x, weight, bias)
    return torch.baddbmm(bias.unsqueeze(-2), x, weight.mT)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Each row of ``x`` brought to mean 0 and variance 1, then scaled and shifted unit by unit."""
    return F.layer_norm(x, x.shape[-1:], eps=_EPS) * weight.unsqueeze(-2) + bias.unsqueeze(-2)
