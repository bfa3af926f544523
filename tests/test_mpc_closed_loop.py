"""The one closed loop: what it records, where it stops, and what it refuses."""

import numpy as np
import pytest

from mpc import (
    BarrierExpert,
    Control,
    ControlProblem,
    LinearSystem,
    OnlineExpert,
    Polytope,
    Rollouts,
    Status,
    catalogue,
    simulate,
)

PROBLEM = catalogue.double_integrator()
X0 = np.array([[3.0, 0.5], [-2.0, 1.0], [0.0, 0.0]])


def test_states_follow_the_plant_and_labels_are_the_experts():
    w = np.random.default_rng(0).uniform(-0.01, 0.01, (3, 12, 2))
    expert = OnlineExpert(PROBLEM)
    rollouts = simulate(PROBLEM, expert, X0, 12, disturbance=w)
    A, B = PROBLEM.system.A, PROBLEM.system.B
    following = rollouts.x[:, :-1] @ A.T + rollouts.u @ B.T + w
    assert np.abs(following - rollouts.x[:, 1:]).max() < 1e-12
    assert rollouts.complete.all()
    assert (rollouts.w == w).all()
    again = expert(rollouts.x[:, 5])
    for name, value in again.arrays().items():
        np.testing.assert_array_equal(rollouts.labels.arrays()[name][:, 5], value)
    np.testing.assert_array_equal(rollouts.u, rollouts.labels.u)


@pytest.mark.parametrize("make", [OnlineExpert, lambda problem: BarrierExpert(problem, eta=0.1)])
def test_loops_run_on_the_plant_given_whatever_plant_the_expert_was_built_for(make):
    other = PROBLEM.with_(system=LinearSystem([[1, 0.9], [0, 1.05]], [[0.05], [0.95]]))
    expert = make(PROBLEM)
    loops, apart = (simulate(other, law, X0, 8) for law in (expert, lambda x: expert(x).u))
    np.testing.assert_allclose(loops.x, apart.x, rtol=1e-12, atol=1e-12)
    A, B = other.system.A, other.system.B
    np.testing.assert_allclose(loops.x[:, 1:], loops.x[:, :-1] @ A.T + loops.u @ B.T, atol=1e-12)
    assert np.abs(loops.x - simulate(PROBLEM, expert, X0, 8).x).max() > 0.1
    np.testing.assert_array_equal(loops.labels.u, expert(loops.x[:, :-1].reshape(-1, 2)).u.reshape(3, 8, 1))


def test_a_loop_without_a_plan_stops_and_the_others_go_on():
    rollouts = simulate(PROBLEM, OnlineExpert(PROBLEM), [[9.0, 9.0], [1.0, 0.0]], 6)
    assert rollouts.length.tolist() == [0, 6]
    assert rollouts.labels.status[0].tolist() == [Status.infeasible, *[Status.unset] * 5]
    assert rollouts.x[0, 0].tolist() == [9.0, 9.0]
    assert np.isnan(rollouts.x[0, 1:]).all()
    assert np.isnan(rollouts.u[0]).all()
    assert np.isfinite(rollouts.x[1]).all()
    with pytest.raises(ValueError, match=r"x = \[9\. 9\.\] \(row 0\) is infeasible: no plan satisfies"):
        rollouts.labels[:, 0].or_raise([[9.0, 9.0], [1.0, 0.0]])
    assert rollouts[1:].labels[:, 0].or_raise([[1.0, 0.0]]).usable.all()


def test_an_expert_is_not_asked_about_loops_that_have_ended():
    asked = []

    class Counted:
        problem = PROBLEM

        def __call__(self, x):
            asked.append(len(x))
            return OnlineExpert(PROBLEM)(x)

    x0 = [[9.0, 9.0], [1.0, 0.0], [50.0, 0.0], [-2.0, 1.0]]
    whole, counted = (simulate(PROBLEM, expert, x0, 4) for expert in (OnlineExpert(PROBLEM), Counted()))
    assert asked == [4, 2, 2, 2]
    np.testing.assert_array_equal(counted.x, whole.x)
    for name, value in whole.labels.arrays().items():
        np.testing.assert_array_equal(counted.labels.arrays()[name], value, err_msg=name)


def test_divergence_keeps_the_state_that_passed_the_limit():
    problem = ControlProblem(LinearSystem([[10.0]], [[1.0]]), X=Polytope.box(-1, 1))
    rollouts = simulate(problem, lambda x: 0 * x, [[0.5], [0.0]], 10)
    assert problem.divergence_limit == 100.0
    assert rollouts.length.tolist() == [3, 10]  # 5, 50, 500
    assert rollouts.x[0, 3] == 500.0
    assert np.isnan(rollouts.x[0, 4:]).all()


def test_a_plain_callable_has_no_labels_and_a_nan_input_stops_the_loop():
    calls = []

    def policy(x):
        calls.append(len(x))
        return np.where(x[:, :1] > 2.5, np.nan, -0.1)

    rollouts = simulate(PROBLEM, policy, X0, 4)
    assert rollouts.labels is None
    assert rollouts.length.tolist() == [0, 4, 4]
    assert calls == [3] * 4


class Alternating:
    """A controller whose memory counts, and whose draws come from the generator it is handed."""

    def start(self, E, rng):
        return np.zeros(E), rng

    def act(self, memory, t, x):
        count, rng = memory
        u = np.where(count % 2 == 0, 1.0, -1.0)[:, None] + rng.uniform(-0.1, 0.1, (len(x), 1))
        return Control(u, np.full(len(x), 2, np.int8)), (count + 1, rng)


def test_controllers_have_memory_and_explicit_randomness():
    one, two, other = (
        simulate(PROBLEM, Alternating(), X0, 6, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert (np.sign(one.u[:, :, 0]) == [1, -1, 1, -1, 1, -1]).all()
    np.testing.assert_array_equal(one.x, two.x)
    assert (one.x[:, 1:] != other.x[:, 1:]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x0": [1.0, 2.0]}, r"x0 must have shape \(any, 2\), got \(2,\)"),
        ({"x0": [[1.0, np.nan]]}, r"x0 must be finite, got nan at \(0, 1\)"),
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"steps": 2.5}, "steps must be a whole number of at least 1, got 2.5"),
        ({"controller": lambda x: x}, r"the controller must give one input a row, \(1, 1\), got \(1, 2\)"),
        ({"disturbance": np.zeros((1, 3, 2))}, r"disturbance must have shape \(1, 4, 2\), got \(1, 3, 2\)"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(PROBLEM, **{"controller": lambda x: x[:, :1], "x0": [[1.0, 0.0]], "steps": 4, **arguments})


def test_rollouts_check_their_last_state_and_survive_a_round_trip():
    rollouts = simulate(PROBLEM, OnlineExpert(PROBLEM), X0, 5)
    with pytest.raises(ValueError, match="x must hold one state more than there are inputs"):
        Rollouts(rollouts.x[:, :-1], rollouts.u, rollouts.length)
    again = Rollouts.from_arrays(rollouts.arrays())
    both = Rollouts.concatenate([rollouts[:1], rollouts[1:]])
    for name, value in rollouts.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], value)
        np.testing.assert_array_equal(both.arrays()[name], value)


ROLLING = [BarrierExpert(PROBLEM, 1e-3), OnlineExpert(PROBLEM), OnlineExpert(PROBLEM, soft=5.0)]


@pytest.mark.parametrize("expert", ROLLING, ids=["barrier", "exact", "soft"])
@pytest.mark.parametrize("disturbed", [False, True])
def test_an_expert_that_rolls_out_gives_the_bits_of_step_by_step(expert, disturbed):
    """Loops that last, that end without a plan, and that start there, more of them than lanes."""
    rng = np.random.default_rng(5)
    x0 = np.concatenate([rng.uniform(-6, 6, (40, 2)) * [1.0, 0.4], [[9.0, 9.0], [0.0, 0.0]]])
    w = 1.5 * rng.uniform(-1, 1, (len(x0), 15, 2)) if disturbed else None
    at_once = simulate(PROBLEM, expert, x0, 15, disturbance=w)
    by_steps = simulate(PROBLEM, expert.__call__, x0, 15, disturbance=w)
    assert (at_once.length == 15).sum() >= 10
    if expert is not ROLLING[2]:  # softened, there is a plan from everywhere
        assert (at_once.length == 0).any()
        assert ((at_once.length > 0) & (at_once.length < 15)).any() == disturbed
    for name, value in by_steps.arrays().items():
        np.testing.assert_array_equal(at_once.arrays()[name], value, err_msg=name)
    assert at_once.arrays().keys() == by_steps.arrays().keys()


def test_a_rolled_out_loop_keeps_the_state_that_passed_the_divergence_limit():
    problem = ControlProblem(
        LinearSystem([[1.0]], [[1.0]]), X=Polytope.box(-1, 1), initial=Polytope.box(-1, 1), N=2
    )
    w = np.zeros((3, 4, 1))
    w[1, 1], w[2, 3] = 500.0, 500.0
    for expert in (BarrierExpert(problem, 0.1), OnlineExpert(problem)):
        x0 = [[0.5], [0.2], [0.1]]
        at_once = simulate(problem, expert, x0, 4, disturbance=w)
        by_steps = simulate(problem, expert.__call__, x0, 4, disturbance=w)
        assert at_once.length.tolist() == [4, 2, 4]
        assert at_once.x[1, 2, 0] > 400
        for name, value in by_steps.arrays().items():
            np.testing.assert_array_equal(at_once.arrays()[name], value, err_msg=name)
