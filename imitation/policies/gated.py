"""Multilayer perceptron of gated layers."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from imitation.policies.configs import GatedMlp
from imitation.policies.contract import Tensors
from imitation.policies.layers import ACTIVATIONS, affine, layer_norm, named
from imitation.policies.network import linear


class GatedBody(nn.Module):
    """Hidden layers ``h = norm(s(G h + c) * (V h + b))``, then an affine output (Shazeer, arXiv 2002.05202).

    A hidden layer's G and V are the two halves of one matrix: one product. The layer norm is there because a
    product of two signals squares their size: without it small ones vanish within three layers.
    """

    batched = True

    def __init__(self, config: GatedMlp, inputs: int, outputs: int) -> None:
        super().__init__()
        self.config = config
        sizes = [inputs, *[config.width] * (config.depth - 1)]
        hidden = [linear(a, 2 * b) for a, b in pairwise(sizes)]
        self.layers = nn.ModuleList([*hidden, linear(sizes[-1], outputs)])
        self.norms = nn.ModuleList(nn.LayerNorm(config.width, dtype=torch.float64) for _ in hidden)

    def run(self, tensors: Tensors, h: Tensor) -> Tensor:
        for i in range(len(self.layers)):
            h = affine(h, *named(tensors, f"layers.{i}"))
            if i < len(self.layers) - 1:
                gate, value = h.chunk(2, dim=-1)
                h = layer_norm(ACTIVATIONS[self.config.gate](gate) * value, *named(tensors, f"norms.{i}"))
        return h
