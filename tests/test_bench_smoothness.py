"""The search for the largest derivative, on a law whose peak is known."""

import numpy as np
import pytest

from bench.smoothness import Search, _on_the_way, cover, expert_smoothness
from mpc import LqrExpert, OnlineExpert
from mpc.catalogue import double_integrator, triangular
from mpc.expert import Control
from mpc.polytope import Polytope

PROBLEM = double_integrator().with_(initial=Polytope.box([-3.0, -3.0], [3.0, 3.0]))


class SoftMinimum:
    """Minimiser of (u - c)^2 / 2 - eta log(1 - u), c = a'x: largest Hessian |a|^2 / (4 sqrt eta), at a'x = 1;
    largest slope |a|, approached far below (both in closed form)."""

    def __init__(self, eta, a=(0.6, 0.8), forbidden=None):
        self.eta, self.a, self.problem, self.forbidden = eta, np.array(a), PROBLEM, forbidden

    def __call__(self, x):
        e = x @ self.a - 1
        root = np.sqrt(e**2 + 4 * self.eta)
        status = np.full(len(x), 2, np.int8)
        if self.forbidden is not None:
            status[self.forbidden(x)] = -1
        slope = (1 - e / root) / 2
        return Control(u=(1 + (e - root) / 2)[:, None], status=status, dudx=slope[:, None, None] * self.a)

    def hessian(self, x):
        e = x @ self.a - 1
        bend = -2 * self.eta / (e**2 + 4 * self.eta) ** 1.5
        return bend[:, None, None, None] * np.outer(self.a, self.a)


@pytest.mark.parametrize("eta", [1e-6, 1e-3, 1.0])
def test_the_peak_on_a_thin_line_is_found(eta):
    found = expert_smoothness(PROBLEM, SoftMinimum(eta))
    assert found.hessian == pytest.approx(1 / (4 * np.sqrt(eta)), rel=0.01)
    assert found.jacobian == pytest.approx(1.0, rel=0.02) or eta == 1.0


def test_covering_alone_would_miss_it():
    coarse = expert_smoothness(PROBLEM, SoftMinimum(1e-6), Search(rounds=0))
    assert coarse.hessian < 0.5 / (4 * np.sqrt(1e-6))


def test_states_without_a_label_do_not_count():
    steep = SoftMinimum(0.01, forbidden=lambda x: x @ np.array([0.6, 0.8]) < 1)
    assert expert_smoothness(PROBLEM, steep).jacobian == pytest.approx(0.5, abs=0.01)


def test_an_expert_without_derivatives_gives_nan():
    class Plain:
        problem = PROBLEM

        def __call__(self, x):
            return Control(u=-x[:, :1], status=np.full(len(x), 2, np.int8))

    found = expert_smoothness(PROBLEM, Plain())
    assert np.isnan([found.jacobian, found.hessian]).all()


def test_the_search_is_repeatable_and_stays_inside():
    assert expert_smoothness(PROBLEM, SoftMinimum(0.1)) == expert_smoothness(PROBLEM, SoftMinimum(0.1))
    problem = triangular(3)
    points = cover(problem, 50)
    assert points.shape == (50, 3)
    outside = ~problem.initial_set.contains(points)
    assert outside.sum() == 25  # on the way from there to the origin
    bounds = problem.initial_set.bounds
    halved = points[1:25] * 2.0 ** (1 + np.arange(1, 25) % 8)[:, None]
    assert (halved >= bounds[0]).all()
    assert (halved <= bounds[1]).all()


def test_states_are_of_interest_on_the_way_to_the_origin_only():
    x = np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 1.5], [2.0, 2.5], [3.5, 2.0], [-0.5, -0.5], [0.1, 1.0]])
    problem = double_integrator().with_(initial=Polytope.box([1.0, 1.0], [3.0, 3.0]))
    assert _on_the_way(problem, x).tolist() == [True, True, True, True, False, False, False]
    corner = double_integrator().with_(initial=Polytope.box([0.0, -1.0], [2.0, 1.0]))
    assert _on_the_way(corner, x[:6]).tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize("d", [3, 5])
def test_where_all_initial_states_saturate_the_law_is_as_steep_as_lqr_on_their_way(d):
    problem = triangular(d)
    gain = np.linalg.norm(LqrExpert(problem).K, 2)
    assert expert_smoothness(problem, OnlineExpert(problem)).jacobian >= gain * (1 - 1e-9)
