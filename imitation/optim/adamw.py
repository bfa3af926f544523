"""AdamW: Adam with bias correction and decoupled weight decay (arXiv 1711.05101, algorithm 2).

m_t = b1 m_{t-1} + (1 - b1) g_t             v_t = b2 v_{t-1} + (1 - b2) g_t^2
theta_t = (1 - lr wd) theta_{t-1} - lr (m_t / (1 - b1^t)) / (sqrt(v_t / (1 - b2^t)) + eps)

Adam-Rel (arXiv 2412.17113) counts t from the last change of the target and keeps the moments.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from imitation.optim.algebra import running, size, zeros
from imitation.optim.contract import Draws, Elementwise, Objective, Params, per_member
from imitation.optim.fused import one_pass


@one_pass(reads=4, members=2, numbers=6, writes=3)
def _adamw(p, g, mean, square, shrink, step, keep1, new1, keep2, new2, unbias, eps, p_out, mean_out, v_out):
    for k in range(p.shape[0]):
        for i in range(p.shape[1]):
            slope = g[k, i]
            now = keep1 * mean[k, i] + new1 * slope
            squared = keep2 * square[k, i] + new2 * slope * slope
            p_out[k, i] = shrink[k] * p[k, i] - step[k] * (now / (np.sqrt(squared) * unbias + eps))
            mean_out[k, i], v_out[k, i] = now, squared


@dataclass(frozen=True, eq=False)
class AdamWState:
    """Steps counted, and the running means of the gradient and of its square."""

    step: int
    mean: Params
    square: Params


@dataclass(frozen=True)
class AdamWRule(Elementwise):
    """The update rule; the fields are those of ``imitation.optim.AdamW``.

    Args:
        relative: whether a change of the target restarts the count of steps.
    """

    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    relative: bool = False

    def init(self, params: Params, draws: Draws) -> AdamWState:
        return AdamWState(0, zeros(params), zeros(params))

    def update(
        self, state: AdamWState, params: Params, objective: Objective, lr: float | Tensor, draws: Draws
    ) -> tuple[Params, AdamWState, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        return *self.stepped(state, params, grads, lr), {"loss": loss}

    def stepped(
        self, state: AdamWState, params: Params, grads: Params, lr: float | Tensor
    ) -> tuple[Params, AdamWState]:
        """New weights and state, the gradient at hand."""
        step = state.step + 1
        beta1, beta2 = self.beta1, self.beta2
        found = _adamw(
            params, grads, state.mean, state.square,
            members=(1 - lr * self.weight_decay, lr / (1 - beta1**step)),
            numbers=(beta1, 1 - beta1, beta2, 1 - beta2, (1 - beta2**step) ** -0.5, self.eps),
        )  # fmt: skip
        if found is not None:
            moved, mean, square = found
            return moved, AdamWState(step, mean, square)
        mean = running(state.mean, grads, self.beta1)
        square = {
            name: (state.square[name] * self.beta2).addcmul_(g, g, value=1 - self.beta2)
            for name, g in grads.items()
        }
        moved = {name: self._moved(p, mean[name], square[name], step, lr) for name, p in params.items()}
        return moved, AdamWState(step, mean, square)

    def _moved(self, p: Tensor, mean: Tensor, square: Tensor, step: int, lr: float | Tensor) -> Tensor:
        rate = per_member(lr, p)
        root = square.sqrt().div_((1 - self.beta2**step) ** 0.5).add_(self.eps)
        direction = torch.div(mean, root, out=root).mul_(rate / (1 - self.beta1**step))
        return (p * (1 - rate * self.weight_decay)).sub_(direction)

    def renewed(self, state: AdamWState) -> AdamWState:
        return replace(state, step=0) if self.relative else state

    def state_bytes(self, params: Params) -> int:
        return 2 * size(params)
