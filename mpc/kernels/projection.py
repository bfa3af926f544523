"""Euclidean projections onto a polytope, by the careful active-set method."""

import numpy as np

from mpc.kernels.active_set import OPTIMAL, careful_set
from mpc.kernels.compilation import kernel, part
from mpc.kernels.pieces import orthonormalise
from mpc.kernels.plant import finite


@part
def _sort(working, order, q):
    """The working set in ascending order."""
    for i in range(q):
        row, k = working[i], i - 1
        while k >= 0 and order[k] > row:
            order[k + 1] = order[k]
            k -= 1
        order[k + 1] = row


@kernel(
    "void(int64, int64, f8[:,::1], f8[:,::1], f8[:,::1], f8[::1], f8[::1], i1[::1], f8[:,::1], f8[:,:,::1])"
)
def project_rows(start, stop, points, M, MT, w, upper, status, u, tangent):
    """Euclidean projections of ``points[start:stop]`` onto ``M u <= w`` and their derivatives.

    ``u = point + z`` with ``z = argmin ||z||^2`` over ``M z <= w - M point``; the derivative is the
    projector ``I - Q_1 Q_1'`` onto the face.
    """
    c, p = M.shape
    b, tolerance, place = np.empty(c), np.empty(c), np.empty(c, np.int8)
    z, d, r = np.empty(p), np.empty(p), np.empty(p)
    working, order, multiplier = np.empty(p, np.int64), np.empty(p, np.int64), np.empty(p)
    basis, R, rows, residual = np.empty((p, p)), np.empty((p, p)), np.empty((p, p + 1)), np.empty(c)
    for s in range(start, stop):
        if not finite(points, s):
            status[s] = -5
            continue
        for i in range(c):
            b[i], scale = w[i], abs(w[i])
            for a in range(p):
                b[i] -= M[i, a] * points[s, a]
                scale += abs(M[i, a] * points[s, a])
            tolerance[i] = 1e-13 * scale + 1e-300
        outcome, q, _, _ = careful_set(
            M, MT, b, tolerance, upper, 100 + 10 * (c + p), z, place, working, multiplier, basis, R, d, r,
            residual,
        )  # fmt: skip
        status[s] = outcome
        if outcome != OPTIMAL:
            continue
        _sort(working, order, q)
        for k in range(q):
            for j in range(p):
                rows[k, j] = M[order[k], j]
            rows[k, p] = b[order[k]]
        orthonormalise(rows, p, q, 0.0, R)
        for i in range(p):
            u[s, i] = points[s, i]
            for k in range(q):
                u[s, i] += rows[k, p] * rows[k, i]
            for j in range(p):
                tangent[s, i, j] = 1.0 if i == j else 0.0
                for k in range(q):
                    tangent[s, i, j] -= rows[k, i] * rows[k, j]
