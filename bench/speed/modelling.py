"""The problem written out in cvxpy, as its users write it."""

from typing import Any

from mpc.problem import ControlProblem, stage_rows


def plan_in_cvxpy(problem: ControlProblem) -> tuple[Any, Any, Any, list[Any], list[Any]]:
    """Parameter x0 (n), variable u (N, m), cost, dynamics, and the slacks ``d - C x_k - D u_k`` by stage."""
    import cvxpy

    N, n, m = problem.N, problem.n, problem.m
    x0, x, u = cvxpy.Parameter(n), cvxpy.Variable((N + 1, n)), cvxpy.Variable((N, m))
    dynamics: list[Any] = [x[0] == x0]
    cost: Any = 0
    slacks = []
    for k in range(N + 1):
        C, D, d = stage_rows(problem, k)
        if k < N:
            dynamics.append(x[k + 1] == problem.system.A @ x[k] + problem.system.B @ u[k])
            cost += cvxpy.quad_form(u[k], cvxpy.psd_wrap(problem.R))
        if k > 0:
            cost += cvxpy.quad_form(x[k], cvxpy.psd_wrap(problem.Q if k < N else problem.Qf))
        if len(d):
            slacks.append(d - C @ x[k] - (D @ u[k] if k < N else 0))
    return x0, u, cost, dynamics, slacks
