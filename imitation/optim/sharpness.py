"""Sharpness-aware minimisation over any rule: SAM, USAM, all between, ASAM."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from imitation.optim.algebra import Scalar, norm, over, plus
from imitation.optim.altered import Altered
from imitation.optim.contract import Draws, Objective, Params, Rule
from imitation.optim.draws import of_base
from imitation.optim.wrapper import Wrapper, WrapperState


@dataclass(frozen=True)
class SamRule(Wrapper):
    """The base on gradients taken at ``w + rho (1 - l + l / ||T g||) T^2 g``, 0/0 = 0.

    ``l = 1`` is SAM (Foret et al., arXiv 2010.01412), ``l = 0`` USAM; T is the identity, or ``|w|`` where
    ``adaptive`` (ASAM, Kwon et al., arXiv 2102.11600). Two gradients for each of the base.
    """

    base: Rule
    rho: float
    normalised: float
    adaptive: bool

    @property
    def gradients(self) -> int:
        return 2 * self.base.gradients

    def update(
        self, state: WrapperState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, WrapperState, dict[str, Tensor]]:
        def gradient(at: Params) -> tuple[Tensor, Params]:
            loss, grads = objective.loss_and_grad(at)
            return loss, objective.loss_and_grad(self._ascended(at, grads))[1]

        asked = Altered(objective, gradient)
        params, base, info = self.base.update(state.base, params, asked, lr, of_base(draws))
        return params, replace(state, base=base), info

    def _ascended(self, params: Params, grads: Params) -> Params:
        if self.adaptive:
            length = norm({name: p * grads[name] for name, p in params.items()})
            grads = {name: p * p * grads[name] for name, p in params.items()}
        else:
            length = norm(grads)
        part = over(torch.full_like(length, self.normalised), length)
        return plus(params, self.rho * (1 - self.normalised + part), grads)
