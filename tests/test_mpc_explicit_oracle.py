"""Explicit MPC against PPOPT, an independent program for the same partitions (``pip install ppopt``)."""

import numpy as np
import pytest

from mpc import catalogue
from mpc.arrays import Array
from mpc.explicit import ExplicitExpert
from mpc.polytope import inscribed_ball

pytest.importorskip("ppopt", reason="ppopt is not installed: pip install ppopt")

from bench.speed.parametric_peer import listed

PLAIN = {
    "double_integrator_3": catalogue.double_integrator(N=3),
    "double_integrator_5": catalogue.double_integrator(N=5),
    "cart_pole": catalogue.cart_pole(N=2),
    "random": catalogue.random_system(n=2, m=2, N=3, seed=5),
}


def centres(solution) -> list[tuple[Array, object]]:
    """The centre of the largest ball in each of its regions that has one of 1e-7 or more, and the region."""
    balls = [(inscribed_ball(region.E, region.f.ravel()), region) for region in solution.critical_regions]
    return [(centre, region) for (centre, radius), region in balls if radius > 1e-7]


@pytest.mark.parametrize("name", PLAIN)
def test_as_many_regions_with_the_same_laws(name):
    expert = ExplicitExpert(PLAIN[name])
    found = centres(listed(expert.problem, expert.regions.within, "graph"))
    assert len(found) == len(expert.regions)
    r = expert.find(np.array([centre for centre, _ in found]))
    np.testing.assert_array_equal(np.sort(r), np.arange(len(expert.regions)))
    m, reach = expert.problem.m, expert.regions.reach
    for (centre, theirs), own in zip(found, (expert.regions[k] for k in r), strict=True):
        assert own.active.sum() == len(theirs.active_set)
        radius = inscribed_ball(theirs.E, theirs.f.ravel())[1]
        assert own.polytope.chebyshev[1] == pytest.approx(radius, rel=1e-6, abs=1e-9)
        size = np.abs(own.K @ np.diag(reach)).max() + np.abs(own.k).max()
        np.testing.assert_allclose((own.K - theirs.A[:m]) * reach, 0.0, atol=1e-7 * size)
        u = own.K @ centre + own.k
        np.testing.assert_allclose(u, theirs.A[:m] @ centre + theirs.b[:m, 0], atol=1e-7 * size)


def test_where_sets_are_not_unique_its_algorithms_disagree_and_ours_covers_once():
    """The triangular system with N = 3: 51 regions that overlap, 41, or 31 with holes; ours are 35."""
    expert = ExplicitExpert(catalogue.triangular(3, N=3))
    within = expert.regions.within
    counts = {len(centres(listed(expert.problem, within, way))) for way in ("graph", "geometric")}
    assert len(counts) == 2
    assert len(expert.regions) == 35
    low, high = within.bounds
    x = np.random.default_rng(0).uniform(low, high, (20_000, 3))
    x = x[expert(x).status > 0]
    regions = expert.regions
    held = np.logical_and.reduceat(x @ regions.A.T <= regions.b + 1e-9, regions.first[:-1], axis=1)
    assert (held.sum(axis=1) == 1).all()
