"""Losses of one action error, in the action's own units or in those of the expert's cost."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

Loss = Callable[[Tensor, Tensor | None], Tensor]
"""Of an error ``(..., m)`` and, where the loss uses it, the curvature ``(..., m, m)`` there: ``(...)``."""

Rows = dict[str, Tensor]
"""Columns of samples ``(K, B, ...)``, or of all of them in one table ``(S, ...)``: states 'x', targets 'u',
and 'curvature' and 'room' where a criterion uses them."""


def l2(error: Tensor, curvature: Tensor | None = None) -> Tensor:
    """``mean_i e_i^2`` of ``error (..., m)``: (...)."""
    return error.square().mean(dim=-1)


def l1(error: Tensor, curvature: Tensor | None = None) -> Tensor:
    """``||e||_2``, not squared (the norm of science's forward training): (...)."""
    return torch.linalg.vector_norm(error, dim=-1)


def huber(error: Tensor, curvature: Tensor | None = None) -> Tensor:
    """``mean_i`` of ``e_i^2 / 2`` where ``|e_i| <= 1`` and ``|e_i| - 1/2`` beyond: (...)."""
    return huber_loss(error, torch.zeros_like(error), reduction="none").mean(dim=-1)


def excess(error: Tensor, curvature: Tensor | None) -> Tensor:
    """``e'We / 2``, in units of cost: with ``W = d2Q/du2`` what the error costs the closed loop (...).

    Exact where the expert is optimal and unconstrained; elsewhere it leaves out a term of first order.
    """
    assert curvature is not None
    return (error * (curvature @ error[..., None])[..., 0]).sum(dim=-1) / 2


def l2_slope(error: Tensor, curvature: Tensor | None = None) -> Tensor:
    """Gradient of ``l2`` in the error: (..., m), as those below of their losses."""
    return error * (2 / error.shape[-1])


def l1_slope(error: Tensor, curvature: Tensor | None = None) -> Tensor:
    """0 where the error is."""
    norm = torch.linalg.vector_norm(error, dim=-1, keepdim=True)
    return error / norm.masked_fill(norm == 0, 1.0)


def huber_slope(error: Tensor, curvature: Tensor | None = None) -> Tensor:
    return error.clamp(-1.0, 1.0) / error.shape[-1]


def excess_slope(error: Tensor, curvature: Tensor | None) -> Tensor:
    """Of a symmetric curvature."""
    assert curvature is not None
    return (curvature @ error[..., None])[..., 0]


def overrun(error: Tensor, curvature: Tensor, room: Tensor) -> Tensor:
    """``max(e'We / 2 - room, 0)``: what an error costs beyond the ``room (...)`` that it has: (...)."""
    return (excess(error, curvature) - room).clamp(min=0.0)


def overrun_slope(error: Tensor, curvature: Tensor, room: Tensor) -> Tensor:
    slope = excess_slope(error, curvature)
    return slope * ((error * slope).sum(dim=-1, keepdim=True) / 2 > room[..., None])


LOSSES = {
    "l2": (l2, l2_slope),
    "l1": (l1, l1_slope),
    "huber": (huber, huber_slope),
    "curvature": (excess, excess_slope),
}
"""By name: the loss, and its gradient in the error."""


def loss_function(name: str) -> Loss:
    """The loss of that name."""
    return LOSSES[name][0]


@dataclass(frozen=True)
class Criterion:
    """What errors of actions cost: ``loss + stability max(e'We/2 - room, 0)``.

    Args:
        loss, slope: of an error and of the curvature W there, and its gradient in the error.
        stability: weight of what an error costs beyond its room.
    """

    loss: Loss
    slope: Loss
    stability: float = 0.0

    def losses(self, y: Tensor, rows: Rows) -> Tensor:
        """Of actions ``(K, B, m)``: (K, B)."""
        error, W = y - rows["u"], rows.get("curvature")
        if W is None or not self.stability:
            return self.loss(error, W)
        return self.loss(error, W) + self.stability * overrun(error, W, rows["room"])

    def slopes(self, y: Tensor, rows: Rows) -> Tensor:
        """Their gradients in the actions ``(K, B, m)``."""
        error, W = y - rows["u"], rows.get("curvature")
        if W is None or not self.stability:
            return self.slope(error, W)
        return self.slope(error, W) + self.stability * overrun_slope(error, W, rows["room"])
