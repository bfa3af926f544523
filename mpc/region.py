"""One critical region of exact MPC, and the affine functions that hold on it."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from mpc.arrays import Array
from mpc.polytope import Polytope
from mpc.prepared import Prepared


@dataclass(frozen=True, eq=False)
class Region:
    """Where an active set gives the optimum, and the law there: ``u_0 = K x + k``.

    Args:
        polytope: the region in minimal form, rows of norm 1.
        active: the rows of the horizon that are met, in the order of ``condense``, boolean ``(c,)``.
        K, k: gain ``(m, n)`` and offset ``(m,)``.
        slope, offset: multipliers of V for all rows, ``slope x + offset >= 0`` on the region, ``(c, n)`` and
            ``(c,)``; zero where a row is not active. Of two rows that make an equality one is active, and its
            multiplier may have either sign.
    """

    polytope: Polytope
    active: np.ndarray
    K: Array
    k: Array
    slope: Array
    offset: Array

    @classmethod
    def of(cls, ready: Prepared, side: np.ndarray, polytope: Polytope) -> "Region":
        """The region of the active set ``side`` over the slabs of a prepared problem.

        With slabs W at the bounds h, the plan nearest to the origin is ``z = M_W' nu`` where
        ``M_W M_W' nu = h + E_W x``: with ``M_W' = Q R``, ``R nu = t`` and ``z = Q t``. Multipliers are
        ``-2 nu`` at upper bounds and ``2 nu`` at lower ones.
        """
        slabs, form, (m, n) = ready.slabs, ready.form, ready.K.shape
        W = np.flatnonzero(side)
        bound = np.where(side[W] > 0, slabs.high[W], slabs.low[W])
        Q, R = np.linalg.qr(slabs.M[W].T)
        t = solve_triangular(R, np.column_stack([slabs.E[W], bound]), trans=1)
        z, nu = Q[:m] @ t, solve_triangular(R, t)
        active = np.isin(slabs.slab, W) & (slabs.sign == side[slabs.slab])
        rows = np.flatnonzero(active)
        y = np.zeros((len(active), n + 1))
        y[rows] = (
            -2 * (slabs.sign[rows] / form.norms[rows])[:, None] * nu[np.searchsorted(W, slabs.slab[rows])]
        )
        return cls(polytope, active, ready.K + ready.T @ z[:, :n], ready.T @ z[:, n], y[:, :n], y[:, n])
