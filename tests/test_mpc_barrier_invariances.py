"""What must not matter to barrier MPC: side, order and units of states, inputs and rows; the unit of cost."""

from functools import cache

import numpy as np
import pytest
from awkward_problems import awkward_problem, in_units, rays

from mpc.arrays import Array
from mpc.barrier import BarrierExpert
from mpc.expert import Control
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.status import Status
from mpc.system import LinearSystem

ETAS = (1e-5, 1e-2, 10.0)
EXTRAS = ("mixed", "terminal", "repeated", "redundant")
SIZES = [(1, 1, 4), (2, 1, 12), (3, 2, 8), (5, 4, 5)]
by_eta = pytest.mark.parametrize("eta", ETAS)
by_size = pytest.mark.parametrize(("n", "m", "N"), SIZES)


@cache
def case(n: int, m: int, N: int) -> tuple[ControlProblem, Array]:
    """A problem with every kind of row, and states out to a thousandth of the edge of its feasible set."""
    problem = awkward_problem(n, m, N, seed=100 * n + 10 * m + N, extras=EXTRAS)
    directions, reach = rays(problem, 12)
    part = np.tile([0.3, 0.9, 0.999], 4)
    return problem, (part * reach)[:, None] * directions


def labels(problem: ControlProblem, eta: float, x: Array) -> Control:
    control = BarrierExpert(problem, eta)(x)
    assert (control.status == Status.optimal).all()
    return control


def is_same(control: Control, other: Control, tolerance: float = 1e-10, slope: float = 1e-10) -> None:
    """All labels to ``tolerance``, the Jacobian to ``slope``, of the largest entry of each state's."""
    for name, value in control.arrays().items():
        flat, expected = (v.reshape(len(v), -1) for v in (value, other.arrays()[name]))
        size = np.maximum(np.abs(expected).max(axis=1), 1e-3)
        apart = (np.abs(flat - expected).max(axis=1) / size).max()
        assert apart <= (slope if name == "dudx" else tolerance), (name, apart)


def slope_for(eta: float) -> float:
    """Small Jacobians are what large terms of weight ``lambda^2 / eta`` leave, and lose as many digits."""
    return 1e-7 if eta < 1e-3 else 1e-9


def back(control: Control, T: Array, S: Array) -> Control:
    """Labels in coordinates ``x = T x'``, ``u = S u'`` told in x and u."""
    inverse, of_inputs = np.linalg.inv(T), np.linalg.inv(S)
    return Control(
        control.u @ S.T,
        control.status,
        S @ control.dudx @ inverse,
        control.value,
        control.gradient @ inverse,
        of_inputs.T @ control.curvature @ of_inputs,
        control.cost,
    )


@by_eta
@by_size
def test_a_mirrored_problem_has_the_mirrored_law_to_the_last_bit(n, m, N, eta):
    problem, x = case(n, m, N)
    T, S = -np.eye(n), -np.eye(m)
    mirrored = labels(in_units(problem, T, S), eta, -x)
    is_same(back(mirrored, T, S), labels(problem, eta, x), 0.0, 0.0)


@by_eta
@by_size
def test_the_order_of_states_and_inputs_does_not_matter(n, m, N, eta):
    problem, x = case(n, m, N)
    T, S = np.eye(n)[::-1], np.eye(m)[::-1]
    turned = labels(in_units(problem, T, S), eta, x @ T)
    is_same(back(turned, T, S), labels(problem, eta, x), slope=slope_for(eta))


@by_eta
@by_size
def test_units_do_not_matter(n, m, N, eta):
    """Millimetres beside kilometres: states and inputs scaled by 1e-3 to 1e3."""
    problem, x = case(n, m, N)
    T, S = (np.diag(10.0 ** np.resize([-3, 3, 0, 2, -1], size)) for size in (n, m))
    scaled = labels(in_units(problem, T, S), eta, x / np.diag(T))
    is_same(back(scaled, T, S), labels(problem, eta, x), slope=slope_for(eta))


@by_eta
@by_size
def test_any_other_coordinates_do_not_matter(n, m, N, eta):
    problem, x = case(n, m, N)
    rng = np.random.default_rng(n)
    T, S = (np.eye(size) + 0.3 * rng.normal(size=(size, size)) for size in (n, m))
    other = labels(in_units(problem, T, S), eta, np.linalg.solve(T, x.T).T)
    is_same(back(other, T, S), labels(problem, eta, x), slope=slope_for(eta))


def each_polytope(problem: ControlProblem, change) -> ControlProblem:
    sets = {name: getattr(problem, name) for name in ("X", "U", "XU", "Xf")}
    return problem.with_(**{name: change(polytope) for name, polytope in sets.items()})


@by_eta
@by_size
def test_the_order_of_rows_does_not_matter(n, m, N, eta):
    problem, x = case(n, m, N)
    turned = each_polytope(problem, lambda p: Polytope(p.G[::-1], p.h[::-1]))
    is_same(labels(turned, eta, x), labels(problem, eta, x), slope=slope_for(eta))


@by_eta
@by_size
def test_a_row_times_a_number_adds_a_constant_to_the_value_and_no_more(n, m, N, eta):
    """``log(r phi) = log r + log phi``: the value falls by ``eta log r`` for each stage of the row."""
    problem, x = case(n, m, N)
    rng = np.random.default_rng(3)
    logs = {name: rng.uniform(-5, 5, len(getattr(problem, name).h)) for name in ("X", "U")}

    def times(polytope: Polytope, factor: Array) -> Polytope:
        return Polytope(factor[:, None] * polytope.G, factor * polytope.h)

    scaled = problem.with_(**{name: times(getattr(problem, name), np.exp(r)) for name, r in logs.items()})
    control = labels(scaled, eta, x)
    control.value[:] += eta * N * (logs["X"].sum() + logs["U"].sum())
    is_same(control, labels(problem, eta, x), slope=slope_for(eta))


@by_size
@pytest.mark.parametrize("factor", [1e-6, 37.0, 1e6])
def test_the_unit_of_cost_does_not_matter(n, m, N, factor):
    """Cost and eta times a number: the same law, and every value times the number."""
    problem, x = case(n, m, N)
    dear = problem.with_(Q=factor * problem.Q, R=factor * problem.R, Qf=factor * problem.Qf)
    control = labels(dear, 0.01 * factor, x)
    for name in ("value", "gradient", "curvature", "cost"):
        control.arrays()[name][:] /= factor
    is_same(control, labels(problem, 0.01, x), slope=1e-9)


@by_eta
def test_a_problem_beside_another_that_does_not_meet_it(eta):
    """Two plants in one problem, the states, inputs and rows of one apart from those of the other."""
    (left, x), (right, y) = case(2, 1, 12), case(3, 2, 8)
    left = left.with_(N=8, XU=None)
    right = right.with_(XU=None)
    x = 0.5 * x
    joint = beside(left, right)
    control, one, two = labels(joint, eta, np.hstack([x, y])), labels(left, eta, x), labels(right, eta, y)
    np.testing.assert_allclose(control.u, np.hstack([one.u, two.u]), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(control.value, one.value + two.value, rtol=1e-9)
    np.testing.assert_allclose(
        control.gradient, np.hstack([one.gradient, two.gradient]), rtol=1e-8, atol=1e-8
    )
    assert np.abs(control.dudx[:, :1, 2:]).max() <= 1e-10
    assert np.abs(control.dudx[:, 1:, :2]).max() <= 1e-10


def beside(left: ControlProblem, right: ControlProblem) -> ControlProblem:
    def both(one: Array, two: Array) -> Array:
        corner = np.zeros((len(one), two.shape[1])), np.zeros((len(two), one.shape[1]))
        return np.block([[one, corner[0]], [corner[1], two]])

    def sets(one: Polytope, two: Polytope) -> Polytope:
        return Polytope(both(one.G, two.G), np.append(one.h, two.h))

    return ControlProblem(
        system=LinearSystem(both(left.system.A, right.system.A), both(left.system.B, right.system.B)),
        X=sets(left.X, right.X),
        U=sets(left.U, right.U),
        Xf=sets(left.Xf, right.Xf),
        Q=both(left.Q, right.Q),
        R=both(left.R, right.R),
        Qf=both(left.Qf, right.Qf),
        N=left.N,
    )
