"""The cloning loss of a population, as an objective for update rules."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from imitation.losses import LOSSES, Loss, loss_function
from imitation.optim.batches import Batch, BatchObjective
from imitation.policies.contract import Tensors
from imitation.policies.traced import Traced, traced
from imitation.population import Forward, forward
from imitation.samples import Samples

_PART = 4096  # samples of a member in one part of the whole training set
_CACHED = 4096  # samples of all members of a group, whose activations stay in the cache


@dataclass(frozen=True, eq=False)
class Cloning:
    """``loss(forward(params, x) - u)`` over the samples of K members, which lie in one table.

    Args:
        forward: the population's raw policy.
        traced: the same with its backward pass written out, where it has one and the loss is of actions.
        buffers: the policy's buffers ``(K, ...)``.
        loss, slope: of an error and of the expert's curvature there, and its gradient in the error.
        metric: of the outputs in the Gauss-Newton matrix: the loss's own Hessian, or the curvature.
        derivatives: 1 where the loss is also of the policy's Jacobian, 2 where of its Hessian too.
        x, u: states ``(S, n)`` and target actions ``(S, m)`` of all members; behind an action stand its
            derivatives in one state after the other ``(n m)``, and the second ones ``(n n m)``.
        curvature: of the expert's value in its action ``(S, m, m)``, where it is used.
        starts, sizes: first row and number of rows of each member ``(K,)``.
    """

    forward: Forward
    traced: Traced | None
    buffers: Tensors
    loss: Loss
    slope: Loss
    metric: Literal["loss", "curvature"]
    derivatives: int
    x: Tensor
    u: Tensor
    curvature: Tensor | None
    starts: Tensor
    sizes: Tensor

    @classmethod
    def of(
        cls,
        policy: nn.Module,
        buffers: Tensors,
        training: Sequence[Samples],
        dtype: torch.dtype,
        *,
        loss: str = "l2",
        metric: Literal["loss", "curvature"] = "loss",
        jacobian: float = 0.0,
        hessian: float = 0.0,
    ) -> "Cloning":
        """The loss of that name over one member's samples after the other, for policies of that architecture.

        ``jacobian`` and ``hessian`` add the same loss of the errors of the policy's derivatives in the state,
        times these weights: the loss 'l1' with weights 1 and 0 is TaSIL of order 1, with 1 and 10 of order 2
        (Pfrommer et al., arXiv 2205.14812).

        A curvature that is the metric of another loss is scaled to a mean trace of 2, that of the l2 loss's
        own Hessian: which directions of an action count, and where, but not how much a step is worth in all.
        """

        def joined(name: str) -> Tensor:
            return torch.from_numpy(np.concatenate([getattr(one, name) for one in training])).to(dtype)

        sizes = torch.tensor([len(one) for one in training])
        curvature = joined("curvature") if "curvature" in (loss, metric) else None
        if curvature is not None and loss != "curvature":
            curvature = curvature * (2 / curvature.diagonal(dim1=1, dim2=2).sum(dim=1).mean())
        u, of = joined("u"), loss_function(loss)
        x, m, order = joined("x"), u.shape[1], 2 if hessian else int(jacobian > 0)
        if order:
            of = _with_derivatives(of, m, m * x.shape[1], jacobian, hessian)
            u = torch.cat([u, joined("dudx").mT.flatten(1)], dim=1)
        if order == 2:
            u = torch.cat([u, joined("d2udx2").permute(0, 2, 3, 1).flatten(1)], dim=1)
        starts = sizes.cumsum(0) - sizes
        return cls(
            forward(policy), None if order else traced(policy), buffers, of, LOSSES[loss][1], metric, order,
            x, u, curvature, starts, sizes,
        )  # fmt: skip

    def objective(self, places: Tensor) -> BatchObjective:
        """On the minibatch ``places (K, B)``, each member's counted from its own first sample."""
        rows = places + self.starts[:, None]
        K, each = len(rows), max(1, _CACHED // rows.shape[1])
        own = [slice(first, first + each) for first in range(0, K, each)] if each < K else []
        x, u, W = self._gathered(rows)
        groups = tuple(
            (members, self._batch(x[members], u[members], None if W is None else W[members], members=members))
            for members in own
        )
        return BatchObjective(self._batch(x, u, W), self.parts, groups)

    def _gathered(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """States, actions and curvatures of the samples ``rows (K, B)`` of the table."""

        def chosen(table: Tensor) -> Tensor:
            return table.index_select(0, rows.flatten()).view(*rows.shape, *table.shape[1:])

        return chosen(self.x), chosen(self.u), None if self.curvature is None else chosen(self.curvature)

    def _batch(
        self,
        x: Tensor,
        u: Tensor,
        W: Tensor | None,
        weights: Tensor | None = None,
        members: slice = slice(None),
    ) -> Batch:
        """The loss of these members on their samples ``(K, B, ...)``."""
        buffers = {name: buffer[members] for name, buffer in self.buffers.items()}

        def outputs(params: Tensors) -> Tensor:
            def policy(at: Tensor) -> Tensor:
                return self.forward(params | buffers, at)

            return policy(x) if not self.derivatives else _expanded(policy, x, self.derivatives)

        metric = W if self.metric == "curvature" else None
        batch = Batch(outputs, lambda y: self.loss(y - u, W), weights, metric)
        if self.traced is None:
            return batch
        known = self.traced

        @torch.no_grad()
        def gradient(params: Tensors) -> tuple[Tensor, Tensors]:
            y, pulled = known(params | buffers, x)
            error = y - u
            share = 1 / x.shape[1] if weights is None else weights[..., None]
            return batch.summed(self.loss(error, W)), pulled(self.slope(error, W) * share)

        return replace(batch, gradient=gradient)

    def parts(self) -> Iterator[Batch]:
        """Each member's whole training set; those that have fewer samples run out with weights 0."""
        for first in range(0, int(self.sizes.max()), _PART):
            places = torch.arange(first, min(first + _PART, int(self.sizes.max())))
            inside = (places < self.sizes[:, None]).to(self.x.dtype)
            rows = self.starts[:, None] + torch.minimum(places, self.sizes[:, None] - 1)
            yield self._batch(*self._gathered(rows), weights=inside / self.sizes[:, None])


def _expanded(policy: Callable[[Tensor], Tensor], x: Tensor, order: int) -> Tensor:
    """Actions ``(K, B, m)`` and behind them their derivatives in each entry of ``x (K, B, n)``."""
    ways = [one.expand_as(x) for one in torch.eye(x.shape[-1], dtype=x.dtype).unbind()]

    def along(function: Callable[[Tensor], Tensor], i: int) -> tuple[Tensor, Tensor]:
        return torch.func.jvp(function, (x,), (ways[i],))[:2]

    def slope(i: int) -> Callable[[Tensor], Tensor]:
        return lambda at: torch.func.jvp(policy, (at,), (ways[i],))[1]

    n = len(ways)
    if order == 1:
        both = [along(policy, i) for i in range(n)]
        return torch.cat([both[0][0], *(derivative for _, derivative in both)], dim=-1)
    twice = {(i, j): along(slope(i), j) for i in range(n) for j in range(i, n)}
    first = [twice[i, i][0] for i in range(n)]
    second = [twice[min(i, j), max(i, j)][1] for i in range(n) for j in range(n)]
    return torch.cat([policy(x), *first, *second], dim=-1)


def _with_derivatives(loss: Loss, m: int, first: int, jacobian: float, hessian: float) -> Loss:
    """The loss of the action's error, and those of its first and of its second derivatives."""

    def total(error: Tensor, curvature: Tensor | None) -> Tensor:
        found = loss(error[..., :m], curvature)
        if jacobian:
            found = found + jacobian * loss(error[..., m : m + first], None)
        return found + hessian * loss(error[..., m + first :], None) if hessian else found

    return total
