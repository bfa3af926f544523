"""The cloning loss of a population, as an objective for update rules."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from imitation.losses import LOSSES, Criterion, Loss, Rows
from imitation.optim.batches import Batch, BatchObjective
from imitation.policies.contract import Foresees, Tensors
from imitation.policies.network import PolicyNetwork
from imitation.policies.traced import Traced, traced
from imitation.population import Forward, forward
from imitation.samples import Samples

_PART = 4096  # samples of a member in one part of the whole training set
_CACHED = 4096  # samples of all members of a group, whose activations stay in the cache


@dataclass(frozen=True, eq=False)
class Cloning:
    """The criterion of ``forward(params, x)`` over the samples of K members, which lie in one table.

    Args:
        forward: what the criterion is of: the population's raw policy, or its logits.
        traced: the same with its backward pass written out, where it has one and the loss is of actions.
        buffers: the policy's buffers ``(K, ...)``.
        criterion: what is minimised.
        derivatives: 1 where the loss is also of the policy's Jacobian, 2 where of its Hessian too.
        table: states ``x (S, n)`` and target actions ``u (S, m)`` of all members; behind an action stand its
            derivatives in one state after the other ``(n m)``, and the second ones ``(n n m)``. Where they
            are used: the ``curvature (S, m, m)`` of the expert's value in its action, the ``room (S,)``, and
            the ``metric (S, m, m)`` of the outputs in the Gauss-Newton matrix, in the place of the loss's own
            Hessian.
        starts, sizes: first row and number of rows of each member ``(K,)``.
    """

    forward: Forward
    traced: Traced | None
    buffers: Tensors
    criterion: Criterion
    derivatives: int
    table: Rows
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
        stability: float = 0.0,
    ) -> "Cloning":
        """The loss of that name over one member's samples after the other, for policies of that architecture.

        ``jacobian`` and ``hessian`` add the same loss of the errors of the policy's derivatives in the state,
        times these weights: the loss 'l1' with weights 1 and 0 is TaSIL of order 1, with 1 and 10 of order 2
        (Pfrommer et al., arXiv 2205.14812).

        A curvature beside another loss, as the metric or in the penalty, is scaled to a mean trace of 2 over
        a member's samples, that of the l2 loss's own Hessian (the room with it): which directions of an
        action count, and where, but not how much a step is worth in all.
        """

        def joined(name: str) -> Tensor:
            return torch.from_numpy(np.concatenate([getattr(one, name) for one in training])).to(dtype)

        table = {"x": joined("x"), "u": joined("u")}
        order, n, m = 2 if hessian else int(jacobian > 0), table["x"].shape[1], table["u"].shape[1]
        of, slope = LOSSES[loss]
        if order:
            of = _with_derivatives(of, m, m * n, jacobian, hessian)
            table["u"] = torch.cat([table["u"], joined("dudx").mT.flatten(1)], dim=1)
        if order == 2:
            second = joined("d2udx2").permute(0, 2, 3, 1).flatten(1)
            table["u"] = torch.cat([table["u"], second], dim=1)
        if "curvature" in (loss, metric) or stability:
            scale = 1.0 if loss == "curvature" else _scales(training).to(dtype)
            W = joined("curvature") * scale
            if loss == "curvature" or stability:
                table["curvature"] = W
            if stability:
                table["room"] = (joined("room")[:, None, None] * scale)[:, 0, 0]
            if metric == "curvature":
                table["metric"] = W
        sizes = torch.tensor([len(one) for one in training])
        written = None if order else traced(policy)
        model, criterion = forward(policy), Criterion(of, slope, stability)
        if isinstance(policy, PolicyNetwork) and isinstance(policy.body, Foresees):
            model, criterion = policy.logits, policy.body.criterion()
        starts = sizes.cumsum(0) - sizes
        return cls(model, written, buffers, criterion, order, table, starts, sizes)

    def objective(self, places: Tensor) -> BatchObjective:
        """On the minibatch ``places (K, B)``, each member's counted from its own first sample."""
        places = places + self.starts[:, None]
        K, each = len(places), max(1, _CACHED // places.shape[1])
        own = [slice(first, first + each) for first in range(0, K, each)] if each < K else []
        rows = self._gathered(places)
        groups = tuple((members, self._batch(rows, members=members)) for members in own)
        return BatchObjective(self._batch(rows), self.parts, groups)

    def _gathered(self, places: Tensor) -> Rows:
        """The rows ``places (K, B)`` of the table."""
        at = places.flatten()
        return {
            name: column.index_select(0, at).view(*places.shape, *column.shape[1:])
            for name, column in self.table.items()
        }

    def _batch(self, rows: Rows, weights: Tensor | None = None, members: slice = slice(None)) -> Batch:
        """The loss of these members on their samples ``(K, B, ...)``."""
        rows = {name: column[members] for name, column in rows.items()}
        buffers = {name: buffer[members] for name, buffer in self.buffers.items()}
        x, known, criterion = rows["x"], self.traced, self.criterion

        def outputs(params: Tensors) -> Tensor:
            def policy(at: Tensor) -> Tensor:
                return self.forward(params | buffers, at)

            return policy(x) if not self.derivatives else _expanded(policy, x, self.derivatives)

        batch = Batch(outputs, lambda y: criterion.losses(y, rows), weights, rows.get("metric"))
        if known is None:
            return batch

        @torch.no_grad()
        def gradient(params: Tensors) -> tuple[Tensor, Tensors]:
            y, pulled = known(params | buffers, x)
            share = 1 / x.shape[1] if weights is None else weights[..., None]
            return batch.summed(criterion.losses(y, rows)), pulled(criterion.slopes(y, rows) * share)

        return replace(batch, gradient=gradient)

    def parts(self) -> Iterator[Batch]:
        """Each member's whole training set; those that have fewer samples run out with weights 0."""
        for first in range(0, int(self.sizes.max()), _PART):
            places = torch.arange(first, min(first + _PART, int(self.sizes.max())))
            inside = (places < self.sizes[:, None]).to(self.table["x"].dtype)
            rows = self.starts[:, None] + torch.minimum(places, self.sizes[:, None] - 1)
            yield self._batch(self._gathered(rows), weights=inside / self.sizes[:, None])


def _scales(training: Sequence[Samples]) -> Tensor:
    """What brings the mean trace of each member's curvatures to 2, for each sample ``(S, 1, 1)``."""
    traces = [np.trace(one.curvature, axis1=1, axis2=2) for one in training if one.curvature is not None]
    scales = np.concatenate([np.full(len(own), 2 / own.mean()) for own in traces])
    return torch.from_numpy(scales)[:, None, None]


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
