"""Half-spaces: which of them are facets, and what is left when a variable is eliminated."""

import numpy as np

from mpc.arrays import Array

_MOST_DIMENSIONS = 5  # beyond these a convex hull costs more than a linear program a row
_THIN = 1e-9  # of the set's extent
_TOLERANCE = 1e-10
_ZERO = 1e-12  # of a row's norm


def unit_rows(G: Array, h: Array) -> tuple[Array, Array]:
    """Rows of norm 1, without those that say nothing.

    Raises:
        ValueError: where a row of zeros excludes everything.
    """
    norms = np.linalg.norm(G, axis=1)
    moved = norms > _ZERO * max(1.0, norms.max(initial=0.0))
    if (h[~moved] < -_TOLERANCE * (1 + np.abs(h).max(initial=0.0))).any():
        raise ValueError("the set is empty: a row asks for 0 <= h with h < 0")
    return G[moved] / norms[moved, None], h[moved] / norms[moved]


def facets(G: Array, h: Array) -> np.ndarray:
    """Rows of ``G z <= h`` that are needed to describe the set, as increasing indices.

    Of rows that say the same the first is kept. In two to five dimensions the facets of a set with an
    interior are the corners of the convex hull of ``g_i / (h_i - g_i'c)`` and 0, c any inner point (Qhull);
    elsewhere each row is tried by a linear program over the others (HiGHS).
    """
    from mpc.polytope import inscribed_ball

    distinct = _distinct(G, h)
    if not 2 <= G.shape[1] <= _MOST_DIMENSIONS or len(distinct) <= G.shape[1]:
        return _by_programs(G, h, distinct)
    centre, radius = inscribed_ball(G, h)
    if not radius > _THIN * (1 + np.abs(centre).max()):
        return _by_programs(G, h, distinct)
    from scipy.spatial import ConvexHull, QhullError

    room = h[distinct] - G[distinct] @ centre
    try:
        hull = ConvexHull(np.vstack([G[distinct] / room[:, None], np.zeros(G.shape[1])]))
    except QhullError:  # all rows in a plane: the set contains a line
        return _by_programs(G, h, distinct)
    return np.sort(distinct[hull.vertices[hull.vertices < len(distinct)]])


def _distinct(G: Array, h: Array) -> np.ndarray:
    """Of rows with the same direction the tightest, the first of equal ones."""
    norms = np.linalg.norm(G, axis=1)
    norms = np.where(norms > 0, norms, 1.0)
    order = np.lexsort((np.arange(len(h)), h / norms))
    _, first = np.unique((G / norms[:, None])[order].round(12), axis=0, return_index=True)
    return np.sort(order[first])


def _by_programs(G: Array, h: Array, rows: np.ndarray) -> np.ndarray:
    from scipy.optimize import linprog

    keep = rows.tolist()
    for row in rows.tolist():
        others = [i for i in keep if i != row]
        bound = h[row] + 1.0 + abs(h[row])  # so that the program is bounded
        result = linprog(
            -G[row],
            A_ub=np.vstack([G[others], G[row]]),
            b_ub=np.append(h[others], bound),
            bounds=(None, None),
            method="highs",
        )
        if result.status == 0 and -result.fun <= h[row] + _TOLERANCE * (1 + abs(h[row])):
            keep = others
    return np.array(keep, np.int64)


def eliminated(G: Array, h: Array, column: int) -> tuple[Array, Array]:
    """The projection ``{z without z_column}`` of ``G z <= h``: Fourier's and Motzkin's elimination.

    Rows that bound the variable from above and from below are added in pairs; unit rows, only facets.

    Raises:
        ValueError: where the projection is found empty.
    """
    G, h = unit_rows(G, h)
    slope = G[:, column]
    up, down, level = slope > _ZERO, slope < -_ZERO, np.abs(slope) <= _ZERO
    above, below = G[up] / slope[up, None], G[down] / -slope[down, None]
    pairs = (above[:, None] + below[None]).reshape(-1, G.shape[1])
    bounds = ((h[up] / slope[up])[:, None] + (h[down] / -slope[down])[None]).reshape(-1)
    rows = np.delete(np.vstack([G[level], pairs]), column, axis=1)
    rows, bounds = unit_rows(rows, np.concatenate([h[level], bounds]))
    keep = facets(rows, bounds)
    return rows[keep], bounds[keep]
