"""Any rule, led away from sharp minima (Ahn, Jadbabaie, Sra, "How to escape sharp minima", arXiv 2305.15659).

Where ``||grad f|| <= small`` the base sees ``grad f + v``. v is the part orthogonal to ``grad f`` of a
gradient taken nearby: of f at ``x + rho u`` with u uniform on the sphere, or of one sample's f_i at
``x + rho s grad f_i / ||grad f_i||`` with a random sign s (the perturbation of SAM).
"""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from imitation.optim.algebra import Scalar, dot, norm, over, picked, plus
from imitation.optim.altered import Altered
from imitation.optim.contract import Draw, Draws, Objective, Params, Rule
from imitation.optim.draws import of_base
from imitation.optim.flat import FLAT, Layout
from imitation.optim.wrapper import Wrapper, WrapperState

_MANY = 2**31 - 1
"""A sample is drawn among so many, modulo the size of the minibatch: uniform to 1e-6."""


@dataclass(frozen=True)
class EscapeRule(Wrapper):
    """Args:
    by: where v comes from, a 'sphere' or a 'sample'.
    rho: how far away the other gradient is taken.
    small: norm of the gradient up to which v is added; inf for always.

    ``info["escaping"]`` is 1 where v was added, else 0 ``(K,)``.
    """

    base: Rule
    by: Literal["sphere", "sample"]
    rho: float
    small: float

    @property
    def needs(self) -> frozenset[str]:
        return self.base.needs | ({"sample_grad"} if self.by == "sample" else set())

    @property
    def gradients(self) -> int:
        return (2 if self.by == "sphere" else 1) * self.base.gradients

    def asks(self, params: Params) -> dict[str, Draw]:
        if self.by == "sphere":
            own = {"direction": Draw("normal", (sum(p[0].numel() for p in params.values()),))}
        else:
            own = {"sample": Draw("integer", high=_MANY), "sign": Draw("integer", high=2)}
        return own | super().asks(params)

    def update(
        self, state: WrapperState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, WrapperState, dict[str, Tensor]]:
        escaping: list[Tensor] = []

        def gradient(at: Params) -> tuple[Tensor, Params]:
            loss, grads = objective.loss_and_grad(at)
            nearby = self._nearby(at, objective, draws)
            along = over(dot(nearby, grads), dot(grads, grads))
            here = norm(grads) <= self.small
            escaping.append(here.to(along.dtype))
            return loss, picked(here, plus(nearby, 1 - along, grads), grads)

        asked = Altered(objective, gradient)
        params, base, info = self.base.update(state.base, params, asked, lr, of_base(draws))
        return params, replace(state, base=base), info | {"escaping": escaping[0]}

    def _nearby(self, at: Params, objective: Objective, draws: Draws) -> Params:
        if self.by == "sphere":
            u = Layout.of(at).views({FLAT: draws["direction"]})
            return objective.loss_and_grad(plus(at, self.rho / norm(u), u))[1]
        own = objective.sample_grad(at, draws["sample"])
        length = norm(own)
        way = over(self.rho * (2 * draws["sign"] - 1).to(length.dtype), length)
        return objective.sample_grad(plus(at, way, own), draws["sample"])
