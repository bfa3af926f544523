"""Problems that barrier MPC may find hard, and the edge of their feasible sets by linear programs."""

from collections.abc import Iterable

import numpy as np

from mpc.arrays import Array
from mpc.condense import condense
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.system import LinearSystem

EXTRAS = ("mixed", "terminal", "repeated", "redundant", "thin", "open")


def awkward_problem(n: int, m: int, N: int, seed: int, extras: Iterable[str] = ()) -> ControlProblem:
    """A random plant of spectral radius 0.5 to 1.2 inside lopsided polytopes that hold the origin strictly.

    Args:
        extras: 'mixed' rows over (x, u), 'terminal' rows, 'repeated' rows (rescaled copies), 'redundant'
            rows (weaker copies), a 'thin' slab of the inputs (1e-3 of the set's width, off centre), and
            'open': the first two rows of X go, so that it may be unbounded.
    """
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(n, n)), rng.normal(size=(n, m))
    A *= rng.uniform(0.5, 1.2) / max(np.abs(np.linalg.eigvals(A)).max(), 1e-9)
    X, U = lopsided(rng, n, 2 * n + 1, 2.0), lopsided(rng, m, 2 * m + 1, 1.0)
    if "open" in extras:
        X = Polytope(X.G[2:], X.h[2:])
    if "repeated" in extras:
        X, U = (_copied(p, rng.uniform(0.1, 10.0, size=2), 1.0) for p in (X, U))
    if "redundant" in extras:
        X, U = (_copied(p, np.ones(2), 1.5) for p in (X, U))
    if "thin" in extras:
        g = rng.normal(size=m)
        U = Polytope(np.vstack([U.G, g, -g]), np.append(U.h, [1e-3, 2e-3]))
    Q, R = definite(rng, n), 10.0 ** rng.uniform(-2, 0.5) * definite(rng, m)
    return ControlProblem(
        system=LinearSystem(A, B),
        X=X,
        U=U,
        XU=lopsided(rng, n + m, 2, 2.0) if "mixed" in extras else None,
        Xf=lopsided(rng, n, 3, 1.5) if "terminal" in extras else None,
        Q=Q,
        R=R,
        Qf=2.0 * Q,
        N=N,
        name=f"awkward_{n}_{m}_{N}_{seed}_{'_'.join(sorted(extras))}",
    )


def lopsided(rng: np.random.Generator, dimension: int, rows: int, size: float) -> Polytope:
    """``rows`` random half-spaces at a distance of 0.3 to 3 times ``size`` from the origin."""
    G = rng.normal(size=(rows, dimension))
    G /= np.linalg.norm(G, axis=1, keepdims=True)
    return Polytope(G, size * 10.0 ** rng.uniform(-0.5, 0.5, size=rows))


def _copied(polytope: Polytope, factor: Array, room: float) -> Polytope:
    """The first rows said again ``factor`` times as large, with ``room`` times the distance."""
    few = len(factor)
    G = np.vstack([polytope.G, factor[:, None] * polytope.G[:few]])
    return Polytope(G, np.append(polytope.h, room * factor * polytope.h[:few]))


def definite(rng: np.random.Generator, size: int) -> Array:
    root = rng.normal(size=(size, size)) / np.sqrt(size)
    return root @ root.T + 0.1 * np.eye(size)


def in_units(problem: ControlProblem, T: Array, S: Array) -> ControlProblem:
    """The same problem in other coordinates ``x = T x'``, ``u = S u'``: u'(x') = S^-1 u(T x')."""

    def pulled(polytope: Polytope | None, M: Array) -> Polytope | None:
        return None if polytope is None else Polytope(polytope.G @ M, polytope.h)

    both = np.block([[T, np.zeros((problem.n, problem.m))], [np.zeros((problem.m, problem.n)), S]])
    back = np.linalg.inv(T)
    return problem.with_(
        system=LinearSystem(back @ problem.system.A @ T, back @ problem.system.B @ S),
        X=pulled(problem.X, T),
        U=pulled(problem.U, S),
        XU=pulled(problem.XU, both),
        Xf=pulled(problem.Xf, T),
        Q=_even(T.T @ problem.Q @ T),
        R=_even(S.T @ problem.R @ S),
        Qf=_even(T.T @ problem.Qf @ T),
    )


def _even(M: Array) -> Array:
    return (M + M.T) / 2


def edge(problem: ControlProblem, ray: Array, most: float = 1e3) -> float:
    """The largest ``t <= most`` for which a plan from ``t ray`` exists, by HiGHS to 1e-10."""
    from scipy.optimize import linprog

    form = condense(problem)
    size = form.G.shape[1]
    result = linprog(
        np.append(np.zeros(size), -1.0),
        A_ub=np.hstack([form.G, -(form.E @ ray)[:, None]]),
        b_ub=form.w,
        bounds=[(None, None)] * size + [(0.0, most)],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    assert result.status == 0, result.message
    return float(result.x[-1])


def rays(problem: ControlProblem, count: int, seed: int = 0) -> tuple[Array, Array]:
    """Random directions ``(count, n)`` of length one and how far each one is feasible ``(count,)``."""
    directions = np.random.default_rng(seed).normal(size=(count, problem.n))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions, np.array([edge(problem, ray) for ray in directions])
