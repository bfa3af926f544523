"""Causal Transformer over the recent states."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imitation.policies.configs import Transformer
from imitation.policies.contract import Tensors
from imitation.policies.layers import affine, layer_norm, named
from imitation.policies.network import linear


class TransformerBody(nn.Module):
    """A token a state; blocks ``h += attention(norm(h))``, ``h += W_2 gelu(W_1 norm(h))``; the last one acts.

    Position t attends to 1 .. t: with 'softmax' by ``softmax(q_t'k_s / sqrt(d))``, with 'linear' by
    ``q_t'k_s / t``, without softmax (Ahn et al., arXiv 2310.01082). Positions are learned. Norms are layer
    norms before the products (pre-norm).
    """

    batched = False

    def __init__(self, config: Transformer, inputs: int, outputs: int) -> None:
        super().__init__()
        self.config = config
        width, blocks = config.width, config.blocks
        self.first, self.last = linear(inputs // config.history, width), linear(width, outputs)
        self.positions = nn.Parameter(torch.zeros(config.history, width, dtype=torch.float64))
        self.attend = nn.ModuleList(linear(width, 3 * width) for _ in range(blocks))
        self.mix = nn.ModuleList(linear(width, width) for _ in range(blocks))
        self.up = nn.ModuleList(linear(width, 4 * width) for _ in range(blocks))
        self.down = nn.ModuleList(linear(4 * width, width) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(width, dtype=torch.float64) for _ in range(2 * blocks + 1))

    def draw_rest(self, generator: torch.Generator) -> None:
        """Positions, normal with deviation 0.02."""
        self.positions.normal_(0.0, 0.02, generator=generator)

    def run(self, tensors: Tensors, h: Tensor) -> Tensor:
        return self.sequence(tensors, h)[:, -1]

    def sequence(self, tensors: Tensors, h: Tensor) -> Tensor:
        """What each position would do that saw no more than those before it ``(B, L, l m)``."""

        L, blocks = self.config.history, self.config.blocks
        x = affine(h.unflatten(-1, (L, -1)), *named(tensors, "first")) + tensors["body.positions"]
        for i in range(blocks):
            before = layer_norm(x, *named(tensors, f"norms.{2 * i}"))
            attended = self._attention(affine(before, *named(tensors, f"attend.{i}")))
            x = x + affine(attended, *named(tensors, f"mix.{i}"))
            before = layer_norm(x, *named(tensors, f"norms.{2 * i + 1}"))
            x = x + affine(F.gelu(affine(before, *named(tensors, f"up.{i}"))), *named(tensors, f"down.{i}"))
        return affine(layer_norm(x, *named(tensors, f"norms.{2 * blocks}")), *named(tensors, "last"))

    def _attention(self, qkv: Tensor) -> Tensor:
        """``(B, L, 3 w)`` to ``(B, L, w)``, head by head."""
        B, L, width = *qkv.shape[:2], self.config.width
        q, k, v = (
            part.reshape(B, L, self.config.heads, -1).transpose(1, 2) for part in qkv.split(width, dim=-1)
        )
        scores = q @ k.mT
        past = torch.ones(L, L, dtype=torch.bool, device=qkv.device).tril()
        if self.config.attention == "softmax":
            scores = (scores * q.shape[-1] ** -0.5).masked_fill(~past, float("-inf")).softmax(dim=-1)
        else:
            scores = scores * past / torch.arange(1, L + 1, dtype=qkv.dtype, device=qkv.device)[:, None]
        return (scores @ v).transpose(1, 2).reshape(B, L, width)
