"""Gradient clipping before any rule."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from imitation.optim.algebra import Scalar, clamped, norm, times
from imitation.optim.altered import Altered
from imitation.optim.contract import Draws, Objective, Params, Rule
from imitation.optim.draws import of_base
from imitation.optim.wrapper import Wrapper, WrapperState


@dataclass(frozen=True)
class ClippedRule(Wrapper):
    """The base on gradients that are no longer than ``most``, in norm (of each member) or in each weight.

    ``info["clipped"]`` is the share of what was clipped: members by norm (0 or 1), weights by value ``(K,)``.
    """

    base: Rule
    by: Literal["norm", "value"]
    most: float

    def update(
        self, state: WrapperState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, WrapperState, dict[str, Tensor]]:
        shares: list[Tensor] = []

        def gradient(at: Params) -> tuple[Tensor, Params]:
            loss, grads = objective.loss_and_grad(at)
            clipped, share = self._clipped(grads)
            shares.append(share)
            return loss, clipped

        asked = Altered(objective, gradient)
        params, base, info = self.base.update(state.base, params, asked, lr, of_base(draws))
        return params, replace(state, base=base), info | {"clipped": torch.stack(shares).mean(dim=0)}

    def _clipped(self, grads: Params) -> tuple[Params, Tensor]:
        if self.by == "norm":
            length = norm(grads)
            return times((self.most / length).clamp(max=1.0), grads), (length > self.most).to(length.dtype)
        return clamped(grads, self.most)
