"""One flat ``(K, P)`` buffer with shaped views, for rules that act weight by weight.

A dozen small tensors cost an elementwise rule a dozen times its kernel launches; one buffer costs them
once. The numbers are the same: only the place of a weight in memory changes.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod

import torch
from torch import Tensor

from imitation.optim.contract import Objective, Params

FLAT = "flat"

_Place = tuple[tuple[int, ...], tuple[int, ...], int]
_Window = tuple[tuple[int, ...], tuple[int, ...], int]


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
        """Inverse of ``pack``, without a copy: one strided view of the buffer for each name."""
        flat = packed[FLAT]
        place = tuple(flat.shape[:-1]), flat.stride(), int(flat.storage_offset())
        if place not in self._windows:
            self._windows[place] = self._cut(*place)
        return {
            name: flat.as_strided(*window)
            for name, window in zip(self.names, self._windows[place], strict=True)
        }

    @cached_property
    def _windows(self) -> dict[_Place, list[_Window]]:
        """Windows by the place of the buffer: cutting costs more than a step of SGD, so once is enough."""
        return {}

    def _cut(self, lead: tuple[int, ...], strides: tuple[int, ...], offset: int) -> list[_Window]:
        """Shape, strides and offset in storage of each name's view."""
        starts = [0, *accumulate(self.lengths)]
        windows = []
        for shape, start in zip(self.shapes, starts[:-1], strict=True):
            inner = [strides[-1] * prod(shape[axis + 1 :]) for axis in range(len(shape))]
            windows.append((lead + shape, (*strides[:-1], *inner), offset + start * strides[-1]))
        return windows


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
