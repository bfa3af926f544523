"""Barrier labels of drawn problems against extended precision; statuses up to the edge of feasibility."""

from dataclasses import dataclass

import numpy as np
import pytest
from awkward_problems import EXTRAS, awkward_problem, rays
from extended_precision import labels_of, needs_extended_precision
from generators import VARIANTS, crowded_states, dense_barrier
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_mpc_barrier import region_borders

from mpc import catalogue
from mpc.arrays import Array
from mpc.barrier import BarrierExpert
from mpc.condense import condense
from mpc.online import OnlineExpert
from mpc.problem import ControlProblem
from mpc.status import Status

few = settings(max_examples=25, deadline=None, derandomize=True, database=None)
many = settings(few, max_examples=300)


@dataclass(frozen=True)
class Drawn:
    """What makes a problem and its barrier."""

    n: int
    m: int
    N: int
    seed: int
    extras: tuple[str, ...]
    log_eta: float

    @property
    def problem(self) -> ControlProblem:
        return awkward_problem(self.n, self.m, self.N, self.seed, self.extras)

    @property
    def eta(self) -> float:
        return 10.0**self.log_eta


def drawn(plan: int) -> st.SearchStrategy[Drawn]:
    """1 to 20 states, 1 to 6 inputs, horizons 1 to 60, with at most ``plan`` numbers in a plan."""
    return st.integers(1, min(6, plan)).flatmap(
        lambda m: st.builds(
            Drawn,
            n=st.integers(1, 20),
            m=st.just(m),
            N=st.integers(1, min(60, plan // m)),
            seed=st.integers(0, 10**6),
            extras=st.sets(st.sampled_from(EXTRAS)).map(lambda names: tuple(sorted(names))),
            log_eta=st.floats(-6, 3),
        )
    )


def inside(problem: ControlProblem, parts: list[float]) -> Array:
    """States on random rays at these fractions of the way to the edge."""
    directions, reach = rays(problem, len(parts))
    return (np.array(parts) * reach)[:, None] * directions


TOLERANCES = {"u": 1e-8, "dudx": 1e-5, "value": 1e-8, "gradient": 1e-8, "curvature": 1e-5}
"""Of the largest entry of each label."""


def is_the_reference(case: Drawn) -> None:
    problem = case.problem
    x = inside(problem, [0.6, 0.98, 0.99999])
    control = BarrierExpert(problem, case.eta)(x)
    assert control.status.tolist() == [Status.optimal] * 3
    for i in range(len(x)):
        exact = labels_of(problem, x[i], case.eta)
        for name, tolerance in TOLERANCES.items():
            label, expected = getattr(control, name)[i], getattr(exact, name)
            size = np.abs(expected).max()
            np.testing.assert_allclose(label, expected, atol=tolerance * size, rtol=0, err_msg=name)


@needs_extended_precision
@few
@given(drawn(plan=20))
def test_labels_are_those_of_newton_in_extended_precision(case):
    is_the_reference(case)


@needs_extended_precision
@pytest.mark.full
@many
@given(drawn(plan=60))
def test_labels_of_many_problems_are_those_of_newton_in_extended_precision(case):
    is_the_reference(case)


def labels_are_derivatives(case: Drawn) -> None:
    """Central differences with a step of 1e-5 of the least slack: value, gradient and Jacobian of each state.

    Third derivatives go as ``1/slack^2``, so that the differences are right to about 1e-9 of what they
    differentiate; rounding of u (up to 1e-12 of it) is the larger part where slacks are small.
    """
    problem, expert = case.problem, BarrierExpert(case.problem, case.eta)
    x = inside(problem, [0.3, 0.9])
    control = expert(x)
    assert control.dudx is not None
    assert control.gradient is not None
    directions = np.random.default_rng(0).normal(size=x.shape)
    step = 1e-5 * _least_slack(expert, x)[:, None] / np.abs(directions).sum(axis=1, keepdims=True)
    ahead, behind = expert(x + step * directions), expert(x - step * directions)
    slope, rise = (ahead.u - behind.u) / (2 * step), (ahead.value - behind.value) / (2 * step[:, 0])
    expected = np.einsum("bij,bj->bi", control.dudx, directions)
    noise = 1e-12 * np.abs(control.u).max(axis=1, keepdims=True) / step
    scale = np.abs(control.dudx).max(axis=(1, 2))[:, None]
    assert (np.abs(slope - expected) <= 1e-4 * scale + noise).all()
    expected = np.einsum("bi,bi->b", control.gradient, directions)
    noise = 1e-14 * np.abs(control.value) / step[:, 0]
    assert (np.abs(rise - expected) <= 1e-5 * np.abs(control.gradient).max(axis=1) + noise).all()


def _least_slack(expert: BarrierExpert, x: Array) -> Array:
    form = condense(expert.problem)
    plans = np.stack([dense_barrier(expert.problem, one, expert.eta)[0] for one in x])
    return (form.w + x @ form.E.T - plans @ form.G.T).min(axis=1)


@few
@given(drawn(plan=20))
def test_jacobian_and_gradient_are_derivatives(case):
    labels_are_derivatives(case)


@pytest.mark.full
@many
@given(drawn(plan=60))
def test_jacobian_and_gradient_of_many_problems_are_derivatives(case):
    labels_are_derivatives(case)


@pytest.mark.parametrize("eta", [1e-8, 1e-6, 1e-4, 1e-2])
def test_jacobians_at_a_kink_of_the_exact_law_are_differences(eta):
    """The kink is rounded over a width of about sqrt(eta), on which the steps are measured."""
    problem = catalogue.double_integrator()
    start, stop = np.array([-2.0, 0.6]), np.array([2.0, 0.4])
    (border,) = region_borders(OnlineExpert(problem), start, stop)
    along = (stop - start) / np.linalg.norm(stop - start)
    x = border + np.sqrt(eta) * np.linspace(-5, 5, 21)[:, None] * along
    expert, step = BarrierExpert(problem, eta), 1e-4 * np.sqrt(eta)
    control = expert(x)
    assert control.dudx is not None
    assert np.ptp(control.dudx, axis=0).max() > 0.1  # it turns here
    for axis, e in enumerate(step * np.eye(2)):
        near, far = (expert(x + k * e).u - expert(x - k * e).u for k in (1, 2))
        slope = (8 * near - far) / (12 * step)
        np.testing.assert_allclose(control.dudx[:, :, axis], slope, atol=1e-13 / step + 1e-9)


# The edge of the feasible set, which a linear program finds.

BESIDE = np.array([1e-3, 1e-6, 1e-7, 1e-8])


def statuses_are_right_at_the_edge(case: Drawn) -> None:
    """Optimal inside and infeasible outside, to a hundred-millionth of the way to the edge."""
    problem, expert = case.problem, BarrierExpert(case.problem, case.eta)
    directions, reach = rays(problem, 2)
    for ray, edge in zip(directions, reach, strict=True):
        control = expert(edge * (1 - BESIDE)[:, None] * ray)
        assert control.status.tolist() == [Status.optimal] * len(BESIDE)
        if edge < 999:  # else every state of the ray has a plan
            beyond = expert(edge * (1 + BESIDE)[:, None] * ray)
            assert beyond.status.tolist() == [Status.infeasible] * len(BESIDE)
            assert np.isnan(beyond.u).all()


@few
@given(drawn(plan=24))
@example(Drawn(19, 6, 2, 764042, ("mixed", "open", "repeated", "terminal", "thin"), np.log10(7.6e-6)))
@example(Drawn(2, 2, 13, 493023, ("open", "redundant", "terminal"), -6.0))
def test_statuses_on_both_sides_of_the_edge(case):
    """The examples have slacks down to 8e-12 there, whose digits are few."""
    statuses_are_right_at_the_edge(case)


@pytest.mark.full
@many
@given(drawn(plan=60))
def test_statuses_of_many_problems_on_both_sides_of_the_edge(case):
    statuses_are_right_at_the_edge(case)


def test_the_correction_does_not_turn_in_a_circle():
    """At this state its aims, 0.96 eta off, brought every second step back to where it came from."""
    problem = VARIANTS["quadcopter_4"]()
    expert, x = BarrierExpert(problem, 100.0), crowded_states(problem, rays=10)[12:13]
    assert expert(x).status == Status.optimal
    assert expert.iterations(x) <= 15


def test_infeasible_is_certified_by_multipliers():
    """``y >= 0`` with ``G'y = 0`` and ``(w + E x)'y < 0``: no plan at all, strict or not."""
    problem = awkward_problem(4, 2, 6, seed=5, extras=("mixed", "terminal", "repeated"))
    directions, reach = rays(problem, 8)
    x = ((1 + 1e-6) * reach)[:, None] * directions
    assert (BarrierExpert(problem, 0.1)(x).status == Status.infeasible).all()
    form, y = condense(problem), OnlineExpert(problem).plan(x).multipliers
    size = np.abs(y).max(axis=1)
    assert (y >= 0).all()
    assert (np.abs(y @ form.G).max(axis=1) <= 1e-9 * size * np.abs(form.G).max()).all()
    assert (np.einsum("bc,bc->b", y, form.w + x @ form.E.T) < 0).all()
