"""Exact MPC on random problems of every shape: known answers, audits, derivatives, certificates."""

import numpy as np
import pytest
from awkward_problems import EXTRAS, awkward_problem, edge
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from known_answers import Known, Shape, known_answer, said_again

from mpc.arrays import Array
from mpc.condense import condense, least_distance
from mpc.online import OnlineExpert, Plan
from mpc.problem import ControlProblem
from mpc.qp import Residuals, Solution
from mpc.status import Status

SEEDS = st.integers(0, 2**32 - 1)


def drawn(examples: int):
    """The same examples every time, however long one takes."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=slow
    )


def sizes(most: int):
    """States, inputs and horizon with at most ``most`` inputs in a plan."""
    whole = st.tuples(st.integers(1, 20), st.integers(1, 6), st.integers(1, 60))
    return whole.filter(lambda size: size[1] * size[2] <= most)


@st.composite
def shapes(draw, most: int, *, simple: bool = False) -> Shape:
    """Shapes of known answers; ``simple`` ones have independent active rows and none that is weakly so."""
    _, m, N = draw(sizes(most))
    mixed = draw(st.integers(0, min(3, 19 // N)))
    n = draw(st.integers(1, 20 - mixed * N))
    terminal = draw(st.integers(0, min(n, N * m) if simple else n + 2))
    active = draw(st.integers(0, (N * m + 1) // 2 if simple else N * m + 3))
    extra = {} if simple else {"weak": draw(st.integers(0, 4)), "touching": draw(st.integers(0, 3))}
    return Shape(n, m, N, mixed, terminal, active, **extra)


def audit(problem: ControlProblem, plan: Plan, x: Array) -> list[Residuals]:
    """Relative KKT residuals of the condensed QP, state by state."""
    form = condense(problem)
    return [
        Solution(u.ravel(), y).residuals(form.qp(state), relative=True)
        for u, y, state in zip(plan.u, plan.multipliers, x, strict=True)
    ]


# Answers known beforehand.


def independence(known: Known) -> float:
    """Smallest singular value but zeros of the rows that are met: what a row may miss is divided by it."""
    form, exact = condense(known.problem), least_distance(known.problem)
    met = np.abs(form.w + form.E @ known.x - form.G @ known.plan) <= 1e-9 * exact.norms
    values = np.linalg.svd(exact.M[met], compute_uv=False)
    return float(values[values > 1e-12].min(initial=1.0))


def solve_known(shape: Shape, seed: int, *, again: bool) -> None:
    known = known_answer(shape, seed)
    problem = said_again(known.problem, seed) if again else known.problem
    apart = independence(known)
    for route in ("auto", "active_set", "careful"):
        plan = OnlineExpert(problem, route=route).plan(known.x[None])
        assert plan.status[0] == Status.optimal, (route, plan.status)
        scale = 1 + np.abs(known.plan).max()
        assert np.abs(plan.u[0].ravel() - known.plan).max() <= (1e-8 + 1e-9 / apart) * scale, route
        residuals = audit(problem, plan, known.x[None])[0]
        assert residuals.within(1e-9 + 1e-15 / apart**2), (route, residuals)  # multipliers lose its square


@drawn(30)
@given(shape=shapes(60), seed=SEEDS, again=st.booleans())
def test_known_answers_are_found(shape, seed, again):
    solve_known(shape, seed, again=again)


@pytest.mark.full
@drawn(1000)
@given(shape=shapes(360), seed=SEEDS, again=st.booleans())
def test_many_known_answers_are_found(shape, seed, again):
    solve_known(shape, seed, again=again)


# Labels are derivatives.


def same_set(expert: OnlineExpert, x: Array, step: float) -> bool:
    """Whether the active set is one and the same at the state x and a step from it along every axis."""
    around = x + step * np.vstack([np.zeros((1, len(x))), np.eye(len(x)), -np.eye(len(x))])
    plan = expert.plan(around)
    return bool((plan.status == Status.optimal).all() and (plan.active == plan.active[0]).all())


def hold_derivatives(expert: OnlineExpert, x: Array, step: float) -> None:
    """``dudx`` and ``gradient`` at x against central differences, exact but for rounding within a piece."""
    label, moves = expert(x[None]), step * np.eye(len(x))
    ahead, behind = expert(x + moves), expert(x - moves)
    slope = (ahead.u - behind.u).T / (2 * step)
    rounding = 1e-11 / step
    assert np.abs(label.dudx[0] - slope).max() <= rounding * (1 + np.abs(ahead.u).max()) + 1e-8
    rise = (ahead.value - behind.value) / (2 * step)
    assert np.abs(label.gradient[0] - rise).max() <= rounding * (1 + np.abs(ahead.value).max())


def known_derivatives(shape: Shape, seed: int) -> None:
    known = known_answer(shape, seed)
    assume(independence(known) >= 1e-4)
    expert = OnlineExpert(known.problem)
    active = expert.plan(known.x[None]).active[0]
    np.testing.assert_array_equal(active, known.multipliers > 0)
    assume(same_set(expert, known.x, 1e-5))
    hold_derivatives(expert, known.x, 1e-5)


@drawn(20)
@given(shape=shapes(60, simple=True), seed=SEEDS)
def test_labels_are_derivatives_at_known_answers(shape, seed):
    known_derivatives(shape, seed)


@pytest.mark.full
@drawn(1000)
@given(shape=shapes(200, simple=True), seed=SEEDS)
def test_labels_are_derivatives_at_many_known_answers(shape, seed):
    known_derivatives(shape, seed)


# Both sides of the edge of the feasible set, which HiGHS finds.


def hold_certificate(problem: ControlProblem, x: Array, y: Array) -> None:
    """``y >= 0``, ``G'y = 0`` and ``(w + E x)'y < 0``: no plan exists."""
    form = condense(problem)
    h = form.w + form.E @ x
    assert (y >= 0).all()
    assert np.abs(form.G.T @ y).max() <= 1e-7 * (np.abs(form.G).T @ y).max()
    assert h @ y < 0


def along_a_ray(size: tuple[int, int, int], extras: set[str], seed: int) -> None:
    problem = awkward_problem(*size, seed, extras)
    ray = np.random.default_rng(seed).normal(size=size[0])
    ray /= np.linalg.norm(ray)
    end = edge(problem, ray)
    inside = np.outer(end * np.array([0.3, 0.8, 0.98, 1 - 1e-6]), ray)
    experts = [OnlineExpert(problem, route=route) for route in ("auto", "rounds", "active_set", "careful")]
    first, *others, careful = (expert.plan(inside) for expert in experts)
    assert (first.status == Status.optimal).all(), first.status
    for plan in (first, careful):
        *residuals, near = audit(problem, plan, inside)
        assert max(each.worst for each in residuals) <= 1e-9, residuals
        assert near.within(1e-7), near  # there rows are dependent to 1e-7 and multipliers reach 1e9
    for other in others:
        np.testing.assert_array_equal(other.u, first.u)
    if same_set(experts[0], inside[1], 1e-5):
        hold_derivatives(experts[0], inside[1], 1e-5)
    if end < 1e3:
        outside = np.outer(end * np.array([1 + 1e-6, 1.5]), ray)
        for expert in experts:
            plan = expert.plan(outside)
            assert (plan.status == Status.infeasible).all(), (expert.route, plan.status)
            for x, y in zip(outside, plan.multipliers, strict=True):
                hold_certificate(problem, x, y)


@drawn(15)
@given(size=sizes(60), extras=st.sets(st.sampled_from(EXTRAS)), seed=SEEDS)
def test_both_sides_of_the_edge(size, extras, seed):
    along_a_ray(size, extras, seed)


@pytest.mark.full
@drawn(300)
@given(size=sizes(360), extras=st.sets(st.sampled_from(EXTRAS)), seed=SEEDS)
def test_both_sides_of_many_edges(size, extras, seed):
    along_a_ray(size, extras, seed)
