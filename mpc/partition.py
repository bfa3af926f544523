"""The critical regions of exact MPC: the polyhedral partition of the feasible set, found and kept.

Exact MPC is affine on the region of each active set (Bemporad, Morari, Dua, Pistikopoulos, "The explicit
linear quadratic regulator for constrained systems", Automatica 38, 2002). ``mpc.walk`` finds the sets.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mpc.arrays import Array
from mpc.polytope import Polytope
from mpc.prepared import Prepared
from mpc.problem import ControlProblem
from mpc.region import Region
from mpc.sampling import UniformSampler
from mpc.walk import NoPartition, Walk

Progress = Callable[[int, int], None]
"""``progress(regions found, active sets still to be looked at)``."""


_SAMPLES = 1000  # states that must not fall into a hole


@dataclass(frozen=True, eq=False)
class Partition:
    """Regions with disjoint interiors that cover the states of ``within`` from which a plan exists.

    Args:
        problem: the control problem.
        within: the bounded set of states that was looked at.
        sides: active set of each region over the problem's slabs, int8 ``(R, g)``: 1 at the upper bound, -1
            at the lower one.
        A, b, first: facets ``A x <= b`` of region r in the rows ``first[r]:first[r + 1]``; a row's norm is 1
            in units of ``reach``.
        kind: what ends at a facet: ``2 i`` (``2 i + 1``) slab i meets its lower (upper) bound, ``-1 - i``
            its multiplier is zero, from ``2 g`` on a row of ``within``.
        centre, radius: of the largest ball in each region, ``(R, n)`` and, in units of ``reach``, ``(R,)``.
        margin: how far inside all facets a state must be for its active set to be the only one that the
            solver can end with, in units of ``reach`` ``(R,)``; inf where there always is another.
        reach: largest ``|x_i|`` within ``within``, ``(n,)``.
        ready: the problem as the kernels take it.
    """

    problem: ControlProblem
    within: Polytope
    sides: np.ndarray
    A: Array
    b: Array
    first: np.ndarray
    kind: np.ndarray
    centre: Array
    radius: Array
    margin: Array
    reach: Array
    ready: Prepared = field(repr=False)

    def __len__(self) -> int:
        return len(self.sides)

    def __getitem__(self, r: int) -> Region:
        """Region r with its law and multipliers."""
        if not -len(self) <= r < len(self):
            raise IndexError(f"region {r} of {len(self)}")
        return Region.of(self.ready, self.sides[r], self.polytope(r % len(self)))

    def polytope(self, r: int) -> Polytope:
        """Region r in minimal form, rows of norm 1."""
        rows = slice(self.first[r], self.first[r + 1])
        norms = np.linalg.norm(self.A[rows], axis=1)
        return Polytope(self.A[rows] / norms[:, None], self.b[rows] / norms)

    def find(self, x: Array, tolerance: float = 0.0) -> np.ndarray:
        """The first region that each state of ``x (B, n)`` lies in to ``tolerance``, -1 for none."""
        found = np.full(len(x), -1)
        for r in reversed(range(len(self))):
            found[self._inside(r, x, tolerance)] = r
        return found

    def uncovered(self, x: Array, tolerance: float) -> Array:
        """The states of ``x (B, n)`` that lie in no region to ``tolerance``."""
        for r in np.argsort(-self.radius):
            x = x[~self._inside(r, x, tolerance)]
            if not len(x):
                break
        return x

    def _inside(self, r: int, x: Array, tolerance: float) -> np.ndarray:
        rows = slice(self.first[r], self.first[r + 1])
        return np.all(x @ self.A[rows].T <= self.b[rows] + tolerance, axis=1)


def partition(
    problem: ControlProblem,
    within: Polytope | None = None,
    max_regions: int = 50_000,
    max_seconds: float | None = None,
    progress: Progress | None = None,
) -> Partition:
    """All regions of exact MPC on the feasible states of ``within``, by default on all feasible states.

    Args:
        within: a bounded polytope. The default is a box around all states with a plan (x_0 need not be in
            X); where they are unbounded it is X, or where that is, the set of initial states.
        max_regions, max_seconds: when to give up; None for no limit of time.

    Raises:
        NoPartition: if ``within`` is unbounded, no state in it has a plan with room to spare, or a limit is
            hit.
    """
    deadline = np.inf if max_seconds is None else time.monotonic() + max_seconds
    rng = np.random.default_rng(0)
    walk = Walk.of(problem, within)
    sampler = UniformSampler(walk.within, "within")

    def explore() -> None:
        while walk.waiting:
            walk.step()
            if len(walk.regions) > max_regions or time.monotonic() > deadline:
                raise NoPartition(
                    f"{problem.name!r} has more regions than the limits allow: {len(walk.regions)} found, "
                    f"max_regions={max_regions}, max_seconds={max_seconds}; raise the limit, take a "
                    f"shorter horizon (N={problem.N}) or a smaller set within=..., or use the online expert"
                )
            if progress is not None:
                progress(len(walk.regions), len(walk.waiting))

    walk.propose(sampler.draw_many(rng, _SAMPLES))
    explore()
    if not walk.has_room:
        walk.propose(walk.interior_state()[None])
    while True:
        explore()
        walk.cross(rng)
        if walk.waiting:
            continue
        found = _as_found(walk)
        walk.propose(found.uncovered(sampler.draw_many(rng, _SAMPLES), 1e-8))
        if not walk.waiting:  # a state uncovered by now lies in what is thinner than a region
            return found


def _as_found(walk: Walk) -> Partition:
    """What the walk found, in states as they are."""
    found = [walk.regions[key] for key in sorted(walk.regions)]
    return Partition(
        problem=walk.law.problem,
        within=walk.within,
        sides=np.array([np.frombuffer(key, np.int8) for key in sorted(walk.regions)]),
        A=np.concatenate([one.A for one in found]) / walk.reach,
        b=np.concatenate([one.b for one in found]),
        first=np.cumsum([0, *(len(one.b) for one in found)]),
        kind=np.concatenate([one.kind for one in found]),
        centre=np.array([one.centre for one in found]) * walk.reach,
        radius=np.array([one.radius for one in found]),
        margin=np.array([one.margin for one in found]),
        reach=walk.reach,
        ready=walk.ready,
    )
