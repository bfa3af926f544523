"""Losses of one action error, in the action's own units."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import huber_loss


def l2(error: Tensor) -> Tensor:
    """``mean_i e_i^2`` of ``error (..., m)``: (...)."""
    return error.square().mean(dim=-1)


def l1(error: Tensor) -> Tensor:
    """``||e||_2``, not squared (the norm of science's forward training): (...)."""
    return torch.linalg.vector_norm(error, dim=-1)


def huber(error: Tensor) -> Tensor:
    """``mean_i`` of ``e_i^2 / 2`` where ``|e_i| <= 1`` and ``|e_i| - 1/2`` beyond: (...)."""
    return huber_loss(error, torch.zeros_like(error), reduction="none").mean(dim=-1)


def loss_function(name: str) -> Callable[[Tensor], Tensor]:
    """The loss of that name, as a function of the error."""
    return {"l2": l2, "l1": l1, "huber": huber}[name]
