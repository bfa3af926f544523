"""Rows of the table of solvers."""

from dataclasses import dataclass

import numpy as np

from bench.speed.cases import Case
from bench.speed.peers import Task
from bench.speed.timing import Times
from mpc.arrays import Array

TARGET = 1e-6
"""What 99 % of a solver's labels must be within, in u_0, for its time to be compared."""
_NAN = float("nan")


@dataclass(frozen=True)
class Accuracy:
    """How far first inputs are from the truth.

    Args:
        states: states with an audited truth.
        failed: those of them that got no label; their error counts as infinite.
        largest, q99: largest error ``max |u_0 - u_0*|`` over the states, and its 99 % quantile.
        jacobian: largest error of an entry of the Jacobian, NaN where none is given.
    """

    states: int
    failed: int
    largest: float
    q99: float
    jacobian: float = _NAN

    @classmethod
    def of(cls, u: Array, truth: Array) -> "Accuracy":
        """Errors of the labels ``u (B, m)``; states whose truth is NaN are left out.

        Raises:
            ValueError: if no truth is left.
        """
        audited = ~np.isnan(truth).any(axis=1)
        if not audited.any():
            raise ValueError("no state has an audited truth to compare with; is the problem ill-conditioned?")
        errors = np.abs(u[audited] - truth[audited]).max(axis=1)
        failed = np.isnan(errors)
        errors[failed] = np.inf
        q99 = float(np.quantile(errors, 0.99, method="higher"))
        return cls(len(errors), int(failed.sum()), float(errors.max()), q99)

    @property
    def reached(self) -> bool:
        return self.q99 <= TARGET


@dataclass(frozen=True)
class Row:
    """One line: a solver's microseconds a label on one task, and over ours on one thread.

    ``line`` says at which tolerance: 'matched' is the loosest that reaches the target, 'best' the one
    with the smallest error; ``note`` why there is nothing more to say.
    """

    problem: str
    n: int
    m: int
    N: int
    task: str
    solver: str
    version: str
    line: str
    note: str = ""
    threads: int = 1
    tolerance: float = _NAN
    states: int = 0
    failed: int = 0
    error_max: float = _NAN
    error_q99: float = _NAN
    error_jacobian: float = _NAN
    cpu_us: float = _NAN
    wall_us: float = _NAN
    cpu_ratio: float = _NAN
    wall_ratio: float = _NAN


@dataclass(frozen=True, eq=False)
class Sheet:
    """Makes the rows of one problem and task."""

    case: Case
    task: Task

    def timed(
        self, solver: str, version: str, line: str, accuracy: Accuracy, times: Times, ours: Times,
        *, threads: int = 1, tolerance: float | None = None,
    ) -> Row:  # fmt: skip
        """The row of a solver that was timed; ``ours`` is our time on one thread."""
        cpu, wall = times.microseconds()
        cpu_ratio, wall_ratio = times.ratios(ours)
        return Row(
            *self._place(), solver, version, line, "" if accuracy.reached else f"misses {TARGET:g}",
            threads, _NAN if tolerance is None else tolerance, accuracy.states, accuracy.failed,
            accuracy.largest, accuracy.q99, accuracy.jacobian, cpu, wall, cpu_ratio, wall_ratio,
        )  # fmt: skip

    def empty(self, solver: str, note: str) -> Row:
        """A row without numbers, and why."""
        return Row(*self._place(), solver, "", "", note)

    def _place(self) -> tuple[str, int, int, int, str]:
        problem = self.case.problem
        return self.case.name, problem.n, problem.m, problem.N, self.task.name
