"""Multilayer perceptron of gated layers."""

from itertools import pairwise

from torch import Tensor, nn

from imitation.policies.configs import GatedMlp
from imitation.policies.contract import Tensors
from imitation.policies.layers import ACTIVATIONS, affine
from imitation.policies.network import linear


class GatedBody(nn.Module):
    """Hidden layers ``h = s(G h + c) * (V h + b)``, then an affine output (Shazeer, arXiv 2002.05202).

    A hidden layer's G and V are the two halves of one matrix: one product.
    """

    def __init__(self, config: GatedMlp, inputs: int, outputs: int) -> None:
        super().__init__()
        self.config = config
        sizes = [inputs, *[config.width] * (config.depth - 1)]
        hidden = [linear(a, 2 * b) for a, b in pairwise(sizes)]
        self.layers = nn.ModuleList([*hidden, linear(sizes[-1], outputs)])

    def run(self, tensors: Tensors, h: Tensor) -> Tensor:
        for i in range(len(self.layers)):
            h = affine(h, tensors[f"body.layers.{i}.weight"], tensors[f"body.layers.{i}.bias"])
            if i < len(self.layers) - 1:
                gate, value = h.chunk(2, dim=-1)
                h = ACTIVATIONS[self.config.gate](gate) * value
        return h
