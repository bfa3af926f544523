"""Small dense products for lanes: a matrix that all problems share times numbers of WIDTH problems.

Products are made in tiles of 4 x 3 sums: so many independent ones keep the multipliers busy, and the
seven operands that are read serve twelve multiplications. Arrays are padded with zeros to whole tiles
(``whole``), so that there is one kind of tile and no remainder: for small systems the few wasted
multiplications cost less than the loops they replace.
"""

from mpc.kernels.compilation import inlined
from mpc.kernels.lanes import lanes, load, select, store

TALL, BROAD = 4, 3


def whole(count: int, tile: int) -> int:
    """The next multiple of a tile's side."""
    return -(-count // tile) * tile


@inlined
def _tile(Y, X, F, C, count, out, y, x, r, e):
    a0, a1, a2, a3 = lanes(0.0), lanes(0.0), lanes(0.0), lanes(0.0)
    b0, b1, b2, b3 = lanes(0.0), lanes(0.0), lanes(0.0), lanes(0.0)
    c0, c1, c2, c3 = lanes(0.0), lanes(0.0), lanes(0.0), lanes(0.0)
    for j in range(X.shape[0]):
        y0, y1, y2, y3 = load(Y, j, y), load(Y, j, y + 1), load(Y, j, y + 2), load(Y, j, y + 3)
        v = X[j, x]
        a0, a1, a2, a3 = a0 + y0 * v, a1 + y1 * v, a2 + y2 * v, a3 + y3 * v
        v = X[j, x + 1]
        b0, b1, b2, b3 = b0 + y0 * v, b1 + y1 * v, b2 + y2 * v, b3 + y3 * v
        v = X[j, x + 2]
        c0, c1, c2, c3 = c0 + y0 * v, c1 + y1 * v, c2 + y2 * v, c3 + y3 * v
    for i in range(count):
        y0, y1, y2, y3 = load(F, y, i), load(F, y + 1, i), load(F, y + 2, i), load(F, y + 3, i)
        t = load(C, x, i)
        a0, a1, a2, a3 = a0 - y0 * t, a1 - y1 * t, a2 - y2 * t, a3 - y3 * t
        t = load(C, x + 1, i)
        b0, b1, b2, b3 = b0 - y0 * t, b1 - y1 * t, b2 - y2 * t, b3 - y3 * t
        t = load(C, x + 2, i)
        c0, c1, c2, c3 = c0 - y0 * t, c1 - y1 * t, c2 - y2 * t, c3 - y3 * t
    store(out, a0, r, e), store(out, a1, r + 1, e), store(out, a2, r + 2, e), store(out, a3, r + 3, e)
    e += 1
    store(out, b0, r, e), store(out, b1, r + 1, e), store(out, b2, r + 2, e), store(out, b3, r + 3, e)
    e += 1
    store(out, c0, r, e), store(out, c1, r + 1, e), store(out, c2, r + 2, e), store(out, c3, r + 3, e)


@inlined
def product(Y, X, F, C, count, out, y0, rows, x0, columns, lower):
    """``out = Y'X - F C'`` over some columns of lanes ``Y (j, y)`` and of doubles ``X (j, x)``.

    ``out[r, e] = sum_j Y[j, y0 + r] X[j, x0 + e] - sum_{i < count} F[y0 + r, i] C[x0 + e, i]`` in whole
    tiles; with ``lower`` (ONE, not ZERO) at least the entries ``e <= r``.
    """
    for r in range(0, rows, TALL):
        for e in range(0, min(r + TALL, columns) if lower else columns, BROAD):
            _tile(Y, X, F, C, count, out, y0 + r, x0 + e, r, e)


@inlined
def add_transposed(X, p, out, columns):
    """``out += X'p`` over the first columns of doubles ``X (j, e)``, for lanes ``p (j)``, in fours."""
    for e in range(0, columns, TALL):
        t0, t1, t2, t3 = load(out, e), load(out, e + 1), load(out, e + 2), load(out, e + 3)
        for j in range(X.shape[0]):
            v = load(p, j)
            t0, t1 = t0 + v * X[j, e], t1 + v * X[j, e + 1]
            t2, t3 = t2 + v * X[j, e + 2], t3 + v * X[j, e + 3]
        store(out, t0, e), store(out, t1, e + 1), store(out, t2, e + 2), store(out, t3, e + 3)


@inlined
def eliminate(S, F, pivots, size):
    """``LDL'`` of the top square of the columns ``S (size, m)``: the rows below are eliminated with it.

    Leaves ``L D`` in S and writes the unit-lower ``L`` to ``F (size, m)`` and the inverse pivots. Returns
    1 in the lanes whose pivots are all positive, else 0.
    """
    definite = lanes(1.0)
    for j in range(pivots.shape[0]):
        for i in range(j):
            t = load(S, j, i)
            for e in range(j, size):
                store(S, load(S, e, j) - load(F, e, i) * t, e, j)
        pivot = load(S, j, j)
        definite = select(pivot > 0.0, definite, 0.0)
        inverse = 1.0 / pivot
        store(pivots, inverse, j)
        for e in range(j + 1, size):
            store(F, load(S, e, j) * inverse, e, j)
    return definite
