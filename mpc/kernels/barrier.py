"""Stage-wise interior-point method for the recentred log-barrier problem of fixed weight, in lanes.

    min  sum_k u_k'R u_k + x_{k+1}'Q_{k+1} x_{k+1} - eta sum_i log s_i + eta sum_k d_k'u_k
    x_{k+1} = A x_k + B u_k,   C_k x_k + D_k u_k + s_k = h_k

Primal-dual: ``s_i lambda_i = eta`` for each row. Slacks may start infeasible, the dynamics never are.
Eliminating ``ds, dlambda`` leaves an LQR problem in ``dz_k = (du_k, dx_k)`` with the weights ``lambda/s``
of the rows in its Hessians: one Riccati sweep factorises it (``mpc.kernels.riccati``), two solves give
Mehrotra's predictor and corrector (S. Mehrotra, SIAM J. Optim. 2 (1992); Rao, Wright, Rawlings, JOTA 99
(1998)). The factorisation met at the solution, with ``lambda/s = eta/s^2``, gives the label:

    du_0/dx_0 = -Huu^-1 Hux,   d2Q/du_0^2 = Huu,   dV/dx_0 = A'p_1 + C_0'(eta/s_0)

with p the costate. WIDTH states are solved at once (``mpc.kernels.lanes``); a lane whose state is done is
given the next state at once, so no lane waits for a slow neighbour, and each lane does exactly what it
would do alone. Rows of stage k stand at ``offset[k] : offset[k+1]`` of the stacked rows; row i has the
numbers ``coefficient[t]`` at the places ``place[t]`` of ``z = (u, x)``, ``t`` in ``start[i] : start[i+1]``.

A state starts from the plan of unconstrained LQR, with each row where it alone would settle.
"""

import numpy as np

from mpc.kernels.compilation import inlined, kernel, part
from mpc.kernels.lane_algebra import BROAD, TALL, whole
from mpc.kernels.lanes import WIDTH, absolute, aligned, any_lane, lanes, least, load, most, select, store
from mpc.kernels.plant import PLANT, finite, follow
from mpc.kernels.riccati import factorise, newton, slope

OPTIMAL, ITERATION_LIMIT, BROKEN, INVALID = 2, -3, -4, -5
_RUNS, _FOLLOWS, _NEXT = 0, 3, 4  # a lane goes on, takes the state that its input led to, or another one
_TOGETHER = 16  # slacks that share a logarithm; their product must not leave the range of a double
_VIOLATION = 0.2  # of the cost of the worst violated row: the barrier weight to start from
_ROUNDING = 1e-10  # rows hold when they do to this fraction; a full Newton step makes it far less


@inlined
def _row(i, z, k, start, place, coefficient):
    """The value of one row at ``z_k``."""
    t = lanes(0.0)
    for a in range(start[i], start[i + 1]):
        t = t + load(z, k, place[a]) * coefficient[a]
    return t


@part
def _residuals(z, h, eta, offset, start, place, coefficient, s, lam, residual, inverse, weight, push):
    """Everything about the rows at the present point; one division a row.

    Returns the mean product ``s lambda``, its largest distance from eta, and whether all rows hold to
    rounding. Leaves ``1/(s lambda)`` in inverse and the predictor's ``push``.
    """
    N, c = z.shape[0] - 1, h.shape[0]
    total, gap, inside = lanes(0.0), lanes(0.0), lanes(1.0)
    for k in range(N + 1):
        for i in range(offset[k], offset[k + 1]):
            value, slack, multiplier = _row(i, z, k, start, place, coefficient), load(s, i), load(lam, i)
            outside, both = value + slack - h[i], slack * multiplier
            inside = select(absolute(outside) <= _ROUNDING * (absolute(value) + h[i]), inside, 0.0)
            total = total + both
            gap = most(gap, absolute(both - eta))
            r = 1.0 / both
            t = multiplier * r
            store(residual, outside, i)
            store(inverse, r, i)
            store(weight, multiplier * t, i)
            store(push, (eta + multiplier * outside) * t, i)
    return total / max(c, 1), gap, inside


@part
def _predict(dz, eta, offset, start, place, coefficient, s, lam, residual, inverse, product_change):
    """The affine step: ``1 /`` the longest step, the largest relative move of a slack, and the sum and the
    largest of ``|ds dlambda|``, which is what a full step adds to the products."""
    N = dz.shape[0] - 1
    longest, move, total, largest = lanes(1.0), lanes(0.0), lanes(0.0), lanes(0.0)
    for k in range(N + 1):
        for i in range(offset[k], offset[k + 1]):
            change = _row(i, dz, k, start, place, coefficient)
            multiplier, r = load(lam, i), load(inverse, i)
            inv_s = multiplier * r
            ds = -(load(residual, i) + change)
            relative = ds * inv_s  # ds / s; dlambda / lambda = eta r - 1 - relative
            other = eta * r - 1.0 - relative
            longest = most(most(longest, -relative), -other)
            move = most(move, absolute(change * inv_s))
            both = ds * other * multiplier
            total = total + both
            largest = most(largest, absolute(both))
            store(product_change, both, i)
    return longest, move, total, largest


@part
def _targets(mean, eta, inner, step, last, mean_change, largest):
    """The mean product to go for, the most that one row may go for, and whether to correct (1) or not (0).

    Mehrotra's rule, squared, from what the affine step would reach. After steps that got stuck the aim is
    centrality; close to the end it is eta, with the correction only where it is small, for else it can cycle.
    """
    predicted = most(mean + step * (eta - mean) + step * step * mean_change, 0.0)
    target = most(eta, predicted * (predicted / mean))
    stuck = (step < 0.1) | (last < 0.1)
    target = select(stuck, most(eta, select(inner, mean, 3.0 * mean)), target)
    near = inner & (mean <= 3.0 * eta)
    target = select(near, eta, target)
    trusted = (near & (largest <= 0.25 * eta)) | (~near & (step > 0.1))
    return target, 10.0 * most(target, mean), select(trusted, lanes(1.0), 0.0)


@part
def _aim(target, most_aim, correct, lam, residual, inverse, aim, push):
    """What each product shall become: the target less Mehrotra's second-order term, within limits."""
    least_aim = 0.1 * target
    for i in range(aim.shape[0]):
        t = target - correct * load(aim, i)
        t = most(least(t, most_aim), least_aim)
        store(aim, t, i)
        multiplier = load(lam, i)
        store(push, (t + multiplier * load(residual, i)) * (multiplier * load(inverse, i)), i)


@part
def _direction(dz, offset, start, place, coefficient, lam, residual, inverse, aim, ds, dlam):
    """Steps of slacks and multipliers to the aims; returns ``1 /`` the longest step."""
    N = dz.shape[0] - 1
    longest = lanes(0.0)
    for k in range(N + 1):
        for i in range(offset[k], offset[k + 1]):
            change = _row(i, dz, k, start, place, coefficient)
            multiplier, r = load(lam, i), load(inverse, i)
            step = -(load(residual, i) + change)
            relative = step * (multiplier * r)
            other = load(aim, i) * r - 1.0 - relative
            longest = most(most(longest, -relative), -other)
            store(ds, step, i)
            store(dlam, multiplier * other, i)
    return longest


@part
def _central(s, lam, ds, dlam, eta, step):
    """Shorten a step until no product falls far behind the mean: a lone tiny product stops all progress."""
    c = s.shape[0]
    for _ in range(30):
        total, lowest = lanes(0.0), lanes(1e300)
        for i in range(c):
            t = (load(s, i) + step * load(ds, i)) * (load(lam, i) + step * load(dlam, i))
            total = total + t
            lowest = least(lowest, t)
        behind = lowest < 1e-3 * least(total / max(c, 1), eta)
        if not any_lane(behind):
            break
        step = select(behind, 0.8 * step, step)
    return step


@part
def _advance(v, dv, step):
    for i in range(v.shape[0]):
        store(v, load(v, i) + step * load(dv, i), i)


@part
def _optimum(z, dz, base, size, recentre, eta, h, offset, start, place, coefficient, slacks):
    """Plain ``V`` at ``z + dz``, dz a last short step, and ``eta d'u``; products of slacks, _TOGETHER each.

    ``V(z + dz) = sum (z/2 + dz)'H z`` up to ``dz'H dz / 2``, which is beyond rounding.
    """
    N, m = recentre.shape
    plain, linear, block = lanes(0.0), lanes(0.0), 0
    together, count = lanes(1.0), 0
    for k in range(N + 1):
        for a in range(0 if k < N else m, size):
            t, here, change = load(base, k, a), load(z, k, a), load(dz, k, a)
            if a < m:
                d = eta * recentre[k, a]
                t = t - d
                linear = linear + d * (here + change)
            plain = plain + t * (0.5 * here + change)
        for i in range(offset[k], offset[k + 1]):
            t = _row(i, z, k, start, place, coefficient) + _row(i, dz, k, start, place, coefficient)
            together = together * (h[i] - t)
            count += 1
            if count == _TOGETHER:
                store(slacks, together, block)
                together, count, block = lanes(1.0), 0, block + 1
    if count > 0:
        store(slacks, together, block)
    return plain, linear


@part
def _begin(lane, x0, plan, free, curvature, mu, z, s, lam):
    """Put a plan into a lane, with slacks and multipliers whose products are all ``mu``.

    Row by row as if it were alone: where the plan without the row leaves it the slack ``free`` (< 0:
    violated) and the cost has curvature ``1/curvature`` across it, the optimum of
    ``(s - free)^2 / (2 curvature) - mu log s`` is ``s = (free + sqrt(free^2 + 4 curvature mu)) / 2``.
    """
    n, size = x0.shape[0], plan.shape[0] // z.shape[0]
    for k in range(z.shape[0]):
        for a in range(size):
            z[k, a, lane] = plan[k * size + a]
    for a in range(n):
        z[0, size - n + a, lane] = x0[a]
    for i in range(free.shape[0]):
        four = 4.0 * curvature[i] * mu
        root = np.sqrt(free[i] * free[i] + four)
        free[i] = 0.5 * (free[i] + root) if free[i] > 0.0 else 0.5 * four / (root - free[i])
    for i in range(free.shape[0]):
        s[i, lane] = free[i]
        lam[i, lane] = mu / free[i]


@part
def _lqr_plan(x0, eta, rollout, reach, h, curvature, plan, free):
    """The plan of unconstrained LQR, the slacks it leaves, and a first barrier weight for it.

    The weight is a fraction of what the worst violated row would cost alone.
    """
    plan[:] = 0.0
    for i in range(free.shape[0]):
        free[i] = h[i]
    for a in range(x0.shape[0]):
        for j in range(plan.shape[0]):
            plan[j] += x0[a] * rollout[a, j]
        for i in range(free.shape[0]):
            free[i] -= x0[a] * reach[a, i]
    worst = 0.0
    for i in range(free.shape[0]):
        if free[i] < 0.0:
            worst = max(worst, free[i] * free[i] / curvature[i])
    return max(eta, _VIOLATION * worst)


@part
def _extract(t, lane, z, dz, F, S, p, u0, dudx, gradient, curvature, plans):
    """The label of a finished lane, from the factors of stage 0 and the last Newton step."""
    m, n = dudx.shape[1], dudx.shape[2]
    for a in range(m):
        u0[t, a] = z[0, a, lane] + dz[0, a, lane]
    for e in range(n):
        gradient[t, e] = p[e, lane]
        for j in range(m - 1, -1, -1):
            total = -F[0, m + e, j, lane]
            for i in range(j + 1, m):
                total -= F[0, i, j, lane] * dudx[t, i, e]
            dudx[t, j, e] = total
    for a in range(m):  # Huu = L D L', the columns of S hold L D
        for b in range(a + 1):
            total = S[a, b, lane]
            for j in range(b):
                total += F[0, b, j, lane] * S[a, j, lane]
            curvature[t, a, b] = total
            curvature[t, b, a] = total
    for k in range(plans.shape[1]):
        for a in range(m):
            plans[t, k, a] = z[k, a, lane] + dz[k, a, lane]


_DATA = (
    "Tuple((f8[:,::1], f8[:,::1], i8[::1], i8[::1], i8[::1], i8[::1], f8[::1], i8[::1], i8[::1], f8[::1],"
    " i8[::1], i8[::1], i8[::1], f8[::1], i8[::1], i8[::1], f8[::1], f8[::1], f8[:,::1], f8[:,::1],"
    " f8[:,::1], f8[::1]))"
)
_SCRATCH = (
    "Tuple((f8[:,:,::1], f8[:,:,::1], f8[:,:,::1], f8[:,:,:,::1], f8[:,:,::1], f8[:,:,::1], f8[:,:,::1],"
    " f8[:,:,::1], f8[:,:,::1], f8[:,::1], f8[:,::1], f8[:,::1], f8[:,:,::1], f8[:,::1]))"
)
_LABELS = (
    "Tuple((i1[::1], f8[:,::1], f8[:,:,::1], f8[::1], f8[:,::1], f8[:,:,::1], f8[::1], f8[:,:,::1], i8[::1]))"
)


@kernel(f"void(int64, int64, f8[:,::1], f8[::1], {PLANT}, {_DATA}, {_SCRATCH}, int64, {_LABELS})")
def label_states(first, stop, x, etas, plant, data, scratch, limit, labels):
    """Solve and label the states ``x[first:stop]`` with barrier weights ``etas``, or closed loops of them.

    ``plant`` makes the loops (``mpc.kernels.plant``), ``data`` comes from ``mpc.stages.StageProgram``,
    ``scratch`` from ``scratch_for``. ``labels`` are arrays over all states: status, u0, dudx, value,
    gradient, curvature, cost, plans ``(B, N or 0, m)``, iterations.
    """
    (
        AB, BA, cut, term_row, term_column, term_source, term_factor, hessian_start, hessian_place,
        hessian_value, offset, start, place, coefficient, column_start, column_row, column_value, h, recentre,
        rollout, reach, curvatures,
    ) = data  # fmt: skip
    steps, A, B, disturbance, bound = plant
    z, dz, base, F, pivots, w, P, PAB, S, p, g, single, rows, weight = scratch
    status, u0, dudx, value, gradient, curvature, cost, plans, iterations = labels
    N, n, c = recentre.shape[0], AB.shape[0], h.shape[0]
    blocks = (c + _TOGETHER - 1) // _TOGETHER
    size = BA.shape[0]
    s, lam, residual, inverse = rows[0], rows[1], rows[2], rows[3]
    push, aim, ds, dlam = rows[4], rows[5], rows[6], rows[7]
    etas_at, outcome, last, settled = single[0], single[1], single[2], single[3]
    plain_at, linear_at = single[4], single[5]
    store(weight, lanes(1.0), c)  # of the terms that come from the cost
    plan, free = np.empty((N + 1) * size), np.empty(c)
    state, used = np.full(WIDTH, -1), np.zeros(WIDTH, np.int64)
    following, busy = first, 0
    for lane in range(WIDTH):  # a lane without a state works on the origin
        etas_at[lane], plan[:] = 1.0, 0.0
        for i in range(c):
            free[i] = h[i]
        _begin(lane, plan[:n], plan, free, curvatures, 1.0, z, s, lam)
        outcome[lane] = _NEXT
    while True:
        for lane in range(WIDTH):
            if outcome[lane] == _RUNS:
                continue
            t = state[lane]
            busy -= t >= 0
            t = t + 1 if outcome[lane] == _FOLLOWS else -1
            if t < 0 and following < stop:
                t, following = following, following + steps
            while t >= 0 and not finite(x, t):
                status[t], t = INVALID, -1
                if following < stop:
                    t, following = following, following + steps
            state[lane], used[lane] = t, 0
            busy += t >= 0
            outcome[lane] = _RUNS
            if t < 0:
                continue
            etas_at[lane], last[lane], settled[lane] = etas[t], 1.0, 0.0
            mu = _lqr_plan(x[t], etas[t], rollout, reach, h, curvatures, plan, free)
            _begin(lane, x[t], plan, free, curvatures, mu, z, s, lam)
        if busy == 0:
            return
        eta = load(etas_at)
        mean, gap, held = _residuals(
            z, h, eta, offset, start, place, coefficient, s, lam, residual, inverse, weight, push
        )
        definite = factorise(
            AB, cut, term_row, term_column, term_source, term_factor, weight, F, pivots, P, PAB, S
        )
        slope(hessian_start, hessian_place, hessian_value, recentre, eta, z, base)
        newton(AB, BA, base, column_start, column_row, column_value, push, F, pivots, p, g, w, dz)
        longest, move, total, largest = _predict(
            dz, eta, offset, start, place, coefficient, s, lam, residual, inverse, aim
        )
        inner = held > 0.0
        # Steps this short square from one to the next, so four in a row are as short as rounding lets them
        # be: a slack of 1e-11 beside numbers of order one has only a few digits.
        close = inner & (gap <= 1e-6 * eta) & (move <= 1e-2)
        count = select(close, load(settled) + 1.0, 0.0)
        store(settled, count)
        done = close & (gap <= 1e-8 * eta) & (move <= 1e-8) | (count >= 4.0)
        bad = ~((definite > 0.0) & (mean < 1e300) & (total < 1e300))
        store(outcome, select(bad, BROKEN * 1.0, select(done, OPTIMAL * 1.0, 0.0)))
        if any_lane(done):
            plain, linear = _optimum(
                z, dz, base, size, recentre, eta, h, offset, start, place, coefficient, ds
            )
            store(plain_at, plain)
            store(linear_at, linear)
        remaining = False
        for lane in range(WIDTH):
            t = state[lane]
            if t < 0:
                outcome[lane] = _RUNS
                continue
            used[lane] += 1
            if outcome[lane] == OPTIMAL:
                _extract(t, lane, z, dz, F, S, p, u0, dudx, gradient, curvature, plans)
                logs = 0.0
                for i in range(blocks):
                    logs += np.log(ds[i, lane])
                cost[t] = plain_at[lane]
                value[t] = plain_at[lane] + linear_at[lane] - etas_at[lane] * logs
            elif outcome[lane] == _RUNS and used[lane] >= limit:
                outcome[lane] = ITERATION_LIMIT
            if outcome[lane] == _RUNS:
                remaining = True
            else:
                status[t], iterations[t] = np.int8(outcome[lane]), used[lane]
                if (
                    outcome[lane] == OPTIMAL
                    and (t + 1) % steps
                    and follow(t, x, u0, A, B, disturbance, bound)
                ):
                    outcome[lane] = _FOLLOWS
        if not remaining:
            continue
        target, most_aim, correct = _targets(
            mean, eta, inner, 1.0 / longest, load(last), total / max(c, 1), largest
        )
        _aim(target, most_aim, correct, lam, residual, inverse, aim, push)
        newton(AB, BA, base, column_start, column_row, column_value, push, F, pivots, p, g, w, dz)
        longest = _direction(dz, offset, start, place, coefficient, lam, residual, inverse, aim, ds, dlam)
        step = least(1.0, 0.995 / most(longest, 1e-300))
        step = _central(s, lam, ds, dlam, eta, step)
        store(last, step)
        _advance(s, ds, step)
        _advance(lam, dlam, step)
        for k in range(N + 1):
            _advance(z[k], dz[k], step)


def scratch_for(n: int, m: int, N: int, c: int) -> tuple[np.ndarray, ...]:
    """Arrays that one call of ``label_states`` works in, padded to whole tiles with zeros that stay zero."""
    size, tall, broad = n + m, whole(n, TALL), whole(n, BROAD)
    width = m + tall  # of a stage: u, x, padding
    shapes = [
        *3 * [(N + 1, width)],  # z, dz, base
        (N, width, m),  # F
        *2 * [(N, m)],  # pivots, w
        (tall, max(tall, broad)),  # P
        (tall, max(width, whole(size, TALL), whole(size, BROAD))),  # PAB
        (max(whole(size, TALL), m + broad), whole(m, BROAD)),  # S
        (n,),  # p
        (whole(size, TALL),),  # g
        (6,),
        (8, c),
        (c + 1,),
    ]
    return tuple(aligned(*shape, WIDTH) for shape in shapes)
