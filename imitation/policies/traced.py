"""Backward passes written out, for populations that take millions of small steps.

Autograd builds and walks a graph at every step; of a few layers of width 64 that costs as much as a third of
the products. The numbers are the same to rounding.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from imitation.policies.bends import BENDS, Slope
from imitation.policies.contract import Tensors
from imitation.policies.layers import affine, named
from imitation.policies.mlp import MlpBody
from imitation.policies.network import PolicyNetwork

Pull = Callable[[Tensor], Tensors]
"""Slopes of a loss in the actions ``(K, B, l m)`` to its slopes in the policy's parameters."""

Traced = Callable[[Tensors, Tensor], tuple[Tensor, Pull]]
"""``(tensors (K, ...), x (K, B, L n))`` to the raw actions, and how their slopes are pulled back."""


def traced(module: nn.Module) -> Traced | None:
    """The backward pass of the policy's architecture, where it is written out: a perceptron without norms."""
    if not (isinstance(module, PolicyNetwork) and isinstance(module.body, MlpBody)) or module.body.norms:
        return None
    network, layers, bend = module, len(module.body.layers), BENDS[module.body.config.activation]

    def run(tensors: Tensors, x: Tensor) -> tuple[Tensor, Pull]:
        h = network.scaled(tensors, x)
        seen: list[tuple[Tensor, Slope | None]] = [(h, None)]
        for i in range(layers - 1):
            h, slope = bend(affine(h, *named(tensors, f"layers.{i}")))
            seen.append((h, slope))
        u = affine(h, *named(tensors, f"layers.{layers - 1}"))
        return u, lambda slopes: _pulled(tensors, seen, slopes)

    return run


def _pulled(tensors: Tensors, seen: list[tuple[Tensor, Slope | None]], d: Tensor) -> Tensors:
    """From the last layer to the first; ``seen``: what went into each layer, and the slope behind it."""
    slopes: Tensors = {}
    for i in reversed(range(len(seen))):
        (h, slope), layer = seen[i], f"body.layers.{i}"
        slopes[f"{layer}.bias"] = d.sum(dim=-2)
        slopes[f"{layer}.weight"] = _outer(d, h)
        if slope is not None:
            d = slope(torch.bmm(d, tensors[f"{layer}.weight"]))
    return slopes


def _outer(d: Tensor, h: Tensor) -> Tensor:
    """``d' h``: (K, outputs, inputs). With the fewer columns first, which takes MKL a sixth of the time."""
    return torch.bmm(h.mT, d).mT if h.shape[-1] < d.shape[-1] else torch.bmm(d.mT, h)
