"""Many models of one shape as one: their tensors stacked along a leading member axis."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from imitation.policies.configs import PolicyConfig
from imitation.policies.contract import Tensors
from mpc.arrays import Array
from mpc.polytope import Polytope
from mpc.seeds import integer_seed

Forward = Callable[[Tensors, Tensor], Tensor]
"""``(tensors (K, ...), x (K, B, n)) -> u (K, B, m)``, the raw action."""


def initial(
    config: PolicyConfig,
    n: int,
    m: int,
    x: Array,
    rep: int,
    dtype: torch.dtype,
    U: Polytope | None = None,
) -> nn.Module:
    """A policy to begin with, drawn from ``('weights', architecture, rep)``, fitted to ``x (S, n)``."""
    policy = config.build(n, m, U)
    policy.draw(torch.Generator().manual_seed(integer_seed("weights", config.architecture, rep)))
    policy.fit_inputs(torch.from_numpy(x))
    return policy.to(dtype)


def stacked(modules: Sequence[nn.Module]) -> tuple[Tensors, Tensors]:
    """Parameters and buffers of the modules, each ``(K, ...)``, detached copies."""
    parameters = [dict(module.named_parameters()) for module in modules]
    buffers = [dict(module.named_buffers()) for module in modules]
    return _stack(parameters), _stack(buffers)


def _stack(tensors: list[dict[str, Any]]) -> Tensors:
    return {name: torch.stack([one[name].detach() for one in tensors]) for name in tensors[0]}


def forward(module: nn.Module) -> Forward:
    """The raw policy of the module's architecture over a population's tensors.

    The policy's own ``population`` where it has one (one batched product a layer), else the module's
    ``forward`` mapped over the members.
    """
    own = getattr(module, "population", None)
    return mapped(module) if own is None else own


def mapped(module: nn.Module) -> Forward:
    """``module`` in train mode, mapped over the members by ``vmap``; the module's own tensors are unused."""
    module = module.train()

    def one(tensors: Tensors, x: Tensor) -> Tensor:
        return functional_call(module, tensors, (x,))

    return vmap(one)
