"""One step of ``E`` regulation environments: pure functions shared by the single and the vector one."""

from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array
from mpc.problem import ControlProblem, stage_cost

Info = dict[str, Array]


@dataclass(frozen=True, eq=False)
class Transition:
    """What one step led to, in rows of ``E`` environments.

    Args:
        x: the next states ``(E, n)``.
        reward: ``-(x_{t+1}'Q x_{t+1} + u_t'R u_t)``, ``(E,)``.
        diverged: ``||x_{t+1}||_inf`` passed the problem's divergence limit, ``(E,)``.
        info: see ``violations``.
    """

    x: Array
    reward: Array
    diverged: np.ndarray
    info: Info


def advance(problem: ControlProblem, x: Array, u: Array, w: Array | None) -> Transition:
    """``x_{t+1} = A x_t + B u_t + w_t`` with the input as given: the same bits as ``mpc.simulate``."""
    following = problem.system.step(x, u)
    if w is not None:
        following = following + w
    diverged = np.logical_not((np.abs(following) <= problem.divergence_limit).all(axis=1))
    info = violations(problem, following, x, u)
    if w is not None:
        info["disturbance"] = np.array(w)
    return Transition(following, -stage_cost(problem, following, u), diverged, info)


def violations(
    problem: ControlProblem, x: Array, before: Array | None = None, u: Array | None = None
) -> Info:
    """``max(0, max_i (G z - h)_i)`` for each kind of constraint, each ``(E,)``, zero where satisfied.

    ``state_violation`` is of the state ``x`` that is returned, ``input_violation`` of the input that led
    to it, ``mixed_violation`` (only where the problem has XU) of the state before with that input, and
    ``terminal_violation`` (only where it has Xf) of ``x``. A reset has had no input: zeros there.
    """
    none = np.zeros(len(x))
    info = {
        "state_violation": problem.X.violation(x),
        "input_violation": none if u is None else problem.U.violation(u),
    }
    if problem.XU is not None:
        pair = None if before is None or u is None else np.concatenate([before, u], axis=1)
        info["mixed_violation"] = none.copy() if pair is None else problem.XU.violation(pair)
    if problem.Xf is not None:
        info["terminal_violation"] = problem.Xf.violation(x)
    return info


def first_info(problem: ControlProblem, x: Array, disturbed: bool) -> Info:
    """The info of a reset to ``x``: the keys of every step's, with zeros for what has not happened yet."""
    info = violations(problem, x)
    if disturbed:
        info["disturbance"] = np.zeros_like(x)
    return info


def checked_inputs(problem: ControlProblem, actions: object, rows: int) -> Array:
    """Inputs ``(rows, m)`` in float64, not clipped.

    Raises:
        ValueError: if the shape is wrong.
    """
    inputs = np.array(actions, dtype=np.float64)
    if inputs.shape != (rows, problem.m):
        raise ValueError(
            f"actions must have shape ({rows}, {problem.m}), one row of {problem.m} inputs for each "
            f"environment, got {inputs.shape}"
        )
    return inputs


def require_finite(inputs: Array) -> None:
    """Raises: ValueError if an input is NaN or infinite (a controller without a usable action)."""
    if not np.isfinite(inputs).all():
        raise ValueError(
            f"actions must be finite, got {inputs[~np.isfinite(inputs).all(axis=1)][0]}; check the status of "
            f"an expert's Control before applying its u"
        )
