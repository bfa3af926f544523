"""Optimizers of other packages, as steps with gradients in place."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from imitation.optim.contract import Params
from imitation.policies.configs import Mlp

Build = Callable[[Params, Params], Callable[[], object]]
"""From weights and gradients ``(1, ...)`` of one model to its step."""


@dataclass(frozen=True)
class Peer:
    """A peer's name, its step and its fused step, where there are such."""

    name: str = "-"
    step: Build | None = None
    fused: Build | None = None


def layer_sizes(network: Mlp, inputs: int, outputs: int) -> list[int]:
    """Of what goes into each layer, and out of the last."""
    return [inputs, *[network.width] * (network.depth - 1), outputs]


def plain_network(network: Mlp, inputs: int, outputs: int) -> nn.Sequential:
    """The layers of a policy as a user of torch writes them, without its scaling."""
    bend = {"gelu": nn.GELU, "tanh": nn.Tanh, "relu": nn.ReLU}[network.activation]
    layers: list[nn.Module] = []
    for a, b in pairwise(layer_sizes(network, inputs, outputs)):
        layers += [nn.Linear(a, b), bend()]
    return nn.Sequential(*layers[:-1])


def plain_gradient(network: Mlp, inputs: int, outputs: int, batch: int) -> Callable[[], object]:
    """Autograd's gradient of ``nn.Sequential`` on a minibatch."""
    model = plain_network(network, inputs, outputs)
    x, u = torch.randn(batch, inputs), torch.randn(batch, outputs)

    def step() -> None:
        model.zero_grad()
        nn.functional.mse_loss(model(x), u).backward()

    return step


def _built(module: str, cls: str, matrices: bool = False, **arguments: Any) -> Build:
    def build(params: Params, grads: Params) -> Callable[[], object]:
        leaves: list[Tensor] = []
        for name, p in params.items():
            if not matrices or p.dim() == 3:
                leaf = p[0].clone().requires_grad_()
                leaf.grad = grads[name][0].clone()
                leaves.append(leaf)
        optimizer = getattr(import_module(module), cls)(leaves, **arguments)
        if hasattr(optimizer, "train"):
            optimizer.train()
        return optimizer.step

    return build


def _torch(cls: str, fused: bool = True, **arguments: Any) -> Peer:
    if not hasattr(torch.optim, cls):
        return Peer(f"torch {cls}: not in torch {torch.__version__}")
    step = _built("torch.optim", cls, foreach=True, **arguments)
    return Peer(f"torch {cls}", step, _built("torch.optim", cls, fused=True, **arguments) if fused else None)


def _package(package: str, cls: str, **arguments: Any) -> Peer:
    if find_spec(package) is None:
        return Peer(f"{package}: not installed")
    return Peer(f"{package} {cls}", _built(package, cls, **arguments))


def _muon() -> Peer:
    if not hasattr(torch.optim, "Muon"):
        return Peer(f"torch Muon: not in torch {torch.__version__}")
    return Peer("torch Muon, matrices only", _built("torch.optim", "Muon", matrices=True))


PEERS = {
    "AdamW": _torch("AdamW", lr=1e-4),
    "Adam": _torch("Adam", lr=1e-4),
    "Sgd": _torch("SGD", lr=1e-4),
    "SGD with momentum": _torch("SGD", lr=1e-4, momentum=0.9),
    "Adafactor": _torch("Adafactor", fused=False, lr=1e-4),
    "Muon": _muon(),
    "Lion": _package("pytorch_optimizer", "Lion", lr=1e-4),
    "Soap": _package("pytorch_optimizer", "SOAP", lr=1e-4),
    "Sm3": _package("pytorch_optimizer", "SM3", lr=1e-4),
    "ScheduleFree": _package("schedulefree", "AdamWScheduleFree", lr=1e-4, foreach=True),
    "ScheduleFree over SGD": _package("schedulefree", "SGDScheduleFree", lr=1e-4, foreach=True),
}
"""By the names of ``bench.speed.optimizers.RULES``."""
