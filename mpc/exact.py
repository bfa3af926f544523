"""The exact law: what the experts that evaluate exact MPC share, over one call of its kernel."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array
from mpc.atlas import Atlas
from mpc.expert import Control, blanked, state_rows
from mpc.kernels.exact import label_states
from mpc.kernels.threads import run_blocks
from mpc.prepared import Prepared
from mpc.problem import ControlProblem
from mpc.rolling import by_loops, first_rows, plant


@dataclass(frozen=True, eq=False)
class Plan:
    """Whole optimal plans with their multipliers.

    Args:
        x, u: predicted states ``(B, N+1, n)`` and inputs ``(B, N, m)``; NaN where not usable.
        multipliers: ``(B, c)`` >= 0 of ``V`` (not halved) for the rows ``G U <= w + E x0`` in the order of
            ``condense``. Where the status is infeasible they are a certificate instead: y >= 0 with
            ``G'y = 0`` and ``(w + E x0)'y < 0``, so no plan exists.
        active: boolean ``(B, c)``, the active set that the label belongs to: rows that are met, and
            independent of each other.
        status: int8 ``(B,)``.
        iterations: active-set changes ``(B,)``.
        route: int8 ``(B,)``, which method settled the state: an index into ``Plan.ROUTES``.
    """

    ROUTES: ClassVar[tuple[str, ...]] = ("none", "rounds", "active_set", "careful", "lookup")

    x: Array
    u: Array
    multipliers: Array
    active: np.ndarray
    status: np.ndarray
    iterations: np.ndarray
    route: np.ndarray


@dataclass(frozen=True, eq=False)
class Answer:
    """What the kernel writes, in the units of the least-distance form."""

    control: Control
    z: Array
    multipliers: Array
    active: np.ndarray
    iterations: np.ndarray
    route: np.ndarray

    @classmethod
    def blank(cls, B: int, problem: ControlProblem, rows: int, columns: int) -> "Answer":
        n, m = problem.n, problem.m

        def nan(*shape: int) -> Array:
            return np.full((B, *shape), np.nan)

        control = Control(
            nan(m), np.zeros(B, np.int8), nan(m, n), nan(), nan(n), nan(m, m), cost=nan(), slack=nan()
        )
        return cls(
            control,
            z=nan(columns),
            multipliers=nan(rows),
            active=np.zeros((B, rows), bool),
            iterations=np.zeros(B, np.int64),
            route=np.zeros(B, np.int8),
        )


@dataclass(frozen=True, eq=False)
class ExactLaw:
    """Exact MPC of one problem, and how its states are settled.

    Args:
        problem, ready: the control problem, and what the kernel needs of it.
        atlas: regions that are known; what they do not hold is for the solver.
        first: what the solver tries first: CARE, STEPS, CHOICE or ROUNDS.
        soft: whether rows of ``ready`` may give way.
        max_iterations: changes of the active set; None for a limit that only defects exceed.
    """

    problem: ControlProblem
    ready: Prepared
    atlas: Atlas
    first: int
    soft: bool = False
    max_iterations: int | None = None

    def plan(self, x: ArrayLike) -> Plan:
        """Whole plans from the states ``x (B, n)``."""
        states, finite = state_rows(self.problem, x)
        answer, form, system = self.solve(states, whole=True), self.ready.form, self.problem.system
        status = blanked(answer.control, finite).status
        xs, us = form.inputs(system.A, system.B, states, answer.z)
        xs[status <= 0], us[status <= 0] = np.nan, np.nan
        scale = np.where(status[:, None] > 0, 2.0, 1.0)
        multipliers = scale * answer.multipliers / form.norms
        return Plan(xs, us, multipliers, answer.active, status, answer.iterations, answer.route)

    def roll_out(self, x0: Array, steps: int, w: Array | None) -> tuple[Array, Control]:
        """Closed loops from ``x0 (E, n)`` in one call: states ``(E, steps, n)`` and labels.

        The same bits as ``steps`` calls. A loop ends with the first state without a label (its status is
        kept) or past the divergence limit.
        """
        x = first_rows(x0, steps)
        return by_loops(x, self.solve(x, loops=plant(self.problem, steps, w)).control, steps)

    def solve(self, x: Array, *, loops: tuple[Any, ...] | None = None, whole: bool = False) -> Answer:
        """Call the kernel on the rows of x, in blocks over the threads.

        Args:
            loops: the plant of closed loops whose states are the rows; by default every row stands alone.
            whole: give plans, multipliers and active sets too.
        """
        form, slabs, ready = self.ready.form, self.ready.slabs, self.ready
        loops = loops or plant(self.problem)
        steps = loops[0]
        answer = Answer.blank(len(x), self.problem, *(form.M.shape if whole else (0, 0)))
        control = answer.control
        limit = self.max_iterations or 100 + 10 * sum(form.M.shape)

        def work(start: int, stop: int) -> None:
            label_states(
                start * steps, stop * steps, x, loops, self.atlas.arrays, slabs.M, ready.ET, slabs.gram,
                slabs.low, slabs.high, slabs.stage, slabs.slab, slabs.sign, form.M, ready.MT, form.w, form.E,
                form.norms, ready.upper, ready.K, ready.T, ready.L, form.P0, self.first, limit,
                control.status, control.u, control.dudx, control.value, control.gradient, control.curvature,
                control.cost, control.slack,
                answer.z, answer.multipliers, answer.active, answer.iterations, answer.route,
            )  # fmt: skip

        # Nanoseconds a row, measured on cases a to e of the speed benchmark; a call costs some thousands.
        effort, most = (200.0, 4096) if len(self.atlas) else (1500 + 1.3 * slabs.M.size, 256)
        run_blocks(len(x) // steps, work, steps * effort, max(16 // steps, 1), max(most // steps, 16))
        return answer if self.soft else replace(answer, control=replace(control, slack=None))
