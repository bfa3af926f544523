"""Multilayer perceptron of residual blocks."""

import torch
from torch import Tensor, nn

from imitation.policies.configs import ResidualMlp
from imitation.policies.contract import Tensors
from imitation.policies.layers import ACTIVATIONS, affine, layer_norm, named
from imitation.policies.network import linear


class ResidualBody(nn.Module):
    """``h = W h``, blocks ``h = h + W_2 s(W_1 norm(h))``, then an affine output of ``norm(h)``.

    The norms are layer norms, before the product (pre-norm), so that the identity passes through untouched.
    """

    batched = True

    def __init__(self, config: ResidualMlp, inputs: int, outputs: int) -> None:
        super().__init__()
        self.config = config
        width, blocks = config.width, config.blocks
        self.first, self.last = linear(inputs, width), linear(width, outputs)
        self.up = nn.ModuleList(linear(width, 2 * width) for _ in range(blocks))
        self.down = nn.ModuleList(linear(2 * width, width) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(width, dtype=torch.float64) for _ in range(blocks + 1))

    def run(self, tensors: Tensors, h: Tensor) -> Tensor:
        h = affine(h, *named(tensors, "first"))
        for i in range(self.config.blocks):
            inner = affine(layer_norm(h, *named(tensors, f"norms.{i}")), *named(tensors, f"up.{i}"))
            h = h + affine(ACTIVATIONS[self.config.activation](inner), *named(tensors, f"down.{i}"))
        return affine(layer_norm(h, *named(tensors, f"norms.{self.config.blocks}")), *named(tensors, "last"))
