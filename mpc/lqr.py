"""Linear feedback: LQR saturated by the input polytope, and gains that are given."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array, frozen, row_product
from mpc.expert import Control, blanked, state_rows
from mpc.kernels.projection import project_rows
from mpc.kernels.threads import run_blocks
from mpc.problem import ControlProblem, quadratic, riccati_solution
from mpc.status import Status


@dataclass(frozen=True, eq=False)
class LqrExpert:
    """Infinite-horizon LQR: ``u = proj_U(K x)``, the Euclidean projection (a box: clipping).

    ``K = -(R + B'PB)^-1 B'PA`` with P the solution of the discrete algebraic Riccati equation. The
    Jacobian is that of the projected action. Value ``x'(P - Q)x`` (x_0 not charged), its gradient and
    the curvature ``2 (R + B'PB)`` are those of the unconstrained problem that LQR solves; X, Xf and XU
    are ignored.

    Raises:
        ValueError: if (A, B) is not stabilisable or U is empty.
    """

    problem: ControlProblem
    K: Array = field(init=False)
    P: Array = field(init=False)

    def __post_init__(self) -> None:
        system = self.problem.system
        P = riccati_solution(system, self.problem.Q, self.problem.R)
        gain = -np.linalg.solve(self._weight(P), system.B.T @ P @ system.A)
        object.__setattr__(self, "P", frozen("P", P, (system.n, system.n)))
        object.__setattr__(self, "K", frozen("K", gain, (system.m, system.n)))

    @property
    def level(self) -> float:
        """The largest c for which ``{x: x'Px <= c}`` lies in X and its inputs ``K x`` in U.

        The set is invariant under LQR, which is admissible and optimal there. The largest ``g'x`` over it is
        ``sqrt(c g'P^-1 g)``, so each row ``g'x <= h`` of X, and of U in terms of x, allows c up to
        ``h^2 / g'P^-1 g``; 0 where the origin violates a row.
        """
        rows = np.concatenate([self.problem.X.G, self.problem.U.G @ self.K])
        h = np.concatenate([self.problem.X.h, self.problem.U.h])
        spread = np.einsum("ij,ij->i", rows, np.linalg.solve(self.P, rows.T).T)
        allowed = np.where(spread > 0, np.maximum(h, 0.0) ** 2 / np.where(spread > 0, spread, 1.0), np.inf)
        return 0.0 if (h < 0).any() else float(allowed.min(initial=np.inf))

    def _weight(self, P: Array) -> Array:
        B = self.problem.system.B
        return self.problem.R + B.T @ P @ B

    def __call__(self, x: ArrayLike) -> Control:
        """Labels of the states ``x (B, n)``."""
        states, finite = state_rows(self.problem, x)
        rest = self.P - self.problem.Q
        u, status, tangent = project(self.problem.U.G, self.problem.U.h, row_product(states, self.K))
        control = Control(
            u,
            status,
            dudx=np.einsum("bij,ja->bia", tangent, self.K),
            value=quadratic(states, rest),
            gradient=2 * row_product(states, rest),
            curvature=np.broadcast_to(2 * self._weight(self.P), tangent.shape).copy(),
        )
        return blanked(control, finite)


@dataclass(frozen=True, eq=False)
class LinearExpert:
    """``u = K x`` with a given gain ``K (m, n)``, never saturated; it has a Jacobian and no value.

    Raises:
        ValueError: if K has the wrong shape or is not finite.
    """

    problem: ControlProblem
    K: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "K", frozen("K", self.K, (self.problem.m, self.problem.n)))

    def __call__(self, x: ArrayLike) -> Control:
        """Labels of the states ``x (B, n)``."""
        states, finite = state_rows(self.problem, x)
        status = np.full(len(states), Status.optimal, np.int8)
        dudx = np.broadcast_to(self.K, (len(states), *self.K.shape)).copy()
        return blanked(Control(row_product(states, self.K), status, dudx=dudx), finite)


def project(G: Array, h: Array, points: Array) -> tuple[Array, np.ndarray, Array]:
    """Euclidean projection of ``points (B, m)`` onto ``G u <= h``: ``(u, status, du/dpoint (B, m, m))``."""
    norms = np.linalg.norm(G, axis=1)
    scale = np.where(norms > 0, norms, 1.0)
    unit, bounds, never = np.ascontiguousarray(G / scale[:, None]), h / scale, np.full(len(h), np.inf)
    columns = np.ascontiguousarray(unit.T)
    B, m = points.shape
    u, status, tangent = np.full((B, m), np.nan), np.zeros(B, np.int8), np.full((B, m, m), np.nan)
    points = np.ascontiguousarray(points)

    def work(start: int, stop: int) -> None:
        project_rows(start, stop, points, unit, columns, bounds, never, status, u, tangent)

    run_blocks(B, work, 500.0 + 10.0 * len(h) * m * m)
    return u, status, tangent
