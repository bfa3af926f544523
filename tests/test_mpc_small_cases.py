"""Small cases of every kernel, quick enough for a run without compilation and for one with bounds checks.

Continuous integration runs this file by itself with ``NUMBA_DISABLE_JIT=1`` and ``NUMBA_BOUNDSCHECK=1``.
"""

import numpy as np
import pytest

from mpc import Barrier, ControlProblem, LinearSystem, Online, Polytope, Smoothed, Status, catalogue
from mpc.online import OnlineExpert
from mpc.partition import partition

X0 = np.array([[0.0, 0.0], [3.0, -1.0], [-6.0, 2.0], [9.0, -3.5]])


def small_problem() -> ControlProblem:
    """Three steps, asymmetric bounds, a terminal set and a mixed constraint."""
    return ControlProblem(
        system=LinearSystem([[1, 1], [0, 1]], [[0.5], [1]]),
        X=Polytope.box([-9, -4], [10, 5]),
        U=Polytope.box([-1], [2]),
        Xf=Polytope.box([-8, -3], [8, 3]),
        XU=Polytope([[0.0, 1.0, 1.0]], [4.0]),
        N=3,
    )


@pytest.mark.parametrize("problem", [small_problem(), catalogue.double_integrator(N=3)], ids=lambda p: p.name)
def test_exact_mpc_is_the_reference_solution(problem):
    control, reference = (Online(solver).build(problem)(X0) for solver in ("auto", "cvxpy"))
    assert control.usable.sum() >= 2
    assert (control.usable == reference.usable).all()
    assert np.abs(control.u - reference.u)[control.usable].max() <= 1e-5


def test_a_state_without_a_plan_is_infeasible():
    control = Online().build(small_problem())(np.array([[50.0, 50.0], [np.nan, 0.0]]))
    assert control.status.tolist() == [Status.infeasible, Status.invalid_input]
    assert np.isnan(control.u).all()


def test_the_barrier_law_rests_at_the_origin_and_tends_to_exact_mpc():
    problem = small_problem()
    exact = Online().build(problem)(X0)
    assert np.abs(Barrier(eta=0.5).build(problem)(np.zeros((1, 2))).u).max() <= 1e-8
    near, far = (Barrier(eta=eta).build(problem)(X0) for eta in (1e-6, 1.0))
    both = near.usable & exact.usable
    assert both.sum() >= 2
    assert np.abs(near.u - exact.u)[both].max() <= 1e-2
    assert np.abs(far.u - exact.u)[both].max() > 1e-2


def test_a_smoothed_law_without_shifts_is_exact_mpc():
    problem = small_problem()
    x = X0[:2]
    smoothed = Smoothed(sigma=1e-9, samples=4).build(problem)(x)
    assert np.allclose(smoothed.u, Online().build(problem)(x).u, atol=1e-7)


def test_the_regions_of_a_short_horizon_hold_their_centres():
    regions = partition(catalogue.double_integrator(N=1))
    assert len(regions) > 2
    assert np.array_equal(regions.find(regions.centre), np.arange(len(regions)))


def test_a_looked_up_label_is_the_solved_one():
    problem = catalogue.double_integrator(N=2)
    looked, solved = (OnlineExpert(problem, route=route)(X0) for route in ("lookup", "active_set"))
    for name, value in solved.arrays().items():
        assert np.array_equal(value, looked.arrays()[name], equal_nan=True), name
