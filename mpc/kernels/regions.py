"""The critical region of an active set: where in the state space that set gives the optimum.

On the set W the multipliers are ``nu = (M_W M_W')^-1 (E_W x + h_W)`` and the slabs stand at
``t = M M_W' nu - E x``, both affine in x. The region is where every multiplier has the sign of its bound
and every other slab stands within its bounds, cut with a given domain: half-spaces of unit normals, from
which the ones that are no facets are removed (Clarkson, "More output-sensitive geometric algorithms",
FOCS 1994: a row is redundant if the facets known so far keep it from being violated, else the way from an
interior point to where it is violated meets an unknown facet first).
"""

import numpy as np

from mpc.kernels.compilation import ZERO, allocating, kernel, part
from mpc.kernels.linear_programs import OPTIMAL, climb, inner_ball
from mpc.kernels.pieces import WELL_APART, factorise, orthonormalise, solve_transposed, solve_upper
from mpc.kernels.proposals import LEAST_PIVOT, MARGIN, TRUSTED_PIVOT, collect, place_slabs

REGION, EMPTY, DEPENDENT, AMBIGUOUS = 1, 0, -1, 2
_TOLERANCE = 1e-10  # of what enters a bound, as for the states (``place_slabs``)
_ROUNDING = 1e-14  # over the smallest squared pivot: what is left of numbers of order one that cancel
_SHADOW = 1e-7  # rows this close may end at one facet
_SAME = 1e-9  # two half-spaces this close, or a facet this thin, are one, or none


@part
def _laws(side, gram, ET, low, high, nudge, order, q, R, column, solution, nu):
    """``nu (q, n + 2)``: multipliers as affine functions of the state, and how nudged bounds change them."""
    n = ET.shape[0]
    for a in range(n + 2):
        for k in range(q):
            i = order[k]
            if a < n:
                column[k] = ET[a, i]
            elif a == n:
                column[k] = high[i] if side[i] > 0 else low[i]
            else:
                column[k] = nudge[i, 1] if side[i] > 0 else -nudge[i, 0]
        solve_transposed(R, q, column)
        solve_upper(R, q, column, solution)
        for k in range(q):
            nu[k, a] = solution[k]


@part
def _append_row(row, bound, nudged, margin, noise, tag, A, b, kind, count):
    """Add ``row'x <= bound`` to unit norm. Returns (count, share of the margin, outcome).

    A row that no state moves is left out. Where it is broken there is no region (EMPTY); where it is met with
    equality another set does as well (AMBIGUOUS), and whether this one counts the nudged bounds decide.
    """
    n, norm, swing = row.shape[0], 0.0, 0.0
    for a in range(n):
        norm += row[a] * row[a]
        swing += abs(row[a])
    norm = np.sqrt(norm)
    if swing <= noise:
        if bound < -noise or (bound <= noise and nudged < 0.0):
            return count, 0.0, EMPTY
        return count, 0.0, REGION if bound > margin + noise else AMBIGUOUS
    for a in range(n):
        A[count, a] = row[a] / norm
    b[count] = bound / norm
    kind[count] = tag
    needs = margin / norm if bound - swing < margin else 0.0
    return count + 1, needs, REGION


@allocating
def _from_rows(M, order, q, R):
    """The factor made from the rows instead of their inner products; returns the smallest squared pivot."""
    rows, least = np.empty((q, M.shape[1])), np.inf
    for k in range(q):
        for j in range(M.shape[1]):
            rows[k, j] = M[order[k], j]
    orthonormalise(rows, M.shape[1], q, 0.0, R)
    for k in range(q):
        least = min(least, R[k, k] * R[k, k])
    return least


@allocating
def _half_spaces(side, gram, ET, low, high, nudge, G, h, order, q, least, nu, A, b, kind):
    """All half-spaces: (count, distance from all of them that leaves no other set, outcome)."""
    n, g = ET.shape[0], side.shape[0]
    row, signed = np.empty(n), np.empty(n)
    tolerance, extent = np.empty(g), np.ones((1, n))
    place_slabs(extent, ZERO, ET, low, high, np.empty(g), tolerance)  # the largest that states can have
    count, keep_off, outcome, widest = 0, 0.0, REGION, 0.0
    noise = max(_TOLERANCE, _ROUNDING / least)
    for k in range(q):
        widest = max(widest, tolerance[order[k]])
    for k in range(q):
        i = order[k]
        if low[i] == high[i]:
            continue
        if not high[i] - low[i] > MARGIN * widest:
            keep_off = np.inf  # both bounds are met at once, so either may be the active one
        sign, size = 1.0 if side[i] > 0 else -1.0, 1e-300
        for a in range(n):
            row[a] = sign * nu[k, a]
            size += abs(nu[k, a])
        size += abs(nu[k, n])
        margin = MARGIN * widest / least
        count, needs, found = _append_row(
            row, -sign * nu[k, n], -sign * nu[k, n + 1], margin, noise * size, -1 - i, A, b, kind, count
        )
        if found == EMPTY:
            return count, keep_off, EMPTY
        outcome = AMBIGUOUS if found == AMBIGUOUS else outcome
        keep_off = max(keep_off, needs)
    for i in range(g):
        if side[i] != 0:
            continue
        offset, moved = 0.0, 0.0
        for a in range(n):
            row[a] = -ET[a, i]
        for k in range(q):
            inner = gram[i, order[k]]
            for a in range(n):
                row[a] += inner * nu[k, a]
            offset += inner * nu[k, n]
            moved += inner * nu[k, n + 1]
        size = tolerance[i] / _TOLERANCE
        margin = 10.0 * tolerance[i] + MARGIN * widest / np.sqrt(least)
        for sign in (1.0, -1.0):
            limit = high[i] if sign > 0 else -low[i]
            if limit == np.inf:
                continue
            for a in range(n):
                signed[a] = sign * row[a]
            upper = 1 if sign > 0 else 0
            room, nudged = limit - sign * offset, nudge[i, upper] - sign * moved
            count, needs, found = _append_row(
                signed, room, nudged, margin, noise * size, 2 * i + upper, A, b, kind, count
            )
            if found == EMPTY:
                return count, keep_off, EMPTY
            outcome = AMBIGUOUS if found == AMBIGUOUS else outcome
            keep_off = max(keep_off, needs)
    for i in range(h.shape[0]):
        norm = 0.0
        for a in range(n):
            norm += G[i, a] * G[i, a]
        for a in range(n):
            A[count, a] = G[i, a] / np.sqrt(norm)
        b[count], kind[count] = h[i] / np.sqrt(norm), 2 * g + i
        count += 1
    return count, keep_off, outcome


@part
def _first_met(A, b, count, inside, toward):
    """The row that the ray from ``inside`` through ``toward`` meets first."""
    hit, step = -1, np.inf
    for i in range(count):
        slope, room = 0.0, b[i]
        for a in range(inside.shape[0]):
            slope += A[i, a] * (toward[a] - inside[a])
            room -= A[i, a] * inside[a]
        if slope > 0.0 and room < step * slope:
            hit, step = i, room / slope
    return hit


@allocating
def _facets(A, b, count, inside, radius, known):
    """Mark the rows that are facets in ``known``; returns their number."""
    n, found = inside.shape[0], 0
    x, c, bound, candidates = np.empty(n), np.empty(n), np.empty(count), np.empty(count, np.int64)
    for i in range(count):
        bound[i], known[i] = b[i], False
    for i in range(count):
        while not known[i]:
            candidates[found] = i
            bound[i] = b[i] + radius
            for a in range(n):
                x[a], c[a] = inside[a], A[i, a]
            ended = climb(A, bound, candidates, found + 1, c, x)
            bound[i] = b[i]
            excess = -b[i]
            for a in range(n):
                excess += A[i, a] * x[a]
            if excess <= _SAME * radius and ended == OPTIMAL:
                break
            hit = _first_met(A, b, count, inside, x) if ended == OPTIMAL else i  # undecided: it stays
            if known[hit]:  # rounding: what is met first was met before, so the excess is that of a corner
                break
            known[hit], candidates[found] = True, hit
            found += 1
    return found


@part
def _shadows(A, b, count, known, kind, tags):
    """Tags of the rows that are facets too, but for another row that says the same; returns their number."""
    found = 0
    for i in range(count):
        same = False
        for f in range(count):
            if known[f] and not known[i] and not same:
                apart = abs(b[f] - b[i])
                for a in range(A.shape[1]):
                    apart += abs(A[f, a] - A[i, a])
                same = apart <= _SHADOW
        if same:
            tags[found] = kind[i]
            found += 1
    return found


@kernel(
    "Tuple((int64, int64, int64, f8, f8))(i1[::1], f8[:,::1], f8[:,::1], f8[:,::1], f8[::1], f8[::1],"
    " f8[:,::1], f8[:,::1], f8[::1], f8[::1], f8[:,::1], f8[::1], i8[::1])"
)
def describe(side, gram, M, ET, low, high, nudge, G, h, centre, A, b, kind):
    """The region of the set ``side`` within ``G x <= h``, in units in which no ``|x_i|`` there exceeds 1.

    Returns (outcome, number of facets, number of shadows, radius of the largest ball inside, distance from
    all facets that leaves no other set). Facet f is ``A[f]'x <= b[f]``; ``kind[f]`` is ``2 i`` (``2 i + 1``)
    where slab i meets its lower (upper) bound, ``-1 - i`` where its multiplier ends, from ``2 g`` on rows of
    the domain. Behind the facets, ``kind`` names their shadows: rows that say the same as one of them.
    ``centre`` becomes the centre of the largest ball. Where several sets do on a whole region, the one counts
    that would if the bounds were wider by an infinitesimal part of ``nudge (g, 2)``, below and above.
    """
    g, n = side.shape[0], centre.shape[0]
    order = np.empty(g, np.int64)
    q = collect(side, order)
    R, column, solution, nu = np.empty((q, q)), np.empty(q), np.empty(q), np.empty((q, n + 2))
    least = factorise(gram, order, q, R)
    if LEAST_PIVOT < least < WELL_APART:  # rounding may have made the last pivot out of nothing
        least = _from_rows(M, order, q, R)
    if not least > LEAST_PIVOT:
        return DEPENDENT, 0, 0, 0.0, 0.0
    _laws(side, gram, ET, low, high, nudge, order, q, R, column, solution, nu)
    count, keep_off, outcome = _half_spaces(
        side, gram, ET, low, high, nudge, G, h, order, q, least, nu, A, b, kind
    )
    if outcome == EMPTY:
        return EMPTY, 0, 0, 0.0, 0.0
    radius = inner_ball(A, b, count, centre)
    if not radius > _SAME:
        return EMPTY, 0, 0, radius, 0.0
    known, tags = np.empty(count, np.bool_), np.empty(count, np.int64)
    facets = _facets(A, b, count, centre, radius, known)
    shadows = _shadows(A, b, count, known, kind, tags)
    f = 0
    for i in range(count):
        if known[i]:
            for a in range(n):
                A[f, a] = A[i, a]
            b[f], kind[f] = b[i], kind[i]
            f += 1
    for k in range(shadows):
        kind[facets + k] = tags[k]
    keep_off += 2.0 * _SAME * radius  # rows that are left out may be broken by the half of that
    return outcome, facets, shadows, radius, keep_off if least > TRUSTED_PIVOT else np.inf
