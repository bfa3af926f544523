"""The label of a state, computed from its active set alone: the same bits whatever route proposed the set.

With slabs ``low <= M z - E x <= high`` the plan on an active set W is the shortest ``z`` with
``M_W z = E_W x + h_W``, where h holds the bounds that are met. From ``M_W' = Q R`` (R upper
triangular; Q is never formed) a *piece* of the law is made once for all its states::

    Y = R'^-1 [E_W | h_W | M_W0]        q x (n + 1 + m), M_W0 the columns of the first input
    y = Y_x x + Y_h,   z = Q y,   V = x'P_0 x + y'y,   dV/dx = 2 P_0 x + 2 Y_x'y
    du/dx = K_0 + T_0 Q_0' Y_x          Q_0' = Y_0', the rows of Q that belong to the first input
    nu = R^-1 y,  z = M_W' nu           multipliers are nu with the sign of the bound

W is sorted by falling slab, so rows of the later stages come first, and all sums run in one order.
R is the Cholesky factor of ``M_W M_W'``, an excerpt of the slabs' inner products. Its relative error
grows as rounding over the smallest squared pivot (1 for unit rows that are orthogonal): below
``WELL_APART`` the rows are orthonormalised instead, which loses the root of that only.
"""

import numpy as np

from mpc.kernels.compilation import inlined, part

WELL_APART = 1e-3  # smallest squared pivot for which the Cholesky factor is good to 1e-12


@part
def factorise(gram, order, q, R):
    """Cholesky factor of ``gram[W, W]`` in R; returns the smallest squared pivot, -1 where none is left."""
    for k in range(q):
        for j in range(k, q):
            R[k, j] = gram[order[k], order[j]]
    least = np.inf
    for k in range(q):
        pivot = R[k, k]
        if not pivot > 0.0:
            return -1.0
        least = min(least, pivot)
        root = np.sqrt(pivot)
        inverse = 1.0 / root
        R[k, k] = root
        for j in range(k + 1, q):
            R[k, j] *= inverse
        for i in range(k + 1, q):
            factor = R[k, i]
            for j in range(i, q):
                R[i, j] -= factor * R[k, j]
    return least


@part
def solve_transposed(R, q, y):
    """Overwrite ``y`` with ``R'^-1 y``."""
    for k in range(q):
        y[k] /= R[k, k]
        for i in range(k + 1, q):
            y[i] -= R[k, i] * y[k]


@part
def solve_upper(R, q, y, nu):
    """``nu = R^-1 y``."""
    for k in range(q - 1, -1, -1):
        total = y[k]
        for j in range(k + 1, q):
            total -= R[k, j] * nu[j]
        nu[k] = total / R[k, k]


@part
def orthonormalise(rows, own, q, skip_below, R):
    """Orthonormalise the first ``own`` columns of ``rows[:q]`` in order, carrying the other columns.

    Two passes of modified Gram-Schmidt. A row whose remainder is shorter than ``skip_below`` is set
    to zero. With ``rows = [M_W | rhs]`` the carried columns become ``R'^-1 rhs``.
    """
    width = rows.shape[1]
    for i in range(q):
        for k in range(i):
            R[k, i] = 0.0
        for _ in range(2):
            for k in range(i):
                overlap = 0.0
                for j in range(own):
                    overlap += rows[i, j] * rows[k, j]
                for j in range(width):
                    rows[i, j] -= overlap * rows[k, j]
                R[k, i] += overlap
        length = 0.0
        for j in range(own):
            length += rows[i, j] * rows[i, j]
        length = np.sqrt(length)
        inverse = 1.0 / length if length > skip_below else 0.0
        for j in range(width):
            rows[i, j] *= inverse
        R[i, i] = length


@part
def assemble(M, ET, bound, order, q, m, well, R, rows, Y):
    """Fill Y; where the rows are not well apart R is made anew and ``rows[:q, :p]`` becomes Q'."""
    p, n = M.shape[1], ET.shape[0]
    for k in range(q):
        i = order[k]
        for a in range(n):
            Y[k, a] = ET[a, i]
        Y[k, n] = bound[k]
        for j in range(m):
            Y[k, n + 1 + j] = M[i, j]
    if well:
        for k in range(q):
            inverse = 1.0 / R[k, k]
            for a in range(n + 1 + m):
                Y[k, a] *= inverse
            for i in range(k + 1, q):
                factor = R[k, i]
                for a in range(n + 1 + m):
                    Y[i, a] -= factor * Y[k, a]
        return
    for k in range(q):
        for j in range(p):
            rows[k, j] = M[order[k], j]
        for a in range(n + 1):
            rows[k, p + a] = Y[k, a]
    orthonormalise(rows, p, q, 0.0, R)
    for k in range(q):
        for a in range(n + 1):
            Y[k, a] = rows[k, p + a]
        for j in range(m):
            Y[k, n + 1 + j] = rows[k, j]


@part
def affine_law(Y, q, n, K0, T0, inner, dudx, s, offset, r):
    """``dudx[s] = K_0 + T_0 Q_0' Y_x`` and ``offset[r] = T_0 Q_0' Y_h``; ``inner`` is scratch (m, n + 1)."""
    m = K0.shape[0]
    for j in range(m):
        for a in range(n + 1):
            inner[j, a] = 0.0
    for k in range(q):
        for j in range(m):
            factor = Y[k, n + 1 + j]
            for a in range(n + 1):
                inner[j, a] += factor * Y[k, a]
    for i in range(m):
        offset[r, i] = 0.0
        for a in range(n):
            dudx[s, i, a] = K0[i, a]
        for j in range(m):
            factor = T0[i, j]
            for a in range(n):
                dudx[s, i, a] += factor * inner[j, a]
            offset[r, i] += factor * inner[j, n]


@inlined
def evaluate(x, s, Y, start, stop, P0, dudx, offset, r, y, u, gradient):
    """``u[s]`` and ``gradient[s]`` at ``x[s]`` on the piece ``Y[start:stop]``; returns the value.

    ``y`` becomes that of the piece; ``u = dudx[s] x + offset[r]``.
    """
    n, value = x.shape[1], 0.0
    for k in range(start, stop):
        total = Y[k, n]
        for a in range(n):
            total += Y[k, a] * x[s, a]
        y[k - start] = total
        value += total * total
    for a in range(n):
        total = 0.0
        for e in range(n):
            total += P0[e, a] * x[s, e]
        value += x[s, a] * total
        total *= 2.0
        for k in range(start, stop):
            total += 2.0 * y[k - start] * Y[k, a]
        gradient[s, a] = total
    for i in range(u.shape[1]):
        total = offset[r, i]
        for a in range(n):
            total += dudx[s, i, a] * x[s, a]
        u[s, i] = total
    return value


@part
def held_curvature(M, stage, order, q, m, n, L0, Y, square, half, R, rows, curvature, s):
    """``curvature[s]``: d2Q/du_0^2 with the active rows of stages >= 1 held.

    It is ``2 L_0 (I + M_0'(M_l M_l')^-1 M_0) L_0'``.

    ``M_l`` and ``M_0`` are the parts of those rows V on the later inputs and on the first. As
    ``M_l M_l' = M_V M_V' - M_0 M_0'``, the inner matrix is the inverse of ``I - Q_0' Q_0``, with the
    rows of ``Q_0`` that belong to V: the first ones. Where too little is left of I, the later parts
    are orthonormalised: a row that the later inputs cannot move, or that depends on the rows before
    it, has no say then.
    """
    count = 0
    while count < q and stage[order[count]] >= 1:
        count += 1
    for i in range(m):
        for j in range(m):
            square[i, j] = 1.0 if i == j else 0.0
            half[i, j] = L0[j, i]
    for k in range(count):
        for i in range(m):
            for j in range(m):
                square[i, j] -= Y[k, n + 1 + i] * Y[k, n + 1 + j]
    for k in range(m):  # half = C^-1 L0' with square = C C', by columns of C
        if not square[k, k] > WELL_APART:
            _curvature_of_later_rows(M, order, count, m, L0, square, half, R, rows, curvature, s)
            return
        root = np.sqrt(square[k, k])
        for j in range(m):
            half[k, j] /= root
        for i in range(k + 1, m):
            factor = square[i, k] / root
            for j in range(m):
                half[i, j] -= factor * half[k, j]
            for j in range(k + 1, i + 1):
                square[i, j] -= factor * (square[j, k] / root)
    for a in range(m):
        for e in range(m):
            curvature[s, a, e] = 0.0
            for k in range(m):
                curvature[s, a, e] += 2.0 * half[k, a] * half[k, e]


@part
def _curvature_of_later_rows(M, order, count, m, L0, square, half, R, rows, curvature, s):
    p = M.shape[1]
    later = p - m
    for k in range(count):
        for j in range(later):
            rows[k, j] = M[order[k], m + j]
        for j in range(m):
            rows[k, later + j] = M[order[k], j]
        for j in range(p, rows.shape[1]):
            rows[k, j] = 0.0
    orthonormalise(rows, later, count, 1e-9, R)
    for i in range(m):
        for j in range(m):
            square[i, j] = 1.0 if i == j else 0.0
            for k in range(count):
                square[i, j] += rows[k, later + i] * rows[k, later + j]
    for i in range(m):
        for e in range(m):
            half[i, e] = 0.0
            for j in range(m):
                half[i, e] += square[i, j] * L0[e, j]
    for a in range(m):
        for e in range(m):
            curvature[s, a, e] = 0.0
            for i in range(m):
                curvature[s, a, e] += 2.0 * L0[a, i] * half[i, e]
