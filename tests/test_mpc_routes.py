"""Exact MPC by every route: the same bits, wherever the state lies."""

import numpy as np
import pytest
from generators import VARIANTS, asymmetric, feasible_states

from mpc import catalogue
from mpc.online import OnlineExpert, Plan
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.status import Status

QUICK = ("auto", "active_set", "rounds")
SOME = [
    "double_integrator",
    "cart_pole",
    "quadrotor",
    "chain_of_masses",
    "asymmetric",
    "random_4_2",
    "afti16",
]


def same_labels(problem: ControlProblem, x: np.ndarray) -> None:
    first, *others = (OnlineExpert(problem, route=route)(x).arrays() for route in QUICK)
    for other in others:
        for name, value in first.items():
            np.testing.assert_array_equal(value, other[name], err_msg=name)


def on_borders(problem: ControlProblem, count: int) -> np.ndarray:
    """States where the active set changes, to 1e-15 of a segment on both sides and at its middle."""
    expert = OnlineExpert(problem, route="careful")
    ends = feasible_states(problem, 2 * count, "borders")
    near, far = ends[:count], ends[count:]
    here = expert.plan(near).active
    apart = (expert.plan(far).active != here).any(axis=1)
    near, far, here = near[apart], far[apart], here[apart]
    for _ in range(55):
        middle = (near + far) / 2
        same = (expert.plan(middle).active == here).all(axis=1)[:, None]
        near, far = np.where(same, middle, near), np.where(same, far, middle)
    return np.concatenate([near, far, (near + far) / 2, near + 1e-10 * (far - near)])


@pytest.mark.parametrize("name", SOME)
def test_routes_give_the_same_bits(name):
    problem = VARIANTS[name]()
    same_labels(problem, feasible_states(problem, 300, "routes"))


@pytest.mark.parametrize("name", ["double_integrator", "cart_pole", "asymmetric", "afti16"])
def test_routes_give_the_same_bits_on_borders_between_pieces(name):
    problem = VARIANTS[name]()
    x = on_borders(problem, 40)
    assert len(x) >= 60
    same_labels(problem, x)


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "spring_mass_1"])
def test_routes_give_the_same_bits_on_many_states(name):
    problem = VARIANTS[name]()
    same_labels(problem, feasible_states(problem, 3000, "routes"))
    same_labels(problem, on_borders(problem, 60))


def doubled(problem: ControlProblem) -> ControlProblem:
    """Every row twice, the second time rescaled: no active set is the only one."""

    def twice(polytope: Polytope) -> Polytope:
        return Polytope(np.vstack([polytope.G, 3 * polytope.G]), np.concatenate([polytope.h, 3 * polytope.h]))

    return problem.with_(X=twice(problem.X), U=twice(problem.U))


@pytest.mark.parametrize("build", [catalogue.double_integrator, asymmetric])
def test_routes_give_the_same_bits_where_every_row_is_said_twice(build):
    problem = doubled(build())
    x = feasible_states(build(), 200, "doubled")
    same_labels(problem, x)
    np.testing.assert_allclose(OnlineExpert(problem)(x).u, OnlineExpert(build())(x).u, atol=1e-10)


@pytest.mark.parametrize("name", SOME)
def test_the_careful_route_agrees_to_rounding(name):
    problem = VARIANTS[name]()
    x = feasible_states(problem, 100, "careful")
    quick, careful = OnlineExpert(problem)(x), OnlineExpert(problem, route="careful")(x)
    assert (quick.status == Status.optimal).all()
    assert (careful.status == Status.optimal).all()
    np.testing.assert_allclose(quick.u, careful.u, atol=1e-10, rtol=1e-10)
    np.testing.assert_allclose(quick.value, careful.value, rtol=1e-10)  # type: ignore[arg-type]


def test_the_plan_tells_the_route_and_the_active_set():
    problem = catalogue.chain_of_masses()
    x = np.vstack([np.zeros((1, problem.n)), feasible_states(problem, 60, "told")])
    plan = OnlineExpert(problem).plan(x)
    told = {Plan.ROUTES[route] for route in plan.route}
    assert {"rounds", "active_set"} <= told <= {"rounds", "active_set", "careful"}
    assert not plan.active[0].any()
    assert (plan.multipliers[~plan.active] == 0).all()
    assert (plan.multipliers[plan.active] >= 0).all()
    forced = OnlineExpert(problem, route="careful").plan(x)
    assert {Plan.ROUTES[route] for route in forced.route} == {"careful"}


@pytest.mark.parametrize("name", ["double_integrator", "cart_pole", "chain_of_masses", "quadrotor"])
def test_changes_of_the_active_set_stay_few(name):
    problem = VARIANTS[name]()
    plan = OnlineExpert(problem).plan(feasible_states(problem, 100, "changes"))
    active = plan.active.sum(axis=1)
    assert (plan.iterations <= 4 * active + 100).all()
    assert plan.iterations.mean() <= 3 * active.mean() + 5


# The edge of the feasible set.


@pytest.mark.parametrize("name", ["double_integrator", "cart_pole", "asymmetric", "quadrotor"])
def test_states_within_1e_6_of_the_edge_are_decided_on_both_sides(name):
    """The edge on a ray is found by HiGHS; the solver is asked 1e-6 and 1e-8 of the ray to both sides."""
    from scipy.optimize import linprog

    from mpc.condense import least_distance

    problem = VARIANTS[name]()
    form = least_distance(problem)
    rays = feasible_states(problem, 24, "edge")[12:]
    p = form.M.shape[1]
    for direction in rays:
        ray = direction / np.abs(direction).max()
        columns = np.hstack([form.M, -(form.E @ ray)[:, None]])
        found = linprog(
            np.append(np.zeros(p), -1.0), A_ub=columns, b_ub=form.w, bounds=(None, None), method="highs"
        )
        assert found.status == 0
        edge = found.x[-1]
        offsets = np.array([-1e-6, -1e-8, 1e-8, 1e-6])
        for route in ("auto", "careful"):
            plan = OnlineExpert(problem, route=route).plan(np.outer(edge * (1 + offsets), ray))
            assert plan.status[[0, 3]].tolist() == [Status.optimal, Status.infeasible], route
            assert set(plan.status[1:3].tolist()) <= {Status.optimal, Status.infeasible}
            y, h = plan.multipliers[3], form.w + form.E @ (edge * (1 + 1e-6) * ray)
            scaled = y * form.norms
            assert (y >= 0).all()
            assert np.abs(form.M.T @ scaled).max() <= 1e-7 * scaled.sum()
            assert h @ scaled < 0


# What must not matter.


def test_mirrored_scaled_and_permuted_problems_have_the_same_law():
    problem = asymmetric()
    x = feasible_states(problem, 60, "invariance")
    u = OnlineExpert(problem)(x).u
    sets = {name: getattr(problem, name) for name in ("X", "U", "Xf", "XU")}
    mirrored = problem.with_(**{name: P and Polytope(-P.G, P.h) for name, P in sets.items()})
    np.testing.assert_allclose(OnlineExpert(mirrored)(-x).u, -u, atol=1e-10)
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(problem.X.h))
    scale = rng.uniform(0.01, 100, len(shuffled))
    rows = problem.with_(X=Polytope(scale[:, None] * problem.X.G[shuffled], scale * problem.X.h[shuffled]))
    np.testing.assert_allclose(OnlineExpert(rows)(x).u, u, atol=1e-10)


@pytest.mark.parametrize("name", ["cart_pole", "asymmetric", "afti16"])
def test_units_do_not_matter(name):
    """States in millimetres and kilometres, inputs in thousands: the same plan in other numbers."""
    from mpc.system import LinearSystem

    problem = VARIANTS[name]()
    n, m = problem.n, problem.m
    s, r = 10.0 ** (3 - 6 * (np.arange(n) % 2)), 10.0 ** (-3 * (np.arange(m) % 2))  # x' = s x, u' = r u
    S, Ri = np.diag(1 / s), np.diag(1 / r)
    system = LinearSystem(np.diag(s) @ problem.system.A @ S, np.diag(s) @ problem.system.B @ Ri)
    other = problem.with_(
        system=system,
        X=Polytope(problem.X.G @ S, problem.X.h),
        U=Polytope(problem.U.G @ Ri, problem.U.h),
        Q=S @ problem.Q @ S,
        R=Ri @ problem.R @ Ri,
        Qf=S @ problem.Qf @ S,
        Xf=None if problem.Xf is None else Polytope(problem.Xf.G @ S, problem.Xf.h),
        XU=None,
        initial=None,
    )
    plain = problem.with_(XU=None, initial=None)
    x = feasible_states(plain, 60, "units")
    a, b = OnlineExpert(plain)(x), OnlineExpert(other)(x * s)
    assert (a.status == b.status).all()
    size = np.abs(a.u).max()
    np.testing.assert_allclose(b.u / r, a.u, atol=1e-8 * size)
    np.testing.assert_allclose(b.value, a.value, rtol=1e-8)  # type: ignore[arg-type]
