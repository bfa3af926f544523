"""Invariant, control-invariant and feasible sets against the solver, vertices and closed forms."""

import numpy as np
import pytest
from awkward_problems import awkward_problem
from generators import asymmetric, scalar, to_the_origin

from mpc import catalogue
from mpc.arrays import Array
from mpc.initial import test_states as initial_states
from mpc.invariant import control_invariant, feasible_set, positively_invariant, predecessors
from mpc.lqr import LqrExpert
from mpc.online import OnlineExpert
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.redundancy import eliminated, facets
from mpc.sampling import UniformSampler
from mpc.status import Status
from mpc.system import LinearSystem

PROBLEMS = {
    "double_integrator": catalogue.double_integrator(N=3),
    "double_integrator_10": catalogue.double_integrator(N=10),
    "triangular": catalogue.triangular(3, N=5),
    "cart_pole": catalogue.cart_pole(N=3),
    "afti16": catalogue.afti16(N=3),
    "asymmetric": asymmetric(),
    "to_the_origin": to_the_origin(catalogue.double_integrator(N=4)),
    "mixed": awkward_problem(2, 2, 4, 5, ["mixed", "terminal"]),
    "repeated": awkward_problem(3, 1, 4, 6, ["repeated", "redundant"]),
}


def same(one: Polytope, other: Polytope, tolerance: float = 1e-8) -> bool:
    """Each holds the other, by linear programs."""
    return all(
        a.support(g) <= b + tolerance * (1 + abs(b))
        for a, c in ((one, other), (other, one))
        for g, b in zip(c.G, c.h, strict=True)
    )


def around(polytope: Polytope, count: int) -> Array:
    """States in a box around it, and a millionth inside and outside of its facets."""
    rng, (low, high) = np.random.default_rng(0), polytope.bounds
    anywhere = rng.uniform(low - 0.1 * (high - low), high + 0.1 * (high - low), (count, len(low)))
    centre = polytope.chebyshev[0]
    rays = anywhere - centre
    slope = rays @ polytope.G.T
    reach = np.where(slope > 0, (polytope.h - polytope.G @ centre) / np.where(slope > 0, slope, 1), np.inf)
    edge = reach.min(axis=1)[:, None] * rays
    return np.vstack([anywhere, centre + (1 - 1e-6) * edge, centre + (1 + 1e-6) * edge])


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_feasible_set_is_where_the_solver_finds_a_plan(name):
    problem = PROBLEMS[name]
    polytope = feasible_set(problem)
    x = around(polytope, 1000)
    solved = OnlineExpert(problem)(x).status == Status.optimal
    assert 0.05 < solved.mean() < 0.95
    np.testing.assert_array_equal(polytope.contains(x), solved)
    np.testing.assert_allclose(np.linalg.norm(polytope.G, axis=1), 1.0)
    assert len(facets(polytope.G, polytope.h)) == len(polytope.h)


def test_feasible_sets_shrink_with_the_horizon_and_grow_with_the_target():
    problem = PROBLEMS["double_integrator"]
    areas = [feasible_set(problem, steps).volume for steps in (1, 2, 3, 5, 10, 20)]
    assert areas == sorted(areas, reverse=True)
    assert areas[-1] == pytest.approx(areas[-2])  # ten steps decide
    ended = problem.with_(Xf=positively_invariant(problem))
    grown = [feasible_set(ended, steps).volume for steps in (1, 3, 6, 12, 20)]
    assert grown == sorted(grown)
    assert grown[-1] <= areas[-1] + 1e-6
    assert grown[-1] == pytest.approx(areas[-1], rel=0.2)


@pytest.mark.parametrize("name", ["double_integrator", "triangular", "cart_pole", "asymmetric", "mixed"])
def test_the_invariant_set_of_lqr_is_left_by_no_state_and_could_not_be_larger(name):
    problem = PROBLEMS[name]
    K, invariant = LqrExpert(problem).K, positively_invariant(problem)
    closed = problem.system.A + problem.system.B @ K
    x = around(invariant, 500)
    inside, beyond = x[500:1000], x[1000:]
    follows = inside @ closed.T
    assert invariant.contains(follows, 1e-9).all()

    def kept(x: Array) -> np.ndarray:
        u = x @ K.T
        good = problem.X.contains(x) & problem.U.contains(u)
        return good if problem.XU is None else good & problem.XU.contains(np.hstack([x, u]))

    ever, never = np.ones(500, bool), np.ones(500, bool)
    for _ in range(100):
        ever, never = ever & kept(inside), never & kept(beyond)
        inside, beyond = inside @ closed.T, beyond @ closed.T
    assert ever.all()
    assert not never.any()


def test_mpc_that_ends_in_the_invariant_set_never_loses_its_plan():
    from mpc import simulate

    problem = catalogue.double_integrator(N=4)
    problem = problem.with_(Xf=positively_invariant(problem), initial=feasible_set(problem))
    x0 = initial_states(problem, "double_integrator", 200)
    loops = simulate(problem, OnlineExpert(problem), x0, 40)
    assert (loops.length == 40).all()


@pytest.mark.parametrize("name", ["double_integrator", "asymmetric"])
def test_the_control_invariant_set_is_its_own_predecessor_and_holds_the_invariant_one(name):
    problem = PROBLEMS[name]
    largest = control_invariant(problem)
    again = predecessors(problem, largest)
    both = Polytope(np.vstack([again.G, problem.X.G]), np.concatenate([again.h, problem.X.h])).reduced()
    assert same(both, largest)
    inner = positively_invariant(problem)
    assert (largest.slack(inner.vertices()) >= -1e-8).all()


def test_the_largest_set_of_the_double_integrator_is_known():
    """|x1 + k x2 + k (k -+ 1) / 2| <= 10 for a mass that brakes with u = -+1: it stops before the wall."""
    largest = control_invariant(PROBLEMS["double_integrator"])
    x = np.random.default_rng(0).uniform(-11, 11, (4000, 2))
    position, velocity, safe = x[:, 0].copy(), x[:, 1].copy(), np.abs(x).max(axis=1) <= 10
    for _ in range(30):  # brake as hard as may be, to rest
        position = position + velocity
        velocity = velocity - np.clip(velocity, -1, 1)
        safe &= np.abs(position) <= 10
    np.testing.assert_array_equal(largest.contains(x), safe)


def test_scalar_sets_have_closed_forms():
    """x+ = 2 x + u, |u| <= 1: |x| <= 1 can be kept. From |x| <= 3 one step leads to |2 x| <= 3 + 1."""
    problem = scalar(2.0, 1.0).with_(X=Polytope.box(-3, 3))
    np.testing.assert_allclose(control_invariant(problem).bounds, [[-1.0], [1.0]], atol=1e-8)
    np.testing.assert_allclose(feasible_set(problem, 1).bounds, [[-2.0], [2.0]])
    np.testing.assert_allclose(feasible_set(problem, 2).bounds, [[-1.5], [1.5]])
    K = LqrExpert(problem).K[0, 0]
    np.testing.assert_allclose(positively_invariant(problem).bounds, [[1 / K], [-1 / K]])
    np.testing.assert_allclose(positively_invariant(problem, [[-1.5]]).bounds, [[-2 / 3], [2 / 3]])


def test_unbounded_sets_and_sets_of_no_constraint():
    free = scalar(0.5, 1.0).with_(U=Polytope.whole_space(1))
    assert len(feasible_set(free).h) == 0
    assert len(positively_invariant(free).h) == 0
    half = catalogue.double_integrator(N=2).with_(X=Polytope([[1.0, 0.0]], [1.0]), initial=None)
    polytope = feasible_set(half)
    assert np.isinf(polytope.bounds).any()
    x = np.random.default_rng(0).uniform(-20, 20, (500, 2))
    np.testing.assert_array_equal(polytope.contains(x), OnlineExpert(half)(x).status == Status.optimal)


def test_mirrored_and_permuted_problems_have_the_same_sets():
    problem = PROBLEMS["asymmetric"]
    order = np.random.default_rng(0).permutation(len(problem.X.h))
    turned = problem.with_(X=Polytope(3 * problem.X.G[order], 3 * problem.X.h[order]))
    assert same(feasible_set(problem), feasible_set(turned))
    sets = {name: getattr(problem, name) for name in ("X", "U", "Xf", "XU")}
    mirrored = problem.with_(**{name: P and Polytope(-P.G, P.h) for name, P in sets.items()})
    other = feasible_set(mirrored)
    assert same(feasible_set(problem), Polytope(-other.G, other.h))


def test_what_cannot_be_had_is_an_error_that_says_what_to_do():
    problem = PROBLEMS["double_integrator"]
    with pytest.raises(
        ValueError, match=r"A \+ B K must be stable, its spectral radius is 1; give another K"
    ):
        positively_invariant(problem, np.zeros((1, 2)))
    with pytest.raises(ValueError, match="not determined by 1 steps"):
        positively_invariant(problem, max_steps=1)
    with pytest.raises(ValueError, match=r"max_steps=3\); raise the limit or the tolerance"):
        control_invariant(PROBLEMS["triangular"], max_steps=3)
    with pytest.raises(ValueError, match="no state satisfies the constraints for so many steps"):
        control_invariant(problem.with_(X=Polytope.box([1, 1], [10, 10]), initial=None))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        feasible_set(problem, 0)
    with pytest.raises(ValueError, match=r"max_facets=20 at \d+ steps \(3 states\); ask for fewer steps"):
        feasible_set(PROBLEMS["triangular"], max_facets=20)


# What they are made of.


def test_elimination_is_projection():
    """Vertices of a projection are those of the projected vertices' hull."""
    from scipy.spatial import ConvexHull

    rng = np.random.default_rng(3)
    G = np.vstack([rng.normal(size=(20, 4)), np.eye(4), -np.eye(4)])
    polytope = Polytope(G, np.concatenate([rng.uniform(0.5, 2, 20), np.full(8, 3.0)]))
    shadow = Polytope(*eliminated(polytope.G, polytope.h, 2))
    points = np.delete(polytope.vertices(), 2, axis=1)
    hull = points[ConvexHull(points).vertices]
    assert len(shadow.vertices()) == len(hull)
    assert (np.abs(shadow.slack(hull)).min(axis=1) < 1e-9).all()
    assert shadow.volume == pytest.approx(ConvexHull(points).volume)


@pytest.mark.parametrize("dimension", [1, 2, 3, 6])
def test_facets_are_what_linear_programs_call_so(dimension):
    rng = np.random.default_rng(dimension)
    G = rng.normal(size=(30, dimension))
    h = rng.uniform(0.5, 1.5, 30)
    doubled = Polytope(np.vstack([G, 2 * G]), np.concatenate([h, 2 * h]))
    kept = facets(doubled.G, doubled.h)
    assert kept.max() < 30
    for row in range(30):
        others = Polytope(np.delete(G, row, axis=0), np.delete(h, row))
        assert (row in kept) == (others.support(G[row]) > h[row] + 1e-9)


def test_volumes():
    assert Polytope.box([0, 0, 0], [1, 2, 3]).volume == pytest.approx(6.0)
    assert Polytope.box(-1, 2).volume == pytest.approx(3.0)
    simplex = Polytope(np.vstack([-np.eye(4), np.ones(4)]), np.append(np.zeros(4), 1.0))
    assert simplex.volume == pytest.approx(1 / 24)
    with pytest.raises(ValueError, match="only a bounded polytope has vertices"):
        assert Polytope([[1.0, 0.0]], [1.0]).volume


def test_hit_and_run_is_uniform_on_a_thin_rotated_simplex():
    """Barycentric coordinates of uniform points of a simplex are Dirichlet(1, ..., 1): 1 - u^(1/n) each."""
    from scipy.stats import kstest

    rng = np.random.default_rng(0)
    corners = np.vstack([np.zeros(3), np.diag([1.0, 0.05, 0.02])]) @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    inverse = np.linalg.inv(np.vstack([corners.T, np.ones(4)]))  # barycentric = inverse (x, 1)
    simplex = Polytope(-inverse[:, :3], inverse[:, 3])
    sampler = UniformSampler(simplex)
    assert sampler.acceptance < 0.01  # so that it walks
    x = sampler.draw([np.random.default_rng(seed) for seed in range(4000)])
    shares = np.hstack([x, np.ones((4000, 1))]) @ inverse.T
    assert (shares >= -1e-12).all()
    for share in shares.T:
        assert kstest(share, lambda t: 1 - (1 - np.clip(t, 0, 1)) ** 3).pvalue > 1e-3


def test_uniform_states_of_the_feasible_set_fill_its_halves_evenly():
    polytope = feasible_set(PROBLEMS["double_integrator_10"])
    x = UniformSampler(polytope).draw([np.random.default_rng(seed) for seed in range(4000)])
    cut = Polytope(np.vstack([polytope.G, [1.0, 2.0]]), np.append(polytope.h, 1.5))
    share = cut.volume / polytope.volume
    assert abs((x @ [1.0, 2.0] <= 1.5).mean() - share) < 4 * np.sqrt(share * (1 - share) / 4000)


def test_an_unstable_plant_without_inputs_that_count_keeps_nothing_open():
    plant = ControlProblem(
        system=LinearSystem([[1.5, 0.0], [0.0, 0.5]], [[0.0], [1.0]]),
        X=Polytope.box([-1, -1], [1, 1]),
        U=Polytope.box(-1, 1),
        Q=np.eye(2),
        R=np.eye(1),
        Qf=np.eye(2),
        N=3,
    )
    np.testing.assert_allclose(feasible_set(plant).bounds[1], [1.5**-3, 4.0])
    with pytest.raises(ValueError, match="not determined within the limits"):
        control_invariant(plant, max_steps=20)
