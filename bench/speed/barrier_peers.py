"""Barrier MPC with software that users have today, there being no solver made for it."""

from importlib import import_module
from typing import Any

import numpy as np

from bench.speed.modelling import plan_in_cvxpy
from bench.speed.newton import DenseBarrier
from bench.speed.peers import FAILED, Label, Peer, Task, one_by_one, stated
from mpc.arrays import Array
from mpc.barrier import recentring
from mpc.condense import condense
from mpc.problem import ControlProblem, stage_rows


def _weight(task: Task) -> float:
    if task.eta is None:
        raise TypeError("a barrier task has a weight")
    return task.eta


def numpy_newton(problem: ControlProblem, tolerance: float | None, task: Task) -> Label:
    """Newton's method on the condensed problem in NumPy, many states at once, with the Jacobian."""
    form, m = condense(problem), problem.m
    barrier = DenseBarrier(form.H, form.G, form.d, _weight(task))
    together = min(256, max(8, 2**20 // form.G.size))  # temporary arrays of a few megabytes were fastest

    def label(x: Array) -> Array:
        u = np.empty((len(x), m))
        for start in range(0, len(x), together):
            states = x[start : start + together]
            z, slack = barrier.solve(states @ form.F, form.w + states @ form.E.T, stated(tolerance))
            barrier.slope(slack, form.F.T, form.E)
            u[start : start + together] = z[:, :m]
        return u

    return label


def cvxpy_cones(problem: ControlProblem, tolerance: float | None, task: Task) -> Label:
    """cvxpy with ``log`` in the cost, which CLARABEL solves over exponential cones."""
    cvxpy: Any = import_module("cvxpy")

    eta, d = _weight(task), recentring(problem)
    x0, u, cost, dynamics, slacks = plan_in_cvxpy(problem)
    logs: Any = sum(cvxpy.sum(cvxpy.log(slack)) for slack in slacks)
    whole = cvxpy.Problem(cvxpy.Minimize(cost - eta * logs + eta * cvxpy.sum(cvxpy.multiply(d, u))), dynamics)
    options: dict[str, Any] = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), stated(tolerance))

    def solve(x: Array) -> Array | float:
        x0.value = x
        try:
            whole.solve(solver="CLARABEL", enforce_dpp=True, **options)
        except cvxpy.SolverError:
            return FAILED
        return FAILED if u.value is None else u.value[0]

    return one_by_one(solve, problem.m)


def casadi_ipopt(problem: ControlProblem, tolerance: float | None, task: Task) -> Label:
    """casadi's ipopt on states, inputs and slacks s > 0 : ``C x + D u + s = d``, cost ``-eta log s``."""
    casadi: Any = import_module("casadi")

    eta, d0, N, n, m = _weight(task), recentring(problem), problem.N, problem.n, problem.m
    opti = casadi.MX.sym
    x0, x, u = opti("x0", n), opti("x", n, N), opti("u", m, N)
    Q, R, Qf = (casadi.DM(weight) for weight in (problem.Q, problem.R, problem.Qf))
    A, B = casadi.DM(problem.system.A), casadi.DM(problem.system.B)
    cost: Any = 0
    equations, slacks = [], []
    for k in range(N + 1):
        before = x0 if k == 0 else x[:, k - 1]
        C, D, d = stage_rows(problem, k)
        left: Any = casadi.DM(C) @ before
        if k < N:
            equations.append(A @ before + B @ u[:, k] - x[:, k])
            cost += casadi.bilin(R, u[:, k]) + casadi.bilin(Q if k < N - 1 else Qf, x[:, k])
            cost += eta * casadi.dot(casadi.DM(d0[k]), u[:, k])
            left += casadi.DM(D) @ u[:, k]
        if len(d):
            s = opti(f"s{k}", len(d))
            slacks.append(s)
            equations.append(left + s - casadi.DM(d))
            cost -= eta * casadi.sum1(casadi.log(s))
    variables = casadi.vertcat(casadi.vec(u), casadi.vec(x), *slacks)
    free = (m + n) * N
    positive = variables.numel() - free
    options = {"print_time": False, "ipopt": {"print_level": 0, "sb": "yes", "tol": stated(tolerance)}}
    parts = {"x": variables, "p": x0, "f": cost, "g": casadi.vertcat(*equations)}
    ipopt = casadi.nlpsol("barrier", "ipopt", parts, options)
    lower = np.concatenate([np.full(free, -np.inf), np.zeros(positive)])
    start = np.concatenate([np.zeros(free), np.ones(positive)])

    def solve(state: Array) -> Array | float:
        answer = ipopt(x0=start, p=state, lbx=lower, lbg=0, ubg=0)
        return np.array(answer["x"])[:m, 0] if ipopt.stats()["success"] else FAILED

    return one_by_one(solve, m)


BARRIER = (
    Peer("numpy newton", "numpy", (1e-2, 1e-4, 1e-6, 1e-8), numpy_newton, jacobian=True),
    Peer("cvxpy (clarabel)", "cvxpy", (1e-6, 1e-8, 1e-10, 1e-12), cvxpy_cones),
    Peer("casadi (ipopt)", "casadi", (1e-4, 1e-6, 1e-8, 1e-10), casadi_ipopt),
)
"""Solvers of the barrier problem."""
