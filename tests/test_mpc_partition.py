"""The critical regions of exact MPC: that they cover, do not overlap, and belong to the sets they name."""

from dataclasses import replace

import numpy as np
import pytest

from mpc import catalogue
from mpc.online import OnlineExpert
from mpc.partition import partition
from mpc.polytope import Polytope

PROBLEMS = {
    "double_integrator": catalogue.double_integrator(N=10),
    "triangular": catalogue.triangular(3, N=5),
    "cart_pole": catalogue.cart_pole(N=4),
}


def feasible_states(problem, within, count, seed=1):
    low, high = within.bounds
    x = np.random.default_rng(seed).uniform(low, high, (count, problem.n))
    x = x[within.contains(x)]
    return x[OnlineExpert(problem)(x).status == 2]


def test_the_double_integrator_with_horizon_three_has_nineteen_regions():
    assert len(partition(catalogue.double_integrator(N=3))) == 19
    assert len(partition(catalogue.double_integrator(N=3, Qf="dare"))) == 19


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_state_with_a_plan_lies_in_one_region_and_no_other_state_in_any(name):
    problem = PROBLEMS[name]
    regions = partition(problem)
    x = feasible_states(problem, regions.within, 20_000)
    held = np.zeros(len(x), int)
    for r in range(len(regions)):
        held += regions.polytope(r).contains(x, 1e-9)
    assert (held == 1).all()
    low, high = regions.within.bounds
    x = np.random.default_rng(2).uniform(low, high, (5000, problem.n))
    x = x[regions.within.contains(x)]
    infeasible = OnlineExpert(problem)(x).status == -1
    assert (regions.find(x[infeasible]) == -1).all()


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_solver_finds_the_set_of_the_region_at_its_centre(name):
    problem = PROBLEMS[name]
    regions = partition(problem)
    counts = OnlineExpert(problem).plan(regions.centre).active.sum(axis=1)
    np.testing.assert_array_equal(counts, np.count_nonzero(regions.sides, axis=1))
    np.testing.assert_array_equal(regions.find(regions.centre), np.arange(len(regions)))


def test_no_facet_is_redundant():
    regions = partition(PROBLEMS["double_integrator"])
    for r in range(0, len(regions), 9):
        polytope = regions.polytope(r)
        assert len(polytope.reduced().h) == len(polytope.h)


def test_the_number_does_not_depend_on_the_order_of_rows():
    problem = PROBLEMS["cart_pole"]
    order = np.random.default_rng(0).permutation(len(problem.X.h))
    turned = replace(problem, X=Polytope(problem.X.G[order], problem.X.h[order]))
    one, other = partition(problem), partition(turned)
    assert len(one) == len(other)
    np.testing.assert_allclose(np.sort(one.radius), np.sort(other.radius), rtol=1e-6, atol=1e-9)


def test_limits_and_domains_are_errors_that_say_what_to_do():
    problem = PROBLEMS["double_integrator"]
    with pytest.raises(ValueError, match=r"max_regions=5.*shorter horizon \(N=10\).*online expert"):
        partition(problem, max_regions=5)
    with pytest.raises(ValueError, match="within must be bounded"):
        partition(problem, Polytope.whole_space(2))
    with pytest.raises(ValueError, match="no state in within has a plan"):
        partition(problem, Polytope.box([9.5, 9.5], [10.0, 10.0]))
