"""Explicit MPC against solvers that know nothing of regions, at their borders above all."""

import pickle

import numpy as np
import pytest
from generators import asymmetric, to_the_origin

from mpc import Explicit, catalogue, slabs
from mpc.arrays import Array
from mpc.barrier import BarrierExpert
from mpc.catalogue import SystemSpec
from mpc.explicit import ExplicitExpert
from mpc.online import OnlineExpert
from mpc.partition import Partition
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.status import Status

FEW = {
    "double_integrator": catalogue.double_integrator(N=10),
    "triangular": catalogue.triangular(3, N=6),
    "cart_pole": catalogue.cart_pole(N=3),
    "asymmetric": asymmetric(N=4),
    "to_the_origin": to_the_origin(catalogue.double_integrator(N=6)),
}
PLANTS = {
    "ball_on_plate_4": 10,
    "double_inverted_pendulum_1": 10,
    "double_inverted_pendulum_2": 10,
    "double_inverted_pendulum_3": 3,
    "fiordos_example_1": 20,
    "fiordos_example_2": 20,
    "fiordos_example_3": 20,
    "forces_example_1": 20,
    "forces_example_2": 20,
    "pendulum_1": 20,
    "pendulum_2": 20,
    "pendulum_3": 20,
    "robot_arm_2": 20,
}
"""Plants of the literature with up to four states, and a horizon that leaves thousands of regions at most."""
MANY = {
    **FEW,
    "double_integrator_20": catalogue.double_integrator(N=20, Qf="dare"),
    "triangular_20": catalogue.triangular(3, N=20),
    "cart_pole_8": catalogue.cart_pole(N=8),
    "afti16": catalogue.afti16(N=3),
    "random_2": catalogue.random_system(n=2, m=2, N=8, seed=5),
    "random_3": catalogue.random_system(n=3, m=1, N=8, seed=6),
    "random_4": catalogue.random_system(n=4, m=2, N=3, seed=7),
    "pitfall_plant": catalogue.pitfall_plant(),
    **{name: SystemSpec.parse(name).build().with_(N=N) for name, N in PLANTS.items()},
}
NO_LIMIT = ("cart_pole_8", "to_the_origin")
"""Too slow for, or without, barrier MPC, which takes no equalities."""
BORDERS = (0.0, 1e-15, -1e-15, 1e-12, -1e-12, 1e-9, -1e-9)
_BUILT: dict[str, ExplicitExpert] = {}


def built(name: str) -> ExplicitExpert:
    if name not in _BUILT:
        _BUILT[name] = ExplicitExpert(MANY[name])
    return _BUILT[name]


def anywhere(regions: Partition, count: int, seed: int = 0) -> Array:
    """States uniform in the domain, with a plan or without."""
    low, high = regions.within.bounds
    return np.random.default_rng(seed).uniform(low, high, (count, len(low)))


def ways_out(regions: Partition, rng: np.random.Generator, count: int) -> tuple[np.ndarray, Array, Array]:
    """Random regions ``(count,)``, rays from their centres, and what takes each ray to its border."""
    r = rng.integers(len(regions), size=count)
    rays, reach = rng.normal(size=(count, regions.problem.n)) * regions.reach, np.empty((count, 1))
    for i, region in enumerate(r):
        rows = slice(regions.first[region], regions.first[region + 1])
        slope, room = regions.A[rows] @ rays[i], regions.b[rows] - regions.A[rows] @ regions.centre[region]
        reach[i] = np.min(room[slope > 0] / slope[slope > 0])
    return r, rays, reach


def inside(regions: Partition, count: int, seed: int = 0) -> tuple[Array, np.ndarray]:
    """States spread over the regions, small ones too: from each centre a part of the way to its facets."""
    rng = np.random.default_rng(seed)
    r, rays, reach = ways_out(regions, rng, count)
    share = rng.uniform(size=(count, 1)) ** (1 / regions.problem.n)
    return regions.centre[r] + share * reach * rays, r


def at_facets(regions: Partition, count: int, seed: int = 0) -> Array:
    """States where a ray from a region's centre leaves it, and up to 1e-9 of the domain beside that."""
    rng = np.random.default_rng(seed)
    r, rays, reach = ways_out(regions, rng, count)
    return regions.centre[r] + (reach + rng.choice(BORDERS, size=(count, 1))) * rays


def holders(regions: Partition, x: Array, tolerance: float) -> np.ndarray:
    """Which regions each state lies in to a part of the domain, boolean ``(B, R)``."""
    return np.logical_and.reduceat(x @ regions.A.T <= regions.b + tolerance, regions.first[:-1], axis=1)


def agree(expert: ExplicitExpert, x: Array, undecided: float = 0.0) -> Array:
    """Compare with the careful route, which shares no step with looking up; returns who has a plan.

    Of states at the edge of the feasible set to rounding a part of ``undecided`` may have another status.
    """
    problem = expert.problem
    plan, careful = expert.plan(x), OnlineExpert(problem, route="careful")
    other, control, label = careful.plan(x), expert(x), careful(x)
    assert set(plan.status.tolist()) | set(other.status.tolist()) <= {Status.optimal, Status.infeasible}
    assert (plan.status != other.status).mean() <= undecided
    good = (plan.status == Status.optimal) & (other.status == Status.optimal)
    steepest = (np.abs(expert.first_moves.K) @ expert.regions.reach).max()
    form, reach = expert.law.ready.form, expert.regions.reach
    size = (np.abs(form.w) + np.abs(form.E) @ reach).max()  # a row holds to 1e-10 of what enters it
    room = 1e-9 * np.abs(label.u[good]).max() + 1e-11 * steepest + 2e-10 * size
    np.testing.assert_allclose(control.u[good], label.u[good], atol=room)
    np.testing.assert_allclose(plan.u[good], other.u[good], atol=10 * room)
    for name in ("value", "cost"):
        np.testing.assert_allclose(control.arrays()[name][good], label.arrays()[name][good], rtol=1e-9)
    return good


def dual_agrees(expert: ExplicitExpert, x: Array, r: np.ndarray) -> None:
    """Laws and multipliers of the regions themselves, by plain linear algebra, where they are unique."""
    plan = OnlineExpert(expert.problem, route="careful").plan(x)
    most = np.abs(plan.multipliers).max()
    form = expert.law.ready.form
    equalities = (form.opposite >= 0) & (form.w + form.w[form.opposite] == 0)
    for i in range(len(x)):
        region = expert.regions[r[i]]
        np.testing.assert_allclose(region.K @ x[i] + region.k, plan.u[i, 0], atol=1e-8 * np.abs(plan.u).max())
        y = region.slope @ x[i] + region.offset
        turned = equalities & (y != 0) & ~plan.active[i]
        y[form.opposite[turned]], y[turned] = -y[turned], 0.0
        assert y.min() >= -1e-8 * most
        if np.array_equal(y != 0, plan.active[i]):
            np.testing.assert_allclose(y, plan.multipliers[i], atol=1e-7 * most)


def hold(name: str, count: int) -> None:
    expert = built(name)
    regions = expert.regions
    agree(expert, anywhere(regions, count))
    x, r = inside(regions, count)
    assert agree(expert, x, undecided=1e-3)[
        regions.radius[r] > 1e-8
    ].all()  # thinner ones may lie at the edge
    some = np.flatnonzero(regions.radius[r] > 1e-6)[: count // 10]
    dual_agrees(expert, x[some], r[some])
    border = at_facets(regions, count)
    good = agree(expert, border, undecided=1e-3)
    assert good.mean() > 0.5
    assert holders(regions, border[good], 1e-8).any(axis=1).all(), "a hole at a border"
    once = holders(regions, x, 0.0).sum(axis=1)
    assert (once > 1).mean() < 0.01
    assert (once[regions.radius[r] > 1e-6] >= 1).all()


@pytest.mark.parametrize("name", FEW)
def test_primal_and_dual_agree_and_nothing_is_left_out(name):
    hold(name, 1000)


@pytest.mark.full
@pytest.mark.parametrize("name", MANY)
def test_primal_and_dual_agree_on_many_states(name):
    hold(name, 10_000)


@pytest.mark.parametrize("name", FEW)
def test_the_law_is_continuous_across_facets_and_the_value_convex(name):
    """At a facet the laws of both regions give the same action; a chord never lies below the value."""
    expert = built(name)
    regions = expert.regions
    x, r = inside(regions, 300, seed=1)
    most = np.abs(expert(x).u).max()
    laws = [regions[k] for k in range(len(regions))]
    for i in range(len(x)):
        rows = slice(regions.first[r[i]], regions.first[r[i] + 1])
        A, b = regions.A[rows] * regions.reach, regions.b[rows]
        facet = int(np.argmin(b - A @ (x[i] / regions.reach)))
        at = x[i] + (b[facet] - A[facet] @ (x[i] / regions.reach)) * A[facet] * regions.reach
        here = np.flatnonzero(holders(regions, at[None], 1e-9)[0])
        actions = [laws[k].K @ at + laws[k].k for k in here]
        steepest = max((np.abs(laws[k].K) @ regions.reach).max() for k in here)
        np.testing.assert_allclose(actions, [actions[0]] * len(here), atol=1e-8 * (steepest + most))
    one, two = x[:150], x[150:]
    share = np.random.default_rng(2).uniform(size=(150, 1))
    value = [expert(y).value for y in (one, two, share * one + (1 - share) * two)]
    chord = share[:, 0] * value[0] + (1 - share[:, 0]) * value[1]
    assert (value[2] <= chord + 1e-9 * np.abs(chord)).all()


@pytest.mark.parametrize("name", FEW)
def test_find_names_the_region_that_the_label_comes_from(name):
    expert = built(name)
    regions = expert.regions
    x, r = inside(regions, 500, seed=3)
    found = expert.find(x)
    clear = regions.radius[r] > 1e-6
    np.testing.assert_array_equal(found[clear], r[clear])
    control = expert(x)
    for i in np.flatnonzero(clear)[:50]:
        np.testing.assert_allclose(
            regions[found[i]].K, control.dudx[i], atol=1e-8 * np.abs(control.dudx).max()
        )
    border = at_facets(regions, 300, seed=4)
    found, good = expert.find(border), expert(border).status == Status.optimal
    assert (found[~good] == -1).all()
    assert (found[good] >= 0).mean() > 0.9
    assert (expert.find(3 * regions.reach[None]) == -1).all()


def hold_limit(name: str) -> None:
    """The gap falls like the root of eta over borders and insides; gains tend to the region's inside."""
    expert = built(name)
    regions = expert.regions
    x = np.vstack([0.98 * inside(regions, 300, seed=5)[0], at_facets(regions, 600, seed=6)])
    x = x[expert(1.0001 * x).status == Status.optimal]  # at the edge the barrier has no plan
    assert len(x) > 400
    exact = expert(x)
    etas = 10.0 ** np.arange(-1.0, -9.0, -1.0)
    gaps = np.array([np.abs(BarrierExpert(expert.problem, eta)(x).u - exact.u).max() for eta in etas])
    known = np.isfinite(gaps)  # multipliers of 1e4 leave no digit in a pivot at the smallest eta
    etas, gaps = etas[known], gaps[known]
    assert len(etas) >= 5
    assert (np.diff(gaps) < 0).all()
    slope = np.polyfit(np.log(etas[2:]), np.log(gaps[2:]), 1)[0]
    assert 0.4 < slope < 0.6, gaps
    middle = regions.centre[np.argsort(-regions.radius)[:10]]
    gains = [
        np.abs(BarrierExpert(expert.problem, eta)(middle).dudx - expert(middle).dudx).max() for eta in etas
    ]
    assert gains[-1] < 1e-3 * np.abs(expert(middle).dudx).max()


@pytest.mark.parametrize("name", ["double_integrator", "asymmetric"])
def test_barrier_mpc_tends_to_it_with_the_root_of_eta(name):
    hold_limit(name)


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in MANY if name not in NO_LIMIT])
def test_barrier_mpc_tends_to_every_explicit_law(name):
    hold_limit(name)


def test_closed_loops_have_the_bits_of_the_online_expert():
    from mpc import simulate

    expert = built("cart_pole")
    x0 = 0.3 * inside(expert.regions, 40)[0]
    one, other = (simulate(expert.problem, e, x0, 15) for e in (expert, OnlineExpert(expert.problem)))
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.u, other.u)


def test_limits_are_errors_with_a_remedy_and_progress_is_told(monkeypatch):
    problem = FEW["double_integrator"]
    with pytest.raises(ValueError, match=r"max_regions=5, .*shorter horizon \(N=10\).*online expert"):
        Explicit(max_regions=5).build(problem)
    with pytest.raises(ValueError, match=r"max_seconds=0.*; raise the limit"):
        ExplicitExpert(problem, max_seconds=0.0)
    told: list[tuple[int, int]] = []
    expert = ExplicitExpert(problem, progress=lambda found, left: told.append((found, left)))
    assert told[-1] == (len(expert.regions), 0)
    monkeypatch.setattr(slabs, "_MOST_SLABS", 10)
    with pytest.raises(ValueError, match="has too many rows for a partition"):
        ExplicitExpert(problem)


def test_a_smaller_domain_has_fewer_regions_and_the_same_law():
    problem = FEW["double_integrator"]
    small = ExplicitExpert(problem, within=Polytope.box([-1, -1], [1, 1]))
    assert len(small.regions) < len(built("double_integrator").regions)
    x = np.random.default_rng(0).uniform(-6, 6, (300, 2))
    np.testing.assert_array_equal(small(x).u, built("double_integrator")(x).u)


def test_it_pickles_and_a_region_out_of_range_is_an_index_error():
    expert = built("double_integrator")
    copy = pickle.loads(pickle.dumps(expert))
    x = anywhere(expert.regions, 50)
    np.testing.assert_array_equal(copy(x).u, expert(x).u)
    assert len(list(copy.regions)) == len(copy.regions) == 117
    np.testing.assert_array_equal(copy.regions[-1].K, copy.regions[116].K)
    with pytest.raises(IndexError, match="region 117 of 117"):
        copy.regions[117]


def test_problems_of_any_horizon_count_the_same_from_any_seed():
    """Regions of the double integrator, paper's weights, over all states with a plan."""
    counts = [len(ExplicitExpert(catalogue.double_integrator(N=N)).regions) for N in (1, 2, 3, 5, 10)]
    assert counts[2] == 19
    assert counts == sorted(counts)
    mirrored = catalogue.double_integrator(N=10)
    flipped: ControlProblem = mirrored.with_(
        X=Polytope(-mirrored.X.G[::-1], mirrored.X.h[::-1]), U=Polytope(-mirrored.U.G, mirrored.U.h)
    )
    assert len(ExplicitExpert(flipped).regions) == counts[-1]


# Regions merged where the first move is the same.


def hold_merged(name: str, count: int) -> None:
    """Every region inside its polytope, no two polytopes on top of each other, the same inputs."""
    expert = built(name)
    regions, moves = expert.regions, expert.first_moves
    x, r = inside(regions, count, seed=8)
    within = np.logical_and.reduceat(x @ moves.A.T <= moves.b + 1e-8, moves.first[:-1], axis=1)
    assert within[np.arange(count), moves.piece[r]].all()
    strictly = np.logical_and.reduceat(x @ moves.A.T <= moves.b - 1e-8, moves.first[:-1], axis=1)
    assert strictly.sum(axis=1).max() <= 1
    law = moves.law[moves.piece[r]]
    u, label = np.einsum("bij,bj->bi", moves.K[law], x) + moves.k[law], expert(x)
    steepest, good = (np.abs(moves.K) @ regions.reach).max(), label.status == Status.optimal
    assert good[regions.radius[r] > 1e-8].all()  # thinner ones may lie at the edge
    good &= regions.radius[r] > 1e-6  # or have their label from a neighbour
    np.testing.assert_allclose(u[good], label.u[good], atol=1e-9 * steepest + 1e-8)


@pytest.mark.parametrize("name", FEW)
def test_merged_regions_have_the_same_first_move(name):
    hold_merged(name, 1000)


@pytest.mark.full
@pytest.mark.parametrize("name", MANY)
def test_merged_regions_of_many_problems_have_the_same_first_move(name):
    hold_merged(name, 3000)


def test_where_the_first_move_is_one_function_one_polytope_is_left():
    """Without constraints on inputs soon enough, all regions near the origin share LQR's gain."""
    expert = built("double_integrator")
    moves = expert.first_moves
    assert (len(expert.regions), len(moves), len(moves.K)) == (117, 81, 11)
    saturated = np.flatnonzero(np.abs(moves.K).max(axis=(1, 2)) < 1e-9)
    np.testing.assert_allclose(np.sort(moves.k[saturated, 0]), [-1.0, 1.0])
    line = ControlProblem(
        system=catalogue.double_integrator().system,
        X=Polytope.box([-5, -5], [5, 5]),
        U=Polytope.box(-1e3, 1e3),
        Q=np.eye(2),
        R=np.eye(1),
        N=1,
    )
    alone = ExplicitExpert(line, within=Polytope.box([-0.5, -0.5], [0.5, 0.5]))
    assert (len(alone.regions), len(alone.first_moves)) == (1, 1)


def test_complexity_counts_what_is_there():
    expert = built("double_integrator")
    told, atlas = expert.complexity, expert.atlas
    assert (told.regions, told.merged, told.laws, told.facets) == (117, 81, 11, len(expert.regions.b))
    assert (told.depth, told.bytes) == (atlas.depth, atlas.nbytes)
    ways, waiting = [], [(0, 0)]
    for node, above in waiting:
        here = atlas.listed[slice(*atlas.leaf[node])]
        ways.append(above + sum(int(atlas.first[r + 1] - atlas.first[r]) for r in here))
        waiting += [(int(child), above + 1) for child in atlas.child[node] if child >= 0]
    assert told.operations == 2 * 2 * max(ways) + 2 * 2 * 1


@pytest.mark.full
def test_thin_regions_are_polytopes_too():
    """804 of the 16,357 regions of the cart-pole with N = 8 are thinner than 1e-7 of the domain."""
    regions = built("cart_pole_8").regions
    for r in np.flatnonzero(regions.radius < 1e-5)[::3]:
        polytope = regions.polytope(int(r))
        assert polytope.contains(regions.centre[r])
        assert polytope.chebyshev[1] > 0
