"""Causal Transformer over the recent states."""

import torch
from torch import Tensor, nn

from imitation.policies.attention import CausalBlocks
from imitation.policies.configs import Transformer
from imitation.policies.contract import Tensors
from imitation.policies.layers import affine, named
from imitation.policies.network import linear


class TransformerBody(nn.Module):
    """A token a state, learned positions, causal blocks; the last position acts."""

    batched = False

    def __init__(self, config: Transformer, inputs: int, outputs: int) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.first, self.last = linear(inputs // config.history, width), linear(width, outputs)
        self.positions = nn.Parameter(torch.zeros(config.history, width, dtype=torch.float64))
        self.blocks = CausalBlocks(width, config.blocks, config.heads, config.attention)

    def draw_rest(self, generator: torch.Generator) -> None:
        """Positions, normal with deviation 0.02."""
        self.positions.normal_(0.0, 0.02, generator=generator)

    def run(self, tensors: Tensors, h: Tensor) -> Tensor:
        return self.sequence(tensors, h)[:, -1]

    def sequence(self, tensors: Tensors, h: Tensor) -> Tensor:
        """What each position would do that saw no more than those before it ``(B, L, l m)``."""
        tokens = affine(h.unflatten(-1, (self.config.history, -1)), *named(tensors, "first"))
        seen = self.blocks.run(tensors, "blocks", tokens + tensors["body.positions"])
        return affine(seen, *named(tensors, "last"))
