"""Adams that store less than one second moment a weight: Adam-mini, SlimAdam, Adafactor, SM3."""

from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from torch import Tensor

from imitation.optim.adamw import AdamWState
from imitation.optim.algebra import decayed, flattened, over, running, size, zeros
from imitation.optim.contract import Draws, Objective, Params, Rule, per_member

Shared = Literal["nothing", "inputs", "outputs", "tensor"]
"""What shares a second moment: the weights into one output, out of one input, all of a tensor."""


def shared_axes(p: Tensor, shared: Shared) -> tuple[int, ...]:
    """The axes of ``p (K, outputs, inputs, ...)`` that a second moment is a mean over."""
    axes = tuple(range(1, p.dim()))
    return {"nothing": (), "inputs": axes[1:], "outputs": axes[:1], "tensor": axes}[shared]


@dataclass(frozen=True)
class SharedAdamRule(Rule):
    """AdamW with ``v = b2 v + (1 - b2) mean(g^2)``, the mean over what shares it.

    With the weights into an output, or a whole tensor: Adam-mini (arXiv 2406.16793). With chosen axes:
    SlimAdam (arXiv 2503.01843).
    """

    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    shared: Shared

    @property
    def elementwise(self) -> bool:
        return self.shared == "nothing"

    def _reduced(self, p: Tensor) -> Tensor:
        axes = shared_axes(p, self.shared)
        return p.mean(dim=axes, keepdim=True) if axes else p

    def init(self, params: Params, draws: Draws) -> AdamWState:
        square = {name: torch.zeros_like(self._reduced(p)) for name, p in params.items()}
        return AdamWState(0, zeros(params), square)

    def update(
        self, state: AdamWState, params: Params, objective: Objective, lr: float | Tensor, draws: Draws
    ) -> tuple[Params, AdamWState, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        step = state.step + 1
        mean = running(state.mean, grads, self.beta1)
        shared = {name: self._reduced(g * g) for name, g in grads.items()}
        square = running(state.square, shared, self.beta2)
        moved = {}
        for name, p in params.items():
            root = (square[name] / (1 - self.beta2**step)).sqrt() + self.eps
            way = mean[name] / (1 - self.beta1**step) / root
            moved[name] = decayed(p, way, lr, self.weight_decay)
        return moved, AdamWState(step, mean, square), {"loss": loss}

    def state_bytes(self, params: Params) -> int:
        shared = 0
        for p in params.values():
            axes = shared_axes(p, self.shared)
            shared += p.numel() // prod(p.shape[axis] for axis in axes) * p.element_size()
        return size(params) + shared


@dataclass(frozen=True, eq=False)
class FactoredState:
    """Steps, and running means of ``g^2`` by rows and by columns; of a vector whole, under its rows."""

    step: int
    rows: Params
    columns: Params


@dataclass(frozen=True)
class AdafactorRule(Rule):
    """Adam's second moment from its row and column means, without a first (arXiv 1804.04235).

    ``R = b2 R + (1 - b2) (rows' means of g^2 + eps)``, C alike, ``V = R C / mean(R)`` over ``1 - b2^t``, and
    ``theta -= lr U / max(1, rms(U) / d)`` with ``U = g / sqrt(V)``. Leading axes of a tensor beyond two count
    as matrices of their own.
    """

    beta2: float
    eps: float
    largest: float

    @property
    def elementwise(self) -> bool:
        return False

    def init(self, params: Params, draws: Draws) -> FactoredState:
        rows = {name: torch.zeros_like(self._rows(p)) for name, p in params.items()}
        columns = {name: torch.zeros_like(p.mean(dim=-2)) for name, p in params.items() if p.dim() > 2}
        return FactoredState(0, rows, columns)

    @staticmethod
    def _rows(p: Tensor) -> Tensor:
        return p.mean(dim=-1) if p.dim() > 2 else p

    def update(
        self, state: FactoredState, params: Params, objective: Objective, lr: float | Tensor, draws: Draws
    ) -> tuple[Params, FactoredState, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        step = state.step + 1
        rows, columns, moved = {}, {}, {}
        for name, g in grads.items():
            square = g * g + self.eps
            rows[name] = torch.lerp(state.rows[name], self._rows(square), 1 - self.beta2)
            V = rows[name]
            if g.dim() > 2:
                columns[name] = torch.lerp(state.columns[name], square.mean(dim=-2), 1 - self.beta2)
                outer = rows[name][..., None] * columns[name][..., None, :]
                V = over(outer, rows[name].mean(dim=-1)[..., None, None].expand_as(outer))
            way = over(g, (V / (1 - self.beta2**step)).sqrt())
            rms = flattened(way * way).mean(dim=1).sqrt()
            way = way / per_member((rms / self.largest).clamp(min=1.0), way)
            moved[name] = params[name] - per_member(lr, g) * way
        return moved, FactoredState(step, rows, columns), {"loss": loss}

    def state_bytes(self, params: Params) -> int:
        total = 0
        for p in params.values():
            factored = p.numel() // p.shape[-1] + p.numel() // p.shape[-2] if p.dim() > 2 else p.numel()
            total += factored * p.element_size()
        return total


@dataclass(frozen=True, eq=False)
class CoverState:
    """The gradient's running mean, if any, and one number for each index of each axis.

    ``covers[name + "." + str(axis)]`` is ``(K, length of the axis)``.
    """

    mean: Params
    covers: Params


@dataclass(frozen=True)
class Sm3Rule(Rule):
    """Adagrad with a number an index of each axis in place of one a weight: SM3-II (arXiv 1901.11150).

    ``v = min over axes of mu + g^2``, ``mu = max of v`` over all other axes, ``theta -= lr m`` with m the
    running mean of ``g / sqrt(v)``, 0/0 = 0.
    """

    momentum: float

    @property
    def elementwise(self) -> bool:
        return False

    def init(self, params: Params, draws: Draws) -> CoverState:
        covers = {
            f"{name}.{axis}": p.new_zeros(p.shape[0], p.shape[axis])
            for name, p in params.items()
            for axis in range(1, p.dim())
        }
        return CoverState(zeros(params) if self.momentum else {}, covers)

    def update(
        self, state: CoverState, params: Params, objective: Objective, lr: float | Tensor, draws: Draws
    ) -> tuple[Params, CoverState, dict[str, Tensor]]:
        loss, grads = objective.loss_and_grad(params)
        covers, mean, moved = {}, {}, {}
        for name, g in grads.items():
            axes = range(1, g.dim())
            least = torch.full_like(g, float("inf"))
            for axis in axes:
                shape = [g.shape[0]] + [g.shape[axis] if a == axis else 1 for a in axes]
                least = torch.minimum(least, state.covers[f"{name}.{axis}"].view(shape))
            v = least + g * g
            for axis in axes:
                others = [a for a in axes if a != axis]
                covers[f"{name}.{axis}"] = v.amax(dim=others) if others else v
            way = over(g, v.sqrt())
            if self.momentum:
                mean[name] = way = torch.lerp(state.mean[name], way, 1 - self.momentum)
            moved[name] = params[name] - per_member(lr, g) * way
        return moved, CoverState(mean, covers), {"loss": loss}

    def state_bytes(self, params: Params) -> int:
        covers = sum(p.shape[0] * sum(p.shape[1:]) * p.element_size() for p in params.values())
        return covers + (size(params) if self.momentum else 0)
