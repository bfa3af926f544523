"""OSQP and cvxpy (CLARABEL) as solvers of the same problem: references, and back ends a user can pick.

Both get the sparse problem in states and inputs, so they share no algebra with the own solvers. They
are imported only when one is built.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from mpc.arrays import Array
from mpc.expert import Control
from mpc.problem import ControlProblem, quadratic, stage_rows
from mpc.status import Status

Solve = Callable[[Array], tuple[Array | None, Status]]
"""One state to the optimal ``(u_0, ..., u_{N-1})`` as (N, m), and what happened."""


def reference_expert(problem: ControlProblem, solver: str) -> Callable[[Array, np.ndarray], Control]:
    """A function ``(x (B, n), finite (B,)) -> Control`` with action, value and cost, one state at a time."""
    solve = osqp_solver(problem) if solver == "osqp" else cvxpy_solver(problem)

    def label(x: Array, finite: np.ndarray) -> Control:
        u = np.full((len(x), problem.m), np.nan)
        value, status = np.full(len(x), np.nan), np.full(len(x), Status.invalid_input, np.int8)
        for i in np.flatnonzero(finite):
            plan, outcome = solve(x[i])
            status[i] = outcome
            if plan is not None:
                u[i], value[i] = plan[0], plan_cost(problem, x[i], plan)
        return Control(u, status, value=value, cost=value.copy())

    return label


def plan_cost(problem: ControlProblem, x0: Array, inputs: Array) -> float:
    """``V`` of the inputs ``(N, m)`` from ``x0``, by rolling the plant out."""
    x, total = x0, 0.0
    for k, u in enumerate(inputs):
        x = problem.system.step(x, u)
        weight = problem.Q if k < problem.N - 1 else problem.Qf
        total += float(quadratic(u, problem.R) + quadratic(x, weight))
    return total


def sparse_rows(problem: ControlProblem) -> tuple[Any, Any, Array, Array, Array]:
    """``P, A, low, high`` of ``1/2 z'P z, low <= A z <= high`` over z = (u_0, x_1, u_1, ..., x_N), and
    ``into``: x0 adds ``into @ x0`` to both bounds."""
    N, n, m = problem.N, problem.n, problem.m
    size, step = N * (n + m), n + m
    weights = [w for k in range(1, N + 1) for w in (problem.R, problem.Q if k < N else problem.Qf)]
    P = 2 * sparse.block_diag(weights, format="csc")
    blocks, low, high, into = [], [], [], []

    def add(rows: Array, below: Array, above: Array, x0_part: Array) -> None:
        blocks.append(sparse.csc_matrix(rows))
        low.append(below)
        high.append(above)
        into.append(x0_part)

    for k in range(N):
        rows = np.zeros((n, size))
        rows[:, k * step : k * step + m] = -problem.system.B
        rows[:, k * step + m : (k + 1) * step] = np.eye(n)
        if k > 0:
            rows[:, k * step - n : k * step] = -problem.system.A
        add(rows, np.zeros(n), np.zeros(n), problem.system.A if k == 0 else np.zeros((n, n)))
    for k in range(N + 1):
        C, D, d = stage_rows(problem, k)
        rows = np.zeros((len(d), size))
        if k > 0:
            rows[:, k * step - n : k * step] = C
        if k < N:
            rows[:, k * step : k * step + m] = D
        add(rows, np.full(len(d), -np.inf), d, -C if k == 0 else np.zeros((len(d), n)))
    A = sparse.vstack(blocks, format="csc")
    return P, A, np.concatenate(low), np.concatenate(high), np.vstack(into)


def _inputs(problem: ControlProblem, z: Array) -> Array:
    return z.reshape(problem.N, problem.m + problem.n)[:, : problem.m].copy()


def osqp_solver(problem: ControlProblem) -> Solve:
    """OSQP at tolerance 1e-9 with polishing, set up once and updated for each state."""
    import osqp

    P, A, low, high, into = sparse_rows(problem)
    instance = osqp.OSQP()
    instance.setup(
        sparse.triu(P, format="csc"), np.zeros(A.shape[1]), A, low, high,
        eps_abs=1e-9, eps_rel=1e-9, eps_prim_inf=1e-9, eps_dual_inf=1e-9, max_iter=200_000, polishing=True,
        verbose=False, warm_starting=False, scaling=20,
    )  # fmt: skip
    outcomes = {
        "solved": Status.optimal,
        "solved inaccurate": Status.optimal_inaccurate,
        "primal infeasible": Status.infeasible,
        "primal infeasible inaccurate": Status.infeasible,
        "dual infeasible": Status.unbounded,
        "maximum iterations reached": Status.iteration_limit,
    }

    def solve(x0: Array) -> tuple[Array | None, Status]:
        shift = into @ x0
        instance.update(l=low + shift, u=high + shift)
        result = instance.solve(raise_error=False)
        status = outcomes.get(result.info.status, Status.numerical_error)
        return (_inputs(problem, result.x), status) if status > 0 else (None, status)

    return solve


def cvxpy_solver(problem: ControlProblem) -> Solve:
    """The problem written out in cvxpy with x0 as a parameter, solved by CLARABEL."""
    import cvxpy

    N, n, m = problem.N, problem.n, problem.m
    x0, x, u = cvxpy.Parameter(n), cvxpy.Variable((N + 1, n)), cvxpy.Variable((N, m))
    cost: Any = 0
    constraints: list[Any] = [x[0] == x0]
    for k in range(N + 1):
        C, D, d = stage_rows(problem, k)
        if k < N:
            constraints.append(x[k + 1] == problem.system.A @ x[k] + problem.system.B @ u[k])
            cost += cvxpy.quad_form(u[k], cvxpy.psd_wrap(problem.R))
        if k > 0:
            cost += cvxpy.quad_form(x[k], cvxpy.psd_wrap(problem.Q if k < N else problem.Qf))
        if len(d):
            constraints.append(C @ x[k] + (D @ u[k] if k < N else 0) <= d)
    task = cvxpy.Problem(cvxpy.Minimize(cost), constraints)
    outcomes = {
        "optimal": Status.optimal,
        "optimal_inaccurate": Status.optimal_inaccurate,
        "infeasible": Status.infeasible,
        "infeasible_inaccurate": Status.infeasible,
        "unbounded": Status.unbounded,
        "user_limit": Status.iteration_limit,
    }
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-12)

    def solve(state: Array) -> tuple[Array | None, Status]:
        x0.value = state
        try:
            task.solve(solver=cvxpy.CLARABEL, ignore_dpp=False, **tight)
        except cvxpy.SolverError:
            return None, Status.numerical_error
        status = outcomes.get(task.status, Status.numerical_error)
        if status <= 0 or u.value is None:
            return None, status
        return np.array(u.value), status

    return solve
