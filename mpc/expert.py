"""What an expert is: a function from states to labelled actions."""

from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array, real_array
from mpc.problem import ControlProblem
from mpc.status import Status


@dataclass(frozen=True, eq=False)
class Control:
    """Actions and labels of a batch of states; a field is None where the expert has no such label.

    Args:
        u: actions ``(..., m)``; NaN where the status is not usable.
        status: int8 ``(...)``, see ``Status``; usable means > 0.
        dudx: Jacobian of the action ``(..., m, n)``.
        value: optimum of the objective actually minimised ``(...)``.
        gradient: d value / d x ``(..., n)``.
        curvature: d2Q/du0^2 ``(..., m, m)`` of the state-action value, later inputs re-optimised.
        cost: the plain V of the problem at the same plan ``(...)``.
        slack: largest violation of a softened state row ``(...)``, in the row's own units.
    """

    u: Array
    status: np.ndarray
    dudx: Array | None = None
    value: Array | None = None
    gradient: Array | None = None
    curvature: Array | None = None
    cost: Array | None = None
    slack: Array | None = None

    @property
    def usable(self) -> np.ndarray:
        """Boolean ``(...)``: the label may be used."""
        return self.status > 0

    def or_raise(self, x: ArrayLike) -> "Control":
        """This control, if every state of ``x`` that it answers is usable: the switch from status to error.

        Raises:
            ValueError: names the first state without a usable label, its status and the remedy.
        """
        if not self.usable.all():
            row = tuple(int(i) for i in np.argwhere(~self.usable)[0])
            status, where = Status(int(self.status[row])), ", ".join(map(str, row))
            raise ValueError(f"x = {np.asarray(x)[row]} (row {where}) is {status.name}: {status.sentence}")
        return self

    def arrays(self) -> dict[str, np.ndarray]:
        """The labels that exist, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in named.items() if value is not None}

    def map(self, function: Any) -> "Control":
        """Apply ``function`` to every label that exists."""
        return replace(self, **{name: function(value) for name, value in self.arrays().items()})

    def __getitem__(self, index: Any) -> "Control":
        """Rows of the leading axes."""
        return self.map(lambda value: value[index])


@runtime_checkable
class Expert(Protocol):
    """``expert(x (B, n)) -> Control``: the same bits for a state whatever its batch or place in it."""

    @property
    def problem(self) -> ControlProblem: ...

    def __call__(self, x: ArrayLike) -> Control: ...


def state_rows(problem: ControlProblem, x: ArrayLike) -> tuple[Array, np.ndarray]:
    """States as a contiguous float64 ``(B, n)`` and which rows are finite.

    Raises:
        ValueError: if x does not have shape (B, n).
    """
    array = np.ascontiguousarray(real_array("x", x))
    if array.ndim != 2 or array.shape[1] != problem.n:
        raise ValueError(
            f"x must have shape (B, {problem.n}), one state a row, got {array.shape}; "
            f"pass x[None, :] for a single state"
        )
    return array, np.asarray(np.isfinite(array).all(axis=1))


def blanked(control: Control, finite: np.ndarray) -> Control:
    """The control with NaN in every unusable row, and ``invalid_input`` where x was not finite."""
    status = np.where(finite, control.status, np.int8(Status.invalid_input)).astype(np.int8)
    bad = status <= 0
    if not bad.any():
        return replace(control, status=status)

    def blank(value: np.ndarray) -> np.ndarray:
        out = np.array(value, dtype=np.float64)
        out[bad] = np.nan
        return out

    labels = {name: blank(value) for name, value in control.arrays().items() if name != "status"}
    return replace(control, status=status, **labels)
