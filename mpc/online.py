"""Exact MPC: the optimal plan from each state."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array
from mpc.atlas import empty_atlas
from mpc.exact import ExactLaw, Plan
from mpc.expert import Control, blanked, state_rows
from mpc.kernels.exact import CARE, CHOICE, ROUNDS, STEPS
from mpc.prepared import prepare
from mpc.problem import ControlProblem
from mpc.reference import reference_expert
from mpc.status import Status

_BACK_ENDS = ("auto", "osqp", "cvxpy")
_FIRST = {"careful": CARE, "active_set": STEPS, "auto": CHOICE, "lookup": CHOICE, "rounds": ROUNDS}
# Finding the regions of two states and, say, a hundred regions takes as long as solving so many states.
_WORTH_REGIONS, _FEW_STATES, _FEW_REGIONS = 100_000, 2, 1000


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
            once; what the last two cannot settle beyond doubt goes to the one before. 'lookup' finds all
            regions of the law at first need and looks states up. 'auto' takes rounds where many rows are
            violated, and single steps elsewhere; batches of 100,000 states and more of a system with one or
            two states it looks up. ``plan(x).route`` tells what settled a state. All but 'careful' give the
            same labels to the last bit; it differs where two active sets are valid.

    Raises:
        ValueError: for an unknown solver or route, soft <= 0, or both a reference solver and soft.
    """

    problem: ControlProblem
    solver: str = "auto"
    soft: float | None = None
    max_iterations: int | None = None
    route: str = "auto"
    _solves: ExactLaw = field(init=False, repr=False)
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
        ready = prepare(self.problem, self.soft)
        quick = self.soft is None and self.max_iterations is None and ready.slabs.gram.size > 0
        law = ExactLaw(
            self.problem,
            ready,
            empty_atlas(self.problem.n, self.problem.m),
            _FIRST[self.route] if quick else CARE,
            self.soft is not None,
            self.max_iterations,
        )
        object.__setattr__(self, "_solves", law)

    def __call__(self, x: ArrayLike) -> Control:
        """Labels of the states ``x (B, n)``."""
        states, finite = state_rows(self.problem, x)
        if self._reference is not None:
            control: Control = self._reference(states, finite)  # type: ignore[operator]
        else:
            control = self._law(len(states)).solve(states).control
        return blanked(control, finite)

    def plan(self, x: ArrayLike) -> Plan:
        """Whole plans from the states ``x (B, n)``, by the own solver."""
        return self._law(0).plan(x)

    def roll_out(self, x0: Array, steps: int, w: Array | None) -> tuple[Array, Control] | None:
        """Closed loops in one call, see ``ExactLaw.roll_out``; None for a back end."""
        return None if self._reference is not None else self._law(len(x0) * steps).roll_out(x0, steps, w)

    def _law(self, rows: int) -> ExactLaw:
        """How that many rows are labelled: by looking regions up where that pays for finding them."""
        worth = self.route == "auto" and rows >= _WORTH_REGIONS and self.problem.n <= _FEW_STATES
        if self._solves.first != CARE and (worth or self.route == "lookup"):
            return self._looks_up
        return self._solves

    @cached_property
    def _looks_up(self) -> ExactLaw:
        """The law with its regions, or without where ``auto`` finds too many or none."""
        from mpc.location import chart  # compiles kernels that most work does not need
        from mpc.partition import NoPartition, partition

        try:
            regions = partition(self.problem, max_regions=_FEW_REGIONS if self.route == "auto" else 50_000)
        except NoPartition:
            if self.route == "lookup":
                raise
            return self._solves
        return replace(self._solves, atlas=chart(regions))


def feasible(problem: ControlProblem, x: ArrayLike) -> np.ndarray:
    """Boolean ``(B,)``: a plan exists from each state of ``x (B, n)``."""
    return OnlineExpert(problem)(x).status == Status.optimal
