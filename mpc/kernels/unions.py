"""Whether the union of two polytopes is one, and which.

The half-spaces of each that hold for the other make the envelope of both. The union is convex where it is
all of the envelope: where no inner point of that breaks a left-out row of the one and a left-out row of the
other (Bemporad, Fukuda, Torrisi, "Convexity recognition of the union of polyhedra", Computational Geometry
18, 2001).
"""

import numpy as np

from mpc.kernels.compilation import ZERO, allocating, kernel, part
from mpc.kernels.linear_programs import OPTIMAL, climb, inner_ball


@part
def _copy(A, b, i, sign, out_A, out_b, place):
    """Row i, or with sign -1 its opposite, in another place."""
    for a in range(A.shape[1]):
        out_A[place, a] = sign * A[i, a]
    out_b[place] = sign * b[i]


@allocating
def _envelope(A, b, other_A, other_b, inside, tolerance, out_A, out_b, count, left_out):
    """Add the rows of ``A x <= b`` that the other polytope keeps; mark the others. Returns the count."""
    n, x, c = inside.shape[0], np.empty(inside.shape[0]), np.empty(inside.shape[0])
    rows = np.empty(len(other_b), np.int64)
    for i in range(len(other_b)):
        rows[i] = i
    for i in range(len(b)):
        for a in range(n):
            x[a], c[a] = inside[a], A[i, a]
        ended = climb(other_A, other_b, rows, len(other_b), c, x)
        excess = -b[i]
        for a in range(n):
            excess += A[i, a] * x[a]
        left_out[i] = ended != OPTIMAL or excess > tolerance
        known = False
        for k in range(count):
            apart = abs(out_b[k] - b[i])
            for a in range(n):
                apart += abs(out_A[k, a] - A[i, a])
            known = known or apart <= tolerance
        if not (known or left_out[i]):
            _copy(A, b, i, 1.0, out_A, out_b, count)
            count += 1
    return count


@kernel("int64(f8[:,::1], f8[::1], f8[::1], f8[:,::1], f8[::1], f8[::1], f8, f8[:,::1], f8[::1])")
def unite(A, b, centre, other_A, other_b, other_centre, tolerance, out_A, out_b):
    """Write the rows of the union, of unit norm, and return their number; -1 where it is not convex.

    ``out_A, out_b`` have room for the rows of both and two more. ``centre`` and ``other_centre`` lie inside.
    """
    one, two = np.zeros(len(b), np.bool_), np.zeros(len(other_b), np.bool_)
    count = _envelope(A, b, other_A, other_b, other_centre, tolerance, out_A, out_b, ZERO, one)
    count = _envelope(other_A, other_b, A, b, centre, tolerance, out_A, out_b, count, two)
    x = np.empty(len(centre))
    for i in range(len(b)):
        for j in range(len(other_b)):
            if one[i] and two[j]:
                _copy(A, b, i, -1.0, out_A, out_b, count)
                _copy(other_A, other_b, j, -1.0, out_A, out_b, count + 1)
                if inner_ball(out_A, out_b, count + 2, x) > tolerance:
                    return -1
    return count
