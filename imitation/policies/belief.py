"""Belief-state Transformer: what to do next, given the past and a future to reach (arXiv 2410.23506)."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imitation.losses import Rows
from imitation.policies.attention import CausalBlocks
from imitation.policies.configs import BeliefState
from imitation.policies.contract import Tensors
from imitation.policies.layers import affine, named
from imitation.policies.network import linear
from mpc.polytope import Polytope

_REACH = 3.0  # scaled states beyond it count as there


class BeliefBody(nn.Module):
    """``f`` of the past, ``b`` of a future; from both, the next input and the one that leads to that future.

    The trajectory ``x_1 u_1 x_2 ...`` is discretised: each coordinate of a state lies between two of ``bins``
    centres on [-3, 3], and its token is the mean of their embeddings, weighed by nearness, summed over the
    coordinates; an input is a distribution over ``bins`` values of each of its coordinates. A causal encoder
    reads the past forwards, another one the future backwards, from its end. Training tells pieces of the
    future some steps ahead; a controller is told that it stays at the goal, and applies the mean of the next
    input.
    """

    values: Tensor

    batched = False

    def __init__(self, config: BeliefState, n: int, m: int, U: Polytope | None) -> None:
        super().__init__()
        self.config, self.n, self.m = config, n, m
        width, bins = config.width, config.bins
        low, high = _bounds(m, U)
        self.register_buffer("values", torch.from_numpy(np.linspace(low, high, bins, axis=1)))
        self.register_buffer("goal", torch.tensor([*(config.goal or np.zeros(n))], dtype=torch.float64))
        self.tokens = nn.Parameter(torch.zeros(n, bins, width, dtype=torch.float64))
        self.positions = nn.Parameter(torch.zeros(2, config.history, width, dtype=torch.float64))
        self.past, self.future = (CausalBlocks(width, config.blocks, config.heads) for _ in range(2))
        self.belief = linear(2 * width, width)
        self.next = linear(width, config.chunk * m * bins)
        self.previous = linear(width, m * bins)

    def draw_rest(self, generator: torch.Generator) -> None:
        """Positions, normal with deviation 0.02; embeddings that are linear in the state to begin with."""
        self.positions.normal_(0.0, 0.02, generator=generator)
        slopes = torch.empty(self.n, 1, self.config.width, dtype=torch.float64)
        slopes.uniform_(-(self.n**-0.5), self.n**-0.5, generator=generator)
        centres = torch.linspace(-_REACH, _REACH, self.config.bins, dtype=torch.float64)
        self.tokens.copy_(centres[:, None] * slopes)

    def run(self, tensors: Tensors, h: Tensor) -> Tensor:
        """Scaled past and future ``(B, 2 L n)`` to the mean of the next inputs ``(B, l m)``."""
        ahead = self.logits(tensors, h)[:, : -self.m * self.config.bins]
        shares = ahead.unflatten(-1, (self.config.chunk, self.m, -1)).softmax(dim=-1)
        return (shares * tensors["body.values"]).sum(dim=-1).flatten(-2)

    def logits(self, tensors: Tensors, h: Tensor) -> Tensor:
        """Of the inputs of the plan and of the one that leads to the future ``(B, (l + 1) m bins)``."""
        x = h.unflatten(-1, (2, self.config.history, self.n))
        place = (x.clamp(-_REACH, _REACH) / _REACH + 1) / 2 * (self.config.bins - 1)
        seen = torch.einsum("bdtic,icw->bdtw", nearness(place, self.config.bins), tensors["body.tokens"])
        past, future = seen.unbind(dim=1)
        forwards, backwards = tensors["body.positions"].unbind()
        f = self.past.run(tensors, "past", past + forwards)[:, -1]
        b = self.future.run(tensors, "future", future.flip(1) + backwards)[:, -1]
        belief = F.gelu(affine(torch.cat([f, b], dim=-1), *named(tensors, "belief")))
        return torch.cat([affine(belief, *named(tensors, head)) for head in ("next", "previous")], dim=-1)

    def criterion(self) -> "TokenLoss":
        """What its training minimises."""
        return TokenLoss(self.values, self.config.chunk + 1)


@dataclass(frozen=True, eq=False)
class TokenLoss:
    """Cross-entropy of discretised inputs: the next ones, and the one before the future that was told.

    Args:
        values: of each coordinate of an input ``(m, bins)``, evenly apart.
        inputs: number of inputs, l + 1.
    """

    values: Tensor
    inputs: int

    def losses(self, y: Tensor, rows: Rows) -> Tensor:
        """Of logits ``(K, B, (l + 1) m bins)``, mean over the inputs' coordinates: (K, B)."""
        m, bins = self.values.shape
        low, high = (self.values[:, end].to(y.dtype) for end in (0, -1))
        u = rows["u"].unflatten(-1, (self.inputs, m))
        shares = nearness(((u - low) / (high - low)).clamp(0.0, 1.0) * (bins - 1), bins)
        chances = y.unflatten(-1, (self.inputs, m, bins)).log_softmax(dim=-1)
        return -(shares * chances).sum(dim=-1).mean(dim=(-1, -2))


def nearness(place: Tensor, bins: int) -> Tensor:
    """Weights ``(..., bins)`` of the two whole numbers around ``place (...)``, whose mean it is."""
    return (1 - (place[..., None] - torch.arange(bins, dtype=place.dtype)).abs()).clamp(min=0.0)


def _bounds(m: int, U: Polytope | None) -> tuple[np.ndarray, np.ndarray]:
    low, high = (np.full(m, -np.inf), np.full(m, np.inf)) if U is None else U.bounds
    if not (np.isfinite([low, high]).all() and (low < high).all()):
        raise ValueError(
            f"a belief state discretises inputs between the bounds of U, got {low} to {high}; bound them, or "
            f"take another policy"
        )
    return low, high
