"""What the kernels of exact MPC need of a problem, made once and never changed."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from mpc.arrays import Array
from mpc.condense import LeastDistance, least_distance
from mpc.problem import ControlProblem
from mpc.slabs import Slabs, slabs


@dataclass(frozen=True, eq=False)
class Prepared:
    """The least-distance form, its slabs, and the first stage's matrices.

    Args:
        form, slabs: the problem as rows and as slabs.
        upper: bounds on the multipliers of the halved, scaled problem ``(c,)``: ``rho |row| / 2`` for
            soft rows, else infinite.
        MT: rows of the form by columns ``(N m, c)``.
        ET: ``E`` of the slabs by columns ``(n, g)``.
        K, L, T: ``K_0``, ``L_0`` and ``L_0'^-1``, so that ``u_0 = K x + T z_0``.
    """

    form: LeastDistance
    slabs: Slabs
    upper: Array
    MT: Array
    ET: Array
    K: Array
    L: Array
    T: Array


def prepare(problem: ControlProblem, soft: float | None = None) -> Prepared:
    """Everything that does not depend on the state; ``soft`` as in ``OnlineExpert``."""
    form = least_distance(problem)
    both = slabs(form)
    L = np.ascontiguousarray(form.L[0])
    upper = (
        np.full(len(form.w), np.inf) if soft is None else np.where(form.soft, soft * form.norms / 2, np.inf)
    )
    return Prepared(
        form=form,
        slabs=both,
        upper=upper,
        MT=np.ascontiguousarray(form.M.T),
        ET=np.ascontiguousarray(both.E.T),
        K=np.ascontiguousarray(form.K[0]),
        L=L,
        T=np.ascontiguousarray(solve_triangular(L, np.eye(len(L)), lower=True).T),
    )
