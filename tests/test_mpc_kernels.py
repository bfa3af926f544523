"""What every expert promises: shapes, statuses, same bits in any batch."""

from typing import get_args

import numpy as np
import pytest
from generators import answer_first_qp, asymmetric, feasible_states

from mpc.configs import Barrier, ExpertConfig, Explicit, Linear, Lqr, Online, Smoothed
from mpc.expert import Expert
from mpc.lqr import project
from mpc.status import Status

CONFIGS = [
    Lqr(), Linear(K=((-0.5, 0.1), (0.2, -0.4))), Online(), Online(soft=50.0), Explicit(),
    Barrier(eta=0.05), Smoothed(sigma=0.2, samples=16),
]  # fmt: skip
LABELS = {"dudx": (2, 2), "value": (), "gradient": (2,), "curvature": (2, 2), "cost": (), "slack": ()}
by_config = pytest.mark.parametrize("config", CONFIGS, ids=lambda c: type(c).__name__)


def same_bits(left, right):
    assert left.arrays().keys() == right.arrays().keys()
    for name, value in left.arrays().items():
        np.testing.assert_array_equal(value, right.arrays()[name], err_msg=name)


def test_every_config_is_in_the_table():
    assert {type(config) for config in CONFIGS} == set(get_args(ExpertConfig))


@by_config
@pytest.mark.parametrize("B", [0, 1, 5])
def test_shapes_types_and_statuses(config, B):
    problem = asymmetric()
    expert = config.build(problem)
    assert isinstance(expert, Expert)
    assert expert.problem is problem
    control = expert(0.5 * feasible_states(problem, 6)[:B])
    assert (control.u.shape, control.u.dtype) == ((B, 2), np.float64)
    assert (control.status.shape, control.status.dtype) == ((B,), np.int8)
    assert (control.status > 0).all()
    for name, value in control.arrays().items():
        if name not in ("u", "status"):
            assert value.shape == (B, *LABELS[name]), name
            assert np.isfinite(value).all(), name


@by_config
def test_same_bits_whatever_the_batch_the_place_and_the_threads(config, monkeypatch):
    problem = asymmetric()
    expert, x = config.build(problem), feasible_states(problem, 300, "bits")
    monkeypatch.setenv("CENTRALPATH_THREADS", "1")
    whole = expert(x)
    order = np.random.default_rng(0).permutation(len(x))
    same_bits(expert(x[order]), whole[order])
    for i in (0, 150, 299):
        same_bits(expert(x[i : i + 1]), whole[i : i + 1])
    same_bits(expert(np.asfortranarray(x)), whole)
    monkeypatch.setenv("CENTRALPATH_THREADS", "4")
    same_bits(expert(x), whole)


@by_config
def test_a_row_that_is_not_finite_harms_no_other(config):
    problem = asymmetric()
    expert, x = config.build(problem), 0.5 * feasible_states(problem, 6)
    clean, bad = expert(x), x.copy()
    bad[1, 0], bad[4, 1] = np.nan, -np.inf
    control = expert(bad)
    assert (control.status[[1, 4]] == Status.invalid_input).all()
    for value in (v for k, v in control.arrays().items() if k != "status"):
        assert np.isnan(value[[1, 4]]).all()
    rest = [0, 2, 3, 5]
    same_bits(control[rest], clean[rest])


@by_config
def test_states_of_the_wrong_shape_are_refused(config):
    expert = config.build(asymmetric())
    for x in (np.zeros(2), np.zeros((3, 3)), np.zeros((1, 1, 2))):
        with pytest.raises(ValueError, match=r"x must have shape \(B, 2\), one state a row, got"):
            expert(x)


@pytest.mark.parametrize("seed", range(20))
def test_the_projection_kernel_finds_known_answers(seed):
    """``min 1/2 z'Pz + q'z`` is the projection of ``-L^-1 q`` with P = L L' and z = L'^-1 v."""
    qp, answer = answer_first_qp(np.random.default_rng(seed), 4, 10, seed % 7, weak=2, repeated=4)
    L = np.linalg.cholesky(qp.P)
    M = np.linalg.solve(L, qp.G.T).T
    v, status, _ = project(M, qp.h, -np.linalg.solve(L, qp.q)[None])
    assert status[0] == Status.optimal
    np.testing.assert_allclose(np.linalg.solve(L.T, v[0]), answer.z, atol=1e-8)


def test_projection_onto_an_empty_set_is_infeasible():
    u, status, _ = project(np.array([[1.0], [-1.0]]), np.array([-1.0, -1.0]), np.zeros((1, 1)))
    assert status[0] == Status.infeasible
    assert np.isnan(u).all()
