"""Exact MPC by the QP solvers that Python users have: set up once, update and solve for each state."""

from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from scipy import sparse

from bench.speed.forms import Form, affine, dense_form, sparse_form
from bench.speed.modelling import plan_in_cvxpy
from bench.speed.peers import FAILED, Label, Peer, Task, one_by_one, stated
from mpc.arrays import Array
from mpc.problem import ControlProblem

_UNBOUNDED = 1e30


def _bounded(values: Array) -> Array:
    """Infinite entries as the large numbers that some solvers take for infinity."""
    return np.clip(values, -_UNBOUNDED, _UNBOUNDED)


def _with_bounds(form: Form) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """``(M, c)`` of the lower and of the upper limits ``M x + c``: those of z first, if any, then rows."""
    low, high, shift = form.low, form.high, form.S
    if form.bounded:
        shift = np.vstack([np.zeros((len(form.lower), shift.shape[1])), shift])
        low, high = np.concatenate([form.lower, low]), np.concatenate([form.upper, high])
    return (shift, _bounded(low)), (shift, _bounded(high))


def daqp(problem: ControlProblem, tolerance: float | None, task: Task) -> Label:
    """DAQP's Model on the dense form; cold, every solve starts from an empty working set."""
    package: Any = import_module("daqp")

    form = dense_form(problem)
    below, above = _with_bounds(form)
    at = affine((form.F.T, np.zeros(len(form.P))), below, above)
    empty = np.zeros(len(above[1]), np.intc)
    model = package.Model()
    q, low, high = at(np.zeros(problem.n))
    model.setup(np.ascontiguousarray(form.P), q, np.ascontiguousarray(form.C), high, low, empty)
    model.settings = {"primal_tol": stated(tolerance)}
    start = {} if task.warm else {"sense": empty}
    m = form.m

    def solve(x: Array) -> Array | float:
        q, low, high = at(x)
        model.update(f=q, bupper=high, blower=low, **start)
        z, _, flag, _ = model.solve()
        return z[:m] if flag > 0 else FAILED

    return one_by_one(solve, m)


def quadprog(problem: ControlProblem, tolerance: float | None, task: Task) -> Label:
    """quadprog (Goldfarb and Idnani) on the dense form, with the inverse Cholesky factor given."""
    package: Any = import_module("quadprog")

    form = dense_form(problem)
    size, m = len(form.P), form.m
    inverse_factor = np.linalg.inv(np.linalg.cholesky(form.P).T)
    rows = np.vstack([form.C, -form.C, np.eye(size), -np.eye(size)])
    shift = np.vstack([form.S, -form.S, np.zeros((2 * size, problem.n))])
    limits = np.concatenate([form.low, -form.high, form.lower, -form.upper])
    kept = np.isfinite(limits)
    columns = np.asfortranarray(rows[kept].T)
    at = affine((-form.F.T, np.zeros(size)), (shift[kept], limits[kept]))

    def solve(x: Array) -> Array | float:
        a, b = at(x)
        try:
            return package.solve_qp(inverse_factor, a, columns, b, 0, True)[0][:m]
        except ValueError:  # infeasible
            return FAILED

    return one_by_one(solve, m)


def _piqp_settings(solver: Any, tolerance: float | None) -> None:
    settings = solver.settings
    for name in ("eps_abs", "eps_rel", "eps_duality_gap_abs", "eps_duality_gap_rel"):
        setattr(settings, name, stated(tolerance))
    settings.preconditioner_reuse_on_update = True


def piqp_dense(problem: ControlProblem, tolerance: float | None, task: Task) -> Label:
    """PIQP's dense solver on the dense form."""
    piqp: Any = import_module("piqp")

    form = dense_form(problem)
    solver = piqp.DenseSolver()
    _piqp_settings(solver, tolerance)
    at = affine((form.F.T, np.zeros(len(form.P))), (form.S, form.low), (form.S, form.high))
    q, low, high = at(np.zeros(problem.n))
    bounds = {"x_l": form.lower, "x_u": form.upper} if form.bounded else {}
    solver.setup(np.asfortranarray(form.P), q, G=np.asfortranarray(form.C), h_l=low, h_u=high, **bounds)
    m = form.m

    def solve(x: Array) -> Array | float:
        q, low, high = at(x)
        solver.update(c=q, h_l=low, h_u=high)
        return solver.result.x[:m] if solver.solve() == piqp.PIQP_SOLVED else FAILED

    return one_by_one(solve, m)


def piqp_sparse(
    problem: ControlProblem, tolerance: float | None, task: Task, kkt: str = "sparse_ldlt"
) -> Label:
    """PIQP's sparse solver on the sparse form, with one of its factorisations of the KKT matrix."""
    piqp: Any = import_module("piqp")

    form = sparse_form(problem)
    k, m = form.equalities, form.m
    solver = piqp.SparseSolver()
    _piqp_settings(solver, tolerance)
    solver.settings.kkt_solver = getattr(piqp, kkt)
    at = affine((form.S[:k], form.low[:k]), (form.S[k:], form.low[k:]), (form.S[k:], form.high[k:]))
    b, low, high = at(np.zeros(problem.n))
    moving = form.S[k:].any()
    limits = {"G": sparse.csc_matrix(form.C[k:]), "h_l": low, "h_u": high} if len(low) else {}
    bounds = {"x_l": form.lower, "x_u": form.upper} if form.bounded else {}
    solver.setup(
        sparse.csc_matrix(form.P), np.zeros(len(form.P)), sparse.csc_matrix(form.C[:k]), b, **limits, **bounds
    )

    def solve(x: Array) -> Array | float:
        b, low, high = at(x)
        if moving:
            solver.update(b=b, h_l=low, h_u=high)
        else:
            solver.update(b=b)
        return solver.result.x[:m] if solver.solve() == piqp.PIQP_SOLVED else FAILED

    return one_by_one(solve, m)


def osqp(problem: ControlProblem, tolerance: float | None, task: Task, form_of: Any = sparse_form) -> Label:
    """OSQP with polishing; warm, from the solution before."""
    package: Any = import_module("osqp")

    form = form_of(problem)
    below, above = _with_bounds(form)
    rows = np.vstack([np.eye(len(form.P)), form.C]) if form.bounded else form.C
    at = affine((form.F.T, np.zeros(len(form.P))), below, above)
    q, low, high = at(np.zeros(problem.n))
    solver = package.OSQP()
    solver.setup(
        sparse.csc_matrix(np.triu(form.P)), q.copy(), sparse.csc_matrix(rows), low.copy(), high.copy(),
        eps_abs=stated(tolerance), eps_rel=stated(tolerance), max_iter=50_000, polishing=True,
        warm_starting=task.warm, verbose=False,
    )  # fmt: skip
    m, moving = form.m, form.F.any()

    def solve(x: Array) -> Array | float:
        q, low, high = at(x)
        if moving:
            solver.update(q=q, l=low, u=high)
        else:
            solver.update(l=low, u=high)
        result = solver.solve(raise_error=False)
        return result.x[:m] if result.info.status_val == 1 else FAILED

    return one_by_one(solve, m)


def clarabel(problem: ControlProblem, tolerance: float | None, task: Task) -> Label:
    """CLARABEL on the sparse form, its data updated in place."""
    package: Any = import_module("clarabel")

    form = sparse_form(problem)
    k, size, m = form.equalities, len(form.P), form.m
    rows = np.vstack([form.C[:k], form.C[k:], -form.C[k:], np.eye(size), -np.eye(size)])
    shift = np.vstack([form.S[:k], form.S[k:], -form.S[k:], np.zeros((2 * size, problem.n))])
    limits = np.concatenate([form.high, -form.low[k:], form.upper, -form.lower])
    kept = np.isfinite(limits)
    at = affine((shift[kept], limits[kept]))
    settings = package.DefaultSettings()
    settings.verbose, settings.presolve_enable, settings.max_threads = False, False, 1
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = stated(tolerance)
    (b,) = at(np.zeros(problem.n))
    cones = [package.ZeroConeT(k), package.NonnegativeConeT(int(kept.sum()) - k)]
    solver = package.DefaultSolver(
        sparse.csc_matrix(np.triu(form.P)), np.zeros(size), sparse.csc_matrix(rows[kept]), b, cones, settings
    )

    def solve(x: Array) -> Array | float:
        (b,) = at(x)
        solver.update(b=b)
        result = solver.solve()
        return result.x[:m] if str(result.status) in {"Solved", "AlmostSolved"} else FAILED

    return one_by_one(solve, m)


def proxsuite(problem: ControlProblem, tolerance: float | None, task: Task) -> Label:
    """ProxQP's dense solver on the dense form; warm, from the solution before."""
    proxqp: Any = import_module("proxsuite").proxqp

    form = dense_form(problem)
    at = affine(
        (form.F.T, np.zeros(len(form.P))), (form.S, _bounded(form.low)), (form.S, _bounded(form.high))
    )
    q, low, high = at(np.zeros(problem.n))
    solver = proxqp.dense.QP(len(q), 0, len(low), form.bounded)
    solver.settings.eps_abs, solver.settings.eps_rel = stated(tolerance), 0.0
    guess = proxqp.InitialGuess
    solver.settings.initial_guess = guess.NO_INITIAL_GUESS
    bounds = {"l_box": _bounded(form.lower), "u_box": _bounded(form.upper)} if form.bounded else {}
    solver.init(H=form.P, g=q, C=form.C, l=low, u=high, **bounds)
    if task.warm:
        solver.solve()  # ProxQP 0.8 crashes where there is no result yet to start from
        solver.settings.initial_guess = guess.WARM_START_WITH_PREVIOUS_RESULT
    m, solved = form.m, proxqp.QPSolverOutput.PROXQP_SOLVED

    def solve(x: Array) -> Array | float:
        q, low, high = at(x)
        solver.update(g=q, l=low, u=high)
        solver.solve()
        return solver.results.x[:m] if solver.results.info.status == solved else FAILED

    return one_by_one(solve, m)


def qpsolvers(problem: ControlProblem, tolerance: float | None, task: Task) -> Label:
    """``qpsolvers.solve_qp`` with DAQP on the dense form: one function for every solver, no updates."""
    solve_qp: Any = import_module("qpsolvers").solve_qp

    form = dense_form(problem)
    two = np.isfinite(form.low)
    G = np.ascontiguousarray(np.vstack([form.C, -form.C[two]]))
    at = affine(
        (form.F.T, np.zeros(len(form.P))),
        (np.vstack([form.S, -form.S[two]]), np.concatenate([form.high, -form.low[two]])),
    )
    bounds = {"lb": form.lower, "ub": form.upper} if form.bounded else {}
    options: dict[str, Any] = {"solver": "daqp", "primal_tol": stated(tolerance), **bounds}
    m = form.m

    def solve(x: Array) -> Array | float:
        q, h = at(x)
        z = solve_qp(form.P, q, G, h, **options)
        return FAILED if z is None else z[:m]

    return one_by_one(solve, m)


_CVXPY_OPTIONS = {
    "CLARABEL": ("tol_gap_abs", "tol_gap_rel", "tol_feas"),
    "PIQP": ("eps_abs", "eps_rel", "eps_duality_gap_abs", "eps_duality_gap_rel"),
}


def cvxpy(problem: ControlProblem, tolerance: float | None, task: Task, solver: str = "CLARABEL") -> Label:
    """cvxpy with the state as a parameter (DPP), compiled once."""
    package: Any = import_module("cvxpy")

    x0, u, cost, dynamics, slacks = plan_in_cvxpy(problem)
    whole = package.Problem(package.Minimize(cost), [*dynamics, *(slack >= 0 for slack in slacks)])
    options: dict[str, Any] = dict.fromkeys(_CVXPY_OPTIONS[solver], stated(tolerance))

    def solve(x: Array) -> Array | float:
        x0.value = x
        try:
            whole.solve(solver=solver, enforce_dpp=True, **options)
        except package.SolverError:
            return FAILED
        return FAILED if u.value is None else u.value[0]

    return one_by_one(solve, problem.m)


_INTERIOR = (1e-6, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12)
_SPLITTING = (1e-3, 1e-4, 1e-6, 1e-8)
_ACTIVE_SET = (1e-6, 1e-9, 1e-12)
EXACT = (
    Peer("daqp", "daqp", _ACTIVE_SET, daqp, warm=True),
    Peer("quadprog", "quadprog", (None,), quadprog),
    Peer("piqp dense", "piqp", _INTERIOR, piqp_dense),
    Peer("piqp sparse", "piqp", _INTERIOR, piqp_sparse),
    Peer("piqp multistage", "piqp", _INTERIOR, partial(piqp_sparse, kkt="sparse_multistage")),
    Peer("osqp dense", "osqp", _SPLITTING, partial(osqp, form_of=dense_form), warm=True),
    Peer("osqp sparse", "osqp", _SPLITTING, osqp, warm=True),
    Peer("clarabel", "clarabel", _INTERIOR, clarabel),
    Peer("proxsuite", "proxsuite", _INTERIOR, proxsuite, warm=True),
    Peer("qpsolvers (daqp)", "qpsolvers", _ACTIVE_SET, qpsolvers, needs=("daqp",)),
    Peer("cvxpy (clarabel)", "cvxpy", _INTERIOR, cvxpy),
    Peer("cvxpy (piqp)", "cvxpy", _INTERIOR, partial(cvxpy, solver="PIQP"), needs=("piqp",)),
)
"""Solvers of the exact problem."""
