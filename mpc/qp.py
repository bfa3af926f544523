"""A convex QP in the letters of the textbook, and a solution that is audited without its solver."""

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array, frozen, require_psd


@dataclass(frozen=True, eq=False)
class QP:
    """``min 1/2 z'P z + q'z`` over ``G z <= h`` with ``P (p, p)`` positive semidefinite.

    Raises:
        ValueError: for wrong shapes, numbers that are not finite, or P asymmetric or not semidefinite.
    """

    P: Array
    q: Array
    G: Array
    h: Array

    def __post_init__(self) -> None:
        q = frozen("q", self.q, (None,))
        G = frozen("G", self.G, (None, q.size))
        object.__setattr__(self, "P", require_psd("P", self.P, q.size, definite=False))
        object.__setattr__(self, "q", q)
        object.__setattr__(self, "G", G)
        object.__setattr__(self, "h", frozen("h", self.h, (G.shape[0],)))

    def objective(self, z: ArrayLike) -> float:
        """``1/2 z'P z + q'z``."""
        point = np.asarray(z, float)
        return float(0.5 * point @ self.P @ point + self.q @ point)


@dataclass(frozen=True)
class Residuals:
    """How far a solution is from the four conditions of Karush, Kuhn and Tucker; inf where one is NaN.

    Args:
        stationarity: ``||P z + q + G'y||_inf``.
        primal: ``max(G z - h)``, at least 0.
        dual_sign: ``max(-y)``, at least 0.
        complementarity: ``max |y_i (h - G z)_i|``.
    """

    stationarity: float
    primal: float
    dual_sign: float
    complementarity: float

    @property
    def worst(self) -> float:
        """The largest of the four."""
        return max(astuple(self))

    def within(self, tolerance: float) -> bool:
        """Whether all four are at most ``tolerance``: then z is optimal and y proves it."""
        return self.worst <= tolerance


@dataclass(frozen=True, eq=False)
class Solution:
    """A point ``z (p,)`` with one multiplier for each row, ``duals (c,)`` >= 0; NaN is kept, to be found."""

    z: Array
    duals: Array

    def residuals(self, qp: QP, *, relative: bool = False) -> Residuals:
        """The audit of this solution against ``qp``.

        ``relative`` divides each residual by 1 + the largest term that enters it (primal: row by row),
        which is what rounding lets one ask of badly scaled problems.

        Raises:
            ValueError: if z or duals have a shape that does not belong to qp.
        """
        z, y = np.asarray(self.z, float), np.asarray(self.duals, float)
        if z.shape != qp.q.shape or y.shape != qp.h.shape:
            raise ValueError(
                f"z and duals must have shapes {qp.q.shape} and {qp.h.shape} to belong to this QP, "
                f"got {z.shape} and {y.shape}"
            )
        pull, push, slack = qp.P @ z, qp.G.T @ y, qp.h - qp.G @ z
        terms, rows, duals = 1.0, np.ones_like(slack), 1.0
        if relative:
            terms += max(_largest(pull), _largest(qp.q), _largest(push))
            rows += np.abs(qp.h) + np.abs(qp.G) @ np.abs(z)
            duals += _largest(y)
        return Residuals(
            stationarity=_largest((pull + qp.q + push) / terms),
            primal=_largest(_positive(-slack) / rows),
            dual_sign=_largest(_positive(-y) / duals),
            complementarity=_largest(y / duals * slack / rows),
        )


def _positive(values: Array) -> Array:
    """``max(values, 0)`` that keeps NaN."""
    return np.maximum(values, 0.0)


def _largest(values: Array) -> float:
    """``max |values|``, 0 for none; NaN counts as infinite, never as zero."""
    magnitudes = np.abs(values)
    return float(np.where(np.isnan(magnitudes), np.inf, magnitudes).max(initial=0.0))
