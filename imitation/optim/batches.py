"""The objective of any model and loss that torch differentiates: what rules and diagnostics ask for.

A loss is a weighted sum over samples of ``losses(outputs(params))``. The Hessian comes by differentiating
twice, the generalised Gauss-Newton matrix as ``J' M J`` with J the Jacobian of the outputs and M the Hessian
of the losses at the outputs, or a metric in its place.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from imitation.optim.contract import Params


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples of each member, and the model and loss on them.

    Args:
        outputs: named tensors ``(K, ...)`` to the model's outputs ``(K, B, m)``.
        losses: outputs to the loss of each sample ``(K, B)``.
        weights: of the samples in the sum ``(K, B)``; None: 1/B each.
        metric: M of the Gauss-Newton matrix ``(K, B, m, m)``, symmetric; None: the losses' Hessian.
        gradient: named tensors to the loss ``(K,)`` and its gradient, written out; None: autograd's.
    """

    outputs: Callable[[Params], Tensor]
    losses: Callable[[Tensor], Tensor]
    weights: Tensor | None = None
    metric: Tensor | None = None
    gradient: Callable[[Params], tuple[Tensor, Params]] | None = None

    def loss(self, params: Params) -> Tensor:
        """``(K,)``."""
        return self.summed(self.losses(self.outputs(params)))

    def summed(self, losses: Tensor) -> Tensor:
        """``(K, B)`` to ``(K,)``."""
        return losses.mean(dim=-1) if self.weights is None else (self.weights * losses).sum(dim=-1)


@dataclass(frozen=True, eq=False)
class BatchObjective:
    """An objective that offers everything.

    Args:
        batch: the minibatch of this step.
        whole: gives the parts, one by one, whose losses sum up to that of the whole training set; None:
            the minibatch is all there is.
        groups: the same minibatch by groups of members, which gradients are taken of one after the other:
            what one group computes stays in the cache.
    """

    batch: Batch
    whole: Callable[[], Iterable[Batch]] | None = None
    groups: tuple[tuple[slice, Batch], ...] = ()

    offers = frozenset({"grad", "hvp", "ggn", "sample_grad"})

    def loss_and_grad(self, params: Params) -> tuple[Tensor, Params]:
        if not self.groups:
            return _loss_and_grad(self.batch, params)
        found = [_loss_and_grad(batch, {n: p[own] for n, p in params.items()}) for own, batch in self.groups]
        grads = {name: torch.cat([grads[name] for _, grads in found]) for name in params}
        return torch.cat([losses for losses, _ in found]), grads

    def full_loss_and_grad(self, params: Params) -> tuple[Tensor, Params]:
        """Loss ``(K,)`` and gradient of the whole training set."""
        parts = [_loss_and_grad(part, params) for part in self.parts()]
        total = {name: sum((g[name] for _, g in parts[1:]), parts[0][1][name]) for name in params}
        return torch.stack([loss for loss, _ in parts]).sum(dim=0), total

    def hvp(self, params: Params, v: Params, full: bool = True) -> Params:
        leaves = _leaves(params)
        name, p = next(iter(params.items()))
        block = v[name].dim() > p.dim()
        total = {name: torch.zeros_like(value) for name, value in v.items()}
        for part in self.parts() if full else (self.batch,):
            with torch.enable_grad():
                grads = _gradient(part.loss(leaves), leaves, create_graph=True)
                products = torch.autograd.grad(
                    list(grads.values()), list(leaves.values()), [v[name] for name in leaves],
                    is_grads_batched=block, materialize_grads=True,
                )  # fmt: skip
            total = {n: total[n] + product for n, product in zip(leaves, products, strict=True)}
        return total

    def ggn(self, params: Params, v: Params) -> Params:
        values, along, *_ = torch.func.jvp(self.batch.outputs, (params,), (v,))
        leaves = _leaves(params)
        with torch.enable_grad():
            outputs = self.batch.outputs(leaves)
            pushed = self._metric(values, along)
            products = torch.autograd.grad(
                outputs, list(leaves.values()), pushed, allow_unused=True, materialize_grads=True
            )
        return dict(zip(leaves, products, strict=True))

    def _metric(self, outputs: Tensor, along: Tensor) -> Tensor:
        """The Hessian of the member's loss in its outputs, or the metric in its place, times ``along``."""
        batch = self.batch
        if batch.metric is not None:
            weights = 1 / outputs.shape[1] if batch.weights is None else batch.weights[..., None]
            return weights * (batch.metric @ along[..., None])[..., 0]
        slope = torch.func.grad(lambda y: batch.summed(batch.losses(y)).sum())
        return torch.func.jvp(slope, (outputs.detach(),), (along,))[1]

    def sample_grad(self, params: Params, i: Tensor) -> Params:
        leaves = _leaves(params)
        with torch.enable_grad():
            losses = self.batch.losses(self.batch.outputs(leaves))
            chosen = losses.gather(1, (i % losses.shape[1])[:, None])[:, 0]
            return _gradient(chosen, leaves)

    def parts(self) -> Iterator[Batch]:
        """The whole training set, part by part."""
        yield from (self.batch,) if self.whole is None else self.whole()


def _loss_and_grad(batch: Batch, params: Params) -> tuple[Tensor, Params]:
    if batch.gradient is not None:
        return batch.gradient(params)
    leaves = _leaves(params)
    with torch.enable_grad():
        losses = batch.loss(leaves)
        return losses.detach(), _gradient(losses, leaves)


def _leaves(params: Params) -> Params:
    return {name: p.detach().requires_grad_() for name, p in params.items()}


def _gradient(losses: Tensor, leaves: Params, create_graph: bool = False) -> Params:
    """Members share no weight, so the gradient of the sum of their losses is that of each."""
    grads = torch.autograd.grad(
        losses.sum(), list(leaves.values()), create_graph=create_graph, materialize_grads=True
    )
    return dict(zip(leaves, grads, strict=True))
