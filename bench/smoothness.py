"""How smooth an expert is: the largest operator norms of its Jacobian and Hessian over a region.

Random sampling alone underestimates both badly near a kink, where the norms peak on a thin line. So
the region is covered first (a grid in the plane, seeded draws elsewhere, half of them brought nearer to the
origin: in more dimensions nearly all of the region may lie where every input is at its bound), and the search
then closes in on the best points: around each, candidates within a radius that shrinks from round to round.
What is found is a lower bound on the supremum.

The region is 0.8 times the feasible set, within all that lies between the set of initial states and the
origin, where loops go from there. At the border of the feasible set itself the plans of a barrier have no
room left and its derivatives grow without bound; by convexity a state of the smaller set keeps a fifth of
the origin's distance to every constraint.
A Hessian that is estimated from draws is searched for with few of them and measured with many, at the
points that the search chose: the maximum of noisy values alone would be too large.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array
from mpc.expert import Expert
from mpc.online import feasible
from mpc.problem import ControlProblem
from mpc.sampling import UniformSampler
from mpc.seeds import seed_for
from mpc.smoothing import SmoothedExpert

_NEARER = 8  # halvings of the distance to the origin

Norm = Callable[[Array], Array]
"""States (B, n) -> norms (B,), NaN where there is no usable label."""


@dataclass(frozen=True)
class Smoothness:
    """Largest operator norms found; NaN where the expert has no such derivative."""

    jacobian: float
    hessian: float


@dataclass(frozen=True)
class Search:
    """How hard to look."""

    cover: int = 1600
    """Points that cover the region."""
    starts: int = 12
    """Points that are refined."""
    rounds: int = 8
    """Rounds of refinement; each halves the radius."""
    candidates: int = 16
    """Candidates around each point in a round."""
    share: float = 0.8
    """The region of interest is this share of the feasible set."""
    draws: tuple[int, int] = (128, 4096)
    """Nodes of an estimated Hessian while searching, and of the value returned."""


def expert_smoothness(problem: ControlProblem, expert: Expert, search: Search | None = None) -> Smoothness:
    """Largest ``||du/dx||_2`` and ``||d2u/dx2||`` over the region of interest, where labels exist.

    The norm of the Hessian ``(m, n, n)`` is the largest singular value of it unfolded to ``(m n, n)``:
    the Lipschitz constant of the Jacobian in the Frobenius norm, and for one input the spectral norm.
    An expert without ``hessian`` (exact laws: zero almost everywhere, unbounded at kinks) gives NaN.
    """
    search = search or Search()
    points = cover(problem, search.cover)
    points = points[_of_interest(problem, points, search)]
    jacobian, _ = _largest(problem, lambda x: jacobian_norm(expert, x), points, search)
    if not hasattr(expert, "hessian"):
        return Smoothness(jacobian, float("nan"))
    few, many = search.draws
    found, peaks = _largest(problem, lambda x: hessian_norm(expert, x, few), points, search)
    if isinstance(expert, SmoothedExpert) and len(peaks):
        found = float(np.nanmax(hessian_norm(expert, peaks, many)))
    return Smoothness(jacobian, found)


def _of_interest(problem: ControlProblem, x: Array, search: Search) -> np.ndarray:
    """Boolean (B,): between initial set and origin, and in ``share`` times the feasible set."""
    return _on_the_way(problem, x) & feasible(problem, x / search.share)


def _on_the_way(problem: ControlProblem, x: Array) -> np.ndarray:
    """Boolean (B,): in the hull of initial set and origin: ``s x`` is in the set for some s >= 1."""
    region = problem.initial_set
    slopes = x @ region.G.T
    with np.errstate(divide="ignore", invalid="ignore"):
        bounds = region.h / slopes
    least = np.where(slopes < 0, bounds, 1.0).max(axis=1, initial=1.0)
    most = np.where(slopes > 0, bounds, np.inf).min(axis=1, initial=np.inf)
    level = ((slopes != 0) | (region.h >= 0)).all(axis=1)
    return (level & (least <= most)) | ~x.any(axis=1)


def jacobian_norm(expert: Expert, x: Array) -> Array:
    """``||du/dx||_2`` at the states ``x (B, n)``; NaN where there is none."""
    control = expert(x)
    if control.dudx is None:
        return np.full(len(x), np.nan)
    return _spectral(np.where(control.usable[:, None, None], control.dudx, np.nan))


def hessian_norm(expert: Expert, x: Array, draws: int) -> Array:
    """Norm of the Hessian at the states ``x (B, n)``; ``draws`` nodes where it is estimated."""
    if isinstance(expert, SmoothedExpert):
        hessian = expert.hessian(x, draws)
    else:
        hessian = np.asarray(expert.hessian(x))  # type: ignore[attr-defined]
    return _spectral(hessian.reshape(len(x), -1, x.shape[1]))


def cover(problem: ControlProblem, count: int) -> Array:
    """About ``count`` points on the way from the initial set: a grid in up to two dimensions, else draws."""
    region = problem.initial_set
    if problem.n > 2:
        seeds = seed_for("smoothness", problem.key).spawn(count)
        generators = [np.random.Generator(np.random.PCG64(seed)) for seed in seeds]
        points = UniformSampler(region, "the set of initial states").draw(generators)
        nearer = 0.5 ** (1 + np.arange(count // 2) % _NEARER)
        points[: count // 2] *= nearer[:, None]
        points[0] = 0.0
        return points
    low, high = np.minimum(region.bounds[0], 0), np.maximum(region.bounds[1], 0)
    side = round(count ** (1 / problem.n))
    axes = [np.linspace(a, b, side + 2)[1:-1] for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, problem.n)
    return points[_on_the_way(problem, points)]


def _largest(problem: ControlProblem, norm: Norm, points: Array, search: Search) -> tuple[float, Array]:
    """Largest norm over the points and the refinements around the best of them, and those best points."""
    values = norm(points)
    if not np.isfinite(values).any():
        return float("nan"), points[:0]
    order = np.argsort(np.where(np.isfinite(values), -values, np.inf), kind="stable")[: search.starts]
    best, found = points[order], np.nan_to_num(values[order], nan=-np.inf)
    rng = np.random.default_rng(seed_for("smoothness-refinement", problem.key))
    low, high = problem.initial_set.bounds
    radius = (high - low) / max(2.0, search.cover ** (1 / problem.n))
    for _ in range(search.rounds):
        shifts = rng.uniform(-1, 1, (len(best), search.candidates, problem.n)) * radius
        near = best[:, None, :] + shifts
        flat = near.reshape(-1, problem.n)
        inside = _of_interest(problem, flat, search).reshape(near.shape[:2])
        near_values = norm(flat).reshape(inside.shape)
        near_values = np.where(inside & np.isfinite(near_values), near_values, -np.inf)
        winner = near_values.argmax(axis=1)
        rows = np.arange(len(best))
        better = near_values[rows, winner] > found
        best = np.where(better[:, None], near[rows, winner], best)
        found = np.where(better, near_values[rows, winner], found)
        radius = radius / 2
    return float(found.max()), best


def _spectral(matrices: Array) -> Array:
    """Largest singular value of each ``(B, k, n)``, NaN for one that is not finite."""
    finite = np.asarray(np.isfinite(matrices).all(axis=(1, 2)))
    safe = np.where(finite[:, None, None], matrices, 0.0)
    return np.where(finite, np.linalg.svd(safe, compute_uv=False)[:, 0], np.nan)
