"""The cloning loss of a population on one minibatch, as an objective for update rules."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from imitation.optim.contract import Params, not_offered
from imitation.policies.contract import Tensors
from imitation.population import Forward


@dataclass(frozen=True, eq=False)
class CloningObjective:
    """Mean over the minibatch of ``loss(forward(params, x) - u)``, for each member by itself.

    Args:
        forward: the population's raw policy.
        buffers: the policy's buffers ``(K, ...)``.
        loss: of an error ``(..., m)``.
        x, u: states ``(K, B, n)`` and target actions ``(K, B, m)``.
    """

    forward: Forward
    buffers: Tensors
    loss: Callable[[Tensor], Tensor]
    x: Tensor
    u: Tensor

    offers = frozenset({"grad"})

    def value(self, params: Params) -> Tensor:
        """Loss of each member ``(K,)``."""
        error = self.forward(params | self.buffers, self.x) - self.u
        return self.loss(error).mean(dim=-1)

    def loss_and_grad(self, params: Params) -> tuple[Tensor, Params]:
        """Loss ``(K,)`` and gradient: members share no weight, so that of the sum is that of each."""
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        with torch.enable_grad():
            loss = self.value(leaves)
            grads = torch.autograd.grad(loss.sum(), list(leaves.values()))
        return loss.detach(), dict(zip(leaves, grads, strict=True))

    def hvp(self, params: Params, v: Params, full: bool = True) -> Params:
        raise not_offered(self, "hvp")

    def ggn(self, params: Params, v: Params) -> Params:
        raise not_offered(self, "ggn")

    def sample_grad(self, params: Params, i: Tensor) -> Params:
        raise not_offered(self, "sample_grad")
