"""Small linear programs ``max c'x, A x <= b`` from a feasible point.

The method is the primal active-set method: along the projection of c onto the face that x is on, until a
row stops it; where nothing is left of the projection the row with a negative multiplier is let go. Rows
have unit norm and a handful of variables, so every face's basis is simply made anew.
"""

import numpy as np

from mpc.kernels.compilation import allocating, part
from mpc.kernels.pieces import orthonormalise, solve_upper

OPTIMAL, UNBOUNDED, STALLED = 1, 0, -1
_FLAT = 1e-10  # a projection or multiplier this small is rounding


@part
def _projected(c, basis, q, d):
    """``d = (I - basis'basis) c``, twice for accuracy; returns its length."""
    n = c.shape[0]
    for e in range(n):
        d[e] = c[e]
    for _ in range(2):
        for k in range(q):
            overlap = 0.0
            for e in range(n):
                overlap += basis[k, e] * d[e]
            for e in range(n):
                d[e] -= overlap * basis[k, e]
    length = 0.0
    for e in range(n):
        length += d[e] * d[e]
    return np.sqrt(length)


@part
def _first_stop(A, b, rows, count, W, q, x, d, length):
    """(row, step) that ends the way from x along d; row -1 where nothing does."""
    hit, step = -1, np.inf
    for r in range(count):
        i = rows[r]
        standing = False
        for k in range(q):
            standing = standing or W[k] == i
        if standing:
            continue
        slope, room = 0.0, b[i]
        for e in range(d.shape[0]):
            slope += A[i, e] * d[e]
            room -= A[i, e] * x[e]
        if slope > 1e-11 * length and max(room, 0.0) < step * slope:
            hit, step = i, max(room, 0.0) / slope
    return hit, step


@part
def maximise(A, b, rows, count, c, x, W, basis, R, d, multiplier):
    """Move the feasible ``x`` to a maximiser of ``c'x`` over ``rows[:count]``; returns how it ended."""
    n, q, scale = x.shape[0], 0, 0.0
    for e in range(n):
        scale += c[e] * c[e]
    scale = np.sqrt(scale)
    for change in range(20 + 5 * (n + count)):
        for k in range(q):
            for e in range(n):
                basis[k, e] = A[W[k], e]
        orthonormalise(basis, n, q, 0.0, R)
        length = _projected(c, basis, q, d) if q < n else 0.0
        if length > _FLAT * scale:
            hit, step = _first_stop(A, b, rows, count, W, q, x, d, length)
            if hit < 0:
                return UNBOUNDED
            for e in range(n):
                x[e] += step * d[e]
            W[q] = hit
            q += 1
            continue
        for k in range(q):  # c = A_W'multiplier, A_W = R'basis
            d[k] = 0.0
            for e in range(n):
                d[k] += basis[k, e] * c[e]
        solve_upper(R, q, d, multiplier)
        leaving = -1
        for k in range(q - 1, -1, -1):
            if not multiplier[k] < -_FLAT * scale:
                continue
            # Bland's rule, the smallest row, where the most negative one may be going round in circles.
            if leaving < 0 or (W[k] < W[leaving] if change > 3 * n else multiplier[k] < multiplier[leaving]):
                leaving = k
        if leaving < 0:
            return OPTIMAL
        for k in range(leaving, q - 1):
            W[k] = W[k + 1]
        q -= 1
    return STALLED


@allocating
def climb(A, b, rows, count, c, x):
    """``maximise`` with scratch of its own; returns how it ended."""
    v = x.shape[0]
    W, basis, R = np.empty(v, np.int64), np.empty((v, v)), np.empty((v, v))
    return maximise(A, b, rows, count, c, x, W, basis, R, np.empty(v), np.empty(v))


@allocating
def inner_ball(A, b, count, centre):
    """Write the ``centre`` of a largest ball inside all rows; returns its radius, negative if empty."""
    n, least = centre.shape[0], np.inf
    lifted, c, x, rows = np.empty((count, n + 1)), np.zeros(n + 1), np.zeros(n + 1), np.empty(count, np.int64)
    for i in range(count):
        rows[i], least = i, min(least, b[i])
        for a in range(n):
            lifted[i, a] = A[i, a]
        lifted[i, n] = 1.0
    x[n], c[n] = least, 1.0
    climb(lifted, b, rows, count, c, x)
    for a in range(n):
        centre[a] = x[a]
    return x[n]
