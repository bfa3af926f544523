"""Validated, read-only float64 arrays: how every public constructor takes its numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def real_array(name: str, value: ArrayLike) -> Array:
    """``value`` in float64, a copy only where it must be one.

    Raises:
        ValueError: if it is ragged or holds anything but real numbers.
    """
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of real numbers, got {value!r}") from error


def frozen(name: str, value: ArrayLike, shape: Sequence[int | None], remedy: str = "") -> Array:
    """A read-only float64 copy of ``value``, checked to be finite and of ``shape`` (None: any length).

    Args:
        remedy: what to do about a number that is not finite.

    Raises:
        ValueError: names the argument, what it was and what was expected.
    """
    array = np.array(real_array(name, value))
    expected = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ")"
    if array.ndim != len(shape) or any(
        s is not None and s != got for s, got in zip(shape, array.shape, strict=True)
    ):
        raise ValueError(f"{name} must have shape {expected}, got {array.shape}")
    if not np.isfinite(array).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ValueError(f"{name} must be finite, got {array[where]} at {where}{remedy and '; ' + remedy}")
    array.setflags(write=False)
    return array


def row_product(x: Array, M: Array) -> Array:
    """``x @ M.T`` for ``x (..., n)`` and ``M (k, n)``, the same bits for a row whatever its batch.

    BLAS picks a kernel by the size of the batch and so rounds differently; a sum over columns does not.
    """
    out = np.zeros((*x.shape[:-1], M.shape[0]))
    for j in range(M.shape[1]):
        out += x[..., j : j + 1] * M[:, j]
    return out


def require_psd(name: str, value: ArrayLike, size: int, *, definite: bool) -> Array:
    """A frozen symmetric positive (semi)definite matrix of ``size``.

    Raises:
        ValueError: if it is asymmetric or not positive (semi)definite.
    """
    matrix = frozen(name, value, (size, size))
    scale = float(np.abs(matrix).max()) if size else 0.0
    if np.abs(matrix - matrix.T).max(initial=0.0) > 1e-12 * scale:
        raise ValueError(f"{name} must be symmetric; pass ({name} + {name}.T) / 2, which has the same cost")
    smallest = float(np.linalg.eigvalsh(matrix).min()) if size else 1.0
    if definite and not smallest > 0:
        raise ValueError(
            f"{name} must be positive definite, its smallest eigenvalue is {smallest:.3g}; "
            f"add a small multiple of the identity"
        )
    if smallest < -1e-10 * scale:
        raise ValueError(
            f"{name} must be positive semidefinite, its smallest eigenvalue is {smallest:.3g}; "
            f"a cost that falls without bound has no minimum"
        )
    return matrix


def positive_number(name: str, value: Any, remedy: str = "") -> float:
    """``value`` as a float.

    Raises:
        ValueError: if it is not a positive, finite number.
    """
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (is_number and np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value!r}{remedy and '; ' + remedy}")
    return float(value)


def whole_number(name: str, value: Any, least: int) -> int:
    """``value`` as an int.

    Raises:
        ValueError: if it is not a whole number of at least ``least``.
    """
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not (is_number and float(value).is_integer() and value >= least):
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)
