"""Multilayer perceptron."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from imitation.policies.configs import Mlp
from imitation.policies.contract import Tensors
from imitation.policies.layers import ACTIVATIONS, affine, layer_norm, named
from imitation.policies.network import linear


class MlpBody(nn.Module):
    """``W_d s(... s(W_1 h + b_1) ...) + b_d``, each s after a layer norm where the config says so."""

    batched = True

    def __init__(self, config: Mlp, inputs: int, outputs: int) -> None:
        super().__init__()
        self.config = config
        sizes = [inputs, *[config.width] * (config.depth - 1), outputs]
        self.layers = nn.ModuleList(linear(a, b) for a, b in pairwise(sizes))
        hidden = config.depth - 1 if config.norm == "layer" else 0
        self.norms = nn.ModuleList(nn.LayerNorm(config.width, dtype=torch.float64) for _ in range(hidden))

    def run(self, tensors: Tensors, h: Tensor) -> Tensor:
        for i in range(len(self.layers)):
            if i and self.norms:
                h = layer_norm(h, *named(tensors, f"norms.{i - 1}"))
            if i:
                h = ACTIVATIONS[self.config.activation](h)
            h = affine(h, *named(tensors, f"layers.{i}"))
        return h
