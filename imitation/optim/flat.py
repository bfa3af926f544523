"""One flat ``(K, P)`` buffer with shaped views, for rules that act weight by weight.

A dozen small tensors cost an elementwise rule a dozen times its kernel launches; one buffer costs them
once. The numbers are the same: only the place of a weight in memory changes.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from imitation.optim.contract import Objective, Params

FLAT = "flat"


@dataclass(frozen=True)
class Layout:
    """Where each named tensor of shape ``(K, *shape)`` lies in a row of the buffer."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, params: Params) -> "Layout":
        return cls(tuple(params), tuple(tuple(p.shape[1:]) for p in params.values()))

    @cached_property
    def lengths(self) -> list[int]:
        return [prod(shape) for shape in self.shapes]

    def pack(self, params: Params) -> Params:
        """Named tensors as ``{"flat": (K, P)}``; blocks of vectors, ``(b, K, ...)``, as ``(b, K, P)``."""
        rows = [
            params[name].flatten(-len(shape)) if shape else params[name][..., None]
            for name, shape in zip(self.names, self.shapes, strict=True)
        ]
        return {FLAT: torch.cat(rows, dim=-1)}

    def views(self, packed: Params) -> Params:
        """Inverse of ``pack``, without a copy."""
        pieces, lead = packed[FLAT].split_with_sizes(self.lengths, dim=-1), packed[FLAT].shape[:-1]
        return {
            name: piece.view(lead + shape)
            for name, shape, piece in zip(self.names, self.shapes, pieces, strict=True)
        }


@dataclass(frozen=True, eq=False)
class FlatObjective:
    """An objective over named tensors as one over the flat buffer."""

    objective: Objective
    layout: Layout

    @property
    def offers(self) -> frozenset[str]:
        return self.objective.offers

    def loss_and_grad(self, params: Params) -> tuple[Tensor, Params]:
        loss, grads = self.objective.loss_and_grad(self.layout.views(params))
        return loss, self.layout.pack(grads)

    def hvp(self, params: Params, v: Params, full: bool = True) -> Params:
        views = self.layout.views
        return self.layout.pack(self.objective.hvp(views(params), views(v), full))

    def ggn(self, params: Params, v: Params) -> Params:
        return self.layout.pack(self.objective.ggn(self.layout.views(params), self.layout.views(v)))

    def sample_grad(self, params: Params, i: Tensor) -> Params:
        return self.layout.pack(self.objective.sample_grad(self.layout.views(params), i))
