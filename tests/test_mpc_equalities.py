"""Exact MPC with equality constraints, which belong to the active set of every state."""

import numpy as np
import pytest
from generators import to_the_origin

from mpc import catalogue
from mpc.condense import condense
from mpc.explicit import ExplicitExpert
from mpc.online import OnlineExpert
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.status import Status
from mpc.walk import NoPartition

INTEGRATOR = catalogue.double_integrator(N=5)
COUPLED = Polytope(np.array([[0, 0, 0, 0, 1.0, 1.0], [0, 0, 0, 0, -1.0, -1.0]]), np.zeros(2))
PROBLEMS = {
    "origin": to_the_origin(INTEGRATOR),
    "origin, said twice": to_the_origin(INTEGRATOR, times=2),
    "a line": INTEGRATOR.with_(Xf=Polytope(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([0.5, -0.5]))),
    "no freedom left": to_the_origin(INTEGRATOR.with_(N=2)),
    "four states": to_the_origin(catalogue.cart_pole(N=6)),
    "coupled inputs": catalogue.afti16(N=2).with_(XU=COUPLED),
}


def feasible(problem: ControlProblem, expert: ExplicitExpert, count: int) -> np.ndarray:
    """Uniform states of regions taken in turn, and the origin."""
    regions, rng = expert.regions, np.random.default_rng(0)
    ways = rng.normal(size=(count, problem.n))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    r = np.arange(count) % len(regions)
    share = rng.random((count, 1)) ** (1 / problem.n) * regions.radius[r, None]
    return np.vstack([np.zeros(problem.n), regions.centre[r] + share * ways * regions.reach])


@pytest.mark.parametrize("name", PROBLEMS)
def test_regions_hold_every_state_with_a_plan_once_and_labels_have_the_same_bits(name):
    problem = PROBLEMS[name]
    expert, online = ExplicitExpert(problem), OnlineExpert(problem)
    low, high = expert.regions.within.bounds
    x = np.vstack(
        [feasible(problem, expert, 500), np.random.default_rng(1).uniform(low, high, (5000, problem.n))]
    )
    label, looked = online(x), expert(x)
    for field, value in label.arrays().items():
        np.testing.assert_array_equal(looked.arrays()[field], value, err_msg=field)
    plan = label.status == Status.optimal
    held = sum(expert.regions.polytope(r).contains(x, 1e-9).astype(int) for r in range(len(expert.regions)))
    assert (held[plan][1:] == 1).all()
    assert (held[~plan] == 0).all()
    assert (expert.find(x)[plan][1:] >= 0).all()


@pytest.mark.parametrize("name", PROBLEMS)
def test_inputs_and_values_against_an_independent_solver(name):
    problem = PROBLEMS[name]
    expert = ExplicitExpert(problem)
    x = feasible(problem, expert, 12)
    reference = OnlineExpert(problem, solver="cvxpy")(x)
    control = expert(x)
    assert (control.status == Status.optimal).all()
    size = 1 + np.abs(control.u).max()
    np.testing.assert_allclose(control.u, reference.u, atol=5e-5 * size)
    np.testing.assert_allclose(control.value, reference.value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PROBLEMS)
def test_multipliers_are_those_of_the_condensed_problem(name):
    problem = PROBLEMS[name]
    expert, form = ExplicitExpert(problem), condense(problem)
    x = feasible(problem, expert, 200)
    for plan in (
        expert.plan(x),
        OnlineExpert(problem).plan(x),
        OnlineExpert(problem, route="careful").plan(x),
    ):
        U = plan.u.reshape(len(x), -1)
        rest = U @ form.H + x @ form.F + plan.multipliers @ form.G
        np.testing.assert_allclose(rest, 0, atol=1e-7 * max(1, np.abs(plan.multipliers).max()))
        assert (plan.multipliers >= 0).all()
        assert (plan.multipliers[~plan.active] == 0).all()


@pytest.mark.parametrize("route", ["auto", "active_set", "rounds", "careful", "lookup"])
def test_the_gain_at_the_origin_is_that_beside_it(route):
    """Where the multipliers of equalities are zero no bound is violated by LQR, whose gain is another one."""
    problem = PROBLEMS["origin"]
    control = OnlineExpert(problem, route=route)(np.array([[0.0, 0.0], [1e-12, 0.0], [1e-2, 1e-2]]))
    np.testing.assert_allclose(control.dudx[:2], control.dudx[[2, 2]], rtol=1e-9)
    np.testing.assert_allclose(control.curvature[:2], control.curvature[[2, 2]], rtol=1e-9)
    assert np.abs(control.dudx[0] - OnlineExpert(INTEGRATOR)(np.zeros((1, 2))).dudx[0]).max() > 1e-3


def test_a_flat_set_of_states_is_refused_by_its_cause():
    with pytest.raises(NoPartition, match=r"flat set of states .* longer horizon \(N=1\)"):
        ExplicitExpert(to_the_origin(INTEGRATOR.with_(N=1)))
