"""LQR, given gains, and projection onto the inputs' polytope."""

import numpy as np
import pytest
from generators import asymmetric, scalar

from mpc import catalogue
from mpc.lqr import LinearExpert, LqrExpert, project
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.status import Status
from mpc.system import LinearSystem


@pytest.mark.parametrize(("a", "b", "r"), [(1.2, 1.0, 0.5), (0.9, 0.3, 2.0), (-2.0, 1.0, 1.0)])
def test_scalar_gain_in_closed_form(a, b, r):
    expert = LqrExpert(scalar(a, b, r=r))
    linear = r - b * b - a * a * r  # b^2 p^2 + (r - q b^2 - a^2 r) p - q r = 0 with q = 1
    p = (-linear + np.sqrt(linear**2 + 4 * b * b * r)) / (2 * b * b)
    assert expert.P[0, 0] == pytest.approx(p, rel=1e-10)
    assert expert.K[0, 0] == pytest.approx(-a * b * p / (r + b * b * p), rel=1e-10)
    control = expert([[0.1]])
    assert control.value[0] == pytest.approx((p - 1) * 0.01, rel=1e-9)
    assert control.gradient[0, 0] == pytest.approx(2 * (p - 1) * 0.1, rel=1e-9)
    assert control.curvature[0, 0, 0] == pytest.approx(2 * (r + b * b * p), rel=1e-10)


def test_on_a_box_the_projection_clips_and_its_jacobian_vanishes_there():
    problem = catalogue.quadrotor()
    expert = LqrExpert(problem)
    x = np.random.default_rng(0).normal(size=(200, 12))
    free, (low, high) = x @ expert.K.T, problem.U.bounds
    control = expert(x)
    np.testing.assert_allclose(control.u, np.clip(free, low, high), atol=1e-12)
    inside = (free > low) & (free < high)
    assert inside.any()
    assert not inside.all()
    np.testing.assert_allclose(control.dudx, inside[..., None] * expert.K, atol=1e-9)


def test_projection_onto_a_general_polytope_is_that_of_cvxpy():
    import cvxpy

    U = asymmetric().U
    points = 3 * np.random.default_rng(1).normal(size=(20, 2))
    u, status, tangent = project(U.G, U.h, points)
    assert (status == Status.optimal).all()
    for i, point in enumerate(points):
        z = cvxpy.Variable(2)
        cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(z - point)), [U.G @ z <= U.h]).solve(
            solver=cvxpy.CLARABEL
        )
        np.testing.assert_allclose(u[i], z.value, atol=1e-5)
        np.testing.assert_allclose(tangent[i] @ tangent[i], tangent[i], atol=1e-12)  # a projector


def test_given_gains_are_never_saturated():
    problem, K = catalogue.pitfall_plant(), catalogue.pitfall_gain()
    x = np.array([[500.0, -3.0], [0.0, 1.0]])
    control = LinearExpert(problem, K)(x)
    np.testing.assert_allclose(control.u, x @ K.T, rtol=1e-14)
    np.testing.assert_array_equal(control.dudx, [K, K])
    assert control.value is None
    assert np.abs(np.linalg.eigvals(problem.system.A + problem.system.B @ K)).max() == pytest.approx(0.5)


def test_bad_gains_and_plants_are_refused():
    problem = catalogue.double_integrator()
    with pytest.raises(ValueError, match=r"K must have shape \(1, 2\), got \(2, 1\)"):
        LinearExpert(problem, [[1.0], [2.0]])
    with pytest.raises(ValueError, match=r"K must be finite, got nan at \(0, 1\)"):
        LinearExpert(problem, [[1.0, np.nan]])
    with pytest.raises(ValueError, match=r"\(A, B\) stabilisable"):
        LqrExpert(ControlProblem(LinearSystem([[2.0]], [[0.0]]), U=Polytope.box([-1], [1]), Qf=np.eye(1)))
