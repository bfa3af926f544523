"""Wrappers that keep any law's inputs admissible, or its states where a plan exists, and count how often."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mpc.arrays import Array, row_product
from mpc.closed_loop import as_controller, unlabelled
from mpc.controllers import Law, replay
from mpc.expert import Control
from mpc.invariant import feasible_set
from mpc.lqr import project
from mpc.polytope import Polytope
from mpc.problem import ControlProblem, stage_rows
from mpc.rollouts import Rollouts


@dataclass(frozen=True, eq=False)
class Projected:
    """The point of the polytope ``U`` nearest to the law's input (a box: the input clipped)."""

    law: Law
    U: Polytope

    def start(self, E: int, rng: np.random.Generator | None) -> Any:
        return as_controller(self.law).start(E, rng)

    def act(self, memory: Any, t: int, x: Array) -> tuple[Control, Any]:
        answer, memory = as_controller(self.law).act(memory, t, x)
        return unlabelled(project(self.U.G, self.U.h, answer.u)[0]), memory


@dataclass(frozen=True, eq=False)
class SafetyFilter:
    """The admissible input nearest to the law's from whose next state a plan exists.

    ``argmin ||v - u||`` over v with ``v in U``, ``(x, v) in XU`` and ``A x + B v in safe``; where no input
    satisfies that, the one nearest to the law's in U and XU. A filter looks one step ahead: with the set of
    states that have a plan it keeps the next plan possible, and for good only where that set is control
    invariant (give ``mpc.invariant.control_invariant(problem)`` for that).

    Args:
        law: what is filtered.
        problem: sets, and the plant that the filter thinks it controls.
        safe: where the next state must lie; ``SafetyFilter.of`` takes the states with a plan.
    """

    law: Law
    problem: ControlProblem
    safe: Polytope

    @classmethod
    def of(cls, law: Law, problem: ControlProblem) -> "SafetyFilter":
        """Around the set of states that have a plan, which is listed by its facets: for few states only.

        Raises:
            ValueError: if no state has a plan.
        """
        return cls(law, problem, feasible_set(problem))

    def start(self, E: int, rng: np.random.Generator | None) -> Any:
        return as_controller(self.law).start(E, rng)

    def act(self, memory: Any, t: int, x: Array) -> tuple[Control, Any]:
        answer, memory = as_controller(self.law).act(memory, t, x)
        return unlabelled(self.nearest(x, answer.u)), memory

    def nearest(self, x: Array, u: Array) -> Array:
        """The filter's inputs ``(B, m)`` for those of the law."""
        C, D, d = stage_rows(self.problem, 0)
        system, safe = self.problem.system, self.safe
        # D v <= d - C x, and of the next state: (G B) v <= h - (G A) x.
        rows = np.concatenate([D, safe.G @ system.B])
        bounds = np.concatenate([d - row_product(x, C), safe.h - row_product(x, safe.G @ system.A)], axis=1)
        out = np.array(u)
        with np.errstate(invalid="ignore"):
            broken = (row_product(u, rows) > bounds + _SLACK * (1 + np.abs(bounds))).any(axis=1)
        for b in np.flatnonzero(broken & np.isfinite(bounds).all(axis=1)):
            found, status, _ = project(rows, bounds[b], u[b : b + 1])
            if status[0] <= 0:
                found, status, _ = project(D, bounds[b, : len(d)], u[b : b + 1])
            out[b] = found[0]
        return out


_SLACK = 1e-9


def interventions(loops: Rollouts, law: Law, tolerance: float = 1e-6) -> np.ndarray:
    """Boolean ``(E, T)``: where the input applied is not the law's own, to ``tolerance``.

    Args:
        loops: those of a ``Projected`` or ``SafetyFilter`` around ``law``.
    """
    own = replay(law, loops.x[:, :-1])
    taken = np.arange(loops.steps) < loops.length[:, None]
    return taken & (np.abs(own - loops.u) > tolerance).any(axis=2)
