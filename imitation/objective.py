"""The cloning loss of a population on one minibatch, as an objective for update rules."""

from collections.abc import Callable

import torch
from torch import Tensor

from imitation.optim.contract import GradientObjective, Params
from imitation.policies.contract import Tensors
from imitation.population import Forward


def cloning_objective(
    forward: Forward, buffers: Tensors, loss: Callable[[Tensor], Tensor], x: Tensor, u: Tensor
) -> GradientObjective:
    """Mean over the minibatch of ``loss(forward(params, x) - u)``, for each member by itself.

    Args:
        forward: the population's raw policy.
        buffers: the policy's buffers ``(K, ...)``.
        loss: of an error ``(..., m)``.
        x, u: states ``(K, B, n)`` and target actions ``(K, B, m)``.
    """

    def gradient(params: Params) -> tuple[Tensor, Params]:
        leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
        with torch.enable_grad():
            losses = loss(forward(leaves | buffers, x) - u).mean(dim=-1)
            # Members share no weight, so the gradient of the sum is that of each.
            grads = torch.autograd.grad(losses.sum(), list(leaves.values()))
        return losses.detach(), dict(zip(leaves, grads, strict=True))

    return GradientObjective("the cloning loss", gradient)
