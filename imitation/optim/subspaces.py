"""Any rule inside or outside the span of the Hessian's top eigenvectors (Song, Ahn, Yun, arXiv 2405.16002).

``P = V V'`` projects onto the span S of the k largest eigenvalues of the Hessian of the whole training loss;
Dom-SGD steps along ``P g``, Bulk-SGD along ``(I - P) g``. The subspace is followed by one round of block
Rayleigh-Ritz a renewal (``imitation.optim.eigenspace``).
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from imitation.optim.algebra import Scalar, minus, norm, over, plus
from imitation.optim.altered import Altered
from imitation.optim.contract import Draw, Draws, Objective, Params, Rule
from imitation.optim.draws import of_base
from imitation.optim.eigenspace import hessian, improved, orthonormal, projected
from imitation.optim.flat import FLAT, Layout
from imitation.optim.wrapper import Wrapper


@dataclass(frozen=True, eq=False)
class SubspaceState:
    """Steps taken, the orthonormal basis ``(K, P, k)``, its Ritz values ``(K, k)``, the base's state."""

    step: int
    basis: Tensor
    values: Tensor
    base: Any


@dataclass(frozen=True)
class SubspaceRule(Wrapper):
    """Args:
    keep: the part in the span ('dominant'), or the part orthogonal to it ('bulk').
    of: what is projected: the step that the base makes, or the gradients that it sees.
    k: dimension of the span.
    every: steps between renewals.
    first: rounds of the first renewal, from a random basis.

    ``info["chi"]`` is ``||P g|| / ||g||`` of the first gradient ``(K,)``, ``info["eigenvalues"] (K, k)``.
    """

    base: Rule
    keep: Literal["dominant", "bulk"]
    of: Literal["step", "gradient"]
    k: int
    every: int
    first: int

    @property
    def needs(self) -> frozenset[str]:
        return self.base.needs | {"hvp"}

    def asks_first(self, params: Params) -> dict[str, Draw]:
        return {"basis": Draw("normal", (_weights(params), self.k))} | super().asks_first(params)

    def init(self, params: Params, draws: Draws) -> SubspaceState:
        if _weights(params) < 2 * self.k:
            raise ValueError(
                f"k must be at most half the number of weights, {_weights(params)}, got {self.k}; "
                f"the subspace is found inside one of twice its dimension"
            )
        basis = orthonormal(draws["basis"])
        return SubspaceState(0, basis, torch.zeros_like(basis[:, 0]), self.base.init(params, of_base(draws)))

    def update(
        self, state: SubspaceState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, SubspaceState, dict[str, Tensor]]:
        values, basis = state.values, state.basis
        if state.step % self.every == 0:
            for _ in range(1 if state.step else self.first):
                values, basis = improved(hessian(objective, params), basis)
        chi: list[Tensor] = []

        def gradient(at: Params) -> tuple[Tensor, Params]:
            loss, grads = objective.loss_and_grad(at)
            inside = _inside(basis, grads)
            chi.append(over(norm(inside), norm(grads)))
            return loss, self._kept(grads, inside) if self.of == "gradient" else grads

        moved, base, info = self.base.update(
            state.base, params, Altered(objective, gradient), lr, of_base(draws)
        )
        if self.of == "step":
            step = minus(moved, params)
            moved = plus(params, 1.0, self._kept(step, _inside(basis, step)))
        info = info | {"chi": chi[0], "eigenvalues": values}
        return moved, SubspaceState(state.step + 1, basis, values, base), info

    def _kept(self, a: Params, inside: Params) -> Params:
        return inside if self.keep == "dominant" else minus(a, inside)

    def state_bytes(self, params: Params) -> int:
        first = next(iter(params.values()))
        own = first.shape[0] * (_weights(params) + 1) * self.k * first.element_size()
        return own + self.base.state_bytes(params)


def _weights(params: Params) -> int:
    return sum(p[0].numel() for p in params.values())


def _inside(basis: Tensor, a: Params) -> Params:
    layout = Layout.of(a)
    return layout.views({FLAT: projected(basis, layout.pack(a)[FLAT])})
