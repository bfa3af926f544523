"""OSQP and cvxpy (CLARABEL) as solvers of the same problem: references, and back ends a user can pick.

Both get the sparse problem in states and inputs, not the condensed one of the own solvers; OSQP gets it
in other variables, which change no solution whatever their gains are. Both are imported only when one is
built.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from mpc.arrays import Array
from mpc.condense import riccati_gains
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


_POLISHED, _SOLVED = 1e-12, 1e-10  # residuals that end the search, and that will do when it is over
_ROUNDS, _ITERATIONS = 20, 1000  # of each attempt; in each round
_REFUSALS = {"primal infeasible": Status.infeasible, "dual infeasible": Status.unbounded}


@dataclass(frozen=True, eq=False)
class _Attempt:
    """OSQP on ``1/2 z'Pz, low <= Az <= high`` with the cost multiplied by ``scale``."""

    instance: Any
    P: Any
    A: Any
    scale: float

    @staticmethod
    def of(P: Any, A: Any, low: Array, high: Array, scale: float) -> "_Attempt":
        import osqp

        instance = osqp.OSQP()
        instance.setup(
            sparse.triu(scale * P, format="csc"), np.zeros(A.shape[1]), A, low, high,
            eps_prim_inf=1e-9, eps_dual_inf=1e-9, max_iter=_ITERATIONS, scaling=50, polishing=True,
            polish_refine_iter=20, adaptive_rho_interval=200, adaptive_rho_tolerance=2, verbose=False,
        )  # fmt: skip
        return _Attempt(instance, P, A, scale)

    def start(self, low: Array, high: Array) -> None:
        """Forget the state before: new bounds, first guess, step size and tolerance."""
        self.instance.update(l=low, u=high)
        self.instance.warm_start(x=np.zeros(self.A.shape[1]), y=np.zeros(self.A.shape[0]))
        self.instance.update_settings(rho=0.1, eps_abs=1e-6, eps_rel=1e-6)

    def residual(self, z: Array, y: Array, low: Array, high: Array) -> float:
        """How far from optimal, 0 at the optimum only: the larger one of ``|Pz + A'y|_inf`` and, for the
        constraints, the signs of y and complementarity at once, ``|Az - clip(Az + y, low, high)|_inf``;
        each relative to 1 + the largest of its terms."""
        pull, push, rows = self.P @ z, self.A.T @ y, self.A @ z
        wrong = np.abs(rows - np.clip(rows + y / (1 + _largest(y)), low, high))
        still = _largest(pull + push) / (1 + max(_largest(pull), _largest(push)))
        return max(still, _largest(wrong) / (1 + _largest(rows)))


def _largest(values: Array) -> float:
    return float(np.abs(values).max(initial=0.0))


def osqp_solver(problem: ControlProblem) -> Solve:
    """OSQP, set up once and updated for each state; optimal where its relative KKT residual is below 1e-10.

    OSQP crawls towards tight tolerances, but its polishing solves for the active set it guesses, to
    rounding, and the guess is often right long before. So every 1000 iterations the polished point is
    audited, and only where it fails OSQP goes on. What else keeps it from crawling:
    - the inputs are ``u_k = K_k x_k + v_k`` with the gains of finite-horizon LQR: the same problem, but
      without the growth of an unstable plant between its variables;
    - two attempts take turns, one with 1e-4 of the cost: OSQP's step size is right for multipliers up to
      about 1e6 times the variables, and near the edge of the feasible set they can be larger;
    - the step size is adapted every 200 iterations only: every 50 it can cycle for good.
    """
    P, A, low, high, into = sparse_rows(problem)
    T = _feedback(problem)
    P, A = (T.T @ P @ T).tocsc(), (A @ T).tocsc()
    attempts = [_Attempt.of(P, A, low, high, scale) for scale in (1.0, 1e-4)]

    def solve(x0: Array) -> tuple[Array | None, Status]:
        below, above = low + into @ x0, high + into @ x0
        best, plan = np.inf, None
        for attempt in attempts:
            attempt.start(below, above)
        for turn, attempt in enumerate(_ROUNDS * attempts):
            result = attempt.instance.solve(raise_error=False)
            if result.info.status in _REFUSALS:
                return None, _REFUSALS[result.info.status]
            residual = attempt.residual(result.x, result.y / attempt.scale, below, above)
            if residual < best:
                best, plan = residual, _inputs(problem, T @ result.x)
            if best <= _POLISHED:
                break
            if result.info.status == "solved":  # met its tolerance with the wrong set: on with a tighter one
                tighter = max(1e-7 * 0.1 ** (turn // len(attempts)), 1e-12)
                attempt.instance.update_settings(eps_abs=tighter, eps_rel=tighter)
        return (plan, Status.optimal) if best <= _SOLVED else (None, Status.iteration_limit)

    return solve


def _feedback(problem: ControlProblem) -> Any:
    """``T`` with ``z = T (v_0, x_1, v_1, ..., x_N)``: ``u_0 = v_0`` and ``u_k = K_k x_k + v_k`` after it."""
    K, n, m = riccati_gains(problem)[0], problem.n, problem.m
    step = n + m
    T = np.eye(problem.N * step)
    for k in range(1, problem.N):
        T[k * step : k * step + m, k * step - n : k * step] = K[k]
    return sparse.csc_matrix(T)


def _inputs(problem: ControlProblem, z: Array) -> Array:
    return z.reshape(problem.N, problem.m + problem.n)[:, : problem.m].copy()


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
