"""Closed loops within one call of a kernel: what the experts that roll out share."""

from typing import Any

import numpy as np

from mpc.arrays import Array
from mpc.expert import Control
from mpc.problem import ControlProblem


def plant(problem: ControlProblem, steps: int = 1, w: Array | None = None) -> tuple[Any, ...]:
    """The argument ``plant`` of a kernel: loops of ``steps`` states, or (1) states that stand alone.

    Args:
        w: disturbances ``(E, steps, n)`` or None.
    """
    disturbance = np.empty((0, problem.n)) if w is None else np.array(w).reshape(-1, problem.n)
    A, B = np.array(problem.system.A), np.array(problem.system.B)  # kernels take writable arrays
    return steps, A, B, disturbance, problem.divergence_limit


def first_rows(x0: Array, steps: int) -> Array:
    """Rows ``(E steps, n)`` for the states of the loops from ``x0 (E, n)``: the first of each is given."""
    x = np.full((len(x0), steps, x0.shape[1]), np.nan)
    x[:, 0] = x0
    return x.reshape(-1, x0.shape[1])


def by_loops(x: Array, control: Control, steps: int) -> tuple[Array, Control]:
    """States ``(E, steps, n)`` and labels ``(E, steps, ...)`` of rows that are loops."""
    return (
        x.reshape(-1, steps, x.shape[1]),
        control.map(lambda value: value.reshape(-1, steps, *value.shape[1:])),
    )
