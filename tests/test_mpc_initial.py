import numpy as np
import pytest
from scipy.optimize import linprog

from mpc import catalogue, initial
from mpc.initial import draw_initial_states, episode_generators, episode_seed
from mpc.polytope import Polytope
from mpc.problem import ControlProblem, stage_rows
from mpc.sampling import UniformSampler, draw_disturbance
from mpc.system import LinearSystem


def has_plan(problem, x):
    """Whether the constraints over inputs and states have a solution from x, by a linear program."""
    n, m, N = problem.n, problem.m, problem.N
    A, B = problem.system.A, problem.system.B
    rows, right = [], []
    state, inputs = x, np.zeros((n, N * m))
    for k in range(N + 1):
        C, D, d = stage_rows(problem, k)
        block = C @ inputs
        if k < N:
            block[:, k * m : (k + 1) * m] += D
        rows.append(block)
        right.append(d - C @ state)
        if k < N:
            state, inputs = A @ state, A @ inputs
            inputs[:, k * m : (k + 1) * m] += B
    rows, right = np.vstack(rows), np.concatenate(right)
    return linprog(np.zeros(N * m), A_ub=rows, b_ub=right, bounds=(None, None)).status == 0


def generators(count, first=0, system="test"):
    return episode_generators(system, 0, first, count)


def simplex(n):
    return Polytope(np.vstack([-np.eye(n), np.ones((1, n))]), np.append(np.zeros(n), 1.0))


def test_initial_states_lie_in_the_initial_set_and_have_a_plan():
    problem = catalogue.double_integrator()
    x0 = draw_initial_states(problem, generators(40))
    assert x0.shape == (40, 2)
    assert problem.X.contains(x0).all()
    assert all(has_plan(problem, x) for x in x0)


def test_the_first_feasible_candidate_is_taken():
    problem = catalogue.double_integrator()
    low, high = np.full(2, -10.0), np.full(2, 10.0)
    rejected = 0
    for generator, x in zip(generators(20), draw_initial_states(problem, generators(20)), strict=True):
        candidate = low + (high - low) * generator.random(2)
        while not has_plan(problem, candidate):
            rejected += 1
            candidate = low + (high - low) * generator.random(2)
        np.testing.assert_array_equal(candidate, x)
    assert rejected > 0


def test_an_episode_has_the_same_state_in_any_batch():
    problem = catalogue.double_integrator()
    together = draw_initial_states(problem, generators(12))
    np.testing.assert_array_equal(draw_initial_states(problem, generators(4, first=5)), together[5:9])
    np.testing.assert_array_equal(draw_initial_states(problem, generators(12)[::-1])[::-1], together)


def test_states_differ_between_episodes_repetitions_and_systems():
    problem = catalogue.double_integrator()
    states = [
        draw_initial_states(problem, episode_generators(system, rep, first, 1))[0]
        for system, rep, first in (("a", 0, 0), ("a", 0, 1), ("a", 1, 0), ("b", 0, 0))
    ]
    assert len({tuple(x) for x in states}) == 4


def test_the_recorded_seed_draws_the_initial_state_by_itself():
    problem = catalogue.double_integrator()
    generator = np.random.Generator(np.random.PCG64(episode_seed("a", 2, 7)))
    alone = draw_initial_states(problem, [generator])
    np.testing.assert_array_equal(alone, draw_initial_states(problem, episode_generators("a", 2, 7, 1)))


def test_test_states_are_nested_and_belong_to_the_system():
    problem = catalogue.double_integrator()
    many = initial.test_states(problem, "a", 9)
    np.testing.assert_array_equal(initial.test_states(problem, "a", 4), many[:4])
    assert not (initial.test_states(problem, "b", 4) == many[:4]).any()
    assert not (draw_initial_states(problem, episode_generators("a", 0, 0, 9)) == many).any()


def test_no_generators_give_no_states():
    assert draw_initial_states(catalogue.double_integrator(), []).shape == (0, 2)


def test_a_set_without_plans_is_refused_with_a_remedy():
    far = Polytope.box([9.5, 9.5], [10, 10])
    problem = catalogue.double_integrator().with_(initial=far)
    with pytest.raises(ValueError, match=r"none of 50 states .* problem.with_\(initial=Polytope.box"):
        draw_initial_states(problem, generators(3), attempts=50)


def test_an_unbounded_initial_set_is_refused_with_a_remedy():
    half = Polytope.box([-1, -1], [1, np.inf])
    problem = ControlProblem(system=LinearSystem([[1, 1], [0, 1]], [[0], [1]]), X=half)
    with pytest.raises(
        ValueError, match=r"initial states \(problem.initial, or X\) must be bounded .* coordinate 1"
    ):
        draw_initial_states(problem, generators(1))
    diagonal = Polytope([[1.0, 1.0], [-1.0, -1.0]], [1.0, 1.0])
    with pytest.raises(ValueError, match=r"must be bounded .* rows that bound every direction"):
        draw_initial_states(problem.with_(initial=diagonal), generators(1))


def test_a_triangle_is_sampled_uniformly_by_rejection():
    sampler = UniformSampler(simplex(2))
    assert not sampler.polytope.is_box
    assert sampler.acceptance == pytest.approx(0.5, abs=0.03)
    points = sampler.draw(generators(3000))
    assert sampler.polytope.contains(points).all()
    np.testing.assert_allclose(points.mean(axis=0), 1 / 3, atol=4 * np.sqrt(1 / 18 / 3000))
    np.testing.assert_allclose(points.var(axis=0), 1 / 18, rtol=0.1)


def test_a_thin_polytope_is_sampled_by_hit_and_run():
    n = 8  # the simplex fills 1 / 8! of its box; a coordinate has mean 1/9, variance 8 / (81 * 10)
    sampler = UniformSampler(simplex(n))
    assert sampler.acceptance < 0.01
    points = sampler.draw(generators(2000))
    assert sampler.polytope.contains(points, 1e-12).all()
    variance = n / ((n + 1) ** 2 * (n + 2))
    np.testing.assert_allclose(points.mean(axis=0), 1 / (n + 1), atol=4.5 * np.sqrt(variance / 2000))
    np.testing.assert_allclose(points.var(axis=0), variance, rtol=0.2)
    np.testing.assert_array_equal(sampler.draw(generators(3, first=10)), points[10:13])
    assert not (sampler.draw(generators(3), points[:3]) == points[:3]).any()


def test_boxes_are_read_off_their_rows_even_when_flat():
    box = Polytope([[2.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], [4.0, 1.0, 0.5, -0.5])
    low, high = UniformSampler(box).bounds
    np.testing.assert_array_equal([low, high], [[-1, 0.5], [2, 0.5]])
    points = UniformSampler(box).draw(generators(50))
    assert (points[:, 1] == 0.5).all()
    assert points[:, 0].min() < -0.5
    assert points[:, 0].max() > 1.5


def test_a_flat_polytope_that_is_no_box_is_refused():
    flat = Polytope([[1, 1], [-1, -1], [1, -1], [-1, 1]], [0.0, 0.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="the polytope has no interior"):
        UniformSampler(flat).draw(generators(1))


def test_disturbances_are_uniform_on_W_and_belong_to_the_episode():
    problem = catalogue.double_integrator().with_(W=Polytope.box([-0.1, 0], [0.1, 0]))
    w = draw_disturbance(problem, generators(5), steps=40)
    assert w.shape == (5, 40, 2)
    assert (w[..., 1] == 0).all()
    assert np.abs(w[..., 0]).max() <= 0.1
    assert np.abs(w[..., 0]).max() > 0.09
    np.testing.assert_array_equal(draw_disturbance(problem, generators(2, first=3), 40), w[3:])
    with pytest.raises(ValueError, match="has no disturbance set W"):
        draw_disturbance(catalogue.double_integrator(), generators(1), 3)
