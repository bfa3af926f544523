import numpy as np
import pytest
from scipy.linalg import solve_discrete_lyapunov

from mpc.closed_loop import simulate
from mpc.expert import Control
from mpc.metrics import (
    action_error,
    action_error_ratio,
    certificate,
    diverged,
    episode_cost,
    error_over_time,
    excess_cost,
    growth_rate,
    imitation_error,
    j_demo,
    j_traj,
    suboptimality,
    success,
    unusable_share,
    violation,
)
from mpc.polytope import Polytope
from mpc.problem import ControlProblem, riccati_solution
from mpc.rollouts import Rollouts
from mpc.system import LinearSystem

NAN, INF = np.nan, np.inf


def scalar_pair_problem(**changes):
    """Two uncoupled states, the input acts on the second; |x| <= 2, |u| <= 1."""
    return ControlProblem(
        system=LinearSystem([[1.0, 0.0], [0.0, 1.0]], [[0.0], [1.0]]),
        X=Polytope.box([-2, -2], [2, 2]),
        U=Polytope.box([-1], [1]),
        Q=np.diag([1.0, 2.0]),
        R=[[3.0]],
        Qf="Q",
        N=3,
        **changes,
    )


def rollouts(x, u, length=None):
    x, u = np.array(x, float), np.array(u, float)
    return Rollouts(x, u, np.full(len(x), u.shape[1]) if length is None else np.array(length))


def test_the_episode_cost_is_the_sum_by_hand():
    # x_1 = (1, 2), x_2 = (1, 1): 1 + 2*4 + 1 + 2*1 = 12; u = 1, -1: 3 + 3 = 6; x_0 is not charged.
    loops = rollouts([[[1, 1], [1, 2], [1, 1]]], [[[1], [-1]]])
    assert episode_cost(scalar_pair_problem(), loops).tolist() == [18.0]


def test_the_cost_of_a_loop_cut_short_or_diverged_is_infinite():
    x = [[[1, 1], [1, 2], [NAN, NAN]], [[1, 1], [1, 0], [1, 200.5]], [[1, 1], [1, 0], [1, 199.5]]]
    u = [[[1], [NAN]], [[-1], [200.5]], [[-1], [199.5]]]
    loops = rollouts(x, u, [1, 2, 2])
    assert diverged(scalar_pair_problem(), loops).tolist() == [False, True, False]
    assert np.isinf(episode_cost(scalar_pair_problem(), loops)).tolist() == [True, True, False]


def test_suboptimality_leaves_out_negligible_and_missing_optima():
    result = suboptimality(np.array([2.0, 12.0, 5.0, 7.0]), np.array([1.0, 4.0, 1e-7, INF]))
    assert result.ratio_of_means == pytest.approx(14 / 5)
    assert result.median_ratio == pytest.approx(2.5)
    assert result.left_out == 2


def test_one_failed_loop_makes_the_mean_infinite_and_not_the_median():
    result = suboptimality(np.array([1.0, 2.0, INF]), np.ones(3))
    assert result.ratio_of_means == INF
    assert result.median_ratio == 2.0


def test_suboptimality_without_any_pair_is_nan_and_nan_costs_are_refused():
    assert np.isnan(suboptimality(np.ones(2), np.zeros(2)).ratio_of_means)
    with pytest.raises(ValueError, match="the cost of a loop that failed is inf"):
        suboptimality(np.array([NAN]), np.ones(1))
    with pytest.raises(ValueError, match=r"vectors of one length, got \(2,\) and \(3,\)"):
        suboptimality(np.ones(2), np.ones(3))


def paired():
    """Learner complete / learner cut short / reference cut short, against a reference at the origin."""
    start = [[0, 0]]
    learner = rollouts(
        [[*start, [3, 4], [0, 1]], [*start, [1, 0], [NAN, NAN]], [*start, [1, 0], [1, 0]]],
        [[[0.6], [0.5]], [[0], [NAN]], [[0], [0]]],
        [2, 1, 2],
    )
    reference = rollouts(
        [[*start, [0, 0], [0, 0]], [*start, [0, 0], [0, 0]], [*start, [0, 0], [NAN, NAN]]],
        [[[0], [0]], [[0], [0]], [[0], [NAN]]],
        [2, 2, 1],
    )
    return learner, reference


def test_error_over_time_separates_a_failed_learner_from_a_missing_reference():
    np.testing.assert_array_equal(error_over_time(*paired()), [[0, 5, 1], [0, 1, INF], [0, 1, NAN]])
    np.testing.assert_array_equal(imitation_error(*paired()), [5, INF, NAN])


def test_j_traj_caps_every_step_at_one():
    # t = 0: 0.36; t = 1: capped. The learner's missing second step counts 1.
    np.testing.assert_allclose(j_traj(*paired()), [1.36, 1.0, NAN])


def test_pairs_must_share_shapes_starts_and_disturbances():
    learner, reference = paired()
    with pytest.raises(ValueError, match="must have the shapes of rollouts"):
        imitation_error(learner, reference[:1])
    moved = rollouts(reference.x + 1, reference.u, reference.length)
    with pytest.raises(ValueError, match="start from the same"):
        imitation_error(learner, moved)
    windy = Rollouts(reference.x, reference.u, reference.length, w=np.zeros((3, 2, 2)))
    with pytest.raises(ValueError, match="same disturbances"):
        imitation_error(learner, windy)


@pytest.mark.parametrize("rate", [-0.4, 0.0, 0.3])
def test_the_growth_rate_of_an_exponential_is_its_exponent(rate):
    t = np.arange(15)
    error = np.append(0.0, 1e-3 * np.exp(rate * t))
    assert growth_rate(error) == pytest.approx(rate, abs=1e-12)


def test_the_growth_rate_is_that_before_saturation():
    t = np.arange(40)
    saturating = np.minimum(1e-4 * np.exp(0.5 * t), 1.0)
    ended = np.where(t < 12, saturating, INF)
    stacked = growth_rate(np.stack([saturating, ended]), ceiling=0.5)
    np.testing.assert_allclose(stacked, 0.5)
    assert growth_rate(saturating) < 0.3
    # It falls under the ceiling again: what comes after saturation stays out.
    assert growth_rate(np.append(saturating, 0.1 * np.ones(50)), ceiling=0.5) == pytest.approx(0.5)


def test_the_growth_rate_needs_three_steps():
    assert np.isnan(growth_rate(np.array([0.0, 1.0, 2.0])))
    assert np.isnan(growth_rate(np.array([0.0, NAN, NAN, NAN])))
    assert np.isnan(growth_rate(np.zeros(9)))


def test_j_demo_caps_each_step_and_is_nan_without_a_label():
    u = np.array([[[0.5], [3.0]], [[NAN], [0.0]], [[0.0], [0.0]]])
    labels = np.array([[[0.0], [0.0]], [[0.0], [0.0]], [[NAN], [0.0]]])
    np.testing.assert_allclose(j_demo(u, labels), [1.25, 1.0, NAN])


def test_action_errors_and_their_ratio():
    error = action_error(np.array([[3.0, 4.0], [NAN, 0.0], [1.0, 1.0]]), np.array([[0, 0], [0, 0], [NAN, 0]]))
    np.testing.assert_array_equal(error, [5.0, INF, NAN])
    assert action_error_ratio(np.array([4.0, NAN, 2.0]), np.array([1.0, 2.0])) == pytest.approx(2.0)
    assert action_error_ratio(np.ones(2), np.zeros(2)) == INF
    assert np.isnan(action_error_ratio(np.array([NAN]), np.ones(2)))
    assert np.isnan(action_error_ratio(np.zeros(2), np.zeros(2)))


def test_the_share_of_unusable_labels_counts_steps_taken_only():
    labels = Control(u=np.zeros((2, 3, 1)), status=np.array([[2, -1, 0], [2, 2, 1]], np.int8))
    assert unusable_share(labels, np.array([2, 3])) == pytest.approx(1 / 5)
    assert np.isnan(unusable_share(labels, np.zeros(2, int)))


def test_violation_rate_size_and_first_time_by_hand():
    x = [
        [[5, 0], [1, 0], [2.5, 0], [1, 0], [1, 0]],  # x_0 is not constrained; x_2 is out by 0.5
        [[0, 0], [0, 0], [0, 0], [0, 0], [0, 0]],
        [[0, 0], [0, 0], [NAN, NAN], [NAN, NAN], [NAN, NAN]],
        [[0, 0], [NAN, NAN], [NAN, NAN], [NAN, NAN], [NAN, NAN]],
    ]
    u = [[[0], [0], [-1.75], [0]], [[0], [0], [0], [0]], [[1.25], [NAN], [NAN], [NAN]], [[NAN]] * 4]
    found = violation(scalar_pair_problem(), rollouts(x, u, [4, 4, 1, 0]))
    np.testing.assert_allclose(found.rate, [0.5, 0.0, 1.0, NAN])
    np.testing.assert_allclose(found.size, [0.75, 0.0, 0.25, NAN])
    assert found.first.tolist() == [1, -1, 0, -1]


def test_mixed_constraints_and_the_tolerance_count():
    problem = scalar_pair_problem(XU=Polytope([[1.0, 0.0, 1.0]], [1.0]))  # x_1 + u <= 1
    loops = rollouts([[[1, 0], [1, 0]]], [[[0.5]]])
    assert violation(problem, loops).size.tolist() == [0.5]
    assert violation(problem, loops).first.tolist() == [0]
    assert violation(problem, loops, tolerance=0.6).first.tolist() == [-1]


def test_success_needs_every_step_every_constraint_and_the_target():
    x = [[[1, 0], [1, 0]], [[1, 0], [1, 2.5]], [[1, 0], [NAN, NAN]], [[1, 0], [0.1, 0]]]
    loops = rollouts(x, [[[0]], [[0]], [[NAN]], [[0]]], [1, 1, 0, 1])
    problem = scalar_pair_problem()
    assert success(problem, loops).tolist() == [True, False, False, True]
    assert success(problem, loops, final_radius=0.5).tolist() == [False, False, False, True]


def test_the_certificate_is_hoeffdings_bound():
    assert certificate(990, 1000, 0.05) == pytest.approx(0.99 - np.sqrt(np.log(40) / 2000))
    assert certificate(0, 10, 0.05) == 0.0
    with pytest.raises(ValueError, match="got 11 of 10"):
        certificate(11, 10)
    with pytest.raises(ValueError, match="inside"):
        certificate(1, 10, 0.0)


def lqr():
    """A random unconstrained problem, its optimal gain and W = 2 (R + B'PB)."""
    rng = np.random.default_rng(3)
    A, B = rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    problem = ControlProblem(
        system=LinearSystem(A, B), Q=np.diag([1.0, 2.0, 0.5]), R=[[1.0, 0.2], [0.2, 0.7]]
    )
    P = riccati_solution(problem.system, problem.Q, problem.R)
    inner = problem.R + B.T @ P @ B
    return problem, -np.linalg.solve(inner, B.T @ P @ A), P, 2 * inner


def test_the_excess_cost_is_exactly_the_gap_to_lqr():
    problem, K, P, W = lqr()
    A, B = problem.system.A, problem.system.B
    other = K + 0.1 * np.random.default_rng(0).normal(size=K.shape)
    closed = A + B @ other
    assert np.abs(np.linalg.eigvals(closed)).max() < 0.95
    V = solve_discrete_lyapunov(closed.T, problem.Q + other.T @ problem.R @ other)
    x0 = np.random.default_rng(1).normal(size=(5, 3))
    loops = simulate(problem, lambda x: x @ other.T, x0, steps=600)
    labels = Control(u=loops.x[:, :-1] @ K.T, status=np.full((5, 600), 2, np.int8))
    gap = np.einsum("ei,ij,ej->e", x0, V - P, x0)  # both leave out the same x_0'Q x_0
    np.testing.assert_allclose(excess_cost(loops, labels, W), gap, rtol=1e-9)
    curved = Control(u=labels.u, status=labels.status, curvature=np.broadcast_to(W, (5, 600, 2, 2)))
    np.testing.assert_allclose(excess_cost(loops, curved), gap, rtol=1e-9)
    optimal = simulate(problem, lambda x: x @ K.T, x0, steps=600)
    difference = episode_cost(problem, loops) - episode_cost(problem, optimal)
    np.testing.assert_allclose(difference, gap, rtol=1e-9)


def test_the_excess_cost_of_failed_loops_and_missing_labels():
    loops = rollouts(np.zeros((3, 3, 2)), [[[1], [2]], [[1], [NAN]], [[1], [1]]], [2, 1, 2])
    labels = Control(
        u=np.array([[[0.0], [0.0]], [[0.0], [NAN]], [[0.0], [NAN]]]), status=np.ones((3, 2), np.int8)
    )
    np.testing.assert_array_equal(excess_cost(loops, labels, np.array([[2.0]])), [5.0, INF, NAN])
    with pytest.raises(ValueError, match="weight must be given"):
        excess_cost(loops, labels)
