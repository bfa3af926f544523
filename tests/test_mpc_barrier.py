"""Barrier MPC: closed forms, a dense Newton reference, recentring, derivatives, and slopes in eta."""

import pickle

import numpy as np
import pytest
from extended_precision import labels_of, needs_extended_precision
from generators import VARIANTS, asymmetric, dense_barrier, feasible_states, scalar

from mpc import catalogue
from mpc.barrier import BarrierExpert, recentring
from mpc.condense import condense
from mpc.online import OnlineExpert
from mpc.polytope import Polytope
from mpc.status import Status

ETAS = [1e-6, 1e-3, 1.0, 1e3]


@pytest.mark.parametrize("eta", ETAS)
def test_scalar_closed_form(eta):
    """``V^eta = 1/2 u^2 + 1/2 x u + 1/4 x^2 - eta log(1-u) - eta u`` (d = -1), which is
    ``1/2 (u - c)^2 - eta log(1-u)`` up to a constant with c = eta - x/2: the recentring shifts c."""
    problem = scalar(r=0.25, qf=0.25, low=-np.inf)
    x = np.linspace(-6, 6, 25)
    control = BarrierExpert(problem, eta)(x[:, None])
    c = eta - x / 2
    e = c - 1
    root = np.sqrt(e**2 + 4 * eta)
    residual = np.where(e > 0, 2 * eta / (e + root), (root - e) / 2)
    np.testing.assert_allclose(1 - control.u[:, 0], residual, rtol=1e-8, atol=1e-13)
    u = 1 - residual
    np.testing.assert_allclose(control.dudx[:, 0, 0], -0.25 * (1 - e / root), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(control.curvature[:, 0, 0], 1 + eta / residual**2, rtol=1e-6)
    np.testing.assert_allclose(control.gradient[:, 0], (u + x) / 2, rtol=1e-9, atol=1e-9)
    value = 0.5 * u**2 + 0.5 * x * u + 0.25 * x**2 - eta * np.log(residual) - eta * u
    np.testing.assert_allclose(control.value, value, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(control.cost, 0.5 * u**2 + 0.5 * x * u + 0.25 * x**2, atol=1e-9)
    hessian = BarrierExpert(problem, eta).hessian(x[:, None])[:, 0, 0, 0]
    np.testing.assert_allclose(hessian, -0.5 * eta / root**3, rtol=1e-5, atol=1e-8)


def test_large_eta_destabilises_the_scalar_loop():
    for r, eta in [(0.3, 0.5), (0.3, 0.9)]:
        control = BarrierExpert(scalar(2.0, r=r), eta)([[0.0]])
        slope = 2 + control.dudx[0, 0, 0]
        assert slope == pytest.approx(2 * (r + eta) / (1 + r + eta), rel=1e-10)
        assert (slope > 1) == (r + eta > 1)


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("build", [asymmetric, lambda: catalogue.double_integrator(N=5)])
def test_labels_equal_a_dense_newton_solution(build, eta):
    problem = build()
    x = feasible_states(problem, 6, "barrier")
    control = BarrierExpert(problem, eta)(x)
    assert (control.status == Status.optimal).all()
    for i in range(len(x)):
        U, value = dense_barrier(problem, x[i], eta)
        np.testing.assert_allclose(control.u[i], U[: problem.m], atol=1e-7)
        assert control.value[i] == pytest.approx(value, rel=1e-8, abs=1e-8)


def is_precise(name: str, eta: float, count: int) -> None:
    """u_0 to 1e-10; the Jacobian to 1e-7 of its largest entry, less where rounding has to be paid for:
    rows of weight ``lambda^2 / eta`` beside costs of order one cost as many digits as their ratio has."""
    problem = VARIANTS[name]()
    x = feasible_states(problem, count, "precise")
    control = BarrierExpert(problem, eta)(x)
    assert (control.status == Status.optimal).all()
    assert control.dudx is not None
    for i in range(len(x)):
        exact = labels_of(problem, x[i], eta)
        np.testing.assert_allclose(control.u[i], exact.u, atol=1e-10, rtol=1e-10)
        size = np.abs(exact.dudx).max()
        np.testing.assert_allclose(control.dudx[i], exact.dudx, atol=size * (1e-7 if eta >= 1e-2 else 1e-4))


@needs_extended_precision
@pytest.mark.parametrize("eta", [1e-6, 1e-3, 1.0, 1e3])
@pytest.mark.parametrize("name", ["double_integrator", "asymmetric", "afti16", "random_4_2"])
def test_labels_equal_newton_in_extended_precision(name, eta):
    is_precise(name, eta, 4)


SHORT = [name for name, build in VARIANTS.items() if build().N * build().m <= 40]


@needs_extended_precision
@pytest.mark.full
@pytest.mark.parametrize("eta", [1e-6, 1e-4, 1e-2, 1.0, 1e3])
@pytest.mark.parametrize("name", SHORT)
def test_labels_of_all_short_problems_equal_newton_in_extended_precision(name, eta):
    is_precise(name, eta, 12)


@pytest.mark.parametrize("eta", [1e-4, 0.1, 10.0, 1e3])
def test_recentring_maps_the_origin_to_itself_on_an_asymmetric_polytope(eta):
    problem = asymmetric()
    control = BarrierExpert(problem, eta)(np.zeros((1, 2)))
    assert np.abs(control.u).max() <= 1e-8
    np.testing.assert_allclose(recentring(problem).ravel(), condense(problem).d, rtol=1e-12)


def test_a_wrong_recentring_would_be_seen():
    problem = asymmetric()
    d, origin = condense(problem).d, np.zeros(2)
    assert np.abs(d).max() > 0.1
    assert np.abs(dense_barrier(problem, origin, 0.1, d)[0]).max() <= 1e-8
    for wrong in (-d, 0 * d):
        assert np.abs(dense_barrier(problem, origin, 0.1, wrong)[0][:2]).max() > 1e-3


@pytest.mark.parametrize("eta", [1e-2, 1.0])
def test_labels_are_derivatives(eta):
    problem, step = asymmetric(), 1e-5
    expert = BarrierExpert(problem, eta)
    x = 0.7 * feasible_states(problem, 12, "derivatives")
    control, hessian = expert(x), expert.hessian(x)
    for axis, e in enumerate(step * np.eye(2)):
        ahead, behind = expert(x + e), expert(x - e)
        slope = (ahead.u - behind.u) / (2 * step)
        np.testing.assert_allclose(control.dudx[:, :, axis], slope, atol=1e-5)
        rise = (ahead.value - behind.value) / (2 * step)
        np.testing.assert_allclose(control.gradient[:, axis], rise, rtol=1e-5, atol=1e-6)
        bend = (ahead.dudx - behind.dudx) / (2 * step)
        np.testing.assert_allclose(hessian[..., axis], bend, atol=1e-4 * (1 + np.abs(bend).max()))
    np.testing.assert_allclose(hessian, hessian.transpose(0, 1, 3, 2), atol=1e-9 * np.abs(hessian).max())


@pytest.mark.parametrize("eta", [1e-2, 1.0])
def test_curvature_is_that_of_the_cost_minimised_over_the_later_inputs(eta):
    problem = asymmetric(N=3)
    x = 0.6 * feasible_states(problem, 4, "curvature")
    control = BarrierExpert(problem, eta)(x)
    for i in range(len(x)):
        step = 1e-4
        q = lambda du: dense_barrier(problem, x[i], eta, first=control.u[i] + du)[1]  # noqa: B023, E731
        e = step * np.eye(2)
        second = [[(q(a + b) - q(a - b) - q(b - a) + q(-a - b)) / (4 * step**2) for b in e] for a in e]
        np.testing.assert_allclose(control.curvature[i], second, rtol=1e-3, atol=1e-3)


def region_borders(expert: OnlineExpert, start, stop, count: int = 400) -> np.ndarray:
    """Where on a segment the active set of the exact law changes, to 1e-12 of its length, (k, n)."""
    point = lambda t: start + np.multiply.outer(t, stop - start)  # noqa: E731
    active = lambda t: expert.plan(point(t)).multipliers > 0  # noqa: E731
    t = np.linspace(0, 1, count)
    sets = active(t)
    at = np.flatnonzero((sets[1:] != sets[:-1]).any(axis=1))
    near, far, here = t[at], t[at + 1], sets[at]
    for _ in range(40):
        middle = (near + far) / 2
        same = (active(middle) == here).all(axis=1)
        near, far = np.where(same, middle, near), np.where(same, far, middle)
    return point(near)


def test_error_and_hessian_go_as_the_square_root_of_eta():
    problem = catalogue.double_integrator()
    exact, etas = OnlineExpert(problem), 10.0 ** np.arange(-7, -2.5, 0.5)
    start, stop = np.array([-2.0, 0.6]), np.array([2.0, 0.4])
    borders = region_borders(exact, start, stop)
    along = (stop - start) / np.linalg.norm(stop - start)
    errors, bends = [], []
    for eta in etas:
        offsets = np.sqrt(eta) * np.concatenate([np.linspace(-3, 3, 61), np.linspace(-40, 40, 41)])
        x = (borders[:, None] + offsets[:, None] * along).reshape(-1, 2)
        expert = BarrierExpert(problem, eta)
        errors.append(np.nanmax(np.abs(expert(x).u - exact(x).u)))
        bends.append(np.nanmax(np.linalg.norm(expert.hessian(x)[:, 0], axis=(1, 2))))
    assert np.polyfit(np.log(etas), np.log(errors), 1)[0] == pytest.approx(0.5, abs=0.06)
    assert np.polyfit(np.log(etas), np.log(bends), 1)[0] == pytest.approx(-0.5, abs=0.06)
    form = condense(problem)
    radius = np.sqrt(problem.N)  # |u_k| <= 1; d = 0 on symmetric boxes
    bound = np.sqrt(
        etas * (len(form.w) + 2 * radius * np.linalg.norm(form.d)) / np.linalg.eigvalsh(form.H)[0]
    )
    assert (np.array(errors) <= bound).all()


def test_a_state_without_a_strict_plan_is_infeasible():
    problem = catalogue.double_integrator()
    status = BarrierExpert(problem, 0.1)([[0.0, 0.0], [9.0, 9.0], [-30.0, 0.0]]).status
    assert status.tolist() == [Status.optimal, Status.infeasible, Status.infeasible]


@pytest.mark.parametrize("name", ["double_integrator", "afti16", "cart_pole", "quadrotor", "spring_mass_3"])
def test_newton_steps_stay_few(name):
    problem = VARIANTS[name]()
    x = feasible_states(problem, 60, "work")
    for eta in ETAS:
        steps = BarrierExpert(problem, eta).iterations(x)
        assert steps.mean() <= 15
        assert steps.max() <= 25


def test_lanes_serve_states_of_every_kind_beside_each_other():
    """More states than lanes, of different length, without a plan or not finite, in any order."""
    problem = catalogue.double_integrator()
    expert = BarrierExpert(problem, 1e-3)
    good = feasible_states(problem, 60, "lanes")
    x = np.concatenate([good, [[9.0, 9.0], [np.nan, 0.0], [-30.0, 0.0], [0.0, np.inf]]])
    order = np.random.default_rng(1).permutation(len(x))
    control, alone = expert(x[order]), expert(good)
    expected = np.array([Status.optimal] * 60 + [Status.infeasible, Status.invalid_input] * 2)
    np.testing.assert_array_equal(control.status, expected[order])
    place = np.argsort(order)[:60]
    for name, value in alone.arrays().items():
        np.testing.assert_array_equal(control.arrays()[name][place], value, err_msg=name)


def test_a_sweep_over_eta_is_one_batch_with_the_bits_of_each_expert():
    problem, etas = asymmetric(), np.array([1e-6, 1e-3, 1.0, 1e3])
    x = feasible_states(problem, 12, "sweep")
    expert = BarrierExpert(problem, 1.0)
    swept = expert.sweep(np.repeat(x, 4, axis=0), np.tile(etas, 12))
    for i, eta in enumerate(etas):
        for name, value in BarrierExpert(problem, eta)(x).arrays().items():
            np.testing.assert_array_equal(swept.arrays()[name][i::4], value, err_msg=name)
    with pytest.raises(ValueError, match=r"eta must be positive in every row, got 0\.0"):
        expert.sweep(x[:2], [1.0, 0.0])
    with pytest.raises(ValueError, match=r"eta must have shape \(2\), got \(1,\)"):
        expert.sweep(x[:2], [1.0])


def test_the_iteration_limit_is_a_status():
    problem = catalogue.double_integrator()
    x = feasible_states(problem, 20, "limit")
    control = BarrierExpert(problem, 1e-3, max_iterations=2)(x)
    assert (control.status == Status.iteration_limit).any()
    assert np.isnan(control.u[control.status == Status.iteration_limit]).all()


def test_an_expert_survives_pickling():
    expert, x = BarrierExpert(asymmetric(), 0.1), 0.5 * feasible_states(asymmetric(), 6)
    again = pickle.loads(pickle.dumps(expert))
    for name, value in expert(x).arrays().items():
        np.testing.assert_array_equal(again(x).arrays()[name], value, err_msg=name)


def test_a_duplicate_row_changes_the_barrier_but_not_the_exact_law():
    problem = scalar(2.0, r=0.5)
    doubled = problem.with_(U=Polytope(np.vstack([problem.U.G, [[1.0]]]), np.append(problem.U.h, 1.0)))
    x = np.array([[-0.4]])
    assert OnlineExpert(doubled)(x).u == OnlineExpert(problem)(x).u
    assert abs(BarrierExpert(doubled, 0.1)(x).u - BarrierExpert(problem, 0.1)(x).u) > 1e-3


def test_bad_options_are_refused():
    problem = catalogue.double_integrator()
    for eta in (0.0, -1.0, np.nan, np.inf, "0.1", True):
        with pytest.raises(ValueError, match=r"eta must be a positive number, got .*use Online"):
            BarrierExpert(problem, eta)
    with pytest.raises(ValueError, match="max_iterations must be at least 1, got 0"):
        BarrierExpert(problem, 0.1, max_iterations=0)
    outside = problem.with_(U=Polytope.box([0.5], [1.0]))
    with pytest.raises(ValueError, match=r"recentred at the origin.*row 5 of stage 9 has h = -0\.5"):
        BarrierExpert(outside, 0.1)
