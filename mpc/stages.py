"""A control problem written out stage by stage, as the kernels of ``mpc.kernels.barrier`` read it."""

from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array
from mpc.condense import LeastDistance
from mpc.kernels.lane_algebra import BROAD, TALL, whole
from mpc.problem import ControlProblem, stage_rows

_NEVER_FLAT = 1e-12  # least curvature of the slack of a row, for a row that no input moves has none


@dataclass(frozen=True, eq=False)
class StageProgram:
    """All that is prepared once for a problem: immutable by convention, picklable.

    Args:
        sizes: states n, inputs m, horizon N, rows c.
        arrays: in the order that ``label_states`` unpacks: ``AB`` and its transpose, padded; the terms of
            the stage Hessians (``mpc.kernels.riccati``); the cost's Hessians as sparse rows; the rows of
            the constraints (offset, start, place, coefficient), the same by the columns of each stage,
            and h; the recentring vector ``(N, m)``; the LQR plan ``(n, (N+1)(m+n))`` and its row values
            ``(n, c)`` for each unit of state; and ``(c,)`` for each row ``g`` of the condensed problem
            ``g'H^-1 g``: how far its slack gives way to a unit of its multiplier.
    """

    sizes: tuple[int, int, int, int]
    arrays: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, problem: ControlProblem, form: LeastDistance, recentre: Array) -> "StageProgram":
        """Write out a problem whose least-distance form is at hand."""
        n, m, N = problem.n, problem.m, problem.N
        stages = [stage_rows(problem, k) for k in range(N + 1)]
        rows = [np.hstack([D, C]) for C, D, _ in stages]
        h = np.concatenate([d for _, _, d in stages])
        offset = np.cumsum([0, *map(len, rows)])
        plan = _lqr_plan(problem, form.K)
        values = np.hstack([plan[:, k] @ rows[k].T for k in range(N + 1)])
        plan[:, 0, m:] = 0.0  # the kernel puts x_0 itself
        arrays = (
            *_padded_dynamics(problem),
            *_terms(problem, rows, offset),
            *_sparse([_hessian(problem, k) for k in range(N + 1)]),
            offset, *_sparse(rows), *_by_columns(rows, offset), h,
            recentre, plan.reshape(n, -1), values, np.maximum(form.norms**2 / 2, _NEVER_FLAT),
        )  # fmt: skip
        return cls((n, m, N, len(h)), tuple(_as_read(array) for array in arrays))


def _as_read(array: np.ndarray) -> np.ndarray:
    """Contiguous and writable, float64 or int64: what the signatures of the kernels name."""
    kind = np.float64 if array.dtype.kind == "f" else np.int64
    return np.array(array, dtype=kind, order="C")


def _padded_dynamics(problem: ControlProblem) -> tuple[Array, Array]:
    """``(B, A)`` with columns, and its transpose with columns, padded to whole tiles."""
    n, m = problem.n, problem.m
    size = n + m
    columns = max(m + whole(n, BROAD), whole(size, BROAD), whole(m, BROAD), whole(size, TALL))
    AB, BA = np.zeros((n, columns)), np.zeros((size, whole(n, TALL)))
    AB[:, :m], AB[:, m:size] = problem.system.B, problem.system.A
    BA[:, :n] = AB[:, :size].T
    return AB, BA


def _lqr_plan(problem: ControlProblem, gains: Array) -> Array:
    """``(n, N+1, m+n)``: the plan ``z_k = (u_k, x_k)`` of unconstrained LQR from each unit vector."""
    n, m, N = problem.n, problem.m, problem.N
    plan, x = np.zeros((n, N + 1, m + n)), np.eye(n)
    for k in range(N + 1):
        plan[:, k, m:] = x
        if k < N:
            plan[:, k, :m] = x @ gains[k].T
            x = problem.system.step(x, plan[:, k, :m])
    return plan


def _hessian(problem: ControlProblem, k: int) -> Array:
    """Hessian of the cost of stage k in ``(u_k, x_k)``: x_0 and u_N cost nothing."""
    n, m = problem.n, problem.m
    H = np.zeros((m + n, m + n))
    if k < problem.N:
        H[:m, :m] = 2 * problem.R
    if k > 0:
        H[m:, m:] = 2 * (problem.Q if k < problem.N else problem.Qf)
    return H


def _sparse(blocks: list[Array]) -> tuple[np.ndarray, np.ndarray, Array]:
    """All rows of some matrices, one after the other: where each starts, places and values of its numbers."""
    stacked = np.vstack(blocks)
    row, place = np.nonzero(stacked)
    start = np.searchsorted(row, np.arange(len(stacked) + 1))
    return start, place, stacked[row, place]


def _by_columns(blocks: list[Array], offset: np.ndarray) -> tuple[np.ndarray, np.ndarray, Array]:
    """The same for the columns of each matrix; rows are counted through all of them."""
    starts, rows, values = zip(*(_sparse([block.T]) for block in blocks), strict=True)
    passed = np.cumsum([0, *map(len, rows)])
    start = np.concatenate([one[:-1] + before for one, before in zip(starts, passed[:-1], strict=True)])
    row = np.concatenate([one + first for one, first in zip(rows, offset[:-1], strict=True)])
    return np.append(start, passed[-1]), row, np.concatenate(values)


def _terms(problem: ControlProblem, rows: list[Array], offset: np.ndarray) -> tuple[np.ndarray, ...]:
    """``cut, row, column, source, factor`` of the stage Hessians, as ``mpc.kernels.riccati`` reads them."""
    m, cost = problem.m, int(offset[-1])
    cut, terms = [0], []
    for k in range(problem.N + 1):
        H = _hessian(problem, k)
        stage = [(a, b, cost, H[a, b]) for a, b in np.argwhere(H)]
        for i, row in enumerate(rows[k]):
            places = np.flatnonzero(row)
            stage += [(a, b, offset[k] + i, row[a] * row[b]) for a in places for b in places]
        if k < problem.N:
            terms += [term for term in stage if term[1] < m and term[1] <= term[0]]
        cut.append(len(terms))
        if k > 0:
            terms += [(a - m, b - m, i, v) for a, b, i, v in stage if a >= m and b >= m]
        cut.append(len(terms))
    row, column, source, factor = (np.array(values) for values in zip(*terms, strict=True))
    return np.array(cut), row, column, source, factor.astype(float)
