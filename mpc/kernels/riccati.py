"""LQR problems with a Hessian of their own at every stage, in lanes: one Riccati sweep, then solves.

    min  sum_k 1/2 dz_k'H_k dz_k + g_k'dz_k,   dz_k = (du_k, dx_k),   dx_{k+1} = A dx_k + B du_k,   dx_0 = 0

O(N (n + m)^3) to factorise, O(N (n + m)^2) a solve. ``AB = (B, A)`` has the columns of u first. A stage's
Hessian is a list of terms ``factor weight[source]`` at ``(row, column)``, the cost's own ones with a
source of weight 1: those in the columns of u at ``cut[2k] : cut[2k+1]`` (rows of u and x, lower triangle),
those of the states at ``cut[2k+1] : cut[2k+2]`` (both triangles, counted from the first state).
"""

from mpc.kernels.compilation import ONE, ZERO, inlined, part
from mpc.kernels.lane_algebra import add_transposed, eliminate, product
from mpc.kernels.lanes import lanes, least, load, store


@inlined
def _add_terms(target, first, stop, row, column, source, factor, weight):
    """``target[row, column] += factor weight[source]`` for some terms of a stage's Hessian."""
    for t in range(first, stop):
        a, b = row[t], column[t]
        store(target, load(target, a, b) + load(weight, source[t]) * factor[t], a, b)


@part
def factorise(AB, cut, row, column, source, factor, weight, F, pivots, P, PAB, S):
    """Riccati sweep; returns 1 in the lanes where every Huu is positive definite.

    The stage's Hessian in ``(u, x)`` is ``H_k + AB'P AB``. Its columns of u are made first and
    eliminated (``F, S`` keep L and L D of stage 0), then ``P <- (H_k + AB'P AB)_xx - F_x (L D)_x'``.
    """
    N, m, n = pivots.shape[0], pivots.shape[1], AB.shape[0]
    for a in range(P.shape[0]):
        for b in range(P.shape[1]):
            store(P, lanes(0.0), a, b)
    _add_terms(P, cut[2 * N + 1], cut[2 * N + 2], row, column, source, factor, weight)
    definite = lanes(1.0)
    for k in range(N - 1, -1, -1):
        product(P, AB, S, S, ZERO, PAB, ZERO, n, ZERO, n + m, ZERO)
        product(PAB, AB, S, S, ZERO, S, ZERO, n + m, ZERO, m, ZERO)
        _add_terms(S, cut[2 * k], cut[2 * k + 1], row, column, source, factor, weight)
        definite = least(definite, eliminate(S, F[k], pivots[k], n + m))
        if k > 0:
            product(PAB, AB, F[k], S, m, P, m, n, m, n, ONE)
            for a in range(n):
                for b in range(a):
                    store(P, load(P, a, b), b, a)
            _add_terms(P, cut[2 * k + 1], cut[2 * k + 2], row, column, source, factor, weight)
    return definite


@part
def slope(start, place, value, recentre, eta, z, base):
    """Gradient of the cost without the barrier at the plan z: ``H_k z_k + eta d_k``."""
    (N, m), size = recentre.shape, (start.shape[0] - 1) // z.shape[0]
    for k in range(N + 1):
        for a in range(size):
            t = lanes(0.0)
            for j in range(start[k * size + a], start[k * size + a + 1]):
                t = t + load(z, k, place[j]) * value[j]
            if k < N and a < m:
                t = t + eta * recentre[k, a]
            store(base, t, k, a)


@part
def newton(AB, BA, base, start, row, coefficient, push, F, pivots, p, g, w, dz):
    """The solution for the gradients ``base + rows'push``: costates backward, ``dz`` forward.

    The costate left in p is the gradient of the remaining cost with respect to ``dx_0`` at 0. ``BA`` is
    the transpose of ``AB``. Column a of the rows of stage k has the numbers ``coefficient[t]`` in the rows
    ``row[t]``, ``t`` in ``start[k (n + m) + a] : start[k (n + m) + a + 1]``.
    """
    N, m, n = pivots.shape[0], pivots.shape[1], AB.shape[0]
    size = n + m
    for k in range(N, -1, -1):
        for a in range(size):
            t = load(base, k, a)
            for i in range(start[k * size + a], start[k * size + a + 1]):
                t = t + load(push, row[i]) * coefficient[i]
            store(g, t, a)
        if k < N:
            add_transposed(AB, p, g, size)
            for j in range(m):
                y = load(g, j)
                for e in range(j + 1, size):
                    store(g, load(g, e) - load(F, k, e, j) * y, e)
                store(w, y * load(pivots, k, j), k, j)
        for a in range(n):
            store(p, load(g, m + a), a)
    for a in range(m, size):
        store(dz, lanes(0.0), 0, a)
    for k in range(N):
        for j in range(m - 1, -1, -1):
            t, other = load(w, k, j), lanes(0.0)
            for e in range(m, size - 1, 2):  # two sums, for one alone waits for itself
                t = t + load(F, k, e, j) * load(dz, k, e)
                other = other + load(F, k, e + 1, j) * load(dz, k, e + 1)
            if n % 2 == 1:
                t = t + load(F, k, size - 1, j) * load(dz, k, size - 1)
            t = -(t + other)
            for e in range(j + 1, m):
                t = t - load(F, k, e, j) * load(dz, k, e)
            store(dz, t, k, j)
        following = dz[k + 1][m:]
        for a in range(n):
            store(following, lanes(0.0), a)
        add_transposed(BA, dz[k], following, n)
