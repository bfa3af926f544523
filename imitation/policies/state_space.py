"""Diagonal state-space model over the recent states."""

from math import pi

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imitation.policies.configs import StateSpace
from imitation.policies.contract import Tensors
from imitation.policies.layers import affine, layer_norm, named
from imitation.policies.network import linear

_SLOWEST, _FASTEST = 0.99, 0.5
_ANGLE = pi / 4


class StateSpaceBody(nn.Module):
    """Blocks ``h += W gelu(y)``: ``y_t = Re(C z_t) + d * u_t`` and ``z_t = lambda z_{t-1} + g B u_t``.

    u is norm(h) and the last position acts.
    ``lambda = exp(-exp(nu) + i theta)`` is diagonal, complex and stable whatever its parameters, ``g =
    sqrt(1 - |lambda|^2)`` keeps the size of z (LRU: Orvieto et al., arXiv 2303.06349; S4D: arXiv 2206.11893).
    The window is short, so z comes from all powers of lambda at once.
    """

    batched = False

    def __init__(self, config: StateSpace, inputs: int, outputs: int) -> None:
        super().__init__()
        self.config = config
        width, blocks, states = config.width, config.blocks, config.states
        self.first, self.last = linear(inputs // config.history, width), linear(width, outputs)
        self.nu = nn.Parameter(torch.zeros(blocks, states, dtype=torch.float64))
        self.theta = nn.Parameter(torch.zeros(blocks, states, dtype=torch.float64))
        self.skip = nn.Parameter(torch.ones(blocks, width, dtype=torch.float64))
        self.enter = nn.ModuleList(linear(width, 2 * states) for _ in range(blocks))
        self.leave = nn.ModuleList(linear(2 * states, width) for _ in range(blocks))
        self.mix = nn.ModuleList(linear(width, width) for _ in range(blocks))
        self.norms = nn.ModuleList(nn.LayerNorm(width, dtype=torch.float64) for _ in range(blocks + 1))

    def draw_rest(self, generator: torch.Generator) -> None:
        """|lambda|^2 uniform between 0.5^2 and 0.99^2, angles uniform up to pi/4."""
        self.nu.uniform_(_FASTEST**2, _SLOWEST**2, generator=generator)
        self.nu.copy_(torch.log(-0.5 * torch.log(self.nu)))
        self.theta.uniform_(0.0, _ANGLE, generator=generator)

    def run(self, tensors: Tensors, h: Tensor) -> Tensor:
        return self.sequence(tensors, h)[:, -1]

    def sequence(self, tensors: Tensors, h: Tensor) -> Tensor:
        """What each position would do that saw no more than those before it ``(B, L, l m)``."""

        x = affine(h.unflatten(-1, (self.config.history, -1)), *named(tensors, "first"))
        for i in range(self.config.blocks):
            u = layer_norm(x, *named(tensors, f"norms.{i}"))
            entering = affine(u, *named(tensors, f"enter.{i}"))
            z = self._states(tensors["body.nu"][i], tensors["body.theta"][i], entering)
            y = affine(z, *named(tensors, f"leave.{i}")) + tensors["body.skip"][i] * u
            x = x + affine(F.gelu(y), *named(tensors, f"mix.{i}"))
        return affine(layer_norm(x, *named(tensors, f"norms.{self.config.blocks}")), *named(tensors, "last"))

    def _states(self, nu: Tensor, theta: Tensor, entering: Tensor) -> Tensor:
        """Real and imaginary parts of z ``(B, L, 2 S)``, from those of ``B u``."""
        L, speed = self.config.history, nu.exp()
        ago = torch.arange(L, device=nu.device)
        lag = (ago[:, None] - ago).clamp(min=0).to(nu.dtype)[..., None]
        past = torch.ones(L, L, dtype=nu.dtype, device=nu.device).tril()[..., None]
        size = past * torch.exp(-speed * lag) * torch.sqrt(1 - torch.exp(-2 * speed))
        real, imaginary = size * torch.cos(theta * lag), size * torch.sin(theta * lag)
        a, b = entering.chunk(2, dim=-1)

        def summed(kernel: Tensor, part: Tensor) -> Tensor:
            return torch.einsum("tks,bks->bts", kernel, part)

        return torch.cat(
            [summed(real, a) - summed(imaginary, b), summed(imaginary, a) + summed(real, b)], dim=-1
        )
