"""Exact MPC: the optimal plan from each state."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from mpc.arrays import Array
from mpc.condense import LeastDistance, least_distance
from mpc.expert import Control, blanked, state_rows
from mpc.kernels.active_set import label_states
from mpc.kernels.compilation import run_blocks
from mpc.problem import ControlProblem
from mpc.reference import reference_expert
from mpc.status import Status

_BACK_ENDS = ("auto", "osqp", "cvxpy")


@dataclass(frozen=True, eq=False)
class Plan:
    """Whole optimal plans with their multipliers.

    Args:
        x, u: predicted states ``(B, N+1, n)`` and inputs ``(B, N, m)``; NaN where not usable.
        multipliers: ``(B, c)`` >= 0 of ``V`` (not halved) for the rows ``G U <= w + E x0`` in the order of
            ``condense``. Where the status is infeasible they are a certificate instead: y >= 0 with
            ``G'y = 0`` and ``(w + E x0)'y < 0``, so no plan exists.
        status: int8 ``(B,)``.
        iterations: active-set changes ``(B,)``.
    """

    x: Array
    u: Array
    multipliers: Array
    status: np.ndarray
    iterations: np.ndarray


@dataclass(frozen=True, eq=False)
class OnlineExpert:
    """Exact MPC: ``u = u_0`` of the plan that minimises V (see ``ControlProblem``).

    The own solver is a dual active-set method on the least-distance form; labels are computed from
    the active set alone, to rounding. Value, gradient and Jacobian are those of the piece of the
    piecewise-affine law that the active set belongs to; ``curvature`` holds the active rows of the
    stages k >= 1 fixed and leaves the rows of stage 0 out.

    Args:
        problem: the control problem.
        solver: 'auto' (own), or 'osqp' and 'cvxpy' (CLARABEL) as references: slower, and with
            action, value and cost only.
        soft: weight rho > 0 of an exact L1 penalty on the violation of rows that constrain states
            alone; None keeps them hard. Where a row gives way the status is optimal_inaccurate and
            ``slack`` says by how much.
        max_iterations: limit on active-set changes, by default 100 + 10 (rows + inputs).

    Raises:
        ValueError: for an unknown solver or soft <= 0, or both a reference solver and soft.
    """

    problem: ControlProblem
    solver: str = "auto"
    soft: float | None = None
    max_iterations: int | None = None
    _form: LeastDistance = field(init=False, repr=False)
    _reference: object = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.solver not in _BACK_ENDS:
            raise ValueError(f"solver must be one of {_BACK_ENDS}, got {self.solver!r}")
        if self.soft is not None and not (np.isfinite(self.soft) and self.soft > 0):
            raise ValueError(f"soft, the weight of the penalty, must be positive, got {self.soft}")
        if self.max_iterations is not None and self.max_iterations < 1:
            raise ValueError(f"max_iterations must be at least 1, got {self.max_iterations}")
        if self.solver != "auto":
            if self.soft is not None:
                raise ValueError("soft works with the own solver only: leave solver='auto' or soft=None")
            object.__setattr__(self, "_reference", reference_expert(self.problem, self.solver))
        object.__setattr__(self, "_form", least_distance(self.problem))

    def __call__(self, x: ArrayLike) -> Control:
        """Labels of the states ``x (B, n)``."""
        states, finite = state_rows(self.problem, x)
        if self._reference is not None:
            control: Control = self._reference(states, finite)  # type: ignore[operator]
        else:
            control = self._solve(states, whole=False)[0]
        return blanked(control, finite)

    def plan(self, x: ArrayLike) -> Plan:
        """Whole plans from the states ``x (B, n)``, by the own solver."""
        states, finite = state_rows(self.problem, x)
        control, z, multipliers, iterations = self._solve(states, whole=True)
        status = blanked(control, finite).status
        form, system = self._form, self.problem.system
        xs, us = form.inputs(system.A, system.B, states, z)
        xs[status <= 0], us[status <= 0] = np.nan, np.nan
        scale = np.where(status[:, None] > 0, 2.0, 1.0)
        return Plan(xs, us, scale * multipliers / form.norms, status, iterations)

    def _upper(self) -> Array:
        """Bounds on the multipliers of the halved, scaled problem: ``rho |row| / 2``, else infinite."""
        form = self._form
        if self.soft is None:
            return np.full(len(form.w), np.inf)
        return np.where(form.soft, 0.5 * self.soft * form.norms, np.inf)

    def _solve(self, x: Array, *, whole: bool) -> tuple[Control, Array, Array, np.ndarray]:
        form, n, m = self._form, self.problem.n, self.problem.m
        B, (c, p) = len(x), form.M.shape
        status, iterations = np.zeros(B, np.int8), np.zeros(B, np.int64)
        u, dudx, curvature = np.full((B, m), np.nan), np.full((B, m, n), np.nan), np.full((B, m, m), np.nan)
        value, gradient, cost = np.full(B, np.nan), np.full((B, n), np.nan), np.full(B, np.nan)
        slack = np.full(B, np.nan)
        plans = np.full((B, p if whole else 0), np.nan)
        multipliers = np.full((B, c if whole else 0), np.nan)
        limit = self.max_iterations or 100 + 10 * (c + p)
        upper, L0 = self._upper(), np.ascontiguousarray(form.L[0])
        T0 = np.ascontiguousarray(solve_triangular(L0, np.eye(m), lower=True).T)
        K0 = np.ascontiguousarray(form.K[0])

        def work(start: int, stop: int) -> None:
            label_states(
                start, stop, x, form.M, form.w, form.E, form.norms, form.stage, upper, K0, T0, L0, form.P0,
                limit, status, u, dudx, value, gradient, curvature, cost, slack,
                plans, multipliers, iterations,
            )  # fmt: skip

        run_blocks(B, work)
        control = Control(
            u, status, dudx, value, gradient, curvature, cost, slack if self.soft is not None else None
        )
        return control, plans, multipliers, iterations


def feasible(problem: ControlProblem, x: ArrayLike) -> np.ndarray:
    """Boolean ``(B,)``: a plan exists from each state of ``x (B, n)``."""
    return OnlineExpert(problem)(x).status == Status.optimal
