"""The careful way to an active set: a dual method on orthonormal factors, started cold.

``min 1/2 ||z||^2`` subject to ``M z <= b``, where a row may carry an upper bound on its multiplier
(an exact L1 penalty on its violation). Goldfarb and Idnani, "A numerically stable dual method for
solving strictly convex quadratic programs", Math. Programming 27 (1983): from ``z = 0`` the most
violated row enters, multipliers stay nonnegative, and the dual value rises at every step until no
row is violated or a combination of rows proves that no z satisfies them all.

Working set W of q rows: ``M_W' = Q_1 R`` with the basis vectors as rows of ``basis``. Entering row
m with multiplier growing at rate 1: ``d = basis m``, ``dlambda_W = -R^-1 d_1``, ``dz = -Q_2 d_2``.
A row is in one of three places: off (multiplier 0), in W, or at its upper bound. The set it ends with
is a function of ``M``, ``b`` and the tolerance alone.
"""

import numpy as np

from mpc.kernels.compilation import NONE, ZERO, part

OFF, WORKING, UPPER = 0, 1, 2
OPTIMAL, INFEASIBLE, ITERATION_LIMIT, BROKEN = 2, -1, -3, -4
_DEPENDENT = 1e-10  # a unit row whose part outside the working set is shorter depends on it


@part
def _most_violated(MT, b, tolerance, z, place, s):
    """Row furthest beyond its tolerance and the sign of its multiplier's change; -1 for none."""
    for i in range(b.shape[0]):
        s[i] = -b[i]
    for j in range(MT.shape[0]):
        for i in range(b.shape[0]):
            s[i] += MT[j, i] * z[j]
    worst, row, sign = 0.0, -1, 1.0
    for i in range(b.shape[0]):
        if place[i] == WORKING:
            continue
        beyond = -s[i] if place[i] == UPPER else s[i]
        if beyond > tolerance[i] and beyond > worst:
            worst, row = beyond, i
            sign = -1.0 if place[i] == UPPER else 1.0
    return row, sign


@part
def _append(basis, R, d, q):
    """Make ``basis[q]`` the part of the entering row outside the working set (one reflection)."""
    p = d.shape[0]
    length = 0.0
    for i in range(q, p):
        length += d[i] * d[i]
    length = np.sqrt(length)
    alpha = -length if d[q] > 0 else length
    head = d[q] - alpha
    scale = -1.0 / (alpha * head)  # 2 / v'v for v = (head, d[q+1:])
    for j in range(p):
        w = head * basis[q, j]
        for i in range(q + 1, p):
            w += d[i] * basis[i, j]
        w *= scale
        basis[q, j] -= head * w
        for i in range(q + 1, p):
            basis[i, j] -= d[i] * w
    for i in range(q):
        R[i, q] = d[i]
    R[q, q] = alpha


@part
def remove(R, working, multiplier, q, leaving, cosines, sines):
    """Delete column ``leaving`` of R, by rotations of the rows k and k + 1 from ``leaving`` to q - 2."""
    for j in range(leaving, q - 1):
        working[j] = working[j + 1]
        multiplier[j] = multiplier[j + 1]
        for i in range(j + 2):
            R[i, j] = R[i, j + 1]
    for k in range(leaving, q - 1):
        a, e = R[k, k], R[k + 1, k]
        radius = np.sqrt(a * a + e * e)
        c, s = (a / radius, e / radius) if radius > 0.0 else (1.0, 0.0)
        _rotate(R, k, k, q - 1, c, s)
        cosines[k], sines[k] = c, s


@part
def _rotate(rows, k, first, last, c, s):
    for j in range(first, last):
        upper, lower = rows[k, j], rows[k + 1, j]
        rows[k, j] = c * upper + s * lower
        rows[k + 1, j] = c * lower - s * upper


@part
def careful_set(M, MT, b, tolerance, upper, limit, z, place, working, multiplier, basis, R, d, r, residual):
    """Run the method from z = 0; returns (outcome, q, row that proves infeasibility, iterations).

    ``MT`` is ``M`` by columns, so that all rows are priced in step.
    """
    p = M.shape[1]
    z[:] = 0.0
    place[:] = OFF
    basis[:, :] = 0.0
    for i in range(p):
        basis[i, i] = 1.0
    q, iterations = ZERO, 0
    while True:
        row, sign = _most_violated(MT, b, tolerance, z, place, residual)
        if row < 0:
            return OPTIMAL, q, -1, iterations
        entering = upper[row] if place[row] == UPPER else 0.0
        while True:
            iterations += 1
            if iterations > limit:
                return ITERATION_LIMIT, q, row, iterations
            outside = 0.0
            for i in range(p):
                d[i] = 0.0
                for j in range(p):
                    d[i] += basis[i, j] * M[row, j]
                if i >= q:
                    outside += d[i] * d[i]
            for i in range(q - 1, -1, -1):
                r[i] = d[i]
                for j in range(i + 1, q):
                    r[i] -= R[i, j] * r[j]
                r[i] /= R[i, i]
            s = -b[row]
            for j in range(p):
                s += M[row, j] * z[j]
            free = outside > _DEPENDENT * _DEPENDENT
            full = sign * s / outside if free else np.inf
            step = max(full, 0.0)
            own = upper[row] - entering if sign > 0 else entering
            leaving, bounded = NONE, own < step
            step = min(step, own)
            for j in range(q):
                rate = -sign * r[j]
                if rate < -1e-14:
                    t = multiplier[j] / -rate
                elif rate > 1e-14:
                    t = (upper[working[j]] - multiplier[j]) / rate
                else:
                    continue
                if t < step:
                    step, leaving, bounded = max(t, 0.0), j, False
            if not step < np.inf:
                return INFEASIBLE, q, row, iterations
            for j in range(q):
                multiplier[j] -= sign * step * r[j]
            entering += sign * step
            if free:
                for i in range(q, p):
                    for j in range(p):
                        z[j] -= sign * step * d[i] * basis[i, j]
            if leaving >= 0:
                gone = working[leaving]
                place[gone] = OFF if -sign * r[leaving] < 0 else UPPER
                remove(R, working, multiplier, q, leaving, d, r)
                for k in range(leaving, q - 1):
                    _rotate(basis, k, ZERO, p, d[k], r[k])
                q -= 1
                continue
            if bounded:
                place[row] = UPPER if sign > 0 else OFF
            else:
                _append(basis, R, d, q)
                working[q], multiplier[q], place[row] = row, entering, WORKING
                q += 1
            break


@part
def is_certificate(M, b, tolerance, working, r, q, row):
    """Whether ``y >= 0`` (1 on ``row``, ``-r`` on W) has ``M'y = 0`` and ``b'y < 0`` to rounding."""
    total, gap, slackness = 1.0, b[row], tolerance[row]
    for j in range(q):
        y = max(-r[j], 0.0)
        total += y
        gap += y * b[working[j]]
        slackness += y * tolerance[working[j]]
    worst = 0.0
    for k in range(M.shape[1]):
        v = M[row, k]
        for j in range(q):
            v += max(-r[j], 0.0) * M[working[j], k]
        worst = max(worst, abs(v))
    return worst <= 1e-8 * total and gap < 0.1 * slackness


@part
def worst_residual(M, b, tolerance, place, z):
    """Largest violation in units of its tolerance over rows that must hold; NaN stays NaN."""
    worst = 0.0
    for i in range(M.shape[0]):
        if place[i] == UPPER:
            continue
        s = -b[i]
        for j in range(M.shape[1]):
            s += M[i, j] * z[j]
        if not s <= worst * tolerance[i]:
            worst = s / tolerance[i]
    return worst
