"""The vector type that kernels run in: lane by lane the arithmetic of NumPy, NaN and all."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from mpc.kernels.lane_algebra import BROAD, TALL, add_transposed, eliminate, product, whole
from mpc.kernels.lanes import (
    ALIGNMENT,
    WIDTH,
    absolute,
    aligned,
    any_lane,
    lane_width,
    lanes,
    least,
    load,
    most,
    select,
    store,
)  # fmt: skip

called = numba.njit(error_model="numpy")
"""As ``part``, but to be called from Python."""

ODD = np.array([1.5, -2.0, 0.0, -0.0, np.inf, -np.inf, np.nan, 1e-310])


def vectors(seed: int, *shape: int) -> np.ndarray:
    out = aligned(*shape, WIDTH)
    out[:] = np.random.default_rng(seed).normal(size=out.shape)
    return out


def odd_pairs() -> np.ndarray:
    """Every pair of odd numbers, WIDTH at a time: (blocks, 2, WIDTH)."""
    left, right = (v.ravel() for v in np.meshgrid(ODD, ODD))
    pad = -len(left) % WIDTH
    pairs = np.pad(np.stack([left, right]), ((0, 0), (0, pad)), constant_values=1.0)
    out = aligned(pairs.shape[1] // WIDTH, 2, WIDTH)
    out[:] = pairs.reshape(2, -1, WIDTH).swapaxes(0, 1)
    return out


@called
def _operate(pairs, out):
    for i in range(pairs.shape[0]):
        a, b = load(pairs, i, 0), load(pairs, i, 1)
        store(out, a + b, i, 0)
        store(out, a - b, i, 1)
        store(out, a * b, i, 2)
        store(out, a / b, i, 3)
        store(out, -a, i, 4)
        store(out, absolute(a), i, 5)
        store(out, least(a, b), i, 6)
        store(out, most(a, b), i, 7)
        store(out, select(a < b, a, 7.0), i, 8)
        store(out, select(a <= b, 7.0, b), i, 9)
        store(out, select((a > b) & ~(a >= 2.0), 1.0, lanes(0.0)), i, 10)
        store(out, select((a > b) | (2.0 >= b), 1.0, lanes(0.0)), i, 11)  # noqa: SIM300
        store(out, 2.0 - a, i, 12)
        store(out, a / 3.0, i, 13)


def test_operations_are_those_of_numpy_lane_by_lane():
    pairs = odd_pairs()
    out = aligned(len(pairs), 14, WIDTH)
    _operate(pairs, out)
    a, b = pairs[:, 0], pairs[:, 1]
    with np.errstate(all="ignore"):
        expected = [
            a + b, a - b, a * b, a / b, -a, np.abs(a), np.where(a < b, a, b), np.where(a > b, a, b),
            np.where(a < b, a, 7.0), np.where(a <= b, 7.0, b), np.where((a > b) & ~(a >= 2), 1.0, 0.0),
            np.where((a > b) | (b <= 2), 1.0, 0.0), 2.0 - a, a / 3.0,
        ]  # fmt: skip
    for i, values in enumerate(expected):
        np.testing.assert_array_equal(out[:, i], values, err_msg=str(i))
        np.testing.assert_array_equal(np.signbit(out[:, i]), np.signbit(values), err_msg=str(i))


@called
def _any_above(values, limit):
    return any_lane(load(values, 0) > limit)


@pytest.mark.parametrize("lane", range(WIDTH))
def test_one_lane_is_enough_for_any(lane):
    values = aligned(1, WIDTH)
    values[0, lane] = 2.0
    assert _any_above(values, 1.0)
    assert not _any_above(values, 3.0)
    values[0, lane] = np.nan
    assert not _any_above(values, 1.0)


def test_arrays_start_on_a_cache_line():
    for shape in ((1,), (3, WIDTH), (2, 5, WIDTH)):
        assert aligned(*shape).ctypes.data % ALIGNMENT == 0
        assert aligned(*shape).shape == shape


def test_load_asks_for_an_index_of_every_axis_but_the_last():
    if numba.config.DISABLE_JIT:
        pytest.skip("typing errors need the compiler")
    bad = called(lambda a: load(a, 0))
    with pytest.raises(numba.TypingError, match="an index for every axis but the last"):
        bad(aligned(2, 2, WIDTH))


@pytest.mark.parametrize("text", ["3", "many", "0"])
def test_a_bad_width_is_refused(text, monkeypatch):
    monkeypatch.setenv("CENTRALPATH_LANES", text)
    with pytest.raises(ValueError, match=f"CENTRALPATH_LANES must be 1, 2, 4, 8 or 16, got '{text}'"):
        lane_width()


# Products of whole tiles.


@called
def _products(Y, X, F, C, count, full, lower, y0, rows, x0, columns):
    product(Y, X, F, C, count, full, y0, rows, x0, columns, False)
    product(Y, X, F, C, count, lower, y0, rows, x0, columns, True)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 1), (4, 3), (5, 2), (12, 4), (13, 6)])
def test_products_are_those_of_einsum(n, m):
    tall, broad = whole(n, TALL), whole(n, BROAD)
    Y, X = vectors(1, n, m + tall), np.random.default_rng(2).normal(size=(n, m + broad))
    F, C = vectors(3, m + tall, m), vectors(4, m + broad, m)
    full, lower = vectors(5, tall, broad), vectors(6, tall, broad)
    _products(Y, X, F, C, m, full, lower, m, n, m, n)
    expected = np.einsum("jrl,je->rel", Y[:, m:], X[:, m:]) - np.einsum("ril,eil->rel", F[m:], C[m:])
    np.testing.assert_allclose(full, expected, atol=1e-12)
    below = np.tril_indices(n)
    np.testing.assert_allclose(lower[below], expected[below], atol=1e-12)


@called
def _add_transposed(X, p, out, columns):
    add_transposed(X, p, out, columns)


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 4), (12, 15)])
def test_a_matrix_times_lanes_is_added(rows, columns):
    X = np.zeros((rows, whole(columns, TALL)))
    X[:, :columns] = np.random.default_rng(0).normal(size=(rows, columns))
    p, out = vectors(1, rows), vectors(2, whole(columns, TALL))
    expected = out[:columns] + np.einsum("je,jl->el", X[:, :columns], p)
    _add_transposed(X, p, out, columns)
    np.testing.assert_allclose(out[:columns], expected, atol=1e-13)


@called
def _eliminate(S, F, pivots, size, definite):
    store(definite, eliminate(S, F, pivots, size), 0)


def test_elimination_is_a_factorisation_and_says_where_it_is_not_definite():
    m, size = 3, 5
    half = vectors(1, size, size)
    H = np.einsum("ail,bil->abl", half, half) + np.eye(size)[:, :, None]
    H[1, 1, WIDTH - 1] -= 100.0
    S, F, pivots, definite = (
        aligned(size, m, WIDTH),
        aligned(size, m, WIDTH),
        aligned(m, WIDTH),
        vectors(2, 1),
    )
    S[:] = H[:, :m]
    _eliminate(S, F, pivots, size, definite)
    assert definite[0].tolist() == [1.0] * (WIDTH - 1) + [0.0]
    lower = F + np.eye(size, m)[:, :, None]
    lower[np.triu_indices(m, 1)] = 0.0
    rebuilt = np.einsum("ail,il,bil->abl", lower, 1 / pivots, lower)
    np.testing.assert_allclose(rebuilt[:, :m, : WIDTH - 1], H[:, :m, : WIDTH - 1], atol=1e-10)


WIDTHS = """
import sys
import numpy as np
from generators import VARIANTS, feasible_states
from mpc.barrier import BarrierExpert
from mpc.kernels.lanes import WIDTH

assert str(WIDTH) == sys.argv[1]
problem = VARIANTS["asymmetric"]()
control = BarrierExpert(problem, 0.01)(feasible_states(problem, 50, "widths"))
np.savez(sys.argv[2], **control.arrays())
"""


@pytest.mark.full
def test_labels_have_the_same_bits_whatever_the_width(tmp_path):
    """Four kernels are compiled."""
    answers = []
    for width in ("1", "4", "8", "16"):
        file, env = tmp_path / f"{width}.npz", {**os.environ, "CENTRALPATH_LANES": width}
        subprocess.run(
            [sys.executable, "-c", WIDTHS, width, str(file)],
            cwd=os.path.dirname(__file__),
            env=env,
            check=True,
        )
        answers.append(dict(np.load(file)))
    for name, value in answers[0].items():
        for other in answers[1:]:
            np.testing.assert_array_equal(value, other[name], err_msg=name)
