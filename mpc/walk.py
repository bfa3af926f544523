"""The walk from active set to active set that finds the regions of exact MPC."""

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import get_lapack_funcs, null_space

from mpc.arrays import Array
from mpc.atlas import empty_atlas
from mpc.condense import LeastDistance
from mpc.exact import ExactLaw
from mpc.kernels.exact import STEPS
from mpc.kernels.regions import AMBIGUOUS, DEPENDENT, REGION, describe
from mpc.polytope import Polytope, inscribed_ball
from mpc.prepared import Prepared, prepare
from mpc.problem import ControlProblem
from mpc.slabs import Slabs, active_sides
from mpc.status import Status

_NUDGE = (
    1e-8  # part of the nudges that the solver is given: above its tolerance, below what regions differ by
)
_BEYOND = 1e-6  # of the domain: how far beyond a border the solver is asked for the active set
(_solve_definite,) = get_lapack_funcs(("posv",), dtype=np.float64)


class NoPartition(ValueError):
    """The regions cannot be listed within the limits; the message says why, and what to do."""


@dataclass(frozen=True, eq=False)
class Found:
    """What ``describe`` says of an active set, its facets in scaled states."""

    A: Array
    b: Array
    kind: np.ndarray
    shadows: np.ndarray
    """Kinds of the rows that say the same as a facet."""
    centre: Array
    radius: float
    margin: float


@dataclass(frozen=True, eq=False)
class Walk:
    """Active sets found and waiting; a set is known by the bytes of its sides.

    Across a facet a row joins the set, or leaves it, or joins it in the place of one that it depends on (the
    graph that Arnstrom, Axehill, "A high-performant multi-parametric quadratic programming solver", CDC 2024,
    walk). Where several rows end at one facet, or one facet meets several regions, that is not all: so the
    solver is also asked for the sets of states a little beyond the borders of every region.
    """

    law: ExactLaw
    """Of the problem with nudged bounds: its choice where several active sets do is that of ``describe``."""
    ready: Prepared
    within: Polytope
    reach: Array
    G: Array
    """Rows of ``within`` in states divided by ``reach``."""
    h: Array
    ET: Array
    """``E'`` of the slabs, in the same states."""
    low: Array
    high: Array
    """Bounds of the slabs without the equalities that follow from others ``(g,)``."""
    held: np.ndarray
    """Equalities that do not follow from others: they belong to every active set."""
    nudge: Array
    """What widens the bounds of the slabs, below and above, ``(g, 2)``."""
    regions: dict[bytes, Found]
    seen: set[bytes]
    waiting: deque[tuple[np.ndarray, int]]
    """Sides, and the slab that joined them last, or -1."""
    uncrossed: list[bytes]
    """Regions whose borders have not been crossed yet."""

    @classmethod
    def of(cls, problem: ControlProblem, within: Polytope | None) -> "Walk":
        ready = prepare(problem)
        if not ready.slabs.gram.size:
            raise NoPartition(
                f"{problem.name!r} has too many rows for a partition ({len(ready.slabs.low)} slabs); "
                f"use the online expert"
            )
        within = domain(problem, ready.form) if within is None else within
        if not np.isfinite(within.bounds).all():
            raise NoPartition(
                f"within must be bounded, its bounding box is {within.bounds}; "
                f"pass a polytope that bounds every state"
            )
        reach = np.abs(np.array(within.bounds)).max(axis=0)
        reach = np.where(reach > 0, reach, 1.0)
        ET = np.ascontiguousarray(ready.ET * reach[:, None])
        G, h = np.ascontiguousarray(within.G * reach), np.array(within.h)
        held, implied = ready.slabs.equalities
        nudge = _nudges(ready.slabs, ET)
        nudge[held], nudge[implied] = 0.0, 0.0
        law = ExactLaw(problem, _nudged(ready, _NUDGE * nudge), empty_atlas(problem.n, problem.m), STEPS)
        low, high = ready.slabs.low.copy(), ready.slabs.high.copy()
        low[implied], high[implied] = -np.inf, np.inf
        walk = cls(law, ready, within, reach, G, h, ET, low, high, held, nudge, {}, set(), deque(), [])
        walk.check_equalities(implied)
        return walk

    @property
    def has_room(self) -> bool:
        """Whether a region is known whose plans meet equalities alone, so have room on all sides."""
        return any(np.count_nonzero(np.frombuffer(key, np.int8)) == len(self.held) for key in self.regions)

    def interior_state(self) -> Array:
        """A state deep inside the set of states in ``within`` that have a plan ``(n,)``.

        The centre of a largest ball among states and plans together.

        Raises:
            NoPartition: if that set has no interior.
        """
        form, slabs, n = self.ready.form, self.ready.slabs, len(self.reach)
        rows = ~np.isin(slabs.slab, np.flatnonzero(slabs.low == slabs.high))
        free, per_state, fixed = self._solved()
        of_plans = np.hstack([form.M[rows] @ per_state - form.E[rows] * self.reach, form.M[rows] @ free])
        of_states = np.hstack([self.G, np.zeros((len(self.h), free.shape[1]))])
        room = np.concatenate([form.w[rows] - form.M[rows] @ fixed, self.h])
        centre, radius = inscribed_ball(np.vstack([of_plans, of_states]), room)
        if radius <= 0:
            raise NoPartition(
                f"no state in within has a plan with room on all sides ({self.law.problem.name!r}); "
                f"pass a larger set, or a problem whose feasible set has an interior"
            )
        return centre[:n] * self.reach

    def _solved(self) -> tuple[Array, Array, Array]:
        """The plans that meet the equalities, ``free y + per_state x + fixed`` for any y, x scaled."""
        slabs = self.ready.slabs
        M = slabs.M[self.held]
        inverse = np.linalg.pinv(M)
        return null_space(M), inverse @ self.ET[:, self.held].T, inverse @ slabs.high[self.held]

    def check_equalities(self, implied: np.ndarray) -> None:
        """Refuse equalities that leave states with a plan on a flat set only."""
        slabs, (_, per_state, fixed) = self.ready.slabs, self._solved()
        slope = slabs.M[implied] @ per_state - self.ET[:, implied].T
        offset = slabs.M[implied] @ fixed - slabs.high[implied]
        if np.abs(slope).max(initial=0.0) > 1e-9 or np.abs(offset).max(initial=0.0) > 1e-9:
            raise NoPartition(
                f"the equalities of {self.law.problem.name!r} leave a flat set of states with a plan, which "
                f"has no regions; take a longer horizon (N={self.law.problem.N}), or fewer of them"
            )

    def propose(self, states: Array) -> None:
        """Queue the active sets of the states that have a plan."""
        answer = self.law.solve(states, whole=True)
        for side in active_sides(self.ready.slabs, answer.active[answer.control.status == Status.optimal]):
            self._queue(side, -1)

    def step(self) -> None:
        """Look at the next set, and queue the sets beyond the facets of its region."""
        side, joined = self.waiting.popleft()
        found, outcome = self._describe(side)
        if outcome == DEPENDENT and joined >= 0:
            self._exchange(side, joined)
        if found is None:
            return
        self.regions[side.tobytes()] = found
        self.uncrossed.append(side.tobytes())
        for tag in (*found.kind[found.kind < 2 * len(side)], *found.shadows):
            beyond, slab = crossed(side, int(tag))
            self._queue(beyond, slab if tag >= 0 else -1)

    def cross(self, rng: np.random.Generator) -> None:
        """Queue the active sets met a little beyond the borders of the regions found since the last time.

        Rays from the centre of the largest ball end at the border; a region has as many as facets and more.
        """
        n, states = len(self.reach), []
        for found in map(self.regions.__getitem__, self.uncrossed):
            rays = rng.normal(size=(len(found.b) + n, n))
            rays /= np.linalg.norm(rays, axis=1, keepdims=True)
            slope = rays @ found.A.T
            room = np.where(slope > 0, found.b - found.A @ found.centre, np.inf)
            length = (room / np.where(slope > 0, slope, 1.0)).min(axis=1, keepdims=True)
            states.append(found.centre + (length + _BEYOND) * rays)
        self.uncrossed.clear()
        if states:
            beyond = np.concatenate(states)
            self.propose(beyond[(beyond @ self.G.T <= self.h).all(axis=1)] * self.reach)

    def _queue(self, side: np.ndarray, joined: int) -> None:
        key = side.tobytes()
        if key not in self.seen:
            self.seen.add(key)
            self.waiting.append((side, joined))

    def _exchange(self, side: np.ndarray, joined: int) -> None:
        """A row that depends on the set takes the place of one whose multiplier falls as its own grows."""
        gram, free = self.ready.slabs.gram, side != 0
        free[joined], free[self.held] = False, False
        others = np.flatnonzero(free)
        if not len(others):
            return
        _, share, failed = _solve_definite(gram[others[:, None], others], gram[others, joined])
        if failed:
            share = np.linalg.lstsq(gram[np.ix_(others, others)], gram[others, joined], rcond=None)[0]
        for slab in others[share * side[others] * side[joined] > 1e-9]:
            beyond = side.copy()
            beyond[slab] = 0
            self._queue(beyond, joined)

    def _describe(self, side: np.ndarray) -> tuple[Found | None, int]:
        slabs, n = self.ready.slabs, len(self.reach)
        most = 2 * len(side) + len(self.h)
        A, b, kind, centre = np.empty((most, n)), np.empty(most), np.empty(most, np.int64), np.empty(n)
        outcome, count, shadows, radius, margin = describe(
            side, slabs.gram, slabs.M, self.ET, self.low, self.high, self.nudge, self.G, self.h,
            centre, A, b, kind,
        )  # fmt: skip
        if outcome not in (REGION, AMBIGUOUS):
            return None, outcome
        alone = outcome == REGION and np.array_equal(self.high, slabs.high)
        margin = margin if alone else np.inf
        others = kind[count : count + shadows]
        others = others[others < 2 * len(side)].copy()
        return Found(
            A[:count].copy(), b[:count].copy(), kind[:count].copy(), others, centre, radius, margin
        ), outcome


def crossed(side: np.ndarray, kind: int) -> tuple[np.ndarray, int]:
    """The active set beyond a facet of kind ``kind`` (see ``Partition``), and the slab that changes."""
    beyond, slab = side.copy(), -1 - kind if kind < 0 else kind // 2
    beyond[slab] = 0 if kind < 0 else 2 * (kind % 2) - 1
    return beyond, slab


def _nudges(slabs: Slabs, ET: Array) -> Array:
    """Numbers without pattern, one to two times the size of what enters each bound ``(g, 2)``.

    Golden parts: no two sums of a few are alike, so no two active sets do for the nudged bounds on a region.
    """
    places = np.arange(2 * len(slabs.low)).reshape(-1, 2)
    bounds = np.abs(np.column_stack([slabs.low, slabs.high]))
    sizes = np.where(np.isfinite(bounds), bounds, 0.0).max(axis=1) + np.abs(ET).sum(axis=0)
    return (1.0 + np.mod((places + 1) * 0.6180339887498949, 1.0)) * sizes[:, None]


def _nudged(ready: Prepared, nudge: Array) -> Prepared:
    """The problem with its bounds wider by ``nudge (g, 2)``."""
    form, slabs = ready.form, ready.slabs
    rows = np.where(slabs.sign > 0, nudge[slabs.slab, 1], nudge[slabs.slab, 0])
    low, high = slabs.low - nudge[:, 0], slabs.high + nudge[:, 1]
    return replace(ready, form=replace(form, w=form.w + rows), slabs=replace(slabs, low=low, high=high))


def domain(problem: ControlProblem, form: LeastDistance) -> Polytope:
    """The box around the states with a plan, a hundredth wider than they reach, or X, or the initial set."""
    low, high = feasible_box(problem, form)
    if not np.isfinite([low, high]).all():
        return problem.X if np.isfinite(problem.X.bounds).all() else problem.initial_set
    room = 0.01 * (high - low) + 1e-9 * np.maximum(np.abs(low), np.abs(high))
    return Polytope.box(low - room, high + room)


def feasible_box(problem: ControlProblem, form: LeastDistance) -> tuple[Array, Array]:
    """Bounds ``(n,)`` and ``(n,)`` of the smallest box around all states with a plan, infinite where none is.

    Linear programs (HiGHS) over states and plans together.

    Raises:
        NoPartition: if no state has a plan.
    """
    n = problem.n
    columns = np.hstack([-form.E, form.M])
    costs = np.zeros((2 * n, columns.shape[1]))
    costs[range(n), range(n)], costs[range(n, 2 * n), range(n)] = 1.0, -1.0
    least = _minima(costs, columns, form.w)
    if np.isnan(least).any():
        raise NoPartition(f"no state has a plan within the constraints of {problem.name!r}; relax X, U or Xf")
    return least[:n], -least[n:]


def _minima(costs: Array, G: Array, h: Array) -> Array:
    """``min c'z`` over ``G z <= h`` for each row c of ``costs``: -inf where unbounded, NaN where infeasible.

    As one linear program of independent blocks, for most of the time of a small one goes into setting it up;
    one by one where some are unbounded.
    """
    from scipy.optimize import linprog
    from scipy.sparse import block_diag, csc_array

    options = {"bounds": (None, None), "options": {"presolve": False}}
    blocks = block_diag([csc_array(G)] * len(costs), "csc")
    found = linprog(costs.ravel(), A_ub=blocks, b_ub=np.tile(h, len(costs)), **options)
    if found.status == 0:
        return np.einsum("ij,ij->i", costs, found.x.reshape(costs.shape))
    least = []
    for cost in costs:
        found = linprog(cost, A_ub=G, b_ub=h, **options)
        least.append({0: found.fun, 2: np.nan}.get(found.status, -np.inf))
    return np.array(least, float)
