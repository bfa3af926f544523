"""What the loss looks like around the weights of a population, and what a step does there.

Every function takes weights with a leading member axis K and gives ``(K, ...)``, a number or more a member.
``of_module`` makes the objective of any torch module; its Hessian is that of all samples, chunk by chunk.
Costs are in gradient evaluations on the same samples, a product with the Hessian counted as two (measured
with GELU layers: three to five).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from imitation.optim.algebra import clamped, dot, minus, norm, plus
from imitation.optim.batches import Batch, BatchObjective
from imitation.optim.contract import Draw, Objective, Params
from imitation.optim.draws import drawn
from imitation.optim.eigenspace import hessian, improved, lanczos, orthonormal, projected
from imitation.optim.flat import FLAT, Layout
from imitation.optim.matrices import divided


def of_module(
    module: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    chunk: int | None = None,
) -> tuple[BatchObjective, Params]:
    """The mean of ``loss(module(x), y)`` over all samples, and the module's weights, K = 1.

    Args:
        loss: outputs ``(B, ...)`` and targets ``(B, ...)`` to a loss for each sample ``(B,)``.
        x, y: all samples ``(S, ...)``.
        chunk: samples that are held in memory at once (default: all).
    """
    params = {name: p.detach()[None] for name, p in module.named_parameters()}

    def part(rows: slice) -> Batch:
        count = len(x[rows])
        outputs = torch.func.vmap(lambda one: torch.func.functional_call(module, one, (x[rows],)))
        weights = torch.full((1, count), 1 / len(x), dtype=next(iter(params.values())).dtype)
        return Batch(outputs, lambda u: loss(u[0], y[rows])[None], weights)

    size = chunk or len(x)
    parts = [slice(start, start + size) for start in range(0, len(x), size)]
    whole = part(slice(None))
    return BatchObjective(whole, lambda: map(part, parts)), params


@dataclass(frozen=True, eq=False)
class Eigenpairs:
    """Largest eigenvalues first.

    Args:
        values: ``(K, k)``.
        vectors: orthonormal ``(K, P, k)``, over the flat weights.
        residuals: ``||H v - lambda v||`` of each ``(K, k)``: an eigenvalue lies so near.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor


def top_eigenpairs(
    objective: Objective,
    params: Params,
    k: int,
    generators: Sequence[torch.Generator],
    *,
    rounds: int = 20,
) -> Eigenpairs:
    """Block Rayleigh-Ritz from random vectors: k eigenpairs together, multiple ones too.

    Cost: ``(4 rounds + 2) k``. An eigenvalue lambda_i is found to about ``((lambda_{k+1} - low) /
    (lambda_i - low))^(4 rounds)``, low the smallest one; look at the residuals.
    """
    layout = Layout.of(params)
    H = hessian(objective, params)
    V = orthonormal(_normals(layout, params, (k,), generators).movedim(1, -1))
    for _ in range(rounds):
        _, V = improved(H, V)
    HV = H(V)
    values = (V * HV).sum(dim=1)
    return Eigenpairs(values, V, (HV - V * values[:, None, :]).norm(dim=1))


def spectrum(
    objective: Objective, params: Params, generators: Sequence[torch.Generator], *, steps: int = 30
) -> Eigenpairs:
    """Ritz pairs of Lanczos from a random vector, reorthogonalised; both ends of the spectrum come first.

    Cost: ``2 steps``. Of a multiple eigenvalue it finds one vector.
    """
    layout = Layout.of(params)
    start = _normals(layout, params, (), generators)
    return Eigenpairs(*lanczos(hessian(objective, params), start, steps))


def sharpness(
    objective: Objective, params: Params, generators: Sequence[torch.Generator], *, steps: int = 30
) -> Tensor:
    """The Hessian's largest eigenvalue ``(K,)``, from below. Cost: ``2 steps``."""
    return spectrum(objective, params, generators, steps=steps).values[:, 0]


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean over random vectors and its standard error."""

    value: Tensor
    error: Tensor


def trace(
    objective: Objective, params: Params, generators: Sequence[torch.Generator], *, samples: int = 30
) -> Estimate:
    """The Hessian's trace ``(K,)`` by Hutchinson's signs, ``E v'Hv``. Cost: ``2 samples``."""
    return _mean(_probed(objective, params, generators, samples).sum(dim=2))


def diagonal(
    objective: Objective, params: Params, generators: Sequence[torch.Generator], *, samples: int = 30
) -> Estimate:
    """The Hessian's diagonal ``(K, P)``, ``E v * Hv`` (Bekas et al. 2007). Cost: ``2 samples``."""
    return _mean(_probed(objective, params, generators, samples))


def robust_condition_number(diagonal: Tensor) -> Tensor:
    """``max |H_ii| / median |H_ii|`` of diagonals ``(K, P)`` (Jiang et al., arXiv 2303.13002)."""
    return diagonal.abs().amax(dim=1) / diagonal.abs().median(dim=1).values


def alignment(vectors: Tensor, grads: Params) -> Tensor:
    """``chi = ||P g|| / ||g||`` with P onto orthonormal ``vectors (K, P, k)``; 1 within the span."""
    g = Layout.of(grads).pack(grads)[FLAT]
    return projected(vectors, g).norm(dim=1) / g.norm(dim=1)


def directional_smoothness(objective: Objective, params: Params, step: Params) -> Tensor:
    """``<d, grad f(w + d) - grad f(w)> / ||d||^2 (K,)``: the mean curvature along a step. Cost: 2."""
    change = minus(objective.loss_and_grad(plus(params, 1.0, step))[1], objective.loss_and_grad(params)[1])
    return dot(step, change) / dot(step, step)


def relative_progress(objective: Objective, params: Params, lr: float | Tensor) -> Tensor:
    """``(f(w - lr g) - f(w)) / (lr ||g||^2) (K,)``: -1 for small rates, 0 where descent stalls. Cost: 2.

    Ahn, Zhang, Sra, "Understanding the unstable convergence of gradient descent", arXiv 2204.01050.
    """
    loss, grads = objective.loss_and_grad(params)
    after, _ = objective.loss_and_grad(plus(params, -lr, grads))
    return (after - loss) / (lr * dot(grads, grads))


def noise_norms(objective: Objective, params: Params, samples: Tensor) -> Tensor:
    """``||grad f_i - grad f|| (K, S)`` for the samples ``i (K, S)`` of the minibatch. Cost: S + 1."""
    _, grads = objective.loss_and_grad(params)
    return torch.stack(
        [norm(minus(objective.sample_grad(params, i), grads)) for i in samples.unbind(dim=1)], dim=1
    )


def tail_index(norms: Tensor, share: float = 0.1) -> Tensor:
    """Hill's estimate of alpha in ``P(norm > r) ~ r^-alpha (K,)``, from the largest ``share (K, S)``.

    Below 2 the variance is infinite. Its standard error is about ``alpha / sqrt(share S)``.

    Raises:
        ValueError: where less than two norms are in the share.
    """
    count = ceil(share * norms.shape[1])
    if not 2 <= count < norms.shape[1]:
        raise ValueError(
            f"share must leave at least 2 and not all of the {norms.shape[1]} norms, got {share}: {count}"
        )
    largest = norms.sort(dim=1, descending=True).values[:, : count + 1].log()
    return 1 / (largest[:, :count] - largest[:, count:]).mean(dim=1)


def singular_variation(step: Params) -> Params:
    """Standard deviation over mean of each matrix's singular values ``(K,)``; 0 is what Muon aims at."""
    values = {name: torch.linalg.svdvals(matrix) for name, matrix in divided(step)[0].items()}
    return {name: s.std(dim=1, correction=0) / s.mean(dim=1) for name, s in values.items()}


def clip_share(step: Params, bound: float) -> Tensor:
    """The share of entries beyond ``bound`` in size ``(K,)``."""
    return clamped(step, bound)[1]


def distance(params: Params, deployed: Params) -> Tensor:
    """``||w - w_deployed|| (K,)``, of raw weights to averaged ones."""
    return norm(minus(params, deployed))


def _normals(
    layout: Layout, params: Params, shape: tuple[int, ...], generators: Sequence[torch.Generator]
) -> Tensor:
    flat = layout.pack(params)[FLAT]
    return drawn({"v": Draw("normal", (*shape, flat.shape[1]))}, generators, flat.dtype)["v"]


def _probed(
    objective: Objective, params: Params, generators: Sequence[torch.Generator], samples: int
) -> Tensor:
    """``v * Hv (samples, K, P)`` of random signs."""
    layout = Layout.of(params)
    H = hessian(objective, params)
    out = []
    for _ in range(samples):
        v = _normals(layout, params, (), generators).sign()
        out.append(v * H(v[..., None])[..., 0])
    return torch.stack(out)


def _mean(values: Tensor) -> Estimate:
    return Estimate(values.mean(dim=0), values.std(dim=0) / len(values) ** 0.5)
