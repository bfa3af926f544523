"""Dual active-set method for least-distance problems, and the label computed from its active set.

``min 1/2 ||z||^2`` subject to ``M z <= b``, where a row may carry an upper bound on its multiplier
(an exact L1 penalty on its violation). Goldfarb and Idnani, "A numerically stable dual method for
solving strictly convex quadratic programs", Math. Programming 27 (1983): from ``z = 0`` the most
violated row enters, multipliers stay nonnegative, and the dual value rises at every step until no
row is violated or a combination of rows proves that no z satisfies them all.

Working set W of q rows: ``M_W' = Q_1 R`` with the basis vectors as rows of ``basis``. Entering row
m with multiplier growing at rate 1: ``d = basis m``, ``dlambda_W = -R^-1 d_1``, ``dz = -Q_2 d_2``.
A row is in one of three places: off (multiplier 0), in W, or at its upper bound.
"""

import numpy as np

from mpc.kernels.compilation import kernel, part

OFF, WORKING, UPPER = 0, 1, 2
OPTIMAL, INFEASIBLE, ITERATION_LIMIT, BROKEN = 2, -1, -3, -4
_DEPENDENT = 1e-10  # a unit row whose part outside the working set is shorter depends on it


@part
def _most_violated(M, b, tolerance, z, place):
    """Row furthest beyond its tolerance and the sign of its multiplier's change; -1 for none."""
    worst, row, sign = 0.0, -1, 1.0
    for i in range(M.shape[0]):
        if place[i] == WORKING:
            continue
        s = -b[i]
        for j in range(M.shape[1]):
            s += M[i, j] * z[j]
        if place[i] == UPPER:
            s = -s
        if s > tolerance[i] and s > worst:
            worst, row = s, i
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
def _remove(basis, R, working, multiplier, q, leaving):
    """Delete column ``leaving`` of the factorisation by plane rotations."""
    for j in range(leaving, q - 1):
        working[j] = working[j + 1]
        multiplier[j] = multiplier[j + 1]
        for i in range(j + 2):
            R[i, j] = R[i, j + 1]
    for k in range(leaving, q - 1):
        a, e = R[k, k], R[k + 1, k]
        radius = np.sqrt(a * a + e * e)
        if radius == 0.0:
            continue
        c, s = a / radius, e / radius
        for j in range(k, q - 1):
            upper, lower = R[k, j], R[k + 1, j]
            R[k, j] = c * upper + s * lower
            R[k + 1, j] = c * lower - s * upper
        for j in range(basis.shape[1]):
            upper, lower = basis[k, j], basis[k + 1, j]
            basis[k, j] = c * upper + s * lower
            basis[k + 1, j] = c * lower - s * upper


@part
def _active_set(M, b, tolerance, upper, limit, z, place, working, multiplier, basis, R, d, r):
    """Run the method from z = 0; returns (outcome, q, row that proves infeasibility, iterations)."""
    p = M.shape[1]
    z[:] = 0.0
    place[:] = OFF
    basis[:, :] = 0.0
    for i in range(p):
        basis[i, i] = 1.0
    q, iterations = 0, 0
    while True:
        row, sign = _most_violated(M, b, tolerance, z, place)
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
            leaving, bounded = -1, own < step
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
                _remove(basis, R, working, multiplier, q, leaving)
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
def _is_certificate(M, b, tolerance, working, r, q, row):
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
def _orthonormal(rows, own, q, skip_below):
    """Orthonormalise the first ``own`` columns of ``rows[:q]`` in order, carrying the other columns.

    Two passes of modified Gram-Schmidt. A row whose remainder is shorter than ``skip_below`` is set
    to zero. With ``rows = [M_W | rhs]`` the carried columns become ``R'^-1 rhs``.
    """
    width = rows.shape[1]
    for i in range(q):
        for _ in range(2):
            for k in range(i):
                overlap = 0.0
                for j in range(own):
                    overlap += rows[i, j] * rows[k, j]
                for j in range(width):
                    rows[i, j] -= overlap * rows[k, j]
        length = 0.0
        for j in range(own):
            length += rows[i, j] * rows[i, j]
        length = np.sqrt(length)
        inverse = 1.0 / length if length > skip_below else 0.0
        for j in range(width):
            rows[i, j] *= inverse


@part
def _label(x, M, E, b, upper, place, order, q, m, K0, T0, P0, z, rows, u, dudx, gradient):
    """Action, Jacobian, value, its gradient and plain cost from the active set alone.

    ``M_W' = Q_1 R``: ``z = z_U + Q_1 R'^-1 (b_W - M_W z_U)`` with ``z_U = -sum upper_i m_i`` over the
    rows at their upper bound, ``dz/dx = Q_1 R'^-1 E_W``, ``u_0 = K_0 x + L_0'^-1 z_0``,
    ``V = x'P_0 x + ||z||^2 + 2 sum upper_i (m_i z - b_i)``.
    """
    c, p = M.shape
    n = x.shape[0]
    z[:] = 0.0
    for i in range(c):
        if place[i] == UPPER:
            for j in range(p):
                z[j] -= upper[i] * M[i, j]
    for k in range(q):
        i = order[k]
        target = b[i]
        for j in range(p):
            rows[k, j] = M[i, j]
            target -= M[i, j] * z[j]
        for a in range(n):
            rows[k, p + a] = E[i, a]
        rows[k, p + n] = target
    _orthonormal(rows, p, q, 0.0)
    for k in range(q):
        for j in range(p):
            z[j] += rows[k, p + n] * rows[k, j]
    for a in range(n):
        for i in range(m):
            dudx[i, a] = K0[i, a]
        g = 0.0
        for e in range(n):
            g += P0[a, e] * x[e]
        gradient[a] = 2.0 * g
        for k in range(q):
            gradient[a] += 2.0 * rows[k, p + a] * _dot_row(rows, k, z, p)
            for i in range(m):
                for j in range(m):
                    dudx[i, a] += T0[i, j] * rows[k, j] * rows[k, p + a]
    for i in range(m):
        u[i] = 0.0
        for a in range(n):
            u[i] += K0[i, a] * x[a]
        for j in range(m):
            u[i] += T0[i, j] * z[j]
    cost = 0.0
    for a in range(n):
        for e in range(n):
            cost += x[a] * P0[a, e] * x[e]
    for j in range(p):
        cost += z[j] * z[j]
    value = cost
    for i in range(c):
        if place[i] == UPPER:
            violation = -b[i]
            for j in range(p):
                violation += M[i, j] * z[j]
            value += 2.0 * upper[i] * violation
            for a in range(n):
                slope = -E[i, a]
                for k in range(q):
                    slope += _dot_row(rows, k, M[i], p) * rows[k, p + a]
                gradient[a] += 2.0 * upper[i] * slope
    return value, cost


@part
def _dot_row(rows, k, v, p):
    total = 0.0
    for j in range(p):
        total += rows[k, j] * v[j]
    return total


@part
def _curvature(M, stage, order, q, m, L0, rows, curvature):
    """``2 L_0 (I + M_0'(M_l M_l')^-1 M_0) L_0'``: d2Q/du_0^2 with the active rows of stages >= 1 held.

    ``M_l`` and ``M_0`` are the parts of those rows on the later inputs and on the first. A row that
    the later inputs cannot move, or that depends on the rows before it, has no say.
    """
    p = M.shape[1]
    later, count = p - m, 0
    for k in range(q):
        if stage[order[k]] >= 1:
            for j in range(later):
                rows[count, j] = M[order[k], m + j]
            for j in range(m):
                rows[count, later + j] = M[order[k], j]
            for j in range(p, rows.shape[1]):
                rows[count, j] = 0.0
            count += 1
    _orthonormal(rows, later, count, 1e-9)
    for a in range(m):
        for e in range(m):
            curvature[a, e] = 0.0
            for i in range(m):
                for j in range(m):
                    inner = 1.0 if i == j else 0.0
                    for k in range(count):
                        inner += rows[k, later + i] * rows[k, later + j]
                    curvature[a, e] += 2.0 * L0[a, i] * inner * L0[e, j]


@part
def _sort(working, order, q):
    """The working set in ascending order: the canonical order of every label."""
    for i in range(q):
        order[i] = working[i]
    for i in range(1, q):
        row, k = order[i], i - 1
        while k >= 0 and order[k] > row:
            order[k + 1] = order[k]
            k -= 1
        order[k + 1] = row


@part
def _worst_residual(M, b, tolerance, place, z):
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


@kernel(
    "void(int64, int64, f8[:,::1], f8[:,::1], f8[::1], f8[:,::1], f8[::1], i8[::1], f8[::1], f8[:,::1],"
    " f8[:,::1], f8[:,::1], f8[:,::1], int64, i1[::1], f8[:,::1], f8[:,:,::1], f8[::1], f8[:,::1],"
    " f8[:,:,::1], f8[::1], f8[::1], f8[:,::1], f8[:,::1], i8[::1])"
)
def label_states(
    start, stop, x, M, w, E, norms, stage, upper, K0, T0, L0, P0, limit,
    status, u, dudx, value, gradient, curvature, cost, slack, plans, multipliers, iterations,
):  # fmt: skip
    """Solve and label the states ``x[start:stop]``; ``plans`` and ``multipliers`` may have no columns.

    For an infeasible state ``multipliers`` holds a certificate: y >= 0 with M'y = 0, (w + E x)'y < 0.
    """
    c, p = M.shape
    n, m = x.shape[1], K0.shape[0]
    b, tolerance, place = np.empty(c), np.empty(c), np.empty(c, np.int8)
    z, d, r = np.empty(p), np.empty(p), np.empty(p)
    working, order, multiplier = np.empty(p, np.int64), np.empty(p, np.int64), np.empty(p)
    basis, R, rows = np.empty((p, p)), np.zeros((p, p)), np.empty((p, p + n + 1))
    for s in range(start, stop):
        if not np.isfinite(x[s]).all():
            status[s] = -5
            continue
        for i in range(c):
            b[i], scale = w[i], abs(w[i])
            for a in range(n):
                b[i] += E[i, a] * x[s, a]
                scale += abs(E[i, a] * x[s, a])
            tolerance[i] = 1e-10 * scale + 1e-300
        outcome, q, row, used = _active_set(
            M, b, tolerance, upper, limit, z, place, working, multiplier, basis, R, d, r
        )
        iterations[s] = used
        if outcome == INFEASIBLE:
            if not _is_certificate(M, b, tolerance, working, r, q, row):
                outcome = BROKEN
            elif multipliers.shape[1]:
                multipliers[s, :] = 0.0
                multipliers[s, row] = 1.0
                for j in range(q):
                    multipliers[s, working[j]] = max(-r[j], 0.0)
        if outcome == OPTIMAL:
            if multipliers.shape[1]:
                for i in range(c):
                    multipliers[s, i] = upper[i] if place[i] == UPPER else 0.0
                for j in range(q):
                    multipliers[s, working[j]] = multiplier[j]
            _sort(working, order, q)
            value[s], cost[s] = _label(
                x[s], M, E, b, upper, place, order, q, m, K0, T0, P0, z, rows, u[s], dudx[s], gradient[s]
            )
            if not _worst_residual(M, b, tolerance, place, z) <= 100.0:
                outcome = BROKEN
            _curvature(M, stage, order, q, m, L0, rows, curvature[s])
            slack[s] = 0.0
            for i in range(c):
                if place[i] == UPPER:
                    violation = -b[i]
                    for j in range(p):
                        violation += M[i, j] * z[j]
                    slack[s] = max(slack[s], violation * norms[i])
                    if outcome == OPTIMAL and violation > tolerance[i]:
                        outcome = 1
            for j in range(plans.shape[1]):
                plans[s, j] = z[j]
        status[s] = outcome


@kernel("void(int64, int64, f8[:,::1], f8[:,::1], f8[::1], i1[::1], f8[:,::1], f8[:,:,::1])")
def project_rows(start, stop, points, M, w, status, u, tangent):
    """Euclidean projections of ``points[start:stop]`` onto ``M u <= w`` and their derivatives.

    ``u = point + z`` with ``z = argmin ||z||^2`` over ``M z <= w - M point``; the derivative is the
    projector ``I - Q_1 Q_1'`` onto the face.
    """
    c, p = M.shape
    b, tolerance, upper, place = np.empty(c), np.empty(c), np.full(c, np.inf), np.empty(c, np.int8)
    z, d, r = np.empty(p), np.empty(p), np.empty(p)
    working, order, multiplier = np.empty(p, np.int64), np.empty(p, np.int64), np.empty(p)
    basis, R, rows = np.empty((p, p)), np.zeros((p, p)), np.empty((p, p + 1))
    for s in range(start, stop):
        if not np.isfinite(points[s]).all():
            status[s] = -5
            continue
        for i in range(c):
            b[i], scale = w[i], abs(w[i])
            for a in range(p):
                b[i] -= M[i, a] * points[s, a]
                scale += abs(M[i, a] * points[s, a])
            tolerance[i] = 1e-13 * scale + 1e-300
        outcome, q, _, _ = _active_set(
            M, b, tolerance, upper, 100 + 10 * (c + p), z, place, working, multiplier, basis, R, d, r
        )
        status[s] = outcome
        if outcome != OPTIMAL:
            continue
        _sort(working, order, q)
        for k in range(q):
            for j in range(p):
                rows[k, j] = M[order[k], j]
            rows[k, p] = b[order[k]]
        _orthonormal(rows, p, q, 0.0)
        for i in range(p):
            u[s, i] = points[s, i]
            for k in range(q):
                u[s, i] += rows[k, p] * rows[k, i]
            for j in range(p):
                tangent[s, i, j] = 1.0 if i == j else 0.0
                for k in range(q):
                    tangent[s, i, j] -= rows[k, i] * rows[k, j]
