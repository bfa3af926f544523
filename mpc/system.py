"""Discrete-time linear systems ``x+ = A x + B u``."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array, frozen, positive_number, row_product


@dataclass(frozen=True, eq=False)
class LinearSystem:
    """``x_{t+1} = A x_t + B u_t`` with ``A (n, n)``, ``B (n, m)`` and sampling time ``dt`` in seconds.

    Raises:
        ValueError: if A is not square, shapes disagree, numbers are not finite, or dt <= 0.
    """

    A: Array
    B: Array
    dt: float = 1.0

    def __post_init__(self) -> None:
        A = frozen("A", self.A, (None, None))
        if A.shape[0] != A.shape[1] or not A.size:
            raise ValueError(f"A must be square and not empty, got shape {A.shape}")
        B = frozen("B", self.B, (A.shape[0], None))
        if not B.shape[1]:
            raise ValueError("B must have at least one column (one input)")
        object.__setattr__(self, "A", A)
        object.__setattr__(self, "B", B)
        object.__setattr__(self, "dt", positive_number("dt, the sampling time in seconds,", self.dt))

    @classmethod
    def from_continuous(cls, A: ArrayLike, B: ArrayLike, dt: float) -> "LinearSystem":
        """Zero-order hold of ``dx/dt = A x + B u``: ``exp([[A, B], [0, 0]] dt)``, its top rows."""
        continuous = cls(A, B, dt)  # type: ignore[arg-type]
        n, m = continuous.B.shape
        block = np.zeros((n + m, n + m))
        block[:n, :n], block[:n, n:] = continuous.A, continuous.B
        from scipy.linalg import expm

        hold = np.asarray(expm(block * dt), np.float64)
        return cls(hold[:n, :n], hold[:n, n:], dt)

    @property
    def n(self) -> int:
        """Number of states."""
        return self.A.shape[0]

    @property
    def m(self) -> int:
        """Number of inputs."""
        return self.B.shape[1]

    def step(self, x: Array, u: Array) -> Array:
        """``A x + B u`` for ``x (..., n)`` and ``u (..., m)``, row by row the same bits in any batch."""
        return row_product(x, self.A) + row_product(u, self.B)
