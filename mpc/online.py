"""Exact MPC: the optimal plan from each state."""

from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array
from mpc.expert import Control, blanked, state_rows
from mpc.kernels.exact import CARE, CHOICE, ROUNDS, STEPS, label_states
from mpc.kernels.threads import run_blocks
from mpc.prepared import Prepared, prepare
from mpc.problem import ControlProblem
from mpc.reference import reference_expert
from mpc.rolling import by_loops, first_rows, plant
from mpc.status import Status

_BACK_ENDS = ("auto", "osqp", "cvxpy")
_FIRST = {"careful": CARE, "active_set": STEPS, "auto": CHOICE, "rounds": ROUNDS}


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

    ROUTES: ClassVar[tuple[str, ...]] = ("none", "rounds", "active_set", "careful")

    x: Array
    u: Array
    multipliers: Array
    active: np.ndarray
    status: np.ndarray
    iterations: np.ndarray
    route: np.ndarray


@dataclass(frozen=True, eq=False)
class _Answer:
    """What the kernel writes, in the units of the least-distance form."""

    control: Control
    z: Array
    multipliers: Array
    active: np.ndarray
    iterations: np.ndarray
    route: np.ndarray

    @classmethod
    def blank(cls, B: int, problem: ControlProblem, rows: int, columns: int) -> "_Answer":
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
class OnlineExpert:
    """Exact MPC: ``u = u_0`` of the plan that minimises V (see ``ControlProblem``).

    The own solver finds the active set, and computes the label from the active set alone, to
    rounding. Value, gradient and Jacobian are those of the piece of the piecewise-affine law that
    the active set belongs to; ``curvature`` holds the active rows of the stages k >= 1 fixed and leaves
    the rows of stage 0 out.

    Args:
        problem: the control problem.
        solver: 'auto' (own), or 'osqp' and 'cvxpy' (CLARABEL) as references: slower, and with
            action, value and cost only.
        soft: weight rho > 0 of an exact L1 penalty on the violation of rows that constrain states
            alone; None keeps them hard. Where a row gives way the status is optimal_inaccurate and
            ``slack`` says by how much. Soft problems take the careful route.
        max_iterations: limit on the active-set changes of the careful route, which is the one taken
            where a limit is given; by default 100 + 10 (rows + inputs).
        route: how the own solver finds active sets. 'careful' is a dual method on orthonormal factors,
            'active_set' the same method on inner products of the rows, 'rounds' exchanges many rows at
            once; what the last two cannot settle beyond doubt goes to the one before. 'auto' takes rounds
            where many rows are violated, and single steps elsewhere. ``plan(x).route`` tells what settled
            a state. 'rounds', 'active_set' and 'auto' give the same labels to the last bit, 'careful'
            differs where two active sets are valid.

    Raises:
        ValueError: for an unknown solver or route, soft <= 0, or both a reference solver and soft.
    """

    problem: ControlProblem
    solver: str = "auto"
    soft: float | None = None
    max_iterations: int | None = None
    route: str = "auto"
    _prepared: Prepared = field(init=False, repr=False)
    _reference: object = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.solver not in _BACK_ENDS:
            raise ValueError(f"solver must be one of {_BACK_ENDS}, got {self.solver!r}")
        if self.route not in _FIRST:
            raise ValueError(f"route must be one of {tuple(_FIRST)}, got {self.route!r}")
        if self.soft is not None and not (np.isfinite(self.soft) and self.soft > 0):
            raise ValueError(f"soft, the weight of the penalty, must be positive, got {self.soft}")
        if self.max_iterations is not None and self.max_iterations < 1:
            raise ValueError(f"max_iterations must be at least 1, got {self.max_iterations}")
        if self.solver != "auto":
            if self.soft is not None:
                raise ValueError("soft works with the own solver only: leave solver='auto' or soft=None")
            object.__setattr__(self, "_reference", reference_expert(self.problem, self.solver))
        object.__setattr__(self, "_prepared", prepare(self.problem, self.soft))

    def __call__(self, x: ArrayLike) -> Control:
        """Labels of the states ``x (B, n)``."""
        states, finite = state_rows(self.problem, x)
        if self._reference is not None:
            control: Control = self._reference(states, finite)  # type: ignore[operator]
        else:
            control = self._solve(states, whole=False).control
        return blanked(control, finite)

    def plan(self, x: ArrayLike) -> Plan:
        """Whole plans from the states ``x (B, n)``, by the own solver."""
        states, finite = state_rows(self.problem, x)
        answer, form, system = self._solve(states, whole=True), self._prepared.form, self.problem.system
        status = blanked(answer.control, finite).status
        xs, us = form.inputs(system.A, system.B, states, answer.z)
        xs[status <= 0], us[status <= 0] = np.nan, np.nan
        scale = np.where(status[:, None] > 0, 2.0, 1.0)
        multipliers = scale * answer.multipliers / form.norms
        return Plan(xs, us, multipliers, answer.active, status, answer.iterations, answer.route)

    def roll_out(self, x0: Array, steps: int, w: Array | None) -> tuple[Array, Control] | None:
        """Closed loops from ``x0 (E, n)`` in one call: states ``(E, steps, n)`` and labels.

        None for a back end. The same bits as ``steps`` calls. A loop ends with the first state without a
        label (its status is kept) or past the divergence limit.
        """
        if self._reference is not None:
            return None
        x = first_rows(x0, steps)
        return by_loops(x, self._solve(x, whole=False, steps=steps, w=w).control, steps)

    def _first(self) -> int:
        """What the kernel tries first."""
        hard = self.soft is None and self.max_iterations is None and self._prepared.slabs.gram.size > 0
        return _FIRST[self.route] if hard else CARE

    def _solve(self, x: Array, *, whole: bool, steps: int = 1, w: Array | None = None) -> _Answer:
        ready, form, slabs = self._prepared, self._prepared.form, self._prepared.slabs
        answer = _Answer.blank(len(x), self.problem, *(form.M.shape if whole else (0, 0)))
        control, quick = answer.control, self._first()
        limit = self.max_iterations or 100 + 10 * sum(form.M.shape)
        loops = plant(self.problem, steps, w)

        def work(start: int, stop: int) -> None:
            label_states(
                start * steps, stop * steps, x, loops, slabs.M, ready.ET, slabs.gram, slabs.low, slabs.high,
                slabs.stage, slabs.slab, slabs.sign, form.M, ready.MT, form.w, form.E, form.norms,
                ready.upper, ready.K, ready.T, ready.L, form.P0, quick, limit,
                control.status, control.u, control.dudx, control.value, control.gradient, control.curvature,
                control.cost, control.slack,
                answer.z, answer.multipliers, answer.active, answer.iterations, answer.route,
            )  # fmt: skip

        effort = steps * (1500 + 1.3 * slabs.M.size)  # measured on cases a to e of the speed benchmark
        run_blocks(len(x) // steps, work, effort, least=max(16 // steps, 1))
        return answer if self.soft is not None else replace(answer, control=replace(control, slack=None))


def feasible(problem: ControlProblem, x: ArrayLike) -> np.ndarray:
    """Boolean ``(B,)``: a plan exists from each state of ``x (B, n)``."""
    return OnlineExpert(problem)(x).status == Status.optimal
