"""The metrics of an outcome: paired closed loops of a learner, of the expert it cloned, and of exact MPC."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.conditions import NOMINAL, Conditions
from mpc import metrics
from mpc.arrays import Array
from mpc.closed_loop import simulate
from mpc.configs import Online
from mpc.expert import Expert
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.rollouts import Rollouts

TOLERANCE = 0.05
"""A row violated by no more than this share of its bound still counts as kept: a network that imitates a
saturated law overshoots the bound by its fitting error."""
ARRIVAL = 0.1
"""A loop arrives when it ends this close to where exact MPC ends, in radii of the initial set."""
CEILING = 0.1
"""The growth of an error is fitted until it first passes this share of the radius of the initial set."""


@dataclass(frozen=True, eq=False)
class Reference:
    """What learners are compared with, from the same test states and under the same conditions: computed once
    for a chunk.

    Args:
        problem: the sets and weights, and the plant that loops run on.
        expert: whom the learners clone, built for the plant as it was thought to be.
        w: disturbances ``(E, T, n)`` of the loops, or None.
        exact, cloned: loops of exact MPC and of the expert.
        exact_cost, cloned_cost: J ``(E,)``.
    """

    problem: ControlProblem
    expert: Expert
    w: Array | None
    exact: Rollouts
    cloned: Rollouts
    exact_cost: Array
    cloned_cost: Array

    @classmethod
    def of(
        cls,
        problem: ControlProblem,
        expert: Expert,
        system: str,
        episodes: int,
        steps: int,
        conditions: Conditions = NOMINAL,
    ) -> "Reference":
        """Test loops of the expert, and of exact MPC, from the test states of ``system``.

        Exact MPC knows the plant as it was thought to be, not as it is, nor the disturbances ahead.
        """
        x0 = conditions.initial_states(problem, system, episodes)
        plant = conditions.plant(problem, system)
        w = conditions.disturbances(problem, system, episodes, steps)
        exact, cloned = (
            simulate(plant, law, x0, steps, disturbance=w) for law in (Online().build(problem), expert)
        )
        costs = (metrics.episode_cost(plant, rollouts) for rollouts in (exact, cloned))
        return cls(plant, expert, w, exact, cloned, *costs)

    @property
    def x0(self) -> Array:
        return self.exact.x[:, 0]

    def labels_on(self, rollouts: Rollouts) -> tuple[Array, float]:
        """The expert's actions ``(E, T, m)`` at the states of a learner, NaN without a usable label,
        and the share of labels asked for that are not usable."""
        states = rollouts.x[:, :-1]
        asked = np.arange(rollouts.steps) < rollouts.length[:, None]
        control = self.expert(states[asked])
        labels = np.full(rollouts.u.shape, np.nan)
        labels[asked] = np.where(control.usable[:, None], control.u, np.nan)
        return labels, float(1 - control.usable.mean()) if asked.any() else float("nan")


def measure(reference: Reference, learned: Rollouts, actions: Array) -> dict[str, Any]:
    """The metric columns of one experiment.

    Args:
        learned: the learner's closed loops from ``reference.x0``.
        actions: its actions ``(E, T, m)`` at the states of ``reference.cloned``.
    """
    problem, cloned = reference.problem, reference.cloned
    error = metrics.imitation_error(learned, cloned)
    known = error[~np.isnan(error)]
    labels, unusable = reference.labels_on(learned)
    on_expert = metrics.action_error(actions, cloned.u)
    ceiling = CEILING * problem.initial_set.radius
    growth = metrics.growth_rate(metrics.error_over_time(learned, cloned), ceiling or np.inf)
    return {
        **_costs(reference, learned),
        **_constraints(reference, learned),
        "imitation_error_mean": _mean(known),
        "imitation_error_median": _quantile(known, 0.5),
        "imitation_error_q90": _quantile(known, 0.9),
        "imitation_left_out": int(np.isnan(error).sum()),
        "growth_rate": _quantile(growth[~np.isnan(growth)], 0.5),
        "loss_on_expert": _mean(on_expert[~np.isnan(on_expert)] ** 2) / problem.m,
        "action_error_ratio": metrics.action_error_ratio(metrics.action_error(learned.u, labels), on_expert),
        "unusable_share": unusable,
        "j_traj": _known_mean(metrics.j_traj(learned, cloned)),
        "j_demo": _known_mean(metrics.j_demo(actions, cloned.u)),
    }


def _costs(reference: Reference, learned: Rollouts) -> dict[str, Any]:
    cost = metrics.episode_cost(reference.problem, learned)
    ratio = metrics.suboptimality(cost, reference.exact_cost)
    own = metrics.suboptimality(cost, reference.cloned_cost)
    expert = metrics.suboptimality(reference.cloned_cost, reference.exact_cost)
    return {
        "cost_ratio_mean": ratio.ratio_of_means,
        "cost_ratio_median": ratio.median_ratio,
        "cost_ratio_left_out": ratio.left_out,
        "own_cost_ratio_mean": own.ratio_of_means,
        "expert_cost_ratio_mean": expert.ratio_of_means,
    }


def _constraints(reference: Reference, learned: Rollouts) -> dict[str, Any]:
    unit = with_unit_bounds(reference.problem)
    broken = metrics.violation(unit, learned, TOLERANCE)
    expert_broken = metrics.violation(unit, reference.cloned, TOLERANCE)
    size = metrics.violation(reference.problem, learned).size
    good = succeeded(reference, learned)
    return {
        "success_rate": float(good.mean()),
        "success_certificate": metrics.certificate(int(good.sum()), len(good)),
        "expert_success_rate": float(succeeded(reference, reference.cloned).mean()),
        "violation_rate": _known_mean(broken.rate),
        "violation_max": float(np.nanmax(size, initial=0.0)),
        "expert_violation_rate": _known_mean(expert_broken.rate),
    }


def succeeded(reference: Reference, rollouts: Rollouts) -> np.ndarray:
    """Boolean ``(E,)``: never cut short, never diverged, constraints kept to ``TOLERANCE``, and x_T within
    ``ARRIVAL`` radii of the initial set (sup norm) of exact MPC's, or of its last state where that was cut
    short."""
    exact = reference.exact
    last = exact.x[np.arange(exact.episodes), exact.length]
    near = ARRIVAL * reference.problem.initial_set.radius or np.inf
    arrived = (np.abs(rollouts.x[:, -1] - last) <= near).all(axis=1)
    return metrics.success(with_unit_bounds(reference.problem), rollouts, TOLERANCE) & arrived


def with_unit_bounds(problem: ControlProblem) -> ControlProblem:
    """The same sets with every row whose bound is positive divided by it, so that violations are shares."""
    sets = {name: getattr(problem, name) for name in ("X", "U", "XU")}
    return problem.with_(**{name: _unit(polytope) for name, polytope in sets.items() if polytope is not None})


def _unit(polytope: Polytope) -> Polytope:
    scale = np.where(polytope.h > 0, polytope.h, 1.0)
    return Polytope(polytope.G / scale[:, None], polytope.h / scale)


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else float("nan")


def _known_mean(values: Array) -> float:
    return _mean(values[~np.isnan(values)])


def _quantile(values: Array, q: float) -> float:
    """An order statistic, so that infinite values are no obstacle."""
    return float(np.quantile(values, q, method="higher")) if values.size else float("nan")
