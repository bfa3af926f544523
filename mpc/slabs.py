"""Rows that say the same of a plan with opposite signs, taken together as one slab.

Bounds come in pairs, ``m'z <= h`` and ``-m'z <= h'``. Everything that depends on ``m`` alone (products
with a plan, inner products of rows) is needed once for both: half the work of pricing.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mpc.arrays import Array
from mpc.condense import LeastDistance

_MOST_SLABS = 4096  # their inner products take 134 MB
_DEPENDENT = 1e-5  # a unit row whose part outside the span of others is shorter depends on them


@dataclass(frozen=True, eq=False)
class Slabs:
    """``low <= M z - E x0 <= high`` for each of ``g`` directions, in the order of their first rows.

    Args:
        M, E: directions ``(g, N m)`` and ``(g, n)``, rows of ``LeastDistance`` or minus such rows.
        low, high: bounds ``(g,)``, infinite where a direction is bounded on one side only.
        slab, sign: slab of each row of ``LeastDistance`` ``(c,)`` and its side, 1 above, -1 below.
        stage: prediction stage ``(g,)``.
        gram: ``M M'`` ``(g, g)``; empty where there are too many slabs to keep it.
    """

    M: Array
    E: Array
    low: Array
    high: Array
    slab: np.ndarray
    sign: np.ndarray
    stage: np.ndarray
    gram: Array

    @cached_property
    def equalities(self) -> tuple[np.ndarray, np.ndarray]:
        """The slabs without width: those that do not depend on earlier ones, and those that do.

        By Gram and Schmidt, in their order.
        """
        basis, independent, dependent = np.empty((0, self.M.shape[1])), [], []
        for i in np.flatnonzero(self.low == self.high):
            rest = self.M[i] - self.M[i] @ basis.T @ basis
            rest -= rest @ basis.T @ basis
            length = np.linalg.norm(rest)
            (independent if length > _DEPENDENT else dependent).append(i)
            if length > _DEPENDENT:
                basis = np.vstack([basis, rest / length])
        return np.array(independent, np.int64), np.array(dependent, np.int64)


def slabs(form: LeastDistance) -> Slabs:
    """The slabs of a problem; each row belongs to exactly one."""
    rows = np.arange(len(form.w))
    crossed = (form.opposite >= 0) & (form.w + form.w[form.opposite] < 0)  # nothing lies between the two
    opposite = np.where(crossed, -1, form.opposite)
    above = rows[(opposite < 0) | (rows < opposite)]
    below = opposite[above]
    M, E = np.ascontiguousarray(form.M[above]), np.ascontiguousarray(form.E[above])
    low = np.where(below >= 0, -form.w[below], -np.inf)
    few = len(above) <= _MOST_SLABS  # BLAS would round by its number of threads, einsum sums in one order
    gram = np.einsum("ik,jk->ij", M, M) if few else np.empty((0, 0))
    gram = np.tril(gram) + np.tril(gram, -1).T  # symmetric to the bit
    slab, sign = np.empty(len(rows), np.int64), np.ones(len(rows), np.int8)
    paired = below >= 0
    slab[above], slab[below[paired]], sign[below[paired]] = np.arange(len(above)), np.flatnonzero(paired), -1
    return Slabs(M, E, low, form.w[above], slab, sign, form.stage[above], gram)


def active_sides(both: Slabs, active: np.ndarray) -> np.ndarray:
    """The sides of slabs ``(B, g)`` that active rows ``(B, c)`` mean: 1 above, -1 below, 0 for neither.

    Equalities have no sides: the independent ones are 1, the others 0.
    """
    side = np.zeros((len(active), len(both.low)), np.int8)
    states, rows = np.nonzero(active)
    side[states, both.slab[rows]] = both.sign[rows]
    held, implied = both.equalities
    side[:, held], side[:, implied] = 1, 0
    return side
