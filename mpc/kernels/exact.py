"""Labels of exact MPC: an active set by the quickest way that settles the state, and the label from it."""

import numpy as np

from mpc.kernels.active_set import (
    BROKEN,
    INFEASIBLE,
    OPTIMAL,
    UPPER,
    careful_set,
    is_certificate,
    worst_residual,
)
from mpc.kernels.compilation import NONE, ZERO, kernel, part
from mpc.kernels.location import ATLAS, label_inside, locate
from mpc.kernels.pieces import (
    WELL_APART,
    affine_law,
    assemble,
    evaluate,
    factorise,
    held_curvature,
    solve_upper,
)
from mpc.kernels.plant import PLANT, finite, follow
from mpc.kernels.proposals import (
    ALONE,
    LEAST_PIVOT,
    NO_PLAN,
    UNDECIDED,
    VALID,
    collect,
    place_slabs,
    rounds,
    single_steps,
)

INVALID = -5
BY_ROUNDS, BY_STEPS, BY_CARE, BY_LOOKUP = 1, 2, 3, 4  # how a state was settled
CARE, STEPS, CHOICE, ROUNDS = 0, 1, 2, 3  # what is tried first
# From so many violated bounds on rounds beat single steps. Measured on the states of the speed benchmark with
# 4, 7, 10, 14, 20, 30, 60 and never: all alike up to 14; from 30 on c10 takes 1.5 and c30 1.3 times as long,
# e and d 0.9 times, for there the bounds that are violated at once are often dependent.
_MANY_VIOLATED = 10
_ROUNDS, _ROUNDS_AT_END = np.int64(10), np.int64(3)


@part
def _propose(
    quick, M, gram, targets, low, high, tolerance, limit, side, order, R, y, l, r, nu, multiplier, t
):  # fmt: skip
    """Rounds where none or many bounds are violated at z = 0; else, or failing that, single steps.

    Returns (outcome, route, q, changes, smallest squared pivot, entering slab where there is no plan).
    """
    changes = 0
    for i in range(targets.shape[0]):
        side[i] = 0
        if -targets[i] > high[i] + tolerance[i]:
            side[i] = 1
            changes += 1
        elif -targets[i] < low[i] - tolerance[i]:
            side[i] = -1
            changes += 1
    if changes == 0 or quick == ROUNDS or (quick == CHOICE and changes >= _MANY_VIOLATED):
        outcome, q, changed, least = rounds(
            gram, targets, low, high, tolerance, _ROUNDS, side, order, R, y, nu, t
        )
        changes += changed
        if outcome == ALONE or (changes == 0 and outcome == VALID):
            return outcome, BY_ROUNDS, q, changes, least, -1
    outcome, q, changed, slab = single_steps(
        M, gram, targets, low, high, tolerance, limit, side, order, R, l, r, nu, multiplier, t
    )
    changes += changed
    if outcome == VALID:
        outcome, q, changed, least = rounds(
            gram, targets, low, high, tolerance, _ROUNDS_AT_END, side, order, R, y, nu, t
        )
        return outcome, BY_STEPS, q, changes + changed, least, -1
    return outcome, BY_STEPS, q, changes, 0.0, slab


@part
def _certificate(entering, slab, sign, side, order, r, q, multipliers):
    """Multipliers by rows: 1 on the entering slab and r on W."""
    for i in range(multipliers.shape[0]):
        multipliers[i] = 1.0 if slab[i] == entering and side[entering] == sign[i] else 0.0
    for k in range(q):
        for i in range(multipliers.shape[0]):
            if slab[i] == order[k] and side[order[k]] == sign[i]:
                multipliers[i] = r[k]


@part
def _bounds(x, w, E, b, tolerance):
    """``b = w + E x`` and the tolerance of each row, 1e-10 of what enters it."""
    for i in range(b.shape[0]):
        b[i], scale = w[i], abs(w[i])
        for a in range(x.shape[0]):
            b[i] += E[i, a] * x[a]
            scale += abs(E[i, a] * x[a])
        tolerance[i] = 1e-10 * scale + 1e-300


@part
def _collect(working, q, slab, sign, side, order):
    """Working rows as slabs: ``side`` and the falling ``order``."""
    side[:] = 0
    for k in range(q):
        side[slab[working[k]]] = sign[working[k]]
    count = 0
    for i in range(side.shape[0] - 1, -1, -1):
        if side[i] != 0:
            order[count] = i
            count += 1
    return count


@part
def _complete(gram, low, high, side, order, q, R, least):
    """Let all equalities join that do not depend on the set: (size, smallest squared pivot) of the set.

    They hold where their multiplier is zero too, and so belong to the law there.
    """
    joined = False
    for i in range(side.shape[0]):
        if low[i] == high[i] and side[i] == 0:
            side[i], joined = 1, True
            count = collect(side, order)
            if count < 0 or not factorise(gram, order, count, R) > LEAST_PIVOT:
                side[i] = 0
    if not joined:
        return q, least
    count = collect(side, order)
    return count, factorise(gram, order, count, R)


@part
def _at_upper(M, upper, place, z):
    """``z_U = -sum upper_i m_i`` over the softened rows that give way; returns whether there are any.

    The plan is ``z_U + Q y``: it meets ``h_W - M_W z_U``, and
    ``V = x'P_0 x + y'y - |z_U|^2 - 2 sum upper_i b_i``.
    """
    z[:] = 0.0
    found = False
    for i in range(place.shape[0]):
        if place[i] == UPPER:
            found = True
            for j in range(z.shape[0]):
                z[j] -= upper[i] * M[i, j]
    return found


@part
def _plan(M, order, q, well, nu, rows, y, z):
    """Add ``Q y`` to z."""
    for k in range(q):
        for j in range(z.shape[0]):
            z[j] += nu[k] * M[order[k], j] if well else y[k] * rows[k, j]


@part
def _yield(x, M, E, b, tolerance, norms, upper, place, T0, zu, z, u, gradient):
    """What rows that give way add to u and its value and gradient: (value, largest violation)."""
    value, slack, p = 0.0, 0.0, z.shape[0]
    for i in range(u.shape[0]):
        for j in range(u.shape[0]):
            u[i] += T0[i, j] * zu[j]
    for j in range(p):
        value -= zu[j] * zu[j]
    for i in range(b.shape[0]):
        if place[i] == UPPER:
            violation = -b[i]
            for j in range(p):
                violation += M[i, j] * z[j]
            if violation > tolerance[i]:
                slack = max(slack, violation * norms[i])
            value -= 2.0 * upper[i] * b[i]
            for a in range(x.shape[0]):
                gradient[a] -= 2.0 * upper[i] * E[i, a]
    return value, slack


@kernel(
    f"void(int64, int64, f8[:,::1], {PLANT}, {ATLAS}, f8[:,::1], f8[:,::1], f8[:,::1], f8[::1], f8[::1],"
    " i8[::1], i8[::1], i1[::1], f8[:,::1], f8[:,::1], f8[::1], f8[:,::1], f8[::1], f8[::1], f8[:,::1],"
    " f8[:,::1], f8[:,::1], f8[:,::1], int64, int64, i1[::1], f8[:,::1], f8[:,:,::1], f8[::1], f8[:,::1],"
    " f8[:,:,::1], f8[::1], f8[::1], f8[:,::1], f8[:,::1], b1[:,::1], i8[::1], i1[::1])"
)
def label_states(
    start, stop, x, plant, atlas, SM, SET, gram, low, high, stage, slab, sign, M, MT, w, E, norms, upper,
    K0, T0, L0, P0, quick, limit, status, u, dudx, value, gradient, curvature, cost, slack,
    plans, multipliers, active, iterations, route,
):  # fmt: skip
    """Solve and label the states ``x[start:stop]``, or closed loops of them (``plant``).

    ``S`` marks the arrays of ``Slabs``, ``T`` a transpose; ``quick`` is what is tried first. ``plans``,
    ``multipliers`` and ``active`` may have no columns. For an infeasible state ``multipliers`` holds a
    certificate: y >= 0 with M'y = 0, (w + E x)'y < 0.
    """
    c, p = M.shape
    n, m, g = x.shape[1], K0.shape[0], SM.shape[0]
    b, tolerance, place, residual = np.empty(c), np.empty(c), np.empty(c, np.int8), np.empty(c)
    targets, slab_tolerance, t, side = np.empty(g), np.empty(g), np.empty(g), np.empty(g, np.int8)
    z, zu, l, r, nu, y, bound = (
        np.empty(p), np.empty(p), np.empty(p), np.empty(p), np.empty(p), np.empty(p), np.empty(p)
    )  # fmt: skip
    order, working, multiplier = np.empty(p, np.int64), np.empty(p, np.int64), np.empty(p)
    R, basis, rows = np.empty((p, p)), np.empty((p, p)), np.empty((p, p + n + 1))
    Y, inner, offset = np.empty((p, n + 1 + m)), np.empty((m, n + 1)), np.empty((1, m))
    square, half = np.empty((m, m)), np.empty((m, m))
    steps, A, B, disturbance, bound_of_states = plant
    facets, facet_bounds, first, margins, normals, offsets, child, leaf, listed, begun, across = atlas[:11]
    sides, pieces, Ys, laws, shifts, curvatures = atlas[11:]
    equalities = False
    for i in range(gram.shape[0]):
        equalities = equalities or low[i] == high[i]
    s, following = start, start + steps
    while s < stop:
        if not finite(x, s):
            status[s] = INVALID
            s, following = following, following + steps
            continue
        outcome, q, used, least, softened, region = UNDECIDED, 0, 0, 0.0, False, NONE
        if len(listed):
            region = locate(
                x, s, facets, facet_bounds, first, margins, normals, offsets, child, leaf, listed, begun,
                across,
            )  # fmt: skip
        labelled = region >= 0 and not multipliers.shape[1]
        if labelled:
            value[s] = label_inside(
                region, x, s, P0, pieces, Ys, laws, shifts, curvatures, y, u, dudx, gradient, curvature
            )
            cost[s], slack[s], outcome, route[s] = value[s], 0.0, OPTIMAL, BY_LOOKUP
        elif region >= 0:
            for i in range(g):
                side[i] = sides[region, i]
            q = collect(side, order)
            least, outcome, route[s] = factorise(gram, order, q, R), OPTIMAL, BY_LOOKUP
        elif quick:
            place_slabs(x, s, SET, low, high, targets, slab_tolerance)
            outcome, route[s], q, used, least, entering = _propose(
                quick, SM, gram, targets, low, high, slab_tolerance, limit,
                side, order, R, y, l, r, nu, multiplier, t,
            )  # fmt: skip
            if outcome == NO_PLAN and multipliers.shape[1]:
                _certificate(entering, slab, sign, side, order, r, q, multipliers[s])
            outcome = OPTIMAL if outcome == VALID else outcome
        careful = outcome == UNDECIDED
        if careful:
            _bounds(x[s], w, E, b, tolerance)
            outcome, q, row, changes = careful_set(
                M, MT, b, tolerance, upper, limit, z, place, working, multiplier, basis, R, l, r, residual
            )
            used += changes
            route[s] = BY_CARE
            if outcome == INFEASIBLE:
                if not is_certificate(M, b, tolerance, working, r, q, row):
                    outcome = BROKEN
                elif multipliers.shape[1]:
                    multipliers[s, :] = 0.0
                    multipliers[s, row] = 1.0
                    for j in range(q):
                        multipliers[s, working[j]] = max(-r[j], 0.0)
            elif outcome == OPTIMAL:
                softened = _at_upper(M, upper, place, zu)
                q = _collect(working, q, slab, sign, side, order)
                least = factorise(gram, order, q, R) if gram.shape[0] else 0.0
        iterations[s] = used
        if outcome == OPTIMAL and not labelled:
            if equalities and not softened:
                q, least = _complete(gram, low, high, side, order, q, R, least)
            well = least >= WELL_APART
            for k in range(q):
                i = order[k]
                bound[k] = high[i] if side[i] > 0 else low[i]
                if softened:
                    for j in range(p):
                        bound[k] -= SM[i, j] * zu[j]
            assemble(SM, SET, bound, order, q, m, well, R, rows, Y)
            affine_law(Y, q, n, K0, T0, inner, dudx, s, offset, ZERO)
            value[s] = evaluate(x, s, Y, ZERO, q, P0, dudx, offset, ZERO, y, u, gradient)
            cost[s], slack[s] = value[s], 0.0
            if careful or multipliers.shape[1]:
                solve_upper(R, q, y, nu)
                for j in range(p):
                    z[j] = zu[j] if softened else 0.0
                _plan(SM, order, q, well, nu, rows, y, z)
            held_curvature(SM, stage, order, q, m, n, L0, Y, square, half, basis, rows, curvature, s)
            if softened:
                extra, slack[s] = _yield(
                    x[s], M, E, b, tolerance, norms, upper, place, T0, zu, z, u[s], gradient[s]
                )
                for j in range(p):
                    cost[s] += z[j] * z[j]
                for k in range(q):
                    cost[s] -= y[k] * y[k]
                value[s] += extra
                if slack[s] > 0.0:
                    outcome = 1
            if careful and not worst_residual(M, b, tolerance, place, z) <= 100.0:
                outcome = BROKEN
            for j in range(plans.shape[1]):
                plans[s, j] = z[j]
            if multipliers.shape[1]:
                for i in range(c):
                    multipliers[s, i] = upper[i] if careful and place[i] == UPPER else 0.0
                for k in range(q):
                    if low[order[k]] == high[order[k]] and not softened:
                        side[order[k]] = 1 if nu[k] <= 0.0 else -1
                for i in range(c):
                    if side[slab[i]] == sign[i]:
                        active[s, i] = True
                        for k in range(q):
                            if order[k] == slab[i]:
                                multipliers[s, i] = max(-nu[k] if sign[i] > 0 else nu[k], 0.0)
        status[s] = outcome
        goes_on = outcome > 0 and (s + 1) % steps != 0
        if goes_on and follow(s, x, u, A, B, disturbance, bound_of_states):
            s += 1
        else:
            s, following = following, following + steps
