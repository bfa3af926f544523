"""Muon: momentum whose matrices are orthogonalised (Jordan et al., 2024, kellerjordan.github.io/posts/muon).

``B = mu B + (1 - mu) g``, with Nesterov ``M = mu B + (1 - mu) g``; ``O`` the polar factor of M by five steps
of Newton and Schulz; ``theta = (1 - lr wd) theta - lr scale O``. What is no matrix goes by AdamW.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from imitation.optim.adamw import AdamWRule, AdamWState
from imitation.optim.algebra import Scalar, size
from imitation.optim.contract import Draws, Objective, Params, Rule, per_member
from imitation.optim.matrices import divided

_COEFFICIENTS = 3.4445, -4.7750, 2.0315
_LEAST = 1e-7


def orthogonalised(M: Tensor, steps: int = 5) -> Tensor:
    """Near the polar factor of ``M``: ``X <- a X + b X X'X + c X (X'X)^2`` from ``M / ||M||_F``."""
    a, b, c = _COEFFICIENTS
    wide = M.shape[-2] <= M.shape[-1]
    X = M if wide else M.mT
    X = X / (torch.linalg.matrix_norm(X, keepdim=True) + _LEAST)
    for _ in range(steps):
        gram = X @ X.mT
        X = a * X + (b * gram + c * gram @ gram) @ X
    return X if wide else X.mT


@dataclass(frozen=True, eq=False)
class MuonState:
    """Running means of the matrices' gradients, and the state of AdamW for the rest."""

    mean: Params
    rest: AdamWState


@dataclass(frozen=True)
class MuonRule(Rule):
    """Args:
    scale: 'shape' for ``sqrt(max(1, rows / columns))``, 'rms' for ``0.2 sqrt(max(rows, columns))``.
    rest, rest_rate: AdamW for all that is no matrix, and its rate in parts of Muon's.
    """

    momentum: float
    nesterov: bool
    weight_decay: float
    scale: Literal["shape", "rms"]
    rest: AdamWRule
    rest_rate: float

    @property
    def elementwise(self) -> bool:
        return False

    def init(self, params: Params, draws: Draws) -> MuonState:
        matrices, others = divided(params)
        mean = {name: torch.zeros_like(p) for name, p in matrices.items()}
        return MuonState(mean, self.rest.init(others, draws))

    def update(
        self, state: MuonState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, MuonState, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        matrices, others = divided(params)
        mean, moved = {}, {}
        for name, p in matrices.items():
            mean[name] = torch.lerp(state.mean[name], grads[name], 1 - self.momentum)
            M = torch.lerp(mean[name], grads[name], 1 - self.momentum) if self.nesterov else mean[name]
            rate = per_member(lr, p)
            moved[name] = p * (1 - rate * self.weight_decay) - rate * self._size(p) * orthogonalised(M)
        vectors, rest = self.rest.stepped(state.rest, others, divided(grads)[1], lr * self.rest_rate)
        both = moved | vectors
        moved = {name: both[name] for name in params}
        return moved, MuonState(mean, rest), {"loss": loss}

    def _size(self, p: Tensor) -> float:
        rows, columns = p.shape[-2:]
        return max(1.0, rows / columns) ** 0.5 if self.scale == "shape" else 0.2 * max(rows, columns) ** 0.5

    def state_bytes(self, params: Params) -> int:
        matrices, others = divided(params)
        return size(matrices) + self.rest.state_bytes(others)
