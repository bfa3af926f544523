"""Stage-wise interior-point method for the recentred log-barrier problem of fixed weight.

    min  sum_k u_k'R u_k + x_{k+1}'Q_{k+1} x_{k+1} - eta sum_i log s_i + eta sum_k d_k'u_k
    x_{k+1} = A x_k + B u_k,   C_k x_k + D_k u_k + s_k = h_k

Primal-dual: ``s_i lambda_i = eta`` for each row. Slacks may start infeasible, the dynamics never are.
Eliminating ``ds, dlambda`` leaves an LQR problem in ``(dx, du)`` with weights ``2Q + C'(lambda/s)C``:
one Riccati sweep factorises it, two backward-forward passes give Mehrotra's predictor and corrector
(S. Mehrotra, SIAM J. Optim. 2 (1992); Rao, Wright, Rawlings, JOTA 99 (1998)). A last factorisation
made at the solution, with ``lambda/s = eta/s^2``, gives the label:

    du_0/dx_0 = -Huu^-1 Hux,   d2Q/du_0^2 = Huu,   dV/dx_0 = A'p_1 + C_0'(eta/s_0)

with p the costate. Rows of stage k stand at ``offset[k] : offset[k+1]`` of the stacked rows.
"""

import numpy as np

from mpc.kernels.compilation import kernel, part

OPTIMAL, ITERATION_LIMIT, BROKEN = 2, -3, -4


@part
def _factorise(A, B, Q, R, Qf, C, D, offset, weight, P, K, H, Hux):
    """Riccati sweep with row weights; P (N+1,n,n), gains K, lower Cholesky factors H of Huu.

    Returns False where Huu is not positive definite.
    """
    N, m, n = K.shape
    for a in range(n):
        for e in range(n):
            P[N, a, e] = 2.0 * Qf[a, e]
    _add_rows(P[N], C, C, offset[N], offset[N + 1], weight)
    PA, PB = np.empty((n, n)), np.empty((n, m))
    for k in range(N - 1, -1, -1):
        for a in range(n):
            for e in range(n):
                total = 0.0
                for j in range(n):
                    total += P[k + 1, a, j] * A[j, e]
                PA[a, e] = total
            for e in range(m):
                total = 0.0
                for j in range(n):
                    total += P[k + 1, a, j] * B[j, e]
                PB[a, e] = total
        for a in range(m):
            for e in range(m):
                total = 2.0 * R[a, e]
                for j in range(n):
                    total += B[j, a] * PB[j, e]
                H[k, a, e] = total
            for e in range(n):
                total = 0.0
                for j in range(n):
                    total += B[j, a] * PA[j, e]
                Hux[k, a, e] = total
        for a in range(n):
            for e in range(n):
                total = 2.0 * Q[a, e] if k > 0 else 0.0
                for j in range(n):
                    total += A[j, a] * PA[j, e]
                P[k, a, e] = total
        _add_rows(H[k], D, D, offset[k], offset[k + 1], weight)
        _add_rows(Hux[k], D, C, offset[k], offset[k + 1], weight)
        _add_rows(P[k], C, C, offset[k], offset[k + 1], weight)
        if not _cholesky(H[k]):
            return False
        for e in range(n):
            for a in range(m):
                total = Hux[k, a, e]
                for j in range(a):
                    total -= H[k, a, j] * K[k, j, e]
                K[k, a, e] = total / H[k, a, a]
        for a in range(n):  # P -= Hux' Huu^-1 Hux, from the half-solved K
            for e in range(a + 1):
                total = 0.5 * (P[k, a, e] + P[k, e, a])
                for j in range(m):
                    total -= K[k, j, a] * K[k, j, e]
                P[k, a, e] = total
                P[k, e, a] = total
        for e in range(n):
            for a in range(m - 1, -1, -1):
                total = K[k, a, e]
                for j in range(a + 1, m):
                    total -= H[k, j, a] * K[k, j, e]
                K[k, a, e] = total / H[k, a, a]
        for a in range(m):
            for e in range(n):
                K[k, a, e] = -K[k, a, e]
    return True


@part
def _add_rows(target, left, right, start, stop, weight):
    """``target += left' diag(weight) right`` over some rows."""
    for i in range(start, stop):
        for a in range(target.shape[0]):
            scaled = left[i, a] * weight[i]
            if scaled != 0.0:
                for e in range(target.shape[1]):
                    target[a, e] += scaled * right[i, e]


@part
def _cholesky(H):
    """Lower Cholesky factor in place; False where a pivot is not positive (or NaN)."""
    for a in range(H.shape[0]):
        for e in range(a + 1):
            total = H[a, e]
            for j in range(e):
                total -= H[a, j] * H[e, j]
            if a == e:
                if not total > 0.0:
                    return False
                H[a, a] = np.sqrt(total)
            else:
                H[a, e] = total / H[e, e]
    return True


@part
def _solve_factor(H, v):
    """``v <- Huu^-1 v`` with the Cholesky factor."""
    m = v.shape[0]
    for a in range(m):
        for j in range(a):
            v[a] -= H[a, j] * v[j]
        v[a] /= H[a, a]
    for a in range(m - 1, -1, -1):
        for j in range(a + 1, m):
            v[a] -= H[j, a] * v[j]
        v[a] /= H[a, a]


@part
def _newton(A, B, Q, R, Qf, C, D, offset, recentre, x, u, push, K, H, Hux, p, du, dx):
    """Newton direction for the rows' gradient ``C'push``: costates backward, ``du, dx`` forward.

    The costate left in ``p[k]`` is the gradient of the remaining
    model with respect to ``dx_k`` at ``dx_k = 0``.
    """
    N, m, n = K.shape
    for a in range(n):
        p[N, a] = 0.0
        for e in range(n):
            p[N, a] += 2.0 * Qf[a, e] * x[N, e]
        for i in range(offset[N], offset[N + 1]):
            p[N, a] += C[i, a] * push[i]
    for k in range(N - 1, -1, -1):
        for a in range(m):
            g = recentre[k, a]
            for e in range(m):
                g += 2.0 * R[a, e] * u[k, e]
            for e in range(n):
                g += B[e, a] * p[k + 1, e]
            for i in range(offset[k], offset[k + 1]):
                g += D[i, a] * push[i]
            du[k, a] = -g
        _solve_factor(H[k], du[k])
        for a in range(n):
            g = 0.0
            for e in range(n):
                g += A[e, a] * p[k + 1, e]
                if k > 0:
                    g += 2.0 * Q[a, e] * x[k, e]
            for i in range(offset[k], offset[k + 1]):
                g += C[i, a] * push[i]
            for j in range(m):
                g += Hux[k, j, a] * du[k, j]
            p[k, a] = g
    dx[0, :] = 0.0
    for k in range(N):
        for a in range(m):
            for e in range(n):
                du[k, a] += K[k, a, e] * dx[k, e]
        for a in range(n):
            total = 0.0
            for e in range(n):
                total += A[a, e] * dx[k, e]
            for e in range(m):
                total += B[a, e] * du[k, e]
            dx[k + 1, a] = total


@part
def _row_values(C, D, offset, x, u, out):
    """``out_i = C_i x_k + D_i u_k`` for every row."""
    N, m = u.shape
    for k in range(N + 1):
        for i in range(offset[k], offset[k + 1]):
            total = 0.0
            for a in range(C.shape[1]):
                total += C[i, a] * x[k, a]
            if k < N:
                for a in range(m):
                    total += D[i, a] * u[k, a]
            out[i] = total


@part
def _step_length(v, dv, fraction):
    """Largest step in (0, 1] that keeps ``v + step dv >= (1 - fraction) v``."""
    step = 1.0
    for i in range(v.shape[0]):
        if dv[i] < 0.0:
            step = min(step, -fraction * v[i] / dv[i])
    return step


@part
def _rollout(A, B, K, x0, x, u):
    """The unconstrained finite-horizon LQR plan: the starting point."""
    N, m, n = K.shape
    x[0] = x0
    for k in range(N):
        for a in range(m):
            u[k, a] = 0.0
            for e in range(n):
                u[k, a] += K[k, a, e] * x[k, e]
        for a in range(n):
            x[k + 1, a] = 0.0
            for e in range(n):
                x[k + 1, a] += A[a, e] * x[k, e]
            for e in range(m):
                x[k + 1, a] += B[a, e] * u[k, e]


@part
def _plan_cost(Q, R, Qf, x, u):
    """The plain ``V`` of a plan."""
    N, m = u.shape
    total = 0.0
    for k in range(N):
        for a in range(m):
            for e in range(m):
                total += u[k, a] * R[a, e] * u[k, e]
        for a in range(Q.shape[0]):
            for e in range(Q.shape[0]):
                total += x[k + 1, a] * (Q[a, e] if k < N - 1 else Qf[a, e]) * x[k + 1, e]
    return total


@part
def _central_step(s, lam, ds, dlam, eta, step):
    """Shorten a step until no product falls far behind the mean: a lone tiny product stops all progress."""
    c = s.shape[0]
    for _ in range(30):
        mean, least = 0.0, np.inf
        for i in range(c):
            product = (s[i] + step * ds[i]) * (lam[i] + step * dlam[i])
            mean += product
            least = min(least, product)
        if least >= 1e-3 * min(mean / c, eta) or least >= 1e-3 * mean / c:
            return step
        step *= 0.8
    return step


@part
def _interior_point(
    A, B, Q, R, Qf, C, D, h, offset, recentre, eta, limit, x, u, s, lam, P, K, H, Hux, p, du, dx, rows, work
):  # fmt: skip
    """Drive ``s lambda`` to eta from the plan in (x, u); returns (outcome, iterations).

    Done when the rows hold to rounding, every product is within 1e-8 of eta and the Newton step no
    longer moves the inputs: quadratic convergence makes the next step the last digit.
    """
    c, (N, m) = h.shape[0], u.shape
    n = A.shape[0]
    push, weight, ds, dlam, residual = work[0], work[1], work[2], work[3], work[4]
    _row_values(C, D, offset, x, u, rows)
    hidden = 1.0  # how far the start is outside, in units of the bounds
    for i in range(c):
        s[i] = max(h[i] - rows[i], 0.1 * h[i])
        hidden = max(hidden, (s[i] + rows[i] - h[i]) / h[i])
    start = max(eta * hidden, 0.1 * _plan_cost(Q, R, Qf, x, u) / max(c, 1))
    for i in range(c):
        lam[i] = start / s[i]
    settled, last = 0, 1.0
    for iteration in range(limit):
        mean, worst, gap = 0.0, 0.0, 0.0
        for i in range(c):
            residual[i] = rows[i] + s[i] - h[i]
            product = s[i] * lam[i]
            mean += product
            worst = max(worst, abs(residual[i]) / (abs(h[i]) + abs(rows[i]) + 1e-300))
            gap = max(gap, abs(product - eta))
            weight[i] = lam[i] / s[i]
            push[i] = (eta + lam[i] * residual[i]) / s[i]
        mean /= max(c, 1)
        if not (mean < 1e300 and worst < 1e300):
            return BROKEN, iteration
        if not _factorise(A, B, Q, R, Qf, C, D, offset, weight, P, K, H, Hux):
            return BROKEN, iteration
        _newton(A, B, Q, R, Qf, C, D, offset, recentre, x, u, push, K, H, Hux, p, du, dx)
        _row_values(C, D, offset, dx, du, rows)
        for i in range(c):
            ds[i] = -residual[i] - rows[i]
            dlam[i] = (eta - s[i] * lam[i] - lam[i] * ds[i]) / s[i]
        near = mean <= 3.0 * eta and worst <= 1e-8
        if not near:
            step = min(_step_length(s, ds, 1.0), _step_length(lam, dlam, 1.0))
            predicted = 0.0
            for i in range(c):
                predicted += (s[i] + step * ds[i]) * (lam[i] + step * dlam[i])
            predicted /= max(c, 1)
            ratio = max(predicted, 0.0) / mean
            target = max(eta, min(ratio * ratio * ratio, 1.0) * mean)
            if step < 0.1 or last < 0.1:
                target = max(eta, (3.0 if worst > 1e-8 else 1.0) * mean)
            for i in range(c):
                aim = target - (ds[i] * dlam[i] if step > 0.3 else 0.0)
                aim = min(max(aim, 0.1 * target), 10.0 * max(target, mean))
                push[i] = (aim + lam[i] * residual[i]) / s[i]
                work[5, i] = aim
            _newton(A, B, Q, R, Qf, C, D, offset, recentre, x, u, push, K, H, Hux, p, du, dx)
            _row_values(C, D, offset, dx, du, rows)
            for i in range(c):
                ds[i] = -residual[i] - rows[i]
                dlam[i] = (work[5, i] - s[i] * lam[i] - lam[i] * ds[i]) / s[i]
        step = min(_step_length(s, ds, 0.995), _step_length(lam, dlam, 0.995))
        step = _central_step(s, lam, ds, dlam, eta, step)
        last, move = step, 0.0
        for i in range(c):
            move = max(move, abs(rows[i]) / s[i])
        for k in range(N):
            for a in range(m):
                u[k, a] += step * du[k, a]
            for a in range(n):
                x[k + 1, a] += step * dx[k + 1, a]
        for i in range(c):
            s[i] += step * ds[i]
            lam[i] += step * dlam[i]
        _row_values(C, D, offset, x, u, rows)
        if gap <= 1e-8 * eta and worst <= 1e-11 and move <= 1e-9:
            return OPTIMAL, iteration + 1
        if gap <= 1e-6 * eta and worst <= 1e-9 and move <= 1e-7:
            settled += 1  # rounding keeps it from the last digit
            if settled == 5:
                return OPTIMAL, iteration + 1
    return ITERATION_LIMIT, limit


@kernel(
    "void(int64, int64, f8[:,::1], f8[:,::1], f8[:,::1], f8[:,::1], f8[:,::1], f8[:,::1], f8[:,::1],"
    " f8[:,::1], f8[::1], i8[::1], f8[:,::1], f8[:,:,::1], float64, int64, i1[::1], f8[:,::1], f8[:,:,::1],"
    " f8[::1], f8[:,::1], f8[:,:,::1], f8[::1], f8[:,:,::1], i8[::1])"
)
def label_states(
    start, stop, x0, A, B, Q, R, Qf, C, D, h, offset, d, gains, eta, limit,
    status, u0, dudx, value, gradient, curvature, cost, plans, iterations,
):  # fmt: skip
    """Solve and label the states ``x0[start:stop]``; ``plans (B, N, m)`` may have length 0."""
    N, m, n = gains.shape
    c = h.shape[0]
    x, u, dx, du = np.empty((N + 1, n)), np.empty((N, m)), np.empty((N + 1, n)), np.empty((N, m))
    s, lam, rows, work = np.empty(c), np.empty(c), np.empty(c), np.empty((6, c))
    P, K, p = np.empty((N + 1, n, n)), np.empty((N, m, n)), np.empty((N + 1, n))
    H, Hux = np.empty((N, m, m)), np.empty((N, m, n))
    recentre = eta * d
    for t in range(start, stop):
        if not np.isfinite(x0[t]).all():
            status[t] = -5
            continue
        _rollout(A, B, gains, x0[t], x, u)
        outcome, used = _interior_point(
            A, B, Q, R, Qf, C, D, h, offset, recentre, eta, limit,
            x, u, s, lam, P, K, H, Hux, p, du, dx, rows, work,
        )  # fmt: skip
        iterations[t] = used
        push, weight = work[0], work[1]
        if outcome == OPTIMAL:
            for i in range(c):
                s[i] = h[i] - rows[i]
                if not s[i] > 0.0:
                    outcome = BROKEN
                push[i] = eta / s[i]
                weight[i] = push[i] / s[i]
        if outcome == OPTIMAL and not _factorise(A, B, Q, R, Qf, C, D, offset, weight, P, K, H, Hux):
            outcome = BROKEN
        status[t] = outcome
        if outcome != OPTIMAL:
            continue
        _newton(A, B, Q, R, Qf, C, D, offset, recentre, x, u, push, K, H, Hux, p, du, dx)
        u0[t] = u[0]
        plain, barrier = _plan_cost(Q, R, Qf, x, u), 0.0
        for k in range(N):
            for a in range(m):
                barrier += recentre[k, a] * u[k, a]
        for i in range(c):
            barrier -= eta * np.log(s[i])
        value[t], cost[t] = plain + barrier, plain
        for a in range(m):
            for e in range(n):
                dudx[t, a, e] = K[0, a, e]
            for e in range(m):
                total = 0.0
                for j in range(min(a, e) + 1):
                    total += H[0, a, j] * H[0, e, j]
                curvature[t, a, e] = total
        for a in range(n):
            gradient[t, a] = p[0, a]
        for k in range(plans.shape[1]):
            for a in range(m):
                plans[t, k, a] = u[k, a]
