"""Randomised smoothing: means over shifts, closed forms of a clipped line, shifts without a plan."""

import numpy as np
import pytest
from generators import scalar
from scipy.stats import norm

from mpc import catalogue
from mpc.online import OnlineExpert
from mpc.smoothing import SmoothedExpert
from mpc.status import Status

LINE = scalar(2.0, r=1e-12)  # its exact law is clip(-2 x, -1, 1)


def smoothed_line(x, sigma):
    """E clip(-y, -1, 1) for y ~ N(2 x, (2 sigma)^2), its first and its second derivative in x."""
    mean, s = 2 * x, 2 * sigma
    a, b = (-1 - mean) / s, (1 - mean) / s
    clipped = mean * (norm.cdf(b) - norm.cdf(a)) + s * (norm.pdf(a) - norm.pdf(b)) + norm.sf(b) - norm.cdf(a)
    return -clipped, -2 * (norm.cdf(b) - norm.cdf(a)), 4 * (norm.pdf(b) - norm.pdf(a)) / s


@pytest.mark.parametrize("law", ["gaussian", "ball"])
def test_the_law_is_the_mean_over_its_shifts(law):
    problem = catalogue.double_integrator()
    expert, exact = SmoothedExpert(problem, 0.5, samples=20, law=law), OnlineExpert(problem)
    x = np.array([[0.5, 0.1], [-2.0, 1.0], [3.0, -1.5]])
    control = expert(x)
    assert control.value is None
    for i in range(len(x)):
        every = exact(x[i] + 0.5 * expert._shifts)
        np.testing.assert_allclose(control.u[i], every.u.mean(axis=0), atol=1e-13)
        np.testing.assert_allclose(control.dudx[i], every.dudx.mean(axis=0), atol=1e-12)
    if law == "ball":
        assert (np.linalg.norm(expert._shifts, axis=1) <= 1).all()


def test_gaussian_smoothing_of_a_clipped_line():
    x, sigma, samples = np.linspace(-1.5, 1.5, 13), 0.4, 20_000
    expert = SmoothedExpert(LINE, sigma, samples=samples)
    control, (u, slope, bend) = expert(x[:, None]), smoothed_line(x, sigma)
    np.testing.assert_allclose(control.u[:, 0], u, atol=4 / np.sqrt(samples))
    np.testing.assert_allclose(control.dudx[:, 0, 0], slope, atol=8 / np.sqrt(samples))
    mean, error = expert.hessian_with_error(x[:, None], nodes=4000)
    assert (np.abs(mean[:, 0, 0, 0] - bend) <= 4 * error[:, 0, 0, 0] + 1e-9).all()
    assert error.max() < 0.3


def test_hessian_over_an_interval_is_exact():
    x, sigma = np.array([[0.1], [0.9], [-0.6]]), 0.7
    slope = lambda z: np.where(np.abs(2 * z) < 1, -2.0, 0.0)  # noqa: E731
    expected = (slope(x + sigma) - slope(x - sigma)) / (2 * sigma)
    hessian = SmoothedExpert(LINE, sigma, law="ball").hessian(x)
    np.testing.assert_allclose(hessian[:, 0, 0], expected, atol=1e-9)


@pytest.mark.parametrize(("law", "critical"), [("gaussian", 1 / (2 * 0.67449)), ("ball", 1.0)])
def test_the_origin_destabilises_at_the_critical_sigma(law, critical):
    """Example 3.14 of arXiv 2306.01914: x+ = 2x + u under the smoothed clip(-2x, -1, 1)."""
    for factor, stable in [(0.9, True), (1.1, False)]:
        control = SmoothedExpert(LINE, factor * critical, samples=20_000, law=law)([[0.0]])
        assert (2 + control.dudx[0, 0, 0] < 1) == stable


def test_treatments_of_shifts_without_a_plan():
    problem = catalogue.double_integrator()
    x, sigma = np.array([[9.0, 0.8]]), 1.0
    exact, free = OnlineExpert(problem), OnlineExpert(problem.with_(X=None))
    kinds = {t: SmoothedExpert(problem, sigma, infeasible=t) for t in ("input_only", "drop", "refuse")}
    shifted = x + sigma * kinds["drop"]._shifts
    inside = exact(shifted)
    lost = inside.status == Status.infeasible
    assert 0 < lost.sum() < len(lost)
    np.testing.assert_allclose(kinds["drop"](x).u[0], inside.u[~lost].mean(axis=0), atol=1e-13)
    mixed = np.where(lost[:, None], free(shifted).u, inside.u)
    np.testing.assert_allclose(kinds["input_only"](x).u[0], mixed.mean(axis=0), atol=1e-13)
    assert kinds["refuse"](x).status[0] == Status.infeasible
    assert np.isnan(kinds["refuse"](x).u).all()
    assert kinds["drop"]([[100.0, 100.0]]).status[0] == Status.infeasible


def test_the_seed_decides_the_shifts():
    x = [[0.3]]
    same, again, other = (SmoothedExpert(LINE, 1.0, seed=s)(x).u for s in (0, 0, 1))
    np.testing.assert_array_equal(same, again)
    assert (same != other).all()


def test_bad_options_are_refused():
    for options, message in [
        ({"sigma": 0.0}, "sigma must be a positive number, got 0.0; without shifts use Online"),
        ({"sigma": np.nan}, "sigma must be a positive number"),
        ({"sigma": 1.0, "samples": 0}, "samples must be a whole number of at least 1, got 0"),
        ({"sigma": 1.0, "law": "cauchy"}, r"law must be one of \('gaussian', 'ball'\), got 'cauchy'"),
        ({"sigma": 1.0, "infeasible": "zero"}, "infeasible must be one of .*got 'zero'"),
    ]:
        with pytest.raises(ValueError, match=message):
            SmoothedExpert(LINE, **options)
