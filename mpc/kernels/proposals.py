"""Quick ways to an active set, and the rule that makes the label independent of the way.

Both work on the slabs' inner products ``gram = M M'``: with ``z = M_W' nu`` the slabs stand at
``gram[:, W] nu``, so no plan is formed and pricing costs one row of ``gram`` for each active slab.

*Rounds* (a primal-dual active-set, or semismooth Newton, method; Hintermueller, Ito, Kunisch,
"The primal-dual active set strategy as a semismooth Newton method", SIAM J. Optim. 13, 2002): meet all
violated bounds at once, then release those whose multiplier is negative and take in those newly
violated, until nothing changes. A few rounds do for long active sets; there is no guarantee.

*Single steps* (Goldfarb and Idnani's dual method, as in ``active_set``; with inner products as in
Arnstrom, Bemporad, Axehill, "A dual active-set solver for embedded quadratic programming using
recursive LDL' updates", IEEE TAC 67, 2022): one bound at a time from ``z = 0``, monotone; ends with an
active set, or with a combination of rows that proves that no plan exists.

**The rule.** Where several sets are valid (on a border between pieces, with duplicate or dependent rows)
the set is the one that single steps end with, or where their arithmetic does not do (ill-conditioned
rows, next to the edge of the feasible set) the one of ``active_set``: both start cold, so the set is a
function of the state alone. Any other way (rounds) counts only where every
multiplier and every slack exceeds a margin above the tolerance of those two: then its set is the
only one that they can end with. The margin allows for the tolerance ``tau`` of the bounds moving the
multipliers by ``tau`` over the smallest squared pivot, and the slacks by ``tau`` over its root.
"""

import numpy as np

from mpc.kernels.active_set import remove
from mpc.kernels.compilation import NONE, ZERO, part
from mpc.kernels.pieces import factorise, solve_transposed, solve_upper

UNDECIDED, VALID, ALONE, NO_PLAN = 0, 1, 2, -1
MARGIN = 100.0
LEAST_PIVOT = 1e-10  # smallest squared pivot that inner products can tell from zero, with room
TRUSTED_PIVOT = 1e-6  # and that leaves slacks good to 1e-10


@part
def place_slabs(x, s, ET, low, high, targets, tolerance):
    """``targets = E x[s]`` and the tolerance of each slab, 1e-10 of what enters its bounds."""
    g, n = targets.shape[0], x.shape[1]
    for i in range(g):
        targets[i] = 0.0
        above, below = abs(high[i]), abs(low[i])
        tolerance[i] = above if above > below or below == np.inf else below
    for a in range(n):
        xa, size = x[s, a], abs(x[s, a])
        for i in range(g):
            targets[i] += ET[a, i] * xa
            tolerance[i] += abs(ET[a, i]) * size
    for i in range(g):
        tolerance[i] = 1e-10 * tolerance[i] + 1e-300


@part
def collect(side, order):
    """The active slabs in falling order; -1 if there are more than ``order`` holds."""
    q = 0
    for i in range(side.shape[0] - 1, -1, -1):
        if side[i] != 0:
            if q == order.shape[0]:
                return -1
            order[q] = i
            q += 1
    return q


@part
def _positions(gram, targets, order, nu, q, t):
    """``t = M z - E x``: where each slab stands between its bounds."""
    g = targets.shape[0]
    for i in range(g):
        t[i] = -targets[i]
    for k in range(q):
        active, factor = order[k], nu[k]
        for i in range(g):
            t[i] += factor * gram[active, i]


@part
def rounds(gram, targets, low, high, tolerance, limit, side, order, R, y, nu, t):
    """Rounds from the set in ``side``; returns (outcome, size of the set, changes, smallest squared pivot).

    VALID: ``side``, ``order`` and R hold an active set. ALONE: and with a margin, so there is no other.
    """
    changes = 0
    for _ in range(limit):
        q = collect(side, order)
        if q < 0:
            return UNDECIDED, 0, changes, 0.0
        least = factorise(gram, order, q, R)
        if not least > LEAST_PIVOT:
            return UNDECIDED, 0, changes, 0.0
        widest = 0.0
        for k in range(q):
            i = order[k]
            y[k] = targets[i] + (high[i] if side[i] > 0 else low[i])
            widest = max(widest, tolerance[i])
        solve_transposed(R, q, y)
        solve_upper(R, q, y, nu)
        _positions(gram, targets, order, nu, q, t)
        changed, clear = 0, True
        for k in range(q):
            i = order[k]
            multiplier = -nu[k] if side[i] > 0 else nu[k]
            if not multiplier > 0.0:
                side[i] = 2  # to be released below
            clear = clear and multiplier > MARGIN * widest / least
            clear = clear and (high[i] == low[i] or high[i] - low[i] > MARGIN * widest)
        margin = MARGIN * widest / np.sqrt(least)
        for i in range(side.shape[0]):
            over, under = t[i] - high[i], low[i] - t[i]
            if side[i] == 0:
                worst = max(over, under)
                if worst > tolerance[i]:
                    side[i] = 1 if over > under else -1
                    changed += 1
                clear = clear and worst < -10.0 * tolerance[i] - margin
            elif side[i] == 2:
                side[i] = 0
                changed += 1
        changes += changed
        if changed == 0:
            outcome = UNDECIDED if least < TRUSTED_PIVOT else ALONE if clear else VALID
            return outcome, q, changes, least
    return UNDECIDED, 0, changes, 0.0


@part
def _append(R, l, pivot, q):
    for k in range(q):
        R[k, q] = l[k]
    R[q, q] = np.sqrt(pivot)


@part
def _most_violated(t, low, high, tolerance, side):
    worst, slab, sign = 0.0, -1, 1
    for i in range(t.shape[0]):
        over, under = t[i] - high[i], low[i] - t[i]
        violation = over if over > under else under
        if violation > worst and violation > tolerance[i] and side[i] == 0:
            worst, slab, sign = violation, i, (1 if over > under else -1)
    return worst, slab, sign


@part
def _proves_infeasible(M, targets, low, high, tolerance, side, order, r, q, slab, sign):
    """Whether multipliers 1 on the entering bound and r >= 0 on W are a certificate beyond all rounding."""
    gap, slackness, total = 0.0, 0.0, 0.0
    for k in range(q + 1):
        i = order[k] if k < q else slab
        weight, up = (r[k], side[i] > 0) if k < q else (1.0, sign > 0)
        total += weight
        slackness += weight * tolerance[i]
        gap += weight * (targets[i] + high[i] if up else -targets[i] - low[i])
    worst = 0.0
    for j in range(M.shape[1]):
        v = sign * M[slab, j]
        for k in range(q):
            v += side[order[k]] * r[k] * M[order[k], j]
        worst = max(worst, abs(v))
    return worst <= 1e-11 * total and gap < -MARGIN * slackness


@part
def single_steps(M, gram, targets, low, high, tolerance, limit, side, order, R, l, r, nu, multiplier, t):
    """Goldfarb-Idnani from ``z = 0``; returns (outcome, q, changes, entering slab).

    VALID: no bound is violated by the set in ``side``; a round is to confirm it. NO_PLAN: the multipliers
    1 on the entering slab, whose ``side`` is set too, and r on the q slabs of ``order`` are a certificate.
    """
    q, changes = ZERO, 0
    for i in range(side.shape[0]):
        side[i] = 0
    while True:
        for k in range(q):
            nu[k] = -side[order[k]] * multiplier[k]
        _positions(gram, targets, order, nu, q, t)
        violation, slab, sign = _most_violated(t, low, high, tolerance, side)
        if slab < 0:
            return VALID, q, changes, slab
        entering = 0.0
        while True:
            changes += 1
            if changes > limit:
                return UNDECIDED, q, changes, slab
            for k in range(q):
                l[k] = gram[slab, order[k]]
            solve_transposed(R, q, l)
            pivot = gram[slab, slab]
            for k in range(q):
                pivot -= l[k] * l[k]
            solve_upper(R, q, l, r)
            for k in range(q):
                r[k] *= -sign * side[order[k]]  # rate of its multiplier
            free = pivot > LEAST_PIVOT and q < order.shape[0]
            step, leaving = violation / pivot if free else np.inf, NONE
            for k in range(q):
                if r[k] < -1e-14 and multiplier[k] < -step * r[k]:
                    step, leaving = -multiplier[k] / r[k], k
            if step == np.inf:
                for k in range(q):
                    r[k] = max(r[k], 0.0)
                certain = _proves_infeasible(M, targets, low, high, tolerance, side, order, r, q, slab, sign)
                side[slab] = sign
                return (NO_PLAN if certain else UNDECIDED), q, changes, slab
            if not step >= 0.0:
                return UNDECIDED, q, changes, slab
            entering += step
            for k in range(q):
                multiplier[k] = max(multiplier[k] + step * r[k], 0.0)
            if leaving < 0:
                _append(R, l, pivot, q)
                order[q], multiplier[q], side[slab] = slab, entering, sign
                q += 1
                break
            if free:
                violation = max(violation - step * pivot, 0.0)
            side[order[leaving]] = 0
            remove(R, order, multiplier, q, leaving, l, r)
            q -= 1
