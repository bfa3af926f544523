"""Controllers made of others, on loops that can be written down."""

import numpy as np
import pytest

from mpc.closed_loop import Labelled, simulate
from mpc.controllers import Blend, Mixture, Noisy, Parallel, Planner, Staged, replay
from mpc.expert import Control
from mpc.lqr import LinearExpert, LqrExpert

GAIN = np.array([[-0.4, -1.0]])
X0 = np.array([[1.0, 0.0], [-2.0, 0.5], [0.3, -0.3]])


@pytest.fixture
def expert(problem):
    return LinearExpert(problem, GAIN)


def test_noise_is_applied_and_the_label_stays_clean(problem, expert):
    noise = np.random.default_rng(0).normal(size=(3, 5, 1))
    loops = simulate(problem, Noisy(expert, noise), X0, 5)
    clean = loops.x[:, :-1] @ GAIN.T
    np.testing.assert_allclose(loops.labels.u, clean, rtol=1e-12)
    np.testing.assert_allclose(loops.u, clean + noise, rtol=1e-12)
    np.testing.assert_allclose(
        loops.x[:, 1:], problem.system.step(loops.x[:, :-1], loops.u), rtol=1e-12, atol=1e-14
    )
    with pytest.raises(ValueError, match="noise must have one row for each of the 3 loops, got 2"):
        simulate(problem, Noisy(expert, noise[:2]), X0, 5)


def test_a_mixture_takes_the_expert_where_it_is_told_and_labels_every_state(problem, expert):
    takes = np.random.default_rng(1).random((3, 6)) < 0.5
    loops = simulate(problem, Mixture(expert, lambda x: 0.5 * x[:, :1], takes), X0, 6)
    own, theirs = 0.5 * loops.x[:, :-1, :1], loops.x[:, :-1] @ GAIN.T
    np.testing.assert_allclose(loops.u, np.where(takes[..., None], theirs, own), rtol=1e-12)
    np.testing.assert_allclose(loops.labels.u, theirs, rtol=1e-12)
    assert 0 < takes.sum() < takes.size


def test_a_loop_goes_on_where_only_its_label_is_unusable(problem):
    class Fussy:
        def __init__(self, problem):
            self.problem = problem

        def __call__(self, x):
            status = np.where(x[:, 0] > 0, 2, -1).astype(np.int8)
            return Control(np.where(status[:, None] > 0, x[:, :1], np.nan), status)

    takes = np.zeros((3, 4), bool)
    loops = simulate(problem, Mixture(Fussy(problem), lambda x: -x @ -GAIN.T, takes), X0, 4)
    assert loops.complete.all()
    assert (loops.labels.status[1] == -1).any()
    assert np.isnan(loops.labels.u[loops.labels.status < 0]).all()
    takes[1, 0] = True  # the expert has no input there: the loop ends
    loops = simulate(problem, Mixture(Fussy(problem), lambda x: -x @ -GAIN.T, takes), X0, 4)
    assert loops.length.tolist() == [4, 0, 4]


def test_a_blend_combines_actions(problem, expert):
    loops = simulate(problem, Blend([expert, lambda x: x[:, 1:]], [0.75, 0.25]), X0, 4)
    x = loops.x[:, :-1]
    np.testing.assert_allclose(loops.u, 0.75 * x @ GAIN.T + 0.25 * x[..., 1:], rtol=1e-12)
    assert loops.labels is None


def test_a_plan_is_executed_open_loop(problem):
    seen = []

    def plan(x):
        seen.append(x.copy())
        return np.concatenate([x[:, :1], 10 + x[:, :1], 20 + x[:, :1]], axis=1) / 100

    loops = simulate(problem, Planner(plan, chunk=3), X0, 7)
    assert len(seen) == 3  # at t = 0, 3, 6
    for t in range(7):
        at = loops.x[:, 3 * (t // 3), :1]
        np.testing.assert_allclose(loops.u[:, t], (10 * (t % 3) + at) / 100, rtol=1e-12)


def test_a_window_holds_the_past_oldest_first_and_begins_with_x0_repeated(problem):
    seen = []

    def plan(window):
        seen.append(window.reshape(len(window), 3, 2))
        return np.zeros((len(window), 1))

    loops = simulate(problem, Planner(plan, history=3), X0, 5)
    for t, window in enumerate(seen):
        past = [max(t - 2, 0), max(t - 1, 0), t]
        np.testing.assert_array_equal(window, loops.x[:, past])


def test_stages_and_parallel_loops(problem, expert):
    staged = Staged([lambda x: 0 * x[:, :1], lambda x: 0 * x[:, :1] + 1, expert])
    loops = simulate(problem, staged, X0, 4)
    np.testing.assert_array_equal(loops.u[:, :2, 0], [[0, 1]] * 3)
    np.testing.assert_allclose(loops.u[:, 2:], loops.x[:, 2:-1] @ GAIN.T, rtol=1e-12)
    both = Parallel([staged, Planner(lambda x: x.repeat(2, 1), chunk=4)], [2, 1])
    together = simulate(problem, both, X0, 4)
    np.testing.assert_array_equal(together.x[:2], loops.x[:2])
    np.testing.assert_array_equal(together.u[2, :, 0], np.repeat(X0[2], 2))
    with pytest.raises(ValueError, match=r"counts must add up to the number of loops, 2, got \[2, 1\]"):
        simulate(problem, both, X0[:2], 4)


def test_replay_tells_what_a_law_does_along_other_loops(problem, expert):
    loops = simulate(problem, expert, X0, 6)
    np.testing.assert_array_equal(replay(expert, loops.x[:, :-1]), loops.u)
    chunks = replay(Planner(lambda x: np.tile(x @ GAIN.T, (1, 2)), chunk=2), loops.x[:, :-1])
    np.testing.assert_allclose(chunks[:, ::2], loops.u[:, ::2], rtol=1e-12)
    np.testing.assert_array_equal(chunks[:, 1::2], chunks[:, ::2])


def test_some_rows_of_a_labelled_input():
    label = Control(np.ones((3, 1)), np.array([2, 2, -1], np.int8))
    part = Labelled(np.arange(3.0)[:, None], label)[np.array([False, True, True])]
    assert part.u.tolist() == [[1], [2]]
    assert part.label.status.tolist() == [2, -1]


def test_the_level_set_of_lqr_is_admissible_invariant_and_as_large_as_can_be(problem):
    lqr = LqrExpert(problem)
    directions = np.random.default_rng(0).normal(size=(4000, 2))
    P, c = lqr.P, lqr.level
    on = directions * np.sqrt(c / np.einsum("bi,ij,bj->b", directions, P, directions))[:, None]
    u = on @ lqr.K.T
    after = problem.system.step(on, u)
    assert problem.U.violation(u).max() <= 1e-9
    assert problem.X.violation(on).max() <= 1e-9
    assert (np.einsum("bi,ij,bj->b", after, P, after) <= c).all()
    assert min(problem.U.slack(u).min(), problem.X.slack(on).min()) < 1e-4  # some state touches a constraint
