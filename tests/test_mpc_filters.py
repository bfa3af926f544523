"""Filters: nearest admissible inputs against cvxpy, plans that stay possible, interventions counted."""

import cvxpy
import numpy as np
import pytest

from mpc import LinearSystem, OnlineExpert, Polytope, catalogue, simulate
from mpc.controllers import Planner
from mpc.filters import Projected, SafetyFilter, interventions
from mpc.invariant import feasible_set

X0 = np.random.default_rng(0).uniform(-6, 6, (40, 2))


def two_inputs():
    """Two states, two inputs in a triangle, a mixed row."""
    U = Polytope([[1, 0], [0, 1], [-1, -1]], [0.5, 0.6, 0.7])
    XU = Polytope([[0.1, 0.2, 1.0, -1.0]], [1.0])
    system = LinearSystem([[1.1, 0.3], [0.0, 0.95]], [[1.0, 0.2], [0.1, 1.0]])
    return catalogue.double_integrator().with_(
        system=system, U=U, XU=XU, R=np.eye(2), Qf=np.eye(2), N=4, input_labels=()
    )


def test_an_input_is_projected_onto_its_polytope():
    problem = two_inputs()
    u = np.random.default_rng(1).normal(size=(40, 2))
    loops = simulate(problem, Projected(lambda x: u, problem.U), X0, 1)
    for got, raw in zip(loops.u[:, 0], u, strict=True):
        v = cvxpy.Variable(2)
        cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(v - raw)), [problem.U.G @ v <= problem.U.h]).solve(
            solver="CLARABEL"
        )
        np.testing.assert_allclose(got, v.value, atol=1e-6)
    inside = problem.U.contains(u)
    np.testing.assert_allclose(loops.u[inside, 0], u[inside], atol=1e-15)
    assert 0 < inside.sum() < 40


@pytest.mark.parametrize("make", [catalogue.double_integrator, two_inputs])
def test_the_filter_takes_the_nearest_input_from_whose_next_state_a_plan_exists(make):
    problem = make()
    safe = feasible_set(problem)
    rng = np.random.default_rng(2)
    x = X0[OnlineExpert(problem)(X0).usable]
    u = rng.normal(size=(len(x), problem.m))
    got = SafetyFilter.of(lambda x: u, problem).nearest(x, u)
    A, B = problem.system.A, problem.system.B
    changed = 0
    for state, raw, taken in zip(x, u, got, strict=True):
        v = cvxpy.Variable(problem.m)
        rows = [problem.U.G @ v <= problem.U.h, safe.G @ (A @ state + B @ v) <= safe.h]
        if problem.XU is not None:
            rows.append(problem.XU.G[:, :2] @ state + problem.XU.G[:, 2:] @ v <= problem.XU.h)
        task = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(v - raw)), rows)
        task.solve(solver="CLARABEL")
        if task.status == "optimal":
            np.testing.assert_allclose(taken, v.value, atol=1e-6)
            assert safe.contains(A @ state + B @ taken, 1e-7)
            changed += np.abs(taken - raw).max() > 1e-6
    assert changed >= 5


def test_a_reckless_law_is_held_back_and_a_sound_one_is_left_alone():
    problem = catalogue.double_integrator()
    expert = OnlineExpert(problem)
    x0 = X0[expert(X0).usable]

    def reckless(x):
        return np.sign(x[:, 1:]) + 0 * x[:, :1]  # full speed ahead

    free, kept = (simulate(problem, law, x0, 12) for law in (reckless, SafetyFilter.of(reckless, problem)))
    assert problem.X.violation(free.x[:, 1:]).max() > 1
    assert problem.X.violation(kept.x[:, 1:]).max() < 1e-6
    assert expert(kept.x[:, :-1].reshape(-1, 2)).usable.all()
    counted = interventions(kept, reckless)
    assert 0 < counted.mean() < 1
    assert (interventions(free, reckless)).sum() == 0
    sound = SafetyFilter.of(lambda x: expert(x).u, problem)
    assert interventions(simulate(problem, sound, x0, 12), lambda x: expert(x).u).sum() == 0


def test_a_filter_remembers_what_its_law_remembers():
    problem = catalogue.double_integrator()
    plan = Planner(lambda x: np.tile(-0.3 * x[:, :1], (1, 3)), chunk=3)
    small = np.array([[0.5, 0.0]])
    plain, filtered = (simulate(problem, law, small, 6) for law in (plan, SafetyFilter.of(plan, problem)))
    np.testing.assert_array_equal(plain.x, filtered.x)


def test_where_no_input_is_safe_the_nearest_admissible_one_is_taken():
    problem = catalogue.double_integrator()
    far = np.array([[9.5, 9.0]])
    assert SafetyFilter.of(lambda x: 3 + 0 * x[:, :1], problem).nearest(far, np.array([[3.0]])).tolist() == [
        [1.0]
    ]
