"""The parametric QP of a control problem: in the inputs, and as a least-distance problem.

With ``U = (u_0, ..., u_{N-1})`` eliminated states give (the cost is not halved)::

    V(x0, U) = 1/2 U'H U + x0'F U + x0'Y x0,    residuals  phi = E x0 + w - G U >= 0

On an unstable plant H is as ill-conditioned as ``A^N``. Riccati's recursion is the Cholesky
factorisation of H in other words, and never forms it: with ``S_k = R + B'P_{k+1}B = L_k L_k'`` and
the LQR gains ``K_k = -S_k^-1 B'P_{k+1}A``, the inputs ``u_k = K_k x_k + L_k'^-1 z_k`` make the cost
``V = x0'P0 x0 + ||z||^2`` exactly, and each row of the constraints ``M z <= w + E x0``.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cholesky, solve_triangular

from mpc.arrays import Array, frozen
from mpc.problem import ControlProblem, stage_rows
from mpc.qp import QP


@dataclass(frozen=True, eq=False)
class Condensed:
    """``V = 1/2 U'H U + x0'F U + x0'Y x0`` over ``G U <= w + E x0``; ``d`` recentres the barrier."""

    H: Array
    F: Array
    Y: Array
    G: Array
    w: Array
    E: Array

    @property
    def d(self) -> Array:
        """``grad_U sum_i log phi_i(0, U)`` at U = 0: ``-G'(1/w)``, (N m,)."""
        return -self.G.T @ (1.0 / self.w)

    def qp(self, x0: ArrayLike) -> QP:
        """The QP over U that belongs to one state ``x0 (n,)``; ``V`` is its objective plus ``x0'Y x0``."""
        x = frozen("x0", x0, (len(self.Y),))
        return QP(self.H, self.F.T @ x, self.G, self.w + self.E @ x)


@dataclass(frozen=True, eq=False)
class LeastDistance:
    """``min ||z||^2`` over ``M z <= w + E x0`` with rows of ``M`` scaled to norm 1.

    Args:
        M, w, E: scaled rows ``(c, N m)``, ``(c,)``, ``(c, n)``, in the order of ``stage_rows``.
        norms: what a row was divided by ``(c,)``; a row that no input moves keeps M = 0, norm 1.
        stage: prediction stage of each row ``(c,)``.
        soft: the row constrains states alone ``(c,)`` and may be softened.
        opposite: the row of the same stage that is exactly minus this one ``(c,)``, -1 where none is.
        K, L: gains ``(N, m, n)`` and Cholesky factors ``(N, m, m)`` of the transformation.
        P0: ``V = x0'P0 x0 + ||z||^2``, (n, n).
    """

    M: Array
    w: Array
    E: Array
    norms: Array
    stage: np.ndarray
    soft: np.ndarray
    opposite: np.ndarray
    K: Array
    L: Array
    P0: Array

    def inputs(self, system_A: Array, system_B: Array, x0: Array, z: Array) -> tuple[Array, Array]:
        """States ``(B, N+1, n)`` and inputs ``(B, N, m)`` of the plans ``z (B, N m)``."""
        N, m, n = self.K.shape
        x, u = np.empty((len(x0), N + 1, n)), np.empty((len(x0), N, m))
        x[:, 0] = x0
        for k in range(N):
            v = np.linalg.solve(self.L[k].T, z[:, k * m : (k + 1) * m].T).T
            u[:, k] = x[:, k] @ self.K[k].T + v
            x[:, k + 1] = x[:, k] @ system_A.T + u[:, k] @ system_B.T
        return x, u


def riccati_gains(problem: ControlProblem) -> tuple[Array, Array, Array]:
    """Finite-horizon gains ``K (N, m, n)``, factors ``L (N, m, m)`` of ``R + B'PB`` and ``P0 (n, n)``."""
    A, B, Q, R = problem.system.A, problem.system.B, problem.Q, problem.R
    K, L = np.empty((problem.N, problem.m, problem.n)), np.empty((problem.N, problem.m, problem.m))
    P = np.array(problem.Qf)
    for k in reversed(range(problem.N)):
        L[k] = cholesky(R + B.T @ P @ B, lower=True)
        half = solve_triangular(L[k], B.T @ P @ A, lower=True)
        K[k] = -solve_triangular(L[k].T, half)
        closed = A + B @ K[k]
        P = closed.T @ P @ closed + K[k].T @ R @ K[k] + (Q if k > 0 else 0.0)  # Joseph's form
        P = (P + P.T) / 2
    return K, L, P


def least_distance(problem: ControlProblem) -> LeastDistance:
    """The problem of ``LeastDistance`` for a control problem."""
    A, B, N, m = problem.system.A, problem.system.B, problem.N, problem.m
    K, L, P0 = riccati_gains(problem)
    state, plan = np.eye(problem.n), np.zeros((problem.n, N * m))  # x_k = state x0 + plan z
    M, w, E, stage, soft, opposite = [], [], [], [], [], []
    for k in range(N + 1):
        C, D, d = stage_rows(problem, k)
        on_state = C + D @ K[k] if k < N else C
        rows = on_state @ plan
        scaled = solve_triangular(L[k], np.eye(m), lower=True).T if k < N else np.zeros((m, m))  # L'^-1
        if k < N:
            rows[:, k * m : (k + 1) * m] += D @ scaled
        M.append(rows)
        E.append(-on_state @ state)
        pairs = _opposite_rows(np.hstack([C, D]))
        opposite.append(np.where(pairs < 0, -1, pairs + sum(map(len, w))))
        w.append(d)
        stage.append(np.full(len(d), k))
        soft.append(~D.any(axis=1))
        if k < N:
            closed = A + B @ K[k]
            state, plan = closed @ state, closed @ plan
            plan[:, k * m : (k + 1) * m] += B @ scaled
    rows, shifts, weights, pairs = np.vstack(M), np.vstack(E), np.concatenate(w), np.concatenate(opposite)
    second = np.flatnonzero((pairs >= 0) & (pairs < np.arange(len(pairs))))
    rows[second], shifts[second] = -rows[pairs[second]], -shifts[pairs[second]]  # to the bit
    norms = np.linalg.norm(rows, axis=1)
    unmoved = norms <= 1e-13 * norms.max(initial=1.0)
    rows[unmoved] = 0.0
    norms = np.where(unmoved, 1.0, norms)
    return LeastDistance(
        M=np.ascontiguousarray(rows / norms[:, None]),
        w=weights / norms,
        E=np.ascontiguousarray(shifts / norms[:, None]),
        norms=norms,
        stage=np.concatenate(stage).astype(np.int64),
        soft=np.concatenate(soft),
        opposite=pairs,
        K=K,
        L=L,
        P0=P0,
    )


def _opposite_rows(rows: Array) -> np.ndarray:
    """For each row the index of one that is exactly minus it, -1 where none is; no row is in two pairs."""
    opposite = np.full(len(rows), -1)
    waiting: dict[bytes, list[int]] = {}
    for i, row in enumerate(rows + 0.0):  # + 0.0 makes a negative zero positive
        partners = waiting.get((0.0 - row).tobytes())
        if partners:
            opposite[i] = partners.pop(0)
            opposite[opposite[i]] = i
        else:
            waiting.setdefault(row.tobytes(), []).append(i)
    return opposite


def condense(problem: ControlProblem) -> Condensed:
    """The matrices of ``Condensed``, formed directly: plain, for references and reading."""
    A, B, N, n, m = problem.system.A, problem.system.B, problem.N, problem.n, problem.m
    Phi, Gamma = [np.eye(n)], [np.zeros((n, N * m))]
    for k in range(N):
        following = A @ Gamma[k]
        following[:, k * m : (k + 1) * m] += B
        Gamma.append(following)
        Phi.append(A @ Phi[k])
    H, F, Y = np.kron(np.eye(N), 2 * problem.R), np.zeros((n, N * m)), np.zeros((n, n))
    G, E, w = [], [], []
    for k in range(N + 1):
        C, D, d = stage_rows(problem, k)
        rows = C @ Gamma[k]
        if k < N:
            rows[:, k * m : (k + 1) * m] += D
        G.append(rows)
        E.append(-C @ Phi[k])
        w.append(d)
        if k >= 1:
            weight = problem.Q if k < N else problem.Qf
            H += 2 * Gamma[k].T @ weight @ Gamma[k]
            F += 2 * Phi[k].T @ weight @ Gamma[k]
            Y += Phi[k].T @ weight @ Phi[k]
    return Condensed((H + H.T) / 2, F, Y, np.vstack(G), np.concatenate(w), np.vstack(E))
