"""What the labels should be, found without any of the solvers under comparison, and audited.

Both laws are computed in the coordinates of ``mpc.condense.LeastDistance``, where the cost is
``x'P0 x + ||z||^2`` over unit rows ``M z <= b = w + E x`` and nothing is ill-conditioned.
"""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

from bench.speed.newton import DenseBarrier
from mpc.arrays import Array
from mpc.condense import LeastDistance, least_distance
from mpc.problem import ControlProblem

_AUDIT, _AT_ONCE = 1e-9, 32


def exact_truth(problem: ControlProblem, x: Array) -> Array:
    """Exact MPC's first inputs ``(B, m)``; NaN where the audit finds more than 1e-9 to complain about.

    The dual of the least distance is a nonnegative least-squares problem (Lawson and Hanson, "Solving
    Least Squares Problems", 1974, chapter 23), whose positive entries are the active rows W. From these
    alone, by a QR factorisation ``M_W' = Q R``: ``z = Q R'^-1 b_W`` and multipliers ``y = -R^-1 R'^-1 b_W``.
    """
    form = least_distance(problem)
    lift = solve_triangular(form.L[0], np.eye(problem.m), lower=True).T
    u = np.full((len(x), problem.m), np.nan)
    for i, state in enumerate(x):
        z = _nearest(form, form.w + form.E @ state)
        if z is not None:
            u[i] = form.K[0] @ state + lift @ z[: problem.m]
    return u


def _nearest(form: LeastDistance, b: Array) -> Array | None:
    """The shortest z with ``M z <= b``, or None where it fails the audit of the KKT conditions."""
    try:
        y, _ = nnls(np.vstack([-form.M.T, -b]), np.append(np.zeros(form.M.shape[1]), 1.0), maxiter=10_000)
    except RuntimeError:  # too many iterations
        return None
    rows = np.flatnonzero(y > 0)
    Q, R = np.linalg.qr(form.M[rows].T)
    if not (np.abs(np.diag(R)) > 1e-12).all():
        return None
    half = solve_triangular(R.T, b[rows], lower=True)
    z, multipliers = Q @ half, -solve_triangular(R, half)
    feasible = (form.M @ z - b <= _AUDIT * (1 + np.abs(b))).all()
    signed = (multipliers >= -_AUDIT * (1 + np.abs(multipliers).max(initial=0.0))).all()
    return z if feasible and signed else None


def barrier_truth(problem: ControlProblem, x: Array, eta: float) -> tuple[Array, Array]:
    """Barrier MPC's first inputs ``(B, m)`` and their Jacobian ``(B, m, n)``; NaN where not audited.

    ``V^eta / eta`` is self-concordant: where its Newton decrement ``l = sqrt(g'N^-1 g / eta)`` is below 1
    (g the gradient of V^eta, N >= 2 I its Hessian), the minimiser is within ``sqrt(eta/2) l / (1 - l)`` of
    z. That bound, carried over to u_0, must be below 1e-9.
    """
    form, m = least_distance(problem), problem.m
    size = form.M.shape[1]
    barrier = DenseBarrier(2 * np.eye(size), form.M, -form.M.T @ (1 / form.w), eta)
    lift = solve_triangular(form.L[0], np.eye(m), lower=True).T
    u, dudx = np.full((len(x), m), np.nan), np.full((len(x), m, problem.n), np.nan)
    for start in range(0, len(x), _AT_ONCE):
        states = x[start : start + _AT_ONCE]
        b = form.w + states @ form.E.T
        z, _ = barrier.solve(np.zeros((len(states), size)), b, 1e-11)
        slack = b - z @ form.M.T
        good = _distance(barrier, z, slack) * np.linalg.norm(lift, 2) <= _AUDIT
        here = start + np.flatnonzero(good)
        slope = barrier.slope(slack[good], np.zeros((size, problem.n)), form.E)
        u[here] = states[good] @ form.K[0].T + z[good, :m] @ lift.T
        dudx[here] = form.K[0] + lift @ slope[:, :m]
    return u, dudx


def _distance(barrier: DenseBarrier, z: Array, slack: Array) -> Array:
    """The bound ``sqrt(eta/2) l / (1 - l)`` on the distance of each ``z (B, p)`` from its minimiser."""
    eta = barrier.eta
    gradient = z @ barrier.H + eta * (1 / slack) @ barrier.G + eta * barrier.d
    step = np.linalg.solve(barrier.newton(eta / slack**2), gradient[:, :, None])[:, :, 0]
    decrement = np.sqrt(np.maximum((gradient * step).sum(axis=1), 0.0) / eta)
    inside = (slack > 0).all(axis=1) & (decrement < 1)
    return np.where(inside, np.sqrt(eta / 2) * decrement / np.where(inside, 1 - decrement, 1.0), np.inf)
