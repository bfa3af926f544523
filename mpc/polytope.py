"""Polytopes ``{z : G z <= h}``: the one inequality used everywhere."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array, frozen, row_product

_ROUNDING = 1e-9  # a set of one point may miss it by so much: linear programs are solved to 1e-7


@dataclass(frozen=True, eq=False)
class Polytope:
    """The set ``{z in R^n : G z <= h}`` with ``G (c, n)`` and ``h (c,)``; it may be unbounded.

    Rows are kept exactly as given: a duplicate or redundant row is never removed silently, because
    it changes the log-barrier. ``c = 0`` is the whole space.

    Raises:
        ValueError: on NaN, wrong shapes, a zero row that excludes everything, or an empty set.
    """

    G: Array
    h: Array

    def __post_init__(self) -> None:
        G = frozen("G", self.G, (None, None))
        h = frozen("h", self.h, (G.shape[0],), "leave out rows that do not constrain")
        object.__setattr__(self, "G", G)
        object.__setattr__(self, "h", h)
        if (h < 0).any() and self.chebyshev[1] < -_ROUNDING * (1 + self._reach):
            raise ValueError(
                "the polytope G z <= h is empty: no z satisfies all rows; "
                "check the signs of G and h (a lower bound z >= a is the row -z <= -a)"
            )

    @property
    def _reach(self) -> float:
        """Largest distance of a row's plane from the origin: what rounding of the rows is measured by."""
        norms = np.linalg.norm(self.G, axis=1)
        return float((np.abs(self.h) / np.where(norms > 0, norms, 1.0)).max(initial=0.0))

    @classmethod
    def box(cls, low: ArrayLike, high: ArrayLike) -> "Polytope":
        """``{z : low <= z <= high}``; an infinite bound drops its row. Upper bounds come first."""
        low, high = np.atleast_1d(np.asarray(low, float)), np.atleast_1d(np.asarray(high, float))
        if low.shape != high.shape or low.ndim != 1:
            raise ValueError(f"low and high must be vectors of one length, got {low.shape} and {high.shape}")
        if np.isnan(low).any() or np.isnan(high).any() or (low > high).any():
            raise ValueError(f"low must not exceed high and neither may be NaN, got low={low}, high={high}")
        eye = np.eye(low.size)
        G, h = np.vstack([eye, -eye]), np.concatenate([high, -low])
        keep = np.isfinite(h)
        return cls(G[keep], h[keep])

    @classmethod
    def whole_space(cls, dimension: int) -> "Polytope":
        """R^n: no rows at all."""
        return cls(np.zeros((0, dimension)), np.zeros(0))

    @property
    def dimension(self) -> int:
        return self.G.shape[1]

    def slack(self, z: ArrayLike) -> Array:
        """``h - G z`` for ``z (..., n)``: (..., c), nonnegative inside."""
        return self.h - row_product(np.asarray(z, float), self.G)

    def contains(self, z: ArrayLike, tolerance: float = 0.0) -> np.ndarray:
        """Whether each ``z (..., n)`` satisfies every row to ``tolerance`` (False for NaN)."""
        return np.asarray((self.slack(z) >= -tolerance).all(axis=-1))

    def violation(self, z: ArrayLike) -> Array:
        """``max(0, max_i (G z - h)_i)`` for ``z (..., n)``: (...,), zero inside, NaN for NaN."""
        return np.maximum(0.0, (-self.slack(z)).max(axis=-1, initial=0.0))

    def support(self, direction: ArrayLike) -> float:
        """``max {direction'z : G z <= h}`` by linear programming (HiGHS); inf where unbounded."""
        direction = frozen("direction", direction, (self.dimension,))
        if not len(self.h):
            return np.inf if direction.any() else 0.0
        from scipy.optimize import linprog

        # HiGHS's presolve calls some unbounded programs infeasible, so it is left out.
        options = {"presolve": False}
        result = linprog(
            -direction, A_ub=self.G, b_ub=self.h, bounds=(None, None), method="highs", options=options
        )
        if result.status == 3:
            return np.inf
        if result.status != 0:
            raise ValueError(f"the linear program of the support function failed: {result.message}")
        return -float(result.fun)

    @cached_property
    def chebyshev(self) -> tuple[Array, float]:
        """Centre and radius of a largest inscribed ball; a negative radius means the set is empty.

        The radius is capped at 1e6 so that unbounded sets have an answer too.
        """
        return inscribed_ball(self.G, self.h)

    @cached_property
    def is_box(self) -> bool:
        """Every row bounds one coordinate."""
        return bool((np.count_nonzero(self.G, axis=1) == 1).all())

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Smallest box around the set, ``(low, high)``, infinite where it is unbounded.

        Read off the rows of a box, by linear programming otherwise.
        """
        if self.is_box:
            return self._sides()
        eye = np.eye(self.dimension)
        return (
            np.array([-self.support(-e) for e in eye]),
            np.array([self.support(e) for e in eye]),
        )

    def _sides(self) -> tuple[Array, Array]:
        ends = np.full((2, self.dimension), np.inf)
        for row, limit in zip(self.G, self.h, strict=True):
            i = int(np.flatnonzero(row)[0])
            side = 1 if row[i] > 0 else 0
            ends[side, i] = min(ends[side, i], limit / abs(row[i]))
        return -ends[0], ends[1]

    @property
    def radius(self) -> float:
        """Largest finite ``|z_i|`` over the set's bounding box (0 where nothing is bounded)."""
        extents = np.abs(np.concatenate(self.bounds))
        return float(extents[np.isfinite(extents)].max(initial=0.0))

    def reduced(self) -> "Polytope":
        """The same set without redundant rows; of rows that say the same the first is kept."""
        from mpc.redundancy import facets

        keep = facets(self.G, self.h)
        return Polytope(self.G[keep], self.h[keep])

    @cached_property
    def volume(self) -> float:
        """Length, area, volume, ... by Qhull.

        Raises:
            ValueError: if the set is unbounded or has no interior.
        """
        vertices = self.vertices()
        if self.dimension == 1:
            return float(np.ptp(vertices))
        from scipy.spatial import ConvexHull

        return float(ConvexHull(vertices).volume)

    def vertices(self) -> Array:
        """Vertices (v, n) of a bounded full-dimensional polytope, by Qhull.

        Raises:
            ValueError: if the set is unbounded or has no interior.
        """
        low, high = self.bounds
        centre, radius = self.chebyshev
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise ValueError("only a bounded polytope has vertices; add rows that bound every direction")
        if radius <= 0:
            raise ValueError("the polytope has no interior; vertices of flat sets are not supported")
        if self.dimension == 1:
            return np.array([[low[0]], [high[0]]])
        from scipy.spatial import HalfspaceIntersection

        points = HalfspaceIntersection(np.hstack([self.G, -self.h[:, None]]), centre).intersections
        return np.unique(points.round(12), axis=0)


def inscribed_ball(G: Array, h: Array) -> tuple[Array, float]:
    """Centre and radius of a largest ball in ``G z <= h``, which may be empty; see ``Polytope.chebyshev``."""
    norms = np.linalg.norm(G, axis=1)
    n = G.shape[1]
    columns = np.hstack([G, norms[:, None]])
    bounds = [(None, None)] * n + [(None, 1e6)]
    cost = np.append(np.zeros(n), -1.0)
    if not len(h):
        return np.zeros(n), 1e6
    from scipy.optimize import linprog

    result = linprog(cost, A_ub=columns, b_ub=h, bounds=bounds, method="highs")
    if result.status != 0 or result.x[n] < 0:  # on very thin sets only the interior-point method is right
        result = linprog(cost, A_ub=columns, b_ub=h, bounds=bounds, method="highs-ipm")
    if result.status == 2:
        return np.full(n, np.nan), -np.inf
    if result.status != 0:
        raise ValueError(f"the linear program of the Chebyshev centre failed: {result.message}")
    return result.x[:n], float(result.x[n])
