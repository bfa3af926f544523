"""Exact MPC by looking regions up: the same bits as the solver, wherever the state lies."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from awkward_problems import EXTRAS, awkward_problem

from mpc import catalogue, online, simulate
from mpc.arrays import Array
from mpc.kernels.charting import regions_of
from mpc.location import chart
from mpc.neighbours import neighbours
from mpc.online import OnlineExpert, Plan
from mpc.partition import NoPartition, Partition, partition
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.status import Status
from mpc.system import LinearSystem

LOOKUP = Plan.ROUTES.index("lookup")
PROBLEMS = {
    "double_integrator": catalogue.double_integrator(N=10),
    "triangular": catalogue.triangular(3, N=5),
    "cart_pole": catalogue.cart_pole(N=3),
}


def states(regions: Partition, count: int) -> Array:
    """Half of them anywhere in the domain and a little beyond, half at facets, exactly and by rounding."""
    rng, problem = np.random.default_rng(0), regions.problem
    low, high = regions.within.bounds
    anywhere = rng.uniform(1.1 * low, 1.1 * high, (count // 2, problem.n))
    r = rng.integers(len(regions), size=count // 2)
    facet = regions.first[r] + rng.integers(1000, size=len(r)) % np.diff(regions.first)[r]
    scaled = regions.A[facet] * regions.reach
    way = (regions.b[facet] - np.sum(regions.A[facet] * regions.centre[r], axis=1))[:, None] * scaled
    off = rng.choice([0.0, 1e-15, -1e-15, 1e-11, -1e-11, 1e-9, -1e-9, -1e-7], size=(len(r), 1))
    at_facets = regions.centre[r] + (way + off * scaled) * regions.reach
    return np.vstack([anywhere, at_facets])


def same_bits(problem: ControlProblem, x: Array) -> Array:
    """Compare labels and plans; returns the routes of the states with a plan."""
    looked, solved = (OnlineExpert(problem, route=route) for route in ("lookup", "active_set"))
    for name, value in solved(x).arrays().items():
        np.testing.assert_array_equal(looked(x).arrays()[name], value, err_msg=name)
    plan, other = looked.plan(x), solved.plan(x)
    for name in ("x", "u", "multipliers", "active", "status"):
        np.testing.assert_array_equal(getattr(plan, name), getattr(other, name), err_msg=name)
    return plan.route[plan.status == Status.optimal]


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_same_bits_inside_regions_and_at_their_facets(name):
    x = states(partition(PROBLEMS[name]), 4000)
    routes = same_bits(PROBLEMS[name], x)
    assert 0.2 < (routes == LOOKUP).mean() < 1


def test_a_walk_ends_where_looking_through_the_leaf_does():
    regions = partition(PROBLEMS["cart_pole"])
    atlas, x = chart(regions), states(regions, 4000)
    assert (atlas.start >= 0).any()
    walked, looked = np.empty(len(x), np.int64), np.empty(len(x), np.int64)
    regions_of(x, atlas.arrays, walked)
    regions_of(x, replace(atlas, start=np.full_like(atlas.start, -1)).arrays, looked)
    np.testing.assert_array_equal(walked, looked)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_neighbour_lies_across_its_facet(name):
    regions = partition(PROBLEMS[name])
    across = neighbours(regions)
    known = np.flatnonzero(across >= 0)
    beyond = np.sum(regions.A[known] * regions.centre[across[known]], axis=1) - regions.b[known]
    assert (beyond > 0).all()
    owner = np.repeat(np.arange(len(regions)), np.diff(regions.first))
    inner = {(a, b) for a, b in zip(owner[known], across[known], strict=True)}
    assert np.mean([(b, a) in inner for a, b in inner]) > 0.9
    assert len(known) > 0.7 * len(across)


def random_problem(seed: int) -> ControlProblem:
    rng = np.random.default_rng(seed)
    extras = [name for name in EXTRAS if rng.random() < 0.3 and name != "open"]
    return awkward_problem(
        int(rng.integers(1, 4)), int(rng.integers(1, 3)), int(rng.integers(1, 5)), seed, extras
    )


def hold_random(seed: int) -> None:
    problem = random_problem(seed)
    try:
        regions = partition(problem, max_regions=3000)
    except NoPartition:
        return
    same_bits(problem, states(regions, 400))


@pytest.mark.parametrize("seed", range(10))
def test_the_same_bits_on_random_problems(seed):
    hold_random(seed)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(10, 200))
def test_the_same_bits_on_many_random_problems(seed):
    hold_random(seed)


def test_where_both_bounds_of_a_slab_may_be_active_the_solver_decides():
    """u_1 - u_2 lies within 2e-9: which of the two rows is active no region can tell."""
    slab = Polytope([[1.0, -1.0], [-1.0, 1.0], [1.0, 0.0], [-1.0, 0.0]], [1e-9, 1e-9, 1.0, 1.0])
    system = LinearSystem([[1.0, 0.1], [0.0, 1.0]], [[0.0, 0.0], [0.1, 0.3]])
    problem = ControlProblem(system, X=Polytope.box([-1, -1], [1, 1]), U=slab, N=2)
    x = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    routes = same_bits(problem, x)
    assert len(routes) > 100
    assert LOOKUP not in routes


def test_every_state_inside_a_region_is_looked_up():
    regions = partition(PROBLEMS["cart_pole"])
    plan = OnlineExpert(PROBLEMS["cart_pole"], route="lookup").plan(regions.centre)
    clear = regions.radius > regions.margin
    assert clear.mean() > 0.85
    np.testing.assert_array_equal(plan.route == LOOKUP, clear)


def test_closed_loops_look_up_every_step():
    problem = PROBLEMS["double_integrator"]
    x0 = np.random.default_rng(1).uniform(-4, 4, (200, 2))
    looked, solved = (
        simulate(problem, OnlineExpert(problem, route=route), x0, 20) for route in ("lookup", "auto")
    )
    np.testing.assert_array_equal(looked.x, solved.x)
    for name, value in solved.labels.arrays().items():
        np.testing.assert_array_equal(looked.labels.arrays()[name], value, err_msg=name)


def test_auto_looks_up_where_it_pays(monkeypatch):
    monkeypatch.setattr(online, "_WORTH_REGIONS", 500)
    problem, x = PROBLEMS["double_integrator"], np.random.default_rng(2).uniform(-4, 4, (600, 2))
    small, large = OnlineExpert(problem), OnlineExpert(problem)
    labels = large(x)
    assert "_looks_up" not in vars(small) | {"": small(x[:499])}
    assert len(large._looks_up.atlas) == 117
    for name, value in OnlineExpert(problem, route="active_set")(x).arrays().items():
        np.testing.assert_array_equal(labels.arrays()[name], value, err_msg=name)
    monkeypatch.setattr(online, "_FEW_REGIONS", 50)
    many = OnlineExpert(problem)
    np.testing.assert_array_equal(many(x).u, labels.u)
    assert not len(many._looks_up.atlas)


def test_soft_rows_and_limits_are_not_looked_up():
    problem, x = PROBLEMS["double_integrator"], np.array([[9.0, 3.0], [1.0, 0.5]])
    for options in ({"soft": 10.0}, {"max_iterations": 50}):
        looked = OnlineExpert(problem, route="lookup", **options)
        np.testing.assert_array_equal(looked(x).u, OnlineExpert(problem, route="careful", **options)(x).u)
        assert LOOKUP not in looked.plan(x).route


def test_what_has_too_many_regions_is_refused_only_where_lookup_is_asked_for():
    problem = PROBLEMS["double_integrator"].with_(X=Polytope.box([9.5, 9.5], [10.0, 10.0]), initial=None)
    with pytest.raises(NoPartition, match="no state has a plan within the constraints"):
        OnlineExpert(problem, route="lookup")(np.zeros((1, 2)))


def test_an_atlas_pickles_and_tells_what_it_costs():
    problem = PROBLEMS["double_integrator"]
    atlas = chart(partition(problem))
    copy = pickle.loads(pickle.dumps(atlas))
    assert len(copy) == len(atlas) == 117
    assert copy.depth == atlas.depth <= 8
    assert copy.nbytes == atlas.nbytes == sum(array.nbytes for array in atlas.arrays) < 100_000
    expert = pickle.loads(pickle.dumps(OnlineExpert(problem, route="lookup")))
    assert expert.plan(np.array([[1.0, 0.1]])).route.tolist() == [LOOKUP]
