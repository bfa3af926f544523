"""Gradient clipping before any rule."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from imitation.optim.algebra import Scalar, norm, times
from imitation.optim.altered import Altered
from imitation.optim.contract import Draws, Objective, Params, Rule
from imitation.optim.draws import of_base
from imitation.optim.wrapper import Wrapper


@dataclass(frozen=True, eq=False)
class ClippedState:
    """The base's state."""

    base: Any


@dataclass(frozen=True)
class ClippedRule(Wrapper):
    """The base on gradients that are no longer than ``most``, in norm (of each member) or in each weight.

    ``info["clipped"]`` is the share of what was clipped: members by norm (0 or 1), weights by value ``(K,)``.
    """

    base: Rule
    by: Literal["norm", "value"]
    most: float

    def init(self, params: Params, draws: Draws) -> ClippedState:
        return ClippedState(self.base.init(params, of_base(draws)))

    def update(
        self, state: ClippedState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, ClippedState, dict[str, Tensor]]:
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
        beyond = torch.cat([(g.abs() > self.most).flatten(1) for g in grads.values()], dim=1)
        dtype = next(iter(grads.values())).dtype
        return {name: g.clamp(-self.most, self.most) for name, g in grads.items()}, beyond.to(dtype).mean(
            dim=1
        )

    def state_bytes(self, params: Params) -> int:
        return self.base.state_bytes(params)
