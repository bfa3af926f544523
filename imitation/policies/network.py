"""The module that every policy is: a body between the scaling of its inputs and the bounds of its outputs."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap

from imitation.policies.contract import Body, DrawsMore, Foresees, Tensors
from mpc.lqr import project
from mpc.polytope import Polytope


class PolicyNetwork(nn.Module):
    """``u = body((x - shift) / scale)`` for ``x (B, L n)``: ``(B, l m)``, L past states and l inputs ahead.

    ``shift`` and ``scale`` (L n,) are the normalisation, 0 and 1 where it is off; ``low`` and ``high``
    (l m,) are the bounding box of U, once for each input ahead. All four are buffers and travel with the
    checkpoint. In ``eval()`` mode and with ``config.clip`` each input is projected onto U: clipped to
    [low, high] where U is a box, else by a quadratic program in float64, which has no gradient here. Actions
    are not scaled. A body that foresees is told its goal, as a window behind that of the past.
    """

    shift: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, config: Any, body: Body, n: int, m: int, U: Polytope | None) -> None:
        super().__init__()
        low, high = (np.full(m, -np.inf), np.full(m, np.inf)) if U is None else U.bounds
        self.config = config
        self.body = body
        self.U = U
        inputs = config.history * n
        self.register_buffer("shift", torch.zeros(inputs, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(inputs, dtype=torch.float64))
        self.register_buffer("low", torch.tensor(np.tile(low, config.chunk), dtype=torch.float64))
        self.register_buffer("high", torch.tensor(np.tile(high, config.chunk), dtype=torch.float64))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Weights and biases uniform on +-1/sqrt(fan in), torch's default law, in float64; then the rest."""
        for layer in self.body.modules():
            if isinstance(layer, nn.Linear):
                bound = float(layer.in_features) ** -0.5
                for tensor in layer.parameters():
                    tensor.uniform_(-bound, bound, generator=generator)
        if isinstance(self.body, DrawsMore):
            self.body.draw_rest(generator)

    def fit_inputs(self, x: Tensor) -> None:
        """Mean and standard deviation of the columns of ``x (S, L n)``; a constant column has scale 1.

        Columns of the future behind them are scaled like those of the past.
        """
        if not self.config.normalise:
            return
        x = x[:, : len(self.shift)]
        spread = x.std(dim=0, correction=0)
        self.shift.copy_(x.mean(dim=0))
        self.scale.copy_(torch.where(spread > 1e-12 * x.abs().amax(dim=0), spread, torch.ones_like(spread)))

    def forward(self, x: Tensor) -> Tensor:
        u = self.population(dict(self.named_parameters()) | dict(self.named_buffers()), x)
        return u if self.training else self.bounded(u)

    def bounded(self, u: Tensor) -> Tensor:
        """Raw actions ``(..., l m)``, of one model or of several, as they are deployed."""
        if not self.config.clip:
            return u
        if self.U is None or self.U.is_box:
            return torch.clamp(u, self.low, self.high)
        points = u.detach().double().numpy().reshape(-1, self.U.dimension)
        return torch.from_numpy(project(self.U.G, self.U.h, points)[0]).to(u.dtype).view_as(u)

    def population(self, tensors: Tensors, x: Tensor) -> Tensor:
        """The raw action for tensors of one model and ``x (B, L n)``, or of K and ``x (K, B, L n)``."""
        if isinstance(self.body, Foresees):
            goal = (
                tensors["body.goal"].unsqueeze(-2).repeat_interleave(self.config.history, dim=-2).flatten(-2)
            )
            x = torch.cat([x, goal.unsqueeze(-2).expand_as(x)], dim=-1)
        return self._mapped(self.body.run, tensors, x)

    def logits(self, tensors: Tensors, x: Tensor) -> Tensor:
        """What a body that foresees learns, of windows of the past and of the future ``(K, B, 2 L n)``."""
        assert isinstance(self.body, Foresees)
        return self._mapped(self.body.logits, tensors, x)

    def _mapped(self, run: Callable[[Tensors, Tensor], Tensor], tensors: Tensors, x: Tensor) -> Tensor:
        scaled = self.scaled(tensors, x)
        if self.body.batched or x.dim() == 2:
            return run(tensors, scaled)
        own = {name: value for name, value in tensors.items() if name.startswith("body.")}
        return vmap(run)(own, scaled)

    def scaled(self, tensors: Tensors, x: Tensor) -> Tensor:
        """What the body sees of windows ``x (..., B, L n)``, or of pairs of them."""
        shift, scale = tensors["shift"], tensors["scale"]
        if x.shape[-1] != shift.shape[-1]:
            shift, scale = torch.cat([shift, shift], dim=-1), torch.cat([scale, scale], dim=-1)
        return (x - shift.unsqueeze(-2)) / scale.unsqueeze(-2)


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A layer in float64 whose weights are yet to be drawn."""
    return cast(nn.Linear, nn.utils.skip_init(nn.Linear, inputs, outputs, dtype=torch.float64))
