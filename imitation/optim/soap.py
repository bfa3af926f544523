"""SOAP: Adam in the eigenbases of Shampoo's two factors (Vyas et al., arXiv 2409.11321, algorithm 3).

``L = b L + (1 - b) G G'`` and ``R = b R + (1 - b) G'G`` have the eigenbases ``Q_L`` and ``Q_R``. The second
moment is a running mean of ``(Q_L' G Q_R)^2``; the first is kept unturned, and turned to m' for the step;
``W = (1 - lr wd) W - lr Q_L (m' / (sqrt v + eps)) Q_R'``. Bases come from an eigendecomposition at the first
step, then from one step of orthogonal iteration every so many steps. What is no matrix goes by AdamW.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from imitation.optim.adamw import AdamWRule, AdamWState
from imitation.optim.algebra import Scalar, decayed, size
from imitation.optim.contract import Draws, Objective, Params, Rule
from imitation.optim.matrices import divided


@dataclass(frozen=True, eq=False)
class SoapState:
    """Of the matrices ``(K, r, c)``: moments, the factors ``(K, r, r)`` and ``(K, c, c)``, their bases."""

    step: int
    mean: Params
    square: Params
    left: Params
    right: Params
    left_basis: Params
    right_basis: Params
    rest: AdamWState


@dataclass(frozen=True)
class SoapRule(Rule):
    """Args:
    shampoo: discount of the factors.
    every: steps between renewals of the bases.
    rest: AdamW for all that is no matrix, at the same rate.
    """

    beta1: float
    beta2: float
    shampoo: float
    eps: float
    weight_decay: float
    every: int
    rest: AdamWRule

    @property
    def elementwise(self) -> bool:
        return False

    def init(self, params: Params, draws: Draws) -> SoapState:
        matrices, others = divided(params)
        left = {name: torch.zeros_like(p @ p.mT) for name, p in matrices.items()}
        right = {name: torch.zeros_like(p.mT @ p) for name, p in matrices.items()}
        zeros = {name: torch.zeros_like(p) for name, p in matrices.items()}
        return SoapState(0, zeros, zeros, left, right, left, right, self.rest.init(others, draws))

    def update(
        self, state: SoapState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, SoapState, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        matrices, others = divided(params)
        step = state.step + 1
        moved: Params = {}
        after = SoapState(step, {}, {}, {}, {}, {}, {}, state.rest)
        for name, p in matrices.items():
            g = grads[name]
            after.mean[name] = torch.lerp(state.mean[name], g, 1 - self.beta1)
            for factor, basis, new, new_basis, outer in (
                (state.left, state.left_basis, after.left, after.left_basis, g @ g.mT),
                (state.right, state.right_basis, after.right, after.right_basis, g.mT @ g),
            ):
                new[name] = torch.lerp(factor[name], outer, 1 - self.shampoo)
                new_basis[name] = self._basis(new[name], basis[name], step)
            QL, QR = after.left_basis[name], after.right_basis[name]
            turned = QL.mT @ g @ QR
            after.square[name] = torch.lerp(state.square[name], turned * turned, 1 - self.beta2)
            root = (after.square[name] / (1 - self.beta2**step)).sqrt() + self.eps
            way = QL.mT @ after.mean[name] @ QR / (1 - self.beta1**step) / root
            moved[name] = decayed(p, QL @ way @ QR.mT, lr, self.weight_decay)
        vectors, rest = self.rest.stepped(state.rest, others, divided(grads)[1], lr)
        both = moved | vectors
        moved = {name: both[name] for name in params}
        return moved, replace(after, rest=rest), {"loss": loss}

    def _basis(self, factor: Tensor, basis: Tensor, step: int) -> Tensor:
        if step == 1:
            return torch.linalg.eigh(factor).eigenvectors.flip(-1)
        return torch.linalg.qr(factor @ basis).Q if step % self.every == 0 else basis

    def state_bytes(self, params: Params) -> int:
        matrices, others = divided(params)
        squares = sum(
            2 * p.shape[0] * (p.shape[1] ** 2 + p.shape[2] ** 2) * p.element_size() for p in matrices.values()
        )
        return 2 * size(matrices) + squares + self.rest.state_bytes(others)
