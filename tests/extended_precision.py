"""Labels of barrier MPC in extended precision (``longdouble``, 64 bits of mantissa on x86)."""

from dataclasses import dataclass

import numpy as np
import pytest
from generators import dense_barrier

from mpc.arrays import Array
from mpc.problem import ControlProblem, stage_rows

needs_extended_precision = pytest.mark.skipif(
    np.finfo(np.longdouble).eps > 1e-18, reason="no extended precision on this processor"
)


@dataclass(frozen=True)
class Labels:
    """Of one state: ``u (m,)``, ``dudx (m, n)``, ``value``, ``gradient (n,)``, ``curvature (m, m)``."""

    u: Array
    dudx: Array
    value: float
    gradient: Array
    curvature: Array


def labels_of(problem: ControlProblem, x0: Array, eta: float) -> Labels:
    """Newton's method on the condensed problem, from the plan that ``dense_barrier`` finds.

    With the Hessian ``K`` of V^eta at the optimum: ``dU/dx0 = K^-1 (-F' + eta G'Phi^-2 E)``, and what is left
    of K for ``u_0`` when the later inputs are minimised over is the inverse of the corner of ``K^-1``.
    """
    H, F, Y, G, E, w = _condensed(problem)
    x, m = x0.astype(np.longdouble), problem.m
    d = -G.T @ (1 / w)
    U, K = _optimum(H, F.T @ x, G, w + E @ x, d, eta, dense_barrier(problem, x0, eta)[0])
    phi = w + E @ x - G @ U
    slope = gauss(K, -F.T + eta * (G / phi[:, None] ** 2).T @ E)
    value = U @ H @ U / 2 + x @ F @ U + x @ Y @ x - eta * (np.log(phi).sum() - d @ U)
    gradient = F @ U + 2 * Y @ x - eta * E.T @ (1 / phi)
    corner = gauss(K, np.eye(len(U), m, dtype=np.longdouble))[:m]
    curvature = gauss(corner, np.eye(m, dtype=np.longdouble))
    exact = (U[:m], slope[:m], value, gradient, curvature)
    u, dudx, value, gradient, curvature = (np.asarray(number, float) for number in exact)
    return Labels(u, dudx, float(value), gradient, curvature)


def _condensed(problem: ControlProblem) -> tuple[Array, ...]:
    """``H, F, Y, G, E, w`` of ``mpc.condense``, formed in extended precision too: on unstable plants their
    rounding alone moves the optimum."""
    wide = np.longdouble
    A, B = problem.system.A.astype(wide), problem.system.B.astype(wide)
    N, n, m = problem.N, problem.n, problem.m
    Phi, Gamma = np.eye(n, dtype=wide), np.zeros((n, N * m), wide)
    H, F = np.kron(np.eye(N), 2 * problem.R).astype(wide), np.zeros((n, N * m), wide)
    Y, G, E, w = np.zeros((n, n), wide), [], [], []
    for k in range(N + 1):
        C, D, bound = (part.astype(wide) for part in stage_rows(problem, k))
        rows = C @ Gamma
        if k < N:
            rows[:, k * m : (k + 1) * m] += D
        if k > 0:
            weight = (problem.Q if k < N else problem.Qf).astype(wide)
            H, F = H + 2 * Gamma.T @ weight @ Gamma, F + 2 * Phi.T @ weight @ Gamma
            Y = Y + Phi.T @ weight @ Phi
        G, E, w = [*G, rows], [*E, -C @ Phi], [*w, bound]
        Phi, Gamma = A @ Phi, A @ Gamma
        if k < N:
            Gamma[:, k * m : (k + 1) * m] += B
    return H, F, Y, np.vstack(G), np.vstack(E), np.concatenate(w)


def _optimum(H: Array, g: Array, G: Array, h: Array, d: Array, eta: float, U: Array) -> tuple[Array, Array]:
    """The minimum ``U`` of V^eta near a good one, and the Hessian there."""
    U = U.astype(np.longdouble)
    for _ in range(60):
        phi = h - G @ U
        hessian = H + eta * (G / phi[:, None] ** 2).T @ G
        step = gauss(hessian, -(H @ U + g + eta * (G.T @ (1 / phi) + d)))
        reach = np.max(G @ step / phi)
        U = U + step * min(np.longdouble(1), np.longdouble(0.9) / max(reach, np.longdouble(1e-30)))
        if np.abs(G @ step / phi).max() < 1e-15:
            break
    return U, hessian


def gauss(M: Array, right: Array) -> Array:
    """``M^-1 right`` for a positive definite M in any precision: elimination without pivots."""
    M, right = M.copy(), right.copy()
    for i in range(len(M)):
        factor = M[i + 1 :, i] / M[i, i]
        M[i + 1 :] -= factor[:, None] * M[i]
        right[i + 1 :] -= np.multiply.outer(factor, right[i])
    for i in reversed(range(len(M))):
        right[i] = (right[i] - M[i, i + 1 :] @ right[i + 1 :]) / M[i, i]
    return right
