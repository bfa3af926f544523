"""Multilayer perceptron, one model or a population of them."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imitation.policies.configs import Mlp
from imitation.policies.contract import Tensors
from mpc.arrays import Array

_ACTIVATIONS = {"gelu": F.gelu, "relu": F.relu, "tanh": torch.tanh}


class MlpPolicy(nn.Module):
    """``u = W_d s(... s(W_1 (x - shift) / scale + b_1) ...) + b_d`` for ``x (B, n)``: ``(B, m)``.

    ``shift`` and ``scale`` (n,) are the normalisation, 0 and 1 where it is off; ``low`` and ``high``
    (m,) are the bounding box of U. All four are buffers and travel with the checkpoint. In ``eval()``
    mode and with ``config.clip`` the action is clipped to [low, high]. Actions are not scaled.
    """

    shift: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, config: Mlp, n: int, m: int, bounds: tuple[Array, Array] | None = None) -> None:
        super().__init__()
        low, high = bounds or (np.full(m, -np.inf), np.full(m, np.inf))
        self.config = config
        sizes = [n, *[config.width] * (config.depth - 1), m]
        self.layers = nn.ModuleList(
            nn.utils.skip_init(nn.Linear, a, b, dtype=torch.float64) for a, b in pairwise(sizes)
        )
        self.register_buffer("shift", torch.zeros(n, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(n, dtype=torch.float64))
        self.register_buffer("low", torch.tensor(low, dtype=torch.float64))
        self.register_buffer("high", torch.tensor(high, dtype=torch.float64))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Weights and biases uniform on +-1/sqrt(fan in), torch's default law, in float64."""
        for layer in self.layers:
            bound = float(layer.in_features) ** -0.5  # type: ignore[arg-type]
            for tensor in layer.parameters():
                tensor.uniform_(-bound, bound, generator=generator)

    def fit_inputs(self, x: Tensor) -> None:
        """Mean and standard deviation of the columns of ``x (S, n)``; a constant column has scale 1."""
        if not self.config.normalise:
            return
        spread = x.std(dim=0, correction=0)
        self.shift.copy_(x.mean(dim=0))
        self.scale.copy_(torch.where(spread > 1e-12 * x.abs().amax(dim=0), spread, torch.ones_like(spread)))

    def forward(self, x: Tensor) -> Tensor:
        u = self.population(dict(self.named_parameters()) | dict(self.named_buffers()), x)
        if self.config.clip and not self.training:
            return torch.clamp(u, self.low, self.high)
        return u

    def population(self, tensors: Tensors, x: Tensor) -> Tensor:
        """The raw action for tensors of one model and ``x (B, n)``, or of K models and ``x (K, B, n)``."""
        h = (x - tensors["shift"].unsqueeze(-2)) / tensors["scale"].unsqueeze(-2)
        for i in range(len(self.layers)):
            if i:
                h = _ACTIVATIONS[self.config.activation](h)
            h = _affine(h, tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"])
        return h


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if weight.dim() == 2:
        return F.linear(x, weight, bias)
    return torch.baddbmm(bias.unsqueeze(-2), x, weight.mT)
