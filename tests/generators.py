"""What tests are fed: QPs built from their answer, problems of awkward shape, states, plain loops."""

from collections.abc import Callable
from functools import partial

import numpy as np

from mpc import catalogue
from mpc.arrays import Array
from mpc.catalogue import SYSTEMS
from mpc.closed_loop import simulate
from mpc.condense import condense
from mpc.online import feasible
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.qp import QP, Solution
from mpc.rollouts import Rollouts
from mpc.seeds import seed_for
from mpc.system import LinearSystem

_LONG_HORIZON = 100
_PARTS = (0.5, 0.9, 0.98, 0.999, 1 - 1e-6)


def answer_first_qp(
    rng: np.random.Generator, size: int, rows: int, active: int, *, weak: int = 0, repeated: int = 0
) -> tuple[QP, Solution]:
    """A QP with a known optimum: draw ``z`` and ``y >= 0``, then ``q = -P z - G'y`` and ``h = G z + slack``.

    Args:
        active: rows through z with positive multipliers; more than ``size`` make a degenerate vertex.
        weak: further rows through z with multiplier 0 (weakly active).
        repeated: rows that say again, rescaled, what an earlier row said, half of them with room to spare.
    """
    root = rng.normal(size=(size, size))
    P = root @ root.T + np.eye(size)
    G, z = rng.normal(size=(rows, size)), rng.normal(size=size)
    y, slack = np.zeros(rows), rng.uniform(0.1, 2.0, size=rows)
    y[:active] = rng.uniform(0.1, 2.0, size=active)
    slack[: active + weak] = 0.0
    of = rng.integers(rows, size=repeated)
    scale, room = rng.uniform(0.1, 10.0, size=repeated), rng.integers(2, size=repeated)
    G = np.vstack([G, scale[:, None] * G[of]])
    slack = np.concatenate([slack, scale * (slack[of] + room)])
    y = np.concatenate([y, np.zeros(repeated)])
    order = rng.permutation(rows + repeated)
    G, y, slack = G[order], y[order], slack[order]
    return QP(P, -P @ z - G.T @ y, G, G @ z + slack), Solution(z, y)


def as_control_problem(qp: QP) -> tuple[ControlProblem, Array]:
    """A problem of horizon 1 and the state from which its condensed QP is exactly ``qp``.

    With x+ = x + u, R = Qf = P/4: ``V = 1/2 u'Pu + 1/2 x'Pu + 1/4 x'Px``, so that ``q = 1/2 P x``.
    """
    size = len(qp.q)
    problem = ControlProblem(
        system=LinearSystem(np.eye(size), np.eye(size)),
        U=Polytope(qp.G, qp.h),
        Q=np.eye(size),
        R=qp.P / 4,
        Qf=qp.P / 4,
        N=1,
    )
    return problem, 2 * np.linalg.solve(qp.P, qp.q)


def scalar(
    a: float = 1.0, b: float = 1.0, *, r: float = 1.0, qf: float = 1.0, low: float = -1, high: float = 1
) -> ControlProblem:
    """One state, one input, horizon 1: ``V = r u^2 + qf (a x + b u)^2`` over low <= u <= high."""
    return ControlProblem(
        system=LinearSystem(np.array([[a]]), np.array([[b]])),
        U=Polytope.box(low, high),
        Q=np.eye(1),
        R=r * np.eye(1),
        Qf=qf * np.eye(1),
        N=1,
    )


def asymmetric(N: int = 6) -> ControlProblem:
    """Two states and two inputs inside lopsided triangles, with mixed and terminal rows: no symmetry left."""
    return ControlProblem(
        system=LinearSystem(np.array([[1.1, 0.3], [-0.2, 0.9]]), np.array([[1.0, 0.2], [0.1, 0.7]])),
        X=Polytope(np.array([[1.0, 0.3], [-0.4, 1.0], [-0.7, -1.2]]), np.array([2.0, 3.0, 1.5])),
        U=Polytope(np.array([[1.0, 0.1], [-0.6, 1.0], [-0.3, -1.0]]), np.array([0.5, 1.0, 0.7])),
        Xf=Polytope(np.array([[1.0, 1.0], [-1.0, 0.5]]), np.array([1.2, 2.0])),
        XU=Polytope(np.array([[0.5, -0.2, 1.0, 0.4]]), np.array([0.9])),
        Q=np.array([[1.0, 0.2], [0.2, 0.6]]),
        R=np.array([[0.3, 0.05], [0.05, 0.2]]),
        N=N,
        name="asymmetric",
    )


GAIN = np.array([[-0.4, -1.1]])
"""A gain that stabilises the double integrator: the law that small policies learn."""


def gain_loops(problem: ControlProblem, x0: Array, steps: int) -> Rollouts:
    """Closed loops of ``GAIN`` from the states ``x0 (E, 2)``."""
    return simulate(problem, lambda x: x @ GAIN.T, x0, steps)


VARIANTS: dict[str, Callable[[], ControlProblem]] = {
    **{function.__name__: function for function in SYSTEMS},
    "triangular_5": partial(catalogue.triangular, d=5),
    "pitfall_plant_2": partial(catalogue.pitfall_plant, which=2),
    "random_4_2": partial(catalogue.random_system, n=4, m=2, facets=12, seed=3),
    "asymmetric": asymmetric,
}
"""Every catalogue system and the variants with their own numbers."""


def extent(problem: ControlProblem) -> tuple[Array, Array]:
    """Centre and half-widths of the box that states are looked for in: X, or where unbounded, +-10."""
    low, high = problem.initial_set.bounds
    low = np.where(np.isfinite(low), low, np.minimum(-10.0, high - 20.0))
    high = np.where(np.isfinite(high), high, np.maximum(10.0, low + 20.0))
    return (low + high) / 2, (high - low) / 2


def feasible_states(problem: ControlProblem, count: int, name: str = "solver-tests") -> Array:
    """``count`` states with a plan, ``(count, n)``: drawn from the box, and crowded near the boundary.

    The second half (and what is missing of the first) lies on rays from a feasible point, at
    ``0.98 sqrt(U)`` of the way to the edge of the feasible set, which bisection finds. Where the horizon is
    so long that every probe counts, all states lie on a tenth as many rays, with a rougher edge.
    """
    rng = np.random.default_rng(seed_for(name, problem.name, count))
    middle, width = extent(problem)
    long = problem.N >= _LONG_HORIZON
    inside = middle + width * rng.uniform(-1, 1, size=(1 if long else count, problem.n))
    inside = inside[feasible(problem, inside)][: count // 2]
    centre = np.zeros(problem.n)
    if not feasible(problem, centre[None])[0]:
        centre = inside[0]
    missing = count - len(inside)
    rays = rng.normal(size=(-(-missing // 10) if long else missing, problem.n))
    rays *= 3 * width / np.abs(rays).max(axis=1, keepdims=True)
    near, far = np.zeros(len(rays)), np.ones(len(rays))
    for _ in range(5 if long else 16):
        middle_of = (near + far) / 2
        good = feasible(problem, centre + middle_of[:, None] * rays)
        near, far = np.where(good, middle_of, near), np.where(good, far, middle_of)
    edges = np.resize(near[:, None] * rays, (missing, problem.n))
    return np.vstack([inside, centre + 0.98 * np.sqrt(rng.uniform(size=(missing, 1))) * edges])


def crowded_states(problem: ControlProblem, rays: int, halvings: int = 40) -> Array:
    """On random rays from the origin, at ``_PARTS`` of the way to the last plan: ``(5 rays, n)``."""
    rng = np.random.default_rng(seed_for("worst-states", problem.name))
    width = extent(problem)[1]
    rays_of = rng.normal(size=(rays, problem.n)) * width
    rays_of *= 3 / np.abs(rays_of / width).max(axis=1, keepdims=True)
    near, far = np.zeros(rays), np.ones(rays)
    for _ in range(halvings):
        middle = (near + far) / 2
        good = feasible(problem, middle[:, None] * rays_of)
        near, far = np.where(good, middle, near), np.where(good, far, middle)
    return np.vstack([(part * near)[:, None] * rays_of for part in _PARTS])


def dense_barrier(
    problem: ControlProblem, x0: Array, eta: float, d: Array | None = None, first: Array | None = None
) -> tuple[Array, float]:
    """Minimise ``V^eta`` over the condensed inputs by damped Newton steps; returns ``(U, V^eta(x0, U))``.

    Args:
        d: recentring vector, by default that of the definition.
        first: fixed ``u_0 (m,)``; then only the later inputs are free.
    """
    form = condense(problem)
    h = form.w + form.E @ x0
    d = form.d if d is None else d
    free = slice(0 if first is None else problem.m, None)
    U = _strictly_feasible(form.G, h, first)
    for weight in [*(eta * 10.0**k for k in range(9, 0, -1)), eta]:
        U = _centre(form.H, form.F.T @ x0, form.G, h, d, weight, U, free)
    phi = h - form.G @ U
    value = 0.5 * U @ form.H @ U + x0 @ form.F @ U + x0 @ form.Y @ x0
    return U, value - eta * (np.log(phi).sum() - d @ U)


def _strictly_feasible(G: Array, h: Array, first: Array | None) -> Array:
    from scipy.optimize import linprog

    size = G.shape[1]
    cost = np.append(np.zeros(size), -1.0)
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * size + [(None, 1.0)]
    for i, value in enumerate([] if first is None else first):
        bounds[i] = (float(value), float(value))
    columns = np.hstack([G, np.ones((len(h), 1))])
    columns[~G.any(axis=1), -1] = 0.0  # rows that no input moves
    result = linprog(cost, A_ub=columns, b_ub=h, bounds=bounds, method="highs")
    assert result.status == 0
    assert result.x[-1] > 0, "no strictly feasible plan"
    return result.x[:size]


def _centre(H, g, G, h, d, eta, U, free) -> Array:
    """Newton's method with backtracking on ``1/2 U'HU + g'U - eta [sum log(h - G U) - d'U]``."""

    def objective(U: Array) -> float:
        phi = h - G @ U
        if not (phi > 0).all():
            return np.inf
        return 0.5 * U @ H @ U + g @ U - eta * (np.log(phi).sum() - d @ U)

    for _ in range(200):
        phi = h - G @ U
        slope = (H @ U + g + eta * G.T @ (1 / phi) + eta * d)[free]
        hessian = (H + eta * (G / phi[:, None] ** 2).T @ G)[free, free]
        step = np.zeros_like(U)
        step[free] = -np.linalg.solve(hessian, slope)
        decrement = float(-slope @ step[free])
        if np.abs(G @ step / phi).max(initial=0.0) < 1e-4:
            U = U + step
            if np.abs(G @ step / phi).max(initial=0.0) < 1e-10 or decrement < 1e-22 * eta:
                return U
            continue
        length, here = 1.0, objective(U)
        while objective(U + length * step) > here - 0.1 * length * decrement and length > 1e-12:
            length /= 2
        U = U + length * step
    return U


def to_the_origin(problem: ControlProblem, times: int = 1) -> ControlProblem:
    """The problem with ``x_N = 0``, said once or several times."""
    rows = np.vstack([np.eye(problem.n), -np.eye(problem.n)] * times)
    return problem.with_(Xf=Polytope(rows, np.zeros(len(rows))))
