"""The cloning loss of a population, as an objective for update rules."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from imitation.losses import Loss, loss_function
from imitation.optim.batches import Batch, BatchObjective
from imitation.policies.contract import Tensors
from imitation.population import Forward
from imitation.samples import Samples

_PART = 4096  # samples of a member in one part of the whole training set
_CACHED = 4096  # samples of all members of a group, whose activations stay in the cache


@dataclass(frozen=True, eq=False)
class Cloning:
    """``loss(forward(params, x) - u)`` over the samples of K members, which lie in one table.

    Args:
        forward: the population's raw policy.
        buffers: the policy's buffers ``(K, ...)``.
        loss: of an error and of the expert's curvature there.
        metric: of the outputs in the Gauss-Newton matrix: the loss's own Hessian, or the curvature.
        jacobian: weight of the same loss of the policy's Jacobian; with 0 it is not computed.
        x, u: states ``(S, n)`` and target actions ``(S, m)`` of all members; with a Jacobian ``u`` is
            ``(S, m + n m)``, the action's derivatives in one state after the other behind it.
        curvature: of the expert's value in its action ``(S, m, m)``, where it is used.
        starts, sizes: first row and number of rows of each member ``(K,)``.
    """

    forward: Forward
    buffers: Tensors
    loss: Loss
    metric: Literal["loss", "curvature"]
    jacobian: float
    x: Tensor
    u: Tensor
    curvature: Tensor | None
    starts: Tensor
    sizes: Tensor

    @classmethod
    def of(
        cls,
        forward: Forward,
        buffers: Tensors,
        training: Sequence[Samples],
        dtype: torch.dtype,
        *,
        loss: str = "l2",
        metric: Literal["loss", "curvature"] = "loss",
        jacobian: float = 0.0,
    ) -> "Cloning":
        """The loss of that name over one member's samples after the other.

        ``jacobian`` adds the same loss of the error of the policy's Jacobian in the state, times this
        weight: with the loss 'l1' and weight 1 it is TaSIL of order 1 (Pfrommer et al., arXiv 2205.14812).

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
        if jacobian:
            of = _with_derivatives(of, u.shape[1], jacobian)
            u = torch.cat([u, joined("dudx").mT.flatten(1)], dim=1)
        starts = sizes.cumsum(0) - sizes
        return cls(forward, buffers, of, metric, jacobian, joined("x"), u, curvature, starts, sizes)

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
            if self.jacobian:
                return _with_jacobian(lambda at: self.forward(params | buffers, at), x)
            return self.forward(params | buffers, x)

        metric = W if self.metric == "curvature" else None
        return Batch(outputs, lambda y: self.loss(y - u, W), weights, metric)

    def parts(self) -> Iterator[Batch]:
        """Each member's whole training set; those that have fewer samples run out with weights 0."""
        for first in range(0, int(self.sizes.max()), _PART):
            places = torch.arange(first, min(first + _PART, int(self.sizes.max())))
            inside = (places < self.sizes[:, None]).to(self.x.dtype)
            rows = self.starts[:, None] + torch.minimum(places, self.sizes[:, None] - 1)
            yield self._batch(*self._gathered(rows), weights=inside / self.sizes[:, None])


def _with_jacobian(policy: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Actions ``(K, B, m)`` and behind them their derivatives in each entry of ``x (K, B, n)``."""
    directions = torch.eye(x.shape[-1], dtype=x.dtype).unbind()
    both = [torch.func.jvp(policy, (x,), (one.expand_as(x),))[:2] for one in directions]
    return torch.cat([both[0][0], *(along for _, along in both)], dim=-1)


def _with_derivatives(loss: Loss, m: int, weight: float) -> Loss:
    """The loss of the action's error and ``weight`` times that of the error of its derivatives."""

    def total(error: Tensor, curvature: Tensor | None) -> Tensor:
        return loss(error[..., :m], curvature) + weight * loss(error[..., m:], None)

    return total
