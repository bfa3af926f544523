"""The largest eigenvalues of a symmetric operator that is known by its products alone.

One round of block Rayleigh-Ritz from an orthonormal V: the space of V and of the residual
``R = H V - V (V'H V)`` holds the best V that one more product can find (a block Krylov step). Two products
with a block of k vectors a round; from the space of the step before, one round a step follows a Hessian that
changes slowly.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from imitation.optim.contract import Objective, Params
from imitation.optim.flat import FLAT, Layout

Operator = Callable[[Tensor], Tensor]
"""``(K, P, b)`` to ``(K, P, b)``: a symmetric matrix of each member times b columns."""


def hessian(objective: Objective, params: Params, full: bool = True) -> Operator:
    """The Hessian of each member's loss over its flat weights."""
    layout = Layout.of(params)

    def product(V: Tensor) -> Tensor:
        block = layout.views({FLAT: V.movedim(-1, 0)})
        return layout.pack(objective.hvp(params, block, full))[FLAT].movedim(0, -1)

    return product


def improved(operator: Operator, V: Tensor) -> tuple[Tensor, Tensor]:
    """One round from orthonormal ``V (K, P, k)``: Ritz values ``(K, k)``, largest first, and vectors."""
    k = V.shape[-1]
    HV = operator(V)
    W = orthonormal(HV - V @ (V.mT @ HV), V)
    space, image = torch.cat([V, W], dim=-1), torch.cat([HV, operator(W)], dim=-1)
    T = space.mT @ image
    values, S = torch.linalg.eigh((T + T.mT) / 2)
    best = S.flip(-1)[..., :k]
    return values.flip(-1)[..., :k], torch.linalg.qr(space @ best).Q


def lanczos(operator: Operator, start: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ritz values ``(K, steps)``, largest first, vectors ``(K, P, steps)`` and residual norms ``(K, steps)``.

    Every new vector is made orthogonal to all before it, twice, so that no eigenvalue is found again. Where
    the Krylov space is all there is (fewer distinct eigenvalues than steps), what is left is rounding, and
    goes on from there as a fresh direction.
    """
    steps = min(steps, start.shape[1])
    Q = (start / start.norm(dim=1, keepdim=True))[..., None]
    T, length = start.new_zeros(len(start), steps, steps), start.new_zeros(len(start), 1)
    for j in range(steps):
        image = operator(Q[..., -1:])
        T[:, : j + 1, j : j + 1] = Q.mT @ image
        rest = image - Q @ (Q.mT @ image)
        length = rest.norm(dim=1)
        if j + 1 < steps:
            Q = torch.cat([Q, orthonormal(rest, Q)], dim=-1)
    values, S = torch.linalg.eigh(torch.triu(T) + torch.triu(T, 1).mT)
    residuals = length * S[:, -1, :].abs()
    return values.flip(-1), (Q @ S).flip(-1), residuals.flip(-1)


def orthonormal(X: Tensor, against: Tensor | None = None) -> Tensor:
    """An orthonormal basis ``(K, P, b)`` of the columns of X, orthogonal to an orthonormal ``against``."""
    Q = torch.linalg.qr(X).Q
    if against is not None:
        for _ in range(2):  # once, and what was nearly inside keeps a part of it
            Q = torch.linalg.qr(Q - against @ (against.mT @ Q)).Q
    return Q


def projected(V: Tensor, a: Tensor) -> Tensor:
    """``V V'a`` of each member, ``a (K, P)``."""
    return (V @ (V.mT @ a[..., None]))[..., 0]
