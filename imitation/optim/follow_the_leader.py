"""Discounted follow-the-regularised-leader: Adam as an online learner of its updates.

With ``m = sum_s b^(t-s) g_s`` and ``v = sum_s b^(2(t-s)) g_s^2``: ``z = -clip_R(D m / sqrt(v))`` and
``x = x + a z`` (Ahn, Cutkosky, "Adam with model exponential moving average is effective for nonconvex
optimization", arXiv 2405.18199; Ahn, Zhang, Kook, Dai, "Understanding Adam optimizer via online learning of
updates: Adam is FTRL in disguise", arXiv 2402.01567). The rate is D.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from imitation.optim.algebra import Scalar, clamped, dot, norm, over, plus, size, times, zeros
from imitation.optim.contract import Draw, Draws, Elementwise, Objective, Params
from imitation.optim.fused import one_pass


@one_pass(reads=4, members=1, numbers=2, writes=3, counts=1)
def _leader(p, g, total, square, rate, keep, most, p_out, total_out, square_out, clipped):
    for k in range(p.shape[0]):
        beyond = 0
        for i in range(p.shape[1]):
            slope = g[k, i]
            now = keep * total[k, i] + slope
            squared = keep * keep * square[k, i] + slope * slope
            way = now / np.sqrt(squared) if squared != 0 else squared
            beyond += abs(way) > most
            if way > most:
                way = most
            elif way < -most:
                way = -most
            p_out[k, i] = p[k, i] - rate[k] * way
            total_out[k, i], square_out[k, i] = now, squared
        clipped[k] = beyond


@dataclass(frozen=True, eq=False)
class LeaderState:
    """Discounted sums of gradients, and of squares: of each weight, or by norm of each member ``(K,)``."""

    total: Params
    square: Params


@dataclass(frozen=True)
class LeaderRule(Elementwise):
    """Args:
    discount: b.
    clip: R in parts of D; infinite for b-FTRL, which does not clip.
    by: whether weights are learned one by one, or all together by their norm.
    random: whether a is drawn from Exp(1) at each step, else 1.

    ``info["clipped"]`` is the share of weights (by norm: of members) that were clipped ``(K,)``.
    """

    discount: float
    clip: float
    by: Literal["weight", "norm"]
    random: bool

    def asks(self, params: Params) -> dict[str, Draw]:
        return {"scale": Draw("exponential")} if self.random else {}

    def init(self, params: Params, draws: Draws) -> LeaderState:
        if self.by == "weight":
            return LeaderState(zeros(params), zeros(params))
        first = next(iter(params.values()))
        return LeaderState(zeros(params), {"norm": first.new_zeros(first.shape[0])})

    def update(
        self, state: LeaderState, params: Params, objective: Objective, lr: Scalar, draws: Draws
    ) -> tuple[Params, LeaderState, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        b = self.discount
        scale = draws["scale"] * lr if self.random else lr
        if self.by == "norm":
            return self._by_norm(state, params, grads, scale, loss)
        found = _leader(params, grads, state.total, state.square, members=(scale,), numbers=(b, self.clip))
        if found is not None:
            moved, total, square, counts = found
            share = torch.stack(list(counts.values())).sum(dim=0) / sum(p[0].numel() for p in params.values())
            return moved, LeaderState(total, square), {"loss": loss, "clipped": share}
        total = {name: b * state.total[name] + g for name, g in grads.items()}
        square = {name: b * b * state.square[name] + g * g for name, g in grads.items()}
        way, clipped = clamped({n: over(m, square[n].sqrt()) for n, m in total.items()}, self.clip)
        return plus(params, -scale, way), LeaderState(total, square), {"loss": loss, "clipped": clipped}

    def _by_norm(
        self, state: LeaderState, params: Params, grads: Params, scale: Scalar, loss: Tensor
    ) -> tuple[Params, LeaderState, dict[str, Tensor]]:
        b = self.discount
        total = {name: b * state.total[name] + g for name, g in grads.items()}
        square = b * b * state.square["norm"] + dot(grads, grads)
        length = over(norm(total), square.sqrt())
        kept = torch.where(length > self.clip, over(torch.full_like(length, self.clip), length), 1.0)
        way = times(over(kept, square.sqrt()), total)
        info = {"loss": loss, "clipped": (length > self.clip).to(square.dtype)}
        return plus(params, -scale, way), LeaderState(total, {"norm": square}), info

    def state_bytes(self, params: Params) -> int:
        first = next(iter(params.values()))
        return size(params) + (size(params) if self.by == "weight" else first.shape[0] * first.element_size())
