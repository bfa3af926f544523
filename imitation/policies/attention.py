"""Blocks of causal attention, of a policy's body."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imitation.policies.contract import Tensors
from imitation.policies.layers import affine, layer_norm, named
from imitation.policies.network import linear


class CausalBlocks(nn.Module):
    """Blocks ``h += attention(norm(h))``, ``h += W_2 gelu(W_1 norm(h))`` and a last norm, over L positions.

    Position t attends to 1 .. t: with 'softmax' by ``softmax(q_t'k_s / sqrt(d))``, with 'linear' by
    ``q_t'k_s / t``, without softmax (Ahn et al., arXiv 2310.01082). Norms are layer norms before the products
    (pre-norm).
    """

    def __init__(self, width: int, blocks: int, heads: int, attention: str = "softmax") -> None:
        super().__init__()
        self.width, self.heads, self.attention = width, heads, attention
        self.attend = nn.ModuleList(linear(width, 3 * width) for _ in range(blocks))
        self.mix = nn.ModuleList(linear(width, width) for _ in range(blocks))
        self.up = nn.ModuleList(linear(width, 4 * width) for _ in range(blocks))
        self.down = nn.ModuleList(linear(4 * width, width) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(width, dtype=torch.float64) for _ in range(2 * blocks + 1))

    def run(self, tensors: Tensors, name: str, x: Tensor) -> Tensor:
        """``x (B, L, w)`` to ``(B, L, w)``, by the tensors of the body's module ``name``."""
        for i in range(len(self.attend)):
            before = layer_norm(x, *named(tensors, f"{name}.norms.{2 * i}"))
            attended = self._attention(affine(before, *named(tensors, f"{name}.attend.{i}")))
            x = x + affine(attended, *named(tensors, f"{name}.mix.{i}"))
            before = layer_norm(x, *named(tensors, f"{name}.norms.{2 * i + 1}"))
            inner = F.gelu(affine(before, *named(tensors, f"{name}.up.{i}")))
            x = x + affine(inner, *named(tensors, f"{name}.down.{i}"))
        return layer_norm(x, *named(tensors, f"{name}.norms.{2 * len(self.attend)}"))

    def _attention(self, qkv: Tensor) -> Tensor:
        """``(B, L, 3 w)`` to ``(B, L, w)``, head by head."""
        B, L = qkv.shape[:2]
        q, k, v = (
            part.reshape(B, L, self.heads, -1).transpose(1, 2) for part in qkv.split(self.width, dim=-1)
        )
        scores = q @ k.mT
        past = torch.ones(L, L, dtype=torch.bool, device=qkv.device).tril()
        if self.attention == "softmax":
            scores = (scores * q.shape[-1] ** -0.5).masked_fill(~past, float("-inf")).softmax(dim=-1)
        else:
            scores = scores * past / torch.arange(1, L + 1, dtype=qkv.dtype, device=qkv.device)[:, None]
        return (scores @ v).transpose(1, 2).reshape(B, L, self.width)
