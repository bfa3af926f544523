"""The critical regions of exact MPC: that they cover, do not overlap, and belong to the sets they name."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from awkward_problems import EXTRAS, awkward_problem

from mpc import catalogue
from mpc.condense import condense, least_distance
from mpc.online import OnlineExpert
from mpc.partition import Partition, partition
from mpc.polytope import Polytope, inscribed_ball
from mpc.problem import ControlProblem
from mpc.system import LinearSystem
from mpc.walk import NoPartition, feasible_box

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


# Degenerate problems: where neighbours differ by more than one row.


def parametric(G: list[list[float]], S: list[list[float]], w: list[float]) -> ControlProblem:
    """``min |u|^2`` over ``G u <= w + S x`` for a parameter x: MPC with horizon 1 of a plant that rests."""
    rows, m, n = np.array(G), len(G[0]), len(S[0])
    return ControlProblem(
        system=LinearSystem(np.zeros((n, n)), np.zeros((n, m))),
        XU=Polytope(np.hstack([-np.array(S), rows]), np.array(w)),
        Q=np.eye(n),
        R=np.eye(m),
        Qf=np.eye(n),
        N=1,
    )


def spjotvold() -> ControlProblem:
    """A facet with two neighbours: Spjotvold, Kerrigan, Jones, Tondel, Johansen, Automatica 42, 2006."""
    G = [[1, 0, -1], [-1, 0, -1], [0, 1, -1], [0, -1, -1], [3 / 4, 16 / 25, -1], [-3 / 4, -16 / 25, -1]]
    return parametric(G, [[1, 0], [-1, 0], [0, -1], [0, 1], [1, 0], [-1, 0]], [-1.0] * 6)


def tondel() -> ControlProblem:
    """Rows that are repeated, and one through the corner of two others: dependent wherever all are met."""
    G = [[1, 0], [2, 0], [0, 1], [0, 3], [1, 1], [-1, 0], [0, -1], [-1, -1]]
    S = [[1, 0], [2, 0], [0, 1], [0, 3], [1, 1], [-1, 0], [0, -1], [0, 0]]
    return parametric(G, S, [1, 2, 1, 3, 2, 1, 1, 4])


def without_room() -> ControlProblem:
    """Two rows that meet, not opposite to the bit: one input a state, no plan with room on both sides."""
    return parametric([[1.0], [-3.0]], [[1, 1], [-3, -3]], [0.0, 0.0])


def by_enumeration(problem: ControlProblem, within: Polytope) -> int:
    """Regions with an interior, by looking at every active set with linear programs of HiGHS."""
    form, rows, count = condense(problem), range(len(condense(problem).w)), 0
    back = np.linalg.solve(form.H, np.column_stack([-form.F.T, form.G.T]))
    for size in range(form.H.shape[0] + 1):
        for W in map(list, combinations(rows, size)):
            inner = form.G[W] @ back[:, problem.n :][:, W]
            if size and np.linalg.cond(inner) > 1e10:
                continue
            bound = np.column_stack([form.E[W] - form.G[W] @ back[:, : problem.n], form.w[W]])
            y = np.linalg.solve(inner, -bound) if size else bound  # multipliers: slope and offset
            plan = (
                np.column_stack([back[:, : problem.n], np.zeros(len(back))]) - back[:, problem.n :][:, W] @ y
            )
            others = np.setdiff1d(rows, W)
            slack = np.column_stack([form.E, form.w])[others] - form.G[others] @ plan
            A = np.vstack([-y[:, :-1], -slack[:, :-1], within.G])
            b = np.concatenate([y[:, -1], slack[:, -1], within.h])
            moved = np.linalg.norm(A, axis=1) > 1e-9
            if (b[~moved] >= -1e-9).all() and inscribed_ball(A[moved], b[moved])[1] > 1e-7:
                count += 1
    return count


def covered_once(problem: ControlProblem, within: Polytope, count: int = 4000) -> Partition:
    """Every state with a plan in one region, and its label: no hole wider than 1e-8, no overlap of 1e-7."""
    regions = partition(problem, within)
    x = feasible_states(problem, within, count)
    assert len(x)
    near, far = (
        np.logical_and.reduceat(x @ regions.A.T <= regions.b + room, regions.first[:-1], axis=1).sum(axis=1)
        for room in (1e-8, -1e-7)
    )
    assert (near >= 1).all()
    assert (far <= 1).all()
    u, r = OnlineExpert(problem, route="careful")(x).u, regions.find(x, 1e-7)
    laws = [regions[k] for k in range(len(regions))]
    for i in np.flatnonzero(r >= 0)[::10]:
        np.testing.assert_allclose(laws[r[i]].K @ x[i] + laws[r[i]].k, u[i], atol=1e-6 * np.abs(u).max())
    return regions


BOX = Polytope.box([-1.5, -1.5], [1.5, 1.5])


def test_a_facet_with_two_neighbours_loses_none():
    assert len(covered_once(spjotvold(), BOX)) == by_enumeration(spjotvold(), BOX) == 12


def test_where_several_sets_do_one_is_taken_everywhere():
    """Of 20 sets with an interior some lie on others; the nudged bounds pick ten that cover once."""
    assert len(covered_once(tondel(), BOX)) == 10
    assert by_enumeration(tondel(), BOX) == 20


def test_as_many_regions_as_enumeration_finds():
    problem = catalogue.double_integrator(N=2)
    regions = partition(problem)
    assert len(regions) == by_enumeration(problem, regions.within) == 9


def test_a_facet_where_several_rows_end_hides_no_region():
    """Two states lead to one facet in the triangular system: each set has its mirror image."""
    regions = partition(catalogue.triangular(3, N=3))
    known = {side.tobytes() for side in regions.sides}
    assert len(known) == 35
    assert {(-side).tobytes() for side in regions.sides} == known


def test_a_problem_without_room_has_no_regions_and_says_so():
    with pytest.raises(NoPartition, match="no state in within has a plan with room on all sides"):
        partition(without_room(), Polytope.box([-1, -1], [1, 1]))


def test_two_opposite_rows_that_meet_are_an_equality_with_one_region():
    regions = partition(
        parametric([[1.0], [-1.0]], [[1, 1], [-1, -1]], [0.0, 0.0]), Polytope.box([-1, -1], [1, 1])
    )
    assert len(regions) == 1
    np.testing.assert_allclose(regions[0].K, [[1.0, 1.0]], atol=1e-12)


def awkward(seed: int) -> ControlProblem:
    rng = np.random.default_rng(seed)
    extras = [name for name in EXTRAS if rng.random() < 0.4 and name != "open"]
    sizes = int(rng.integers(1, 4)), int(rng.integers(1, 3)), int(rng.integers(1, 5))
    return awkward_problem(*sizes, seed, extras)


@pytest.mark.parametrize("seed", range(6))
def test_awkward_problems_are_covered_once(seed):
    problem = awkward(seed)
    low, high = feasible_box(problem, least_distance(problem))
    covered_once(problem, Polytope.box(np.maximum(low, -10.0), np.minimum(high, 10.0)))


@pytest.mark.full
@pytest.mark.parametrize("seed", range(6, 400))
def test_many_awkward_problems_are_covered_once(seed):
    problem = awkward(seed)
    low, high = feasible_box(problem, least_distance(problem))
    covered_once(problem, Polytope.box(np.maximum(low, -10.0), np.minimum(high, 10.0)))


@pytest.mark.full
def test_no_set_has_more_rows_than_a_plan_has_inputs():
    """Rows of the pendulum nearly depend on each other, so a pivot may be nothing but rounding."""
    from mpc.catalogue import SystemSpec

    problem = SystemSpec.parse("double_inverted_pendulum_3").build().with_(N=6)
    regions = partition(problem)
    M = regions.ready.slabs.M
    for side in regions.sides:
        rows = M[side != 0]
        assert len(rows) <= M.shape[1]
        assert not len(rows) or np.linalg.svd(rows, compute_uv=False)[-1] > 1e-8
