"""The parametric QP of a control problem in the two forms that QP solvers take, as a careful user has it.

``min 1/2 z'P z + (F'x)'z`` over ``low + S x <= C z <= high + S x`` and ``lower <= z <= upper``, with
``u_0 = z[:m]``: over the inputs alone (dense), or over inputs and states with the dynamics as equalities
(sparse). Opposite rows become one two-sided row, rows on one entry of z bounds, and rows that nothing
moves are left out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array
from mpc.condense import condense
from mpc.problem import ControlProblem, stage_rows


@dataclass(frozen=True, eq=False)
class Form:
    """The matrices above: ``P (p, p)``, ``F (n, p)``, ``C (r, p)``, ``S (r, n)``; infinite bounds are none.

    The first ``equalities`` rows of C have ``low = high``.
    """

    P: Array
    F: Array
    C: Array
    S: Array
    low: Array
    high: Array
    lower: Array
    upper: Array
    m: int
    equalities: int

    @property
    def bounded(self) -> bool:
        """Some entry of z has a bound."""
        return bool(np.isfinite(self.lower).any() or np.isfinite(self.upper).any())


def dense_form(problem: ControlProblem) -> Form:
    """The form over ``z = (u_0, ..., u_{N-1})``."""
    c = condense(problem)
    C, S, low, high, lower, upper = _two_sided(c.G, c.E, c.w)
    return Form(c.H, c.F, C, S, low, high, lower, upper, problem.m, 0)


def sparse_form(problem: ControlProblem) -> Form:
    """The form over ``z = (u_0, x_1, u_1, ..., x_N)``, in dense arrays."""
    N, n, m, A, B = problem.N, problem.n, problem.m, problem.system.A, problem.system.B
    size, width = N * (m + n), m + n
    P, dynamics, into = np.zeros((size, size)), np.zeros((N * n, size)), np.zeros((N * n, n))
    into[:n] = A
    rows, shifts, limits = [], [], []
    for k in range(N + 1):
        states = slice(k * width - n, k * width)  # of x_k
        inputs = slice(k * width, k * width + m)
        if k < N:
            P[inputs, inputs] = 2 * problem.R
            here = slice(k * n, (k + 1) * n)
            dynamics[here, inputs], dynamics[here, k * width + m : (k + 1) * width] = -B, np.eye(n)
        if k > 0:
            P[states, states] = 2 * (problem.Q if k < N else problem.Qf)
        if 0 < k < N:
            dynamics[k * n : (k + 1) * n, states] = -A
        on_x, on_u, limit = stage_rows(problem, k)
        block = np.zeros((len(limit), size))
        if k > 0:
            block[:, states] = on_x
        if k < N:
            block[:, inputs] = on_u
        rows.append(block)
        shifts.append(-on_x if k == 0 else np.zeros((len(limit), n)))
        limits.append(limit)
    C, S, low, high, lower, upper = _two_sided(np.vstack(rows), np.vstack(shifts), np.concatenate(limits))
    zero = np.zeros(N * n)
    return Form(
        P, np.zeros((n, size)), np.vstack([dynamics, C]), np.vstack([into, S]),
        np.concatenate([zero, low]), np.concatenate([zero, high]), lower, upper, m, N * n,
    )  # fmt: skip


def _two_sided(G: Array, E: Array, h: Array) -> tuple[Array, Array, Array, Array, Array, Array]:
    """``C, S, low, high, lower, upper`` of the rows ``G z <= h + E x``."""
    lower, upper = np.full(G.shape[1], -np.inf), np.full(G.shape[1], np.inf)
    sides: dict[bytes, list[float]] = {}
    kept: list[int] = []
    for i, row in enumerate(G):
        places = np.flatnonzero(row)
        if places.size == 1 and not E[i].any():
            j = int(places[0])
            if row[j] > 0:
                upper[j] = min(upper[j], h[i] / row[j])
            else:
                lower[j] = max(lower[j], h[i] / row[j])
        elif places.size:
            both = np.concatenate([row, E[i]])
            key, opposite = (0.0 + both).tobytes(), (0.0 - both).tobytes()  # neither holds a -0.0
            if opposite in sides:
                sides[opposite][0] = max(sides[opposite][0], -h[i])
            elif key in sides:
                sides[key][1] = min(sides[key][1], h[i])
            else:
                kept.append(i)
                sides[key] = [-np.inf, h[i]]
    limits = np.array(list(sides.values())).reshape(-1, 2)
    return G[kept], E[kept], limits[:, 0], limits[:, 1], lower, upper


def affine(*blocks: tuple[Array, Array]) -> Callable[[Array], tuple[Array, ...]]:
    """``x -> (M_1 x + c_1, M_2 x + c_2, ...)`` in one product; the answers are overwritten by the next."""
    matrix = np.ascontiguousarray(np.vstack([M for M, _ in blocks]))
    offset = np.concatenate([c for _, c in blocks])
    buffer = np.empty(len(offset))
    ends = np.cumsum([len(c) for _, c in blocks])
    views = tuple(buffer[end - len(c) : end] for end, (_, c) in zip(ends, blocks, strict=True))

    def at(x: Array) -> tuple[Array, ...]:
        np.dot(matrix, x, out=buffer)
        np.add(buffer, offset, out=buffer)
        return views

    return at
