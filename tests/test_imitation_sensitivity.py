"""What an error costs the closed loop: differences of simulated costs, and the curvature of LQR."""

from dataclasses import replace

import numpy as np
import pytest

from imitation.demonstrate import demonstrate
from imitation.learners import BehaviourCloning
from imitation.optim import GaussNewton
from imitation.policies import Mlp
from imitation.sensitivity import sensitivity, with_sensitivity
from imitation.train import Member, train
from mpc import BarrierExpert, LinearExpert, LqrExpert, catalogue, simulate
from mpc.controllers import Noisy
from mpc.metrics import episode_cost

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.mark.parametrize("system", [catalogue.double_integrator(), catalogue.chain_of_masses()])
def test_it_is_the_second_difference_of_the_cost(system):
    problem, T = system, 7
    gain = LqrExpert(problem).K + 0.05 * np.random.default_rng(0).normal(size=(problem.m, problem.n))
    expert, x0 = LinearExpert(problem, gain), np.full((1, problem.n), 0.1)
    W = sensitivity(problem, simulate(problem, expert, x0, T))[0]
    for t in (0, 3, T - 1):
        for i in range(problem.m):
            noise = np.zeros((3, T, problem.m))
            noise[0, t, i], noise[2, t, i] = 1.0, -1.0
            J = episode_cost(problem, simulate(problem, Noisy(expert, noise), np.repeat(x0, 3, axis=0), T))
            assert J[0] - 2 * J[1] + J[2] == pytest.approx(W[t, i, i], rel=1e-8)


def test_along_a_long_loop_of_lqr_it_is_the_curvature_of_the_value():
    problem = catalogue.double_integrator()
    expert = LqrExpert(problem)
    loops = simulate(problem, expert, np.array([[0.01, 0.0]]), 60)
    np.testing.assert_allclose(sensitivity(problem, loops)[0, 0], loops.labels.curvature[0, 0], rtol=1e-9)


def test_a_step_without_a_label_ends_the_sum():
    problem = catalogue.double_integrator()
    loops = simulate(problem, LqrExpert(problem), np.array([[0.01, 0.0]]), 10)
    status = loops.labels.status.copy()
    status[0, 4] = -1
    dudx = np.where(status[..., None, None] > 0, loops.labels.dudx, np.nan)
    broken = replace(loops, labels=replace(loops.labels, status=status, dudx=dudx))
    W = sensitivity(problem, broken)
    np.testing.assert_array_equal(W[0, 5:], sensitivity(problem, loops)[0, 5:])
    short = sensitivity(problem, simulate(problem, LqrExpert(problem), np.array([[0.01, 0.0]]), 4))
    np.testing.assert_allclose(W[0, :4], short[0])
    with pytest.raises(ValueError, match=r"no label\.dudx"):
        sensitivity(problem, loops.without_labels())


@pytest.mark.parametrize(
    "options", [{"loss": "curvature"}, {"metric": "curvature", "optimizer": GaussNewton()}]
)
def test_training_weighs_by_it(options):
    problem = catalogue.triangular(3)
    rollouts = demonstrate(problem, BarrierExpert(problem, eta=1.0), "triangular:d=3", 0, 5, 8).rollouts
    learner = BehaviourCloning(policy=Mlp(width=8, depth=2), steps=20, batch=16, **options)
    by_loop = train(problem, replace(learner, curvature_of="loop"), [Member(rollouts, 0)])
    by_hand = train(problem, learner, [Member(with_sensitivity(problem, rollouts), 0)])
    by_value = train(problem, learner, [Member(rollouts, 0)])
    np.testing.assert_array_equal(by_loop.history.loss, by_hand.history.loss)
    assert (by_loop.history.loss != by_value.history.loss).any()
    with pytest.raises(ValueError, match="curvature_of must be one of value, loop, got 'all'"):
        replace(learner, curvature_of="all")
