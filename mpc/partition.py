"""The critical regions of exact MPC: the polyhedral partition of the feasible set, found and kept.

Exact MPC is affine on the region of each active set (Bemporad, Morari, Dua, Pistikopoulos, "The explicit
linear quadratic regulator for constrained systems", Automatica 38, 2002). Neighbours differ by one row:
across a facet a row joins the set, or leaves it, or joins it in the place of one that it depends on (the
graph that Arnstrom, Axehill, "A high-performant multi-parametric quadratic programming solver", CDC 2024,
walk).
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpc.arrays import Array
from mpc.atlas import empty_atlas
from mpc.condense import least_distance
from mpc.exact import ExactLaw
from mpc.kernels.exact import STEPS
from mpc.kernels.regions import AMBIGUOUS, DEPENDENT, REGION, describe
from mpc.polytope import Polytope, inscribed_ball
from mpc.prepared import Prepared, prepare
from mpc.problem import ControlProblem
from mpc.region import Region
from mpc.sampling import UniformSampler
from mpc.status import Status

Progress = Callable[[int, int], None]
"""``progress(regions found, active sets still to be looked at)``."""


class NoPartition(ValueError):
    """The regions cannot be listed within the limits; the message says why, and what to do."""


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

    def __len__(self) -> int:
        return len(self.sides)

    def __getitem__(self, r: int) -> Region:
        """Region r with its law and multipliers."""
        if not -len(self) <= r < len(self):
            raise IndexError(f"region {r} of {len(self)}")
        return Region.of(self._ready, self.sides[r], self.polytope(r % len(self)))

    @cached_property
    def _ready(self) -> Prepared:
        return prepare(self.problem)

    def polytope(self, r: int) -> Polytope:
        """Region r in minimal form, rows of norm 1."""
        rows = slice(self.first[r], self.first[r + 1])
        norms = np.linalg.norm(self.A[rows], axis=1)
        return Polytope(self.A[rows] / norms[:, None], self.b[rows] / norms)

    def find(self, x: Array, tolerance: float = 0.0) -> np.ndarray:
        """The first region that each state of ``x (B, n)`` lies in to ``tolerance``, -1 for none."""
        found = np.full(len(x), -1)
        for r in reversed(range(len(self))):
            rows = slice(self.first[r], self.first[r + 1])
            found[(x @ self.A[rows].T <= self.b[rows] + tolerance).all(axis=1)] = r
        return found


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
    walk = _Walk.of(problem, within)
    sampler = UniformSampler(walk.within, "within")
    walk.propose(np.vstack([walk.interior_state(), sampler.draw([rng] * _SAMPLES)]))
    while True:
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
        found, states = walk.result(), sampler.draw([rng] * _SAMPLES)
        walk.propose(states[found.find(states, 1e-8) < 0])
        if not walk.waiting:  # a state uncovered by now lies in what is thinner than a region
            return found


def _domain(problem: ControlProblem) -> Polytope:
    """The box around the states with a plan, a hundredth wider than they reach, or X, or the initial set."""
    low, high = feasible_box(problem)
    if not np.isfinite([low, high]).all():
        return problem.X if np.isfinite(problem.X.bounds).all() else problem.initial_set
    room = 0.01 * (high - low) + 1e-9 * np.maximum(np.abs(low), np.abs(high))
    return Polytope.box(low - room, high + room)


def feasible_box(problem: ControlProblem) -> tuple[Array, Array]:
    """Bounds ``(n,)`` and ``(n,)`` of the smallest box around all states with a plan, infinite where none is.

    Linear programs (HiGHS) over states and plans together.

    Raises:
        NoPartition: if no state has a plan.
    """
    from scipy.optimize import linprog

    form, n = least_distance(problem), problem.n
    columns = np.hstack([-form.E, form.M])
    ends = np.empty((2, n))
    for end, sign in enumerate((1.0, -1.0)):
        for i in range(n):
            cost = np.zeros(columns.shape[1])
            cost[i] = sign
            found = linprog(cost, A_ub=columns, b_ub=form.w, bounds=(None, None), options={"presolve": False})
            if found.status == 2:
                raise NoPartition(
                    f"no state has a plan within the constraints of {problem.name!r}; relax X, U or Xf"
                )
            ends[end, i] = sign * found.fun if found.status == 0 else -sign * np.inf
    return ends[0], ends[1]


@dataclass(frozen=True, eq=False)
class _Found:
    """What ``describe`` says of an active set, its facets in scaled states."""

    A: Array
    b: Array
    kind: np.ndarray
    centre: Array
    radius: float
    margin: float


@dataclass(frozen=True, eq=False)
class _Walk:
    """Active sets found and waiting; a set is known by the bytes of its sides."""

    law: ExactLaw
    within: Polytope
    reach: Array
    G: Array
    """Rows of ``within`` in states divided by ``reach``."""
    h: Array
    ET: Array
    """``E'`` of the slabs, in the same states."""
    regions: dict[bytes, _Found]
    seen: set[bytes]
    waiting: deque[tuple[np.ndarray, int]]
    """Sides, and the slab that joined them last, or -1."""

    @classmethod
    def of(cls, problem: ControlProblem, within: Polytope | None) -> "_Walk":
        ready = prepare(problem)
        if not ready.slabs.gram.size:
            raise NoPartition(
                f"{problem.name!r} has too many rows for a partition ({len(ready.slabs.low)} slabs); "
                f"use the online expert"
            )
        within = _domain(problem) if within is None else within
        if not np.isfinite(within.bounds).all():
            raise NoPartition(
                f"within must be bounded, its bounding box is {within.bounds}; "
                f"pass a polytope that bounds every state"
            )
        reach = np.abs(np.array(within.bounds)).max(axis=0)
        reach = np.where(reach > 0, reach, 1.0)
        ET = np.ascontiguousarray(ready.ET * reach[:, None])
        G, h = np.ascontiguousarray(within.G * reach), np.array(within.h)
        law = ExactLaw(problem, ready, empty_atlas(problem.n, problem.m), STEPS)
        return cls(law, within, reach, G, h, ET, {}, set(), deque())

    def interior_state(self) -> Array:
        """A state deep inside the set of states in ``within`` that have a plan ``(n,)``.

        The centre of a largest ball among states and plans together.

        Raises:
            NoPartition: if that set has no interior.
        """
        form, n = self.law.ready.form, len(self.reach)
        of_plans = np.hstack([-form.E * self.reach, form.M])
        of_states = np.hstack([self.G, np.zeros((len(self.h), form.M.shape[1]))])
        centre, radius = inscribed_ball(np.vstack([of_plans, of_states]), np.concatenate([form.w, self.h]))
        if radius <= 0:
            raise NoPartition(
                f"no state in within has a plan with room on all sides ({self.law.problem.name!r}); "
                f"pass a larger set, or a problem whose feasible set has an interior"
            )
        return centre[:n] * self.reach

    def propose(self, states: Array) -> None:
        """Queue the active sets of the states that have a plan."""
        answer = self.law.solve(states, whole=True)
        for active in answer.active[answer.control.status == Status.optimal]:
            self._queue(self._sides(active), -1)

    def step(self) -> None:
        """Look at the next set, and queue the sets beyond the facets of its region."""
        side, joined = self.waiting.popleft()
        found, outcome = self._describe(side)
        if outcome == DEPENDENT and joined >= 0:
            self._exchange(side, joined)
        if found is None or (outcome == AMBIGUOUS and not self._chosen(side, found)):
            return
        self.regions[side.tobytes()] = found
        for tag in found.kind[found.kind < 2 * len(side)]:
            beyond, slab = side.copy(), int(-1 - tag if tag < 0 else tag // 2)
            beyond[slab] = 0 if tag < 0 else 2 * (tag % 2) - 1
            self._queue(beyond, slab if tag >= 0 else -1)

    def _queue(self, side: np.ndarray, joined: int) -> None:
        key = side.tobytes()
        if key not in self.seen:
            self.seen.add(key)
            self.waiting.append((side, joined))

    def _exchange(self, side: np.ndarray, joined: int) -> None:
        """A row that depends on the set takes the place of one whose multiplier falls as its own grows."""
        gram, others = self.law.ready.slabs.gram, np.flatnonzero(side)
        others = others[others != joined]
        share = np.linalg.lstsq(gram[np.ix_(others, others)], gram[others, joined], rcond=None)[0]
        for slab in others[share * side[others] * side[joined] > 1e-9]:
            beyond = side.copy()
            beyond[slab] = 0
            self._queue(beyond, joined)

    def _chosen(self, side: np.ndarray, found: _Found) -> bool:
        """Whether this is the set that the solver takes where several do; if not, that one is queued."""
        chosen = self._sides(self.law.solve(found.centre[None] * self.reach, whole=True).active[0])
        self._queue(chosen, -1)
        return np.array_equal(chosen, side)

    def _sides(self, active: np.ndarray) -> np.ndarray:
        """Rows that are active, as sides of slabs."""
        slabs, side = self.law.ready.slabs, np.zeros(len(self.law.ready.slabs.low), np.int8)
        side[slabs.slab[active]] = slabs.sign[active]
        return side

    def _describe(self, side: np.ndarray) -> tuple[_Found | None, int]:
        slabs, n = self.law.ready.slabs, len(self.reach)
        most = 2 * len(side) + len(self.h)
        A, b, kind, centre = np.empty((most, n)), np.empty(most), np.empty(most, np.int64), np.empty(n)
        outcome, count, radius, margin = describe(
            side, slabs.gram, self.ET, slabs.low, slabs.high, self.G, self.h, centre, A, b, kind
        )
        if outcome not in (REGION, AMBIGUOUS):
            return None, outcome
        margin = margin if outcome == REGION else np.inf
        found = _Found(A[:count].copy(), b[:count].copy(), kind[:count].copy(), centre, radius, margin)
        return found, outcome

    def result(self) -> Partition:
        """What was found, in states as they are."""
        found = [self.regions[key] for key in sorted(self.regions)]
        return Partition(
            problem=self.law.problem,
            within=self.within,
            sides=np.array([np.frombuffer(key, np.int8) for key in sorted(self.regions)]),
            A=np.concatenate([one.A for one in found]) / self.reach,
            b=np.concatenate([one.b for one in found]),
            first=np.cumsum([0, *(len(one.b) for one in found)]),
            kind=np.concatenate([one.kind for one in found]),
            centre=np.array([one.centre for one in found]) * self.reach,
            radius=np.array([one.radius for one in found]),
            margin=np.array([one.margin for one in found]),
            reach=self.reach,
        )
