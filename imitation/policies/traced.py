"""Backward passes written out, for populations that take millions of small steps.

Autograd builds and walks a graph at every step; of a few layers of width 64 that costs as much as a third of
the products. The numbers are the same to rounding.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from imitation.policies.contract import Tensors
from imitation.policies.layers import ACTIVATIONS, affine, named
from imitation.policies.mlp import MlpBody
from imitation.policies.network import PolicyNetwork
from imitation.policies.tanh import tanh_

Pull = Callable[[Tensor], Tensors]
"""Slopes of a loss in the actions ``(K, B, l m)`` to its slopes in the policy's parameters."""

Traced = Callable[[Tensors, Tensor], tuple[Tensor, Pull]]
"""``(tensors (K, ...), x (K, B, L n))`` to the raw actions, and how their slopes are pulled back."""

_BENDS = ACTIVATIONS | {"tanh": tanh_}

_aten = torch.ops.aten
_SLOPES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "gelu": lambda d, a, h: _aten.gelu_backward.grad_input(d, a, grad_input=d),
    "relu": lambda d, a, h: _aten.threshold_backward.grad_input(d, a, 0.0, grad_input=d),
    "tanh": lambda d, a, h: _aten.tanh_backward.grad_input(d, h, grad_input=d),
}
"""In place of the slopes behind a non-linearity those before it; ``a`` its argument (but of tanh, which takes
its place) and ``h`` its value."""


def traced(module: nn.Module) -> Traced | None:
    """The backward pass of the policy's architecture, where it is written out: a perceptron without norms."""
    if not (isinstance(module, PolicyNetwork) and isinstance(module.body, MlpBody)) or module.body.norms:
        return None
    network, layers, bend = module, len(module.body.layers), module.body.config.activation

    def run(tensors: Tensors, x: Tensor) -> tuple[Tensor, Pull]:
        h = network.scaled(tensors, x)
        seen = [(h, h)]
        for i in range(layers - 1):
            a = affine(h, *named(tensors, f"layers.{i}"))
            h = _BENDS[bend](a)
            seen.append((a, h))
        u = affine(h, *named(tensors, f"layers.{layers - 1}"))
        return u, lambda slopes: _pulled(bend, tensors, seen, slopes)

    return run


def _pulled(bend: str, tensors: Tensors, seen: list[tuple[Tensor, Tensor]], d: Tensor) -> Tensors:
    """From the last layer to the first; ``seen``: argument and value of each non-linearity."""
    slopes: Tensors = {}
    for i in reversed(range(len(seen))):
        (a, h), layer = seen[i], f"body.layers.{i}"
        slopes[f"{layer}.bias"] = d.sum(dim=-2)
        slopes[f"{layer}.weight"] = torch.bmm(d.mT, h)
        if i:
            d = _SLOPES[bend](torch.bmm(d, tensors[f"{layer}.weight"]), a, h)
    return slopes
