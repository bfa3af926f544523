"""Rows that say the same of a plan with opposite signs, taken together as one slab.

Bounds come in pairs, ``m'z <= h`` and ``-m'z <= h'``. Everything that depends on ``m`` alone (products
with a plan, inner products of rows) is needed once for both: half the work of pricing.
"""

from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array
from mpc.condense import LeastDistance

_MOST_SLABS = 4096  # their inner products take 134 MB


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
