"""What an error in one input costs the expert's closed loop, its law held fixed from there on."""

from dataclasses import replace

import numpy as np

from mpc.arrays import Array
from mpc.problem import ControlProblem
from mpc.rollouts import Rollouts


def sensitivity(problem: ControlProblem, rollouts: Rollouts) -> Array:
    """``d2 J / du_t^2`` along each loop ``(E, T, m, m)``, later inputs by the expert's law to first order.

    An input that is off by e at t moves the later states by ``dx_{s+1} = (A + B du/dx_s) dx_s`` from
    ``dx_{t+1} = B e``, and costs ``e' W_t e / 2`` to second order in J with the weights Q and R::

        W_t = 2 (R + B' M_{t+1} B),  M_s = Q + K_s'R K_s + (A + B K_s)' M_{s+1} (A + B K_s),  M_T = Q

    with ``K_s`` the label's Jacobian; a step without one ends the sum. Where the expert is LQR it tends to
    its curvature ``2 (R + B'PB)`` as the loop gets longer; elsewhere it counts what d2Q/du2 does not: the
    law that will be followed in the place of the best one, and the steps left. Costs matrix products only.

    Raises:
        ValueError: where the labels have no Jacobian.
    """
    if rollouts.labels is None or rollouts.labels.dudx is None:
        raise ValueError(
            "rollouts hold no label.dudx, which the sensitivity of a closed loop comes from; demonstrate "
            "with an expert of mpc and keep its labels"
        )
    A, B, Q, R = problem.system.A, problem.system.B, problem.Q, problem.R
    K, known = rollouts.labels.dudx, rollouts.labels.usable
    W = np.full((*K.shape[:2], problem.m, problem.m), np.nan)
    M = np.broadcast_to(Q, (rollouts.episodes, *Q.shape))
    for t in reversed(range(rollouts.steps)):
        W[:, t] = 2 * (R + B.T @ M @ B)
        gain = np.where(known[:, t, None, None], K[:, t], 0.0)
        closed = A + B @ gain
        before = Q + np.swapaxes(gain, 1, 2) @ R @ gain + np.swapaxes(closed, 1, 2) @ M @ closed
        M = np.where(known[:, t, None, None], before, Q)
    return W


def with_sensitivity(problem: ControlProblem, rollouts: Rollouts) -> Rollouts:
    """The rollouts with the sensitivity in the place of their labels' curvature."""
    W = sensitivity(problem, rollouts)
    assert rollouts.labels is not None
    return replace(rollouts, labels=replace(rollouts.labels, curvature=W))
