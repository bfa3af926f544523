"""Closed-loop metrics: pure functions of arrays, one number an episode wherever one can be given.

Three conventions hold throughout, so that no mean is silently taken over the survivors:

- a *failed* learner (loop cut short, or diverged) has the worst value there is: inf, or the cap;
- where the *reference* is missing (its own loop was cut short, or a label is not usable) the value is
  NaN: nothing can be said, the caller leaves it out and counts it;
- nothing here averages over episodes but where the name says so (ratios, the certificate).
"""

from dataclasses import dataclass

import numpy as np

from mpc.arrays import Array
from mpc.expert import Control
from mpc.problem import ControlProblem, stage_cost
from mpc.rollouts import Rollouts

_NEGLIGIBLE_COST = 1e-6


@dataclass(frozen=True)
class Suboptimality:
    """Closed-loop cost against the optimum's, over the initial states that can be compared.

    Args:
        ratio_of_means: mean(J) / mean(J*); inf if any loop failed, NaN if none can be compared.
        median_ratio: median of J / J*.
        left_out: initial states left out: J* below 1e-6, or without a finite J*.
    """

    ratio_of_means: float
    median_ratio: float
    left_out: int


@dataclass(frozen=True, eq=False)
class Violation:
    """How far closed loops left their constraints, over the steps they took; arrays ``(E,)``.

    Step t covers u_t in U, (x_t, u_t) in XU, and the state x_{t+1} in X that it leads to.

    Args:
        rate: share of the steps taken that break a constraint; NaN where no step was taken.
        size: largest violation of a row, in the row's own units; NaN where no step was taken.
        first: the first step that breaks one, -1 where none does.
    """

    rate: Array
    size: Array
    first: np.ndarray


def diverged(problem: ControlProblem, rollouts: Rollouts) -> np.ndarray:
    """Boolean ``(E,)``: ``||x_t||_inf`` exceeded ``problem.divergence_limit`` at some t."""
    return np.any(np.abs(rollouts.x) > problem.divergence_limit, axis=(1, 2))


def episode_cost(problem: ControlProblem, rollouts: Rollouts) -> Array:
    """``J = sum_{t=0..T-1} x_{t+1}'Q x_{t+1} + u_t'R u_t``: (E,), in units of the cost.

    inf where the loop was cut short or diverged.
    """
    J = stage_cost(problem, rollouts.x[:, 1:], rollouts.u).sum(axis=1)
    sound = rollouts.complete & ~diverged(problem, rollouts) & np.isfinite(J)
    return np.where(sound, J, np.inf)


def suboptimality(J: Array, J_star: Array) -> Suboptimality:
    """``mean(J) / mean(J*)`` and the median of ``J / J*`` for paired costs ``(E,)``.

    Pairs with ``J* < 1e-6`` (a start at the origin) or without a finite J* (the reference loop was cut
    short) are left out of both and counted. A failed learner (J = inf) stays in.

    Raises:
        ValueError: if the shapes differ or a J is NaN.
    """
    J, J_star = np.asarray(J, float), np.asarray(J_star, float)
    if J.shape != J_star.shape or J.ndim != 1:
        raise ValueError(f"J and J_star must be vectors of one length, got {J.shape} and {J_star.shape}")
    if np.isnan(J).any():
        raise ValueError("J must not hold NaN; the cost of a loop that failed is inf (see episode_cost)")
    kept = np.isfinite(J_star) & (J_star >= _NEGLIGIBLE_COST)
    left_out = int((~kept).sum())
    if not kept.any():
        return Suboptimality(np.nan, np.nan, left_out)
    J, J_star = J[kept], J_star[kept]
    return Suboptimality(float(J.mean() / J_star.mean()), float(np.median(J / J_star)), left_out)


def error_over_time(rollouts: Rollouts, reference: Rollouts) -> Array:
    """``||x*_t - x_t||_2`` of paired loops: (E, T+1), in units of the state.

    inf beyond the learner's length, NaN beyond the reference's (also where both have ended).

    Raises:
        ValueError: if the two differ in shapes, initial states or disturbances.
    """
    _require_paired(rollouts, reference)
    distance = np.linalg.norm(rollouts.x - reference.x, axis=2)
    t = np.arange(rollouts.steps + 1)
    distance = np.where(t <= rollouts.length[:, None], distance, np.inf)
    return np.where(t <= reference.length[:, None], distance, np.nan)


def imitation_error(rollouts: Rollouts, reference: Rollouts) -> Array:
    """``max_t ||x*_t - x_t||_2`` over paired loops: (E,), in units of the state.

    inf where the learner's loop was cut short (one that diverges is, unless with its very last state),
    NaN where the reference's was.
    """
    return error_over_time(rollouts, reference).max(axis=1)


def growth_rate(error: Array, ceiling: float = np.inf, floor: float = 1e-9) -> Array:
    """Slope of ``log error_t`` over t before saturation, by least squares: (...,), per step.

    The error then grows like ``exp(rate t)``; a negative rate is a loop that forgets its errors.
    Saturation begins where the error first passes ``ceiling`` or stops being a number: from there on
    the constraints or the end of the loop shape it, so the fit uses the steps before (a tenth of the
    radius of X is a sensible ceiling). Errors of at most ``floor`` (rounding, and t = 0 where paired
    loops agree) are left out of the fit.

    Args:
        error: ``(..., T+1)``, from ``error_over_time``.

    Returns:
        NaN where fewer than three steps are left to fit.
    """
    error = np.asarray(error, float)
    before = np.logical_and.accumulate(np.isfinite(error) & (error <= ceiling), axis=-1)
    used = before & (error > floor)
    log_error = np.log(np.where(used, error, 1.0))
    count = used.sum(axis=-1)
    divisor = np.maximum(count, 1)
    t = np.arange(error.shape[-1])
    t_centred = np.where(used, t - ((used * t).sum(axis=-1) / divisor)[..., None], 0.0)
    spread = (t_centred**2).sum(axis=-1)
    slope = (t_centred * log_error).sum(axis=-1) / np.where(count >= 3, spread, 1.0)
    return np.where(count >= 3, slope, np.nan)


def j_traj(rollouts: Rollouts, reference: Rollouts) -> Array:
    """``sum_{t<T} min{1, ||x_t - x*_t||^2 + ||u_t - u*_t||^2}`` of paired loops: (E,).

    A step that a failed learner did not take counts 1, the cap; NaN where the reference is cut short.
    Its mean over episodes is J_traj of "The Pitfalls of Imitation Learning when Actions are
    Continuous", arXiv 2503.09722.
    """
    _require_paired(rollouts, reference)
    states = ((rollouts.x[:, :-1] - reference.x[:, :-1]) ** 2).sum(axis=2)
    inputs = ((rollouts.u - reference.u) ** 2).sum(axis=2)
    total = np.fmin(1.0, states + inputs).sum(axis=1)
    return np.where(reference.complete, total, np.nan)


def j_demo(u: Array, u_star: Array) -> Array:
    """``sum_t min{1, ||u_t - u*_t||^2}`` of the learner's inputs on the expert's states: (E,).

    Args:
        u: the learner's inputs ``(E, T, m)`` at the states of the demonstrations; NaN counts 1, the cap.
        u_star: the expert's labels there; NaN (no usable label) makes the episode's value NaN.
    """
    total = np.fmin(1.0, ((u - u_star) ** 2).sum(axis=2)).sum(axis=1)
    return np.where(np.isnan(u_star).any(axis=(1, 2)), np.nan, total)


def action_error(u: Array, u_star: Array) -> Array:
    """``||u - u*||_2`` for inputs ``(..., m)``: (...,); NaN without a label, inf where only u is NaN."""
    error = np.linalg.norm(u - u_star, axis=-1)
    labelled = ~np.isnan(u_star).any(axis=-1)
    return np.where(labelled & np.isnan(error), np.inf, error)


def action_error_ratio(on_learner: Array, on_expert: Array) -> float:
    """Mean action error on the learner's states over that on the expert's states.

    Above 1 the learner meets states it was not trained on. Errors of states without a usable label
    (NaN) are left out; report their share beside it (``unusable_share``).

    Args:
        on_learner, on_expert: from ``action_error``, of any shape.

    Returns:
        NaN if either holds no error at all or both are exactly zero, inf if only the second is.
    """
    learner, expert = (np.asarray(e, float)[~np.isnan(e)] for e in (on_learner, on_expert))
    if not (learner.size and expert.size):
        return float("nan")
    numerator, denominator = float(learner.mean()), float(expert.mean())
    if denominator == 0.0:
        return float("nan") if numerator == 0.0 else float("inf")
    return numerator / denominator


def unusable_share(labels: Control, length: np.ndarray) -> float:
    """Share of the labels ``(E, T)`` within ``length (E,)`` whose status is not usable; NaN for none."""
    asked = np.arange(labels.status.shape[1]) < length[:, None]
    return float((~labels.usable)[asked].mean()) if asked.any() else float("nan")


def violation(problem: ControlProblem, rollouts: Rollouts, tolerance: float = 1e-6) -> Violation:
    """Rate, size and first time of constraint violation; see ``Violation``.

    Args:
        tolerance: a row violated by at most this, in its own units, is not counted in rate and first.
    """
    x, u = rollouts.x, rollouts.u
    size = np.maximum(problem.X.violation(x[:, 1:]), problem.U.violation(u))
    if problem.XU is not None:
        mixed = problem.XU.violation(np.concatenate([x[:, :-1], u], axis=2))
        size = np.maximum(size, mixed)
    taken = np.arange(rollouts.steps) < rollouts.length[:, None]
    broken = taken & (size > tolerance)
    largest = np.where(taken, size, 0.0).max(axis=1)
    started = rollouts.length > 0
    return Violation(
        rate=np.where(started, broken.sum(axis=1) / np.maximum(rollouts.length, 1), np.nan),
        size=np.where(started, largest, np.nan),
        first=np.where(broken.any(axis=1), broken.argmax(axis=1), -1),
    )


def success(
    problem: ControlProblem, rollouts: Rollouts, tolerance: float = 1e-6, final_radius: float = np.inf
) -> np.ndarray:
    """Boolean ``(E,)``: all steps taken, never diverged, no constraint broken by more than ``tolerance``,
    and ``||x_T||_inf <= final_radius``."""
    kept = violation(problem, rollouts, tolerance).first < 0
    arrived = (np.abs(rollouts.x[:, -1]) <= final_radius).all(axis=1)
    return rollouts.complete & ~diverged(problem, rollouts) & kept & arrived


def certificate(successes: int, N: int, delta: float = 0.01) -> float:
    """Lower bound on the probability of success, with confidence ``1 - delta``.

    ``p >= successes / N - sqrt(ln(2 / delta) / (2 N))``, never below 0, for N independent closed loops:
    Hoeffding's inequality as in Hertneck, Koehler, Trimpe, Allgoewer, "Learning an Approximate Model
    Predictive Controller with Guarantees" (2018), equation 13.

    Raises:
        ValueError: if not 0 <= successes <= N, N < 1, or delta is not inside (0, 1).
    """
    if not (N >= 1 and 0 <= successes <= N):
        raise ValueError(f"successes must be from 0 to N and N at least 1, got {successes} of {N}")
    if not 0 < delta < 1:
        raise ValueError(f"delta, the risk, must be inside (0, 1), got {delta}")
    return max(0.0, successes / N - float(np.sqrt(np.log(2 / delta) / (2 * N))))


def excess_cost(rollouts: Rollouts, labels: Control, weight: Array | None = None) -> Array:
    """``sum_t 1/2 (u_t - u*_t)' W (u_t - u*_t)`` over the learner's own states: (E,), in units of the cost.

    The exact gap ``J(learner) - J*`` over an infinite horizon where the expert is optimal for that cost
    and unconstrained (LQR, W = 2 (R + B'PB): complete the square in the Bellman equation and sum along
    the learner's loop). Elsewhere a first-order term is present and this is a heuristic metric.

    Args:
        rollouts: the learner's.
        labels: the expert's at the learner's states, leading axes ``(E, T)``.
        weight: W, ``(m, m)`` or ``(E, T, m, m)``; None for the labels' curvature.

    Returns:
        inf where the learner's loop was cut short, NaN where a label is not usable.

    Raises:
        ValueError: if there is no weight and the expert gives no curvature.
    """
    W = labels.curvature if weight is None else np.asarray(weight, float)
    if W is None:
        raise ValueError("weight must be given for an expert without curvature, such as 2 (R + B'PB)")
    d = rollouts.u - labels.u
    terms = 0.5 * np.einsum("eti,etij,etj->et", d, np.broadcast_to(W, (*d.shape, d.shape[2])), d)
    within = np.arange(rollouts.steps) < rollouts.length[:, None]
    total = np.where(within, terms, 0.0).sum(axis=1)
    return np.where(rollouts.complete, total, np.inf)


def _require_paired(rollouts: Rollouts, reference: Rollouts) -> None:
    if rollouts.x.shape != reference.x.shape or rollouts.u.shape != reference.u.shape:
        raise ValueError(
            f"reference must have the shapes of rollouts: x {reference.x.shape} against {rollouts.x.shape}, "
            f"u {reference.u.shape} against {rollouts.u.shape}"
        )
    if not np.array_equal(rollouts.x[:, 0], reference.x[:, 0]):
        raise ValueError(
            "rollouts and reference must start from the same x[:, 0]: they are compared in pairs"
        )
    if not _same_disturbance(rollouts.w, reference.w):
        raise ValueError(
            "rollouts and reference must have met the same disturbances w; simulate both with them"
        )


def _same_disturbance(w: Array | None, other: Array | None) -> bool:
    return w is other or (w is not None and other is not None and np.array_equal(w, other))
