"""What a peer is: a solver set up once for a problem, and then asked state after state."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np

from mpc.arrays import Array
from mpc.problem import ControlProblem


@dataclass(frozen=True)
class Task:
    """What labels are asked for: exact ones (``eta`` None) or barrier ones, of which states.

    ``warm`` tells a solver that states follow each other along closed loops, so that it may start from
    the solution before; states far apart are solved from scratch.
    """

    name: str
    eta: float | None = None
    warm: bool = False


Label = Callable[[Array], Array]
"""States ``x (B, n)`` to first inputs ``(B, m)``, NaN where there is none."""
Solve = Callable[[Array], Array | float]
"""One state ``(n,)`` to the first input ``(m,)``, or NaN."""
FAILED = float("nan")


@dataclass(frozen=True)
class Peer:
    """A way to get labels with software that anybody can install.

    Args:
        name: as in the table.
        package: the distribution, imported under the same name; ``needs`` are others that it calls.
        ladder: tolerances from loose to tight, in the solver's own terms; (None,) if it has none.
        build: makes the label function for a problem, a tolerance and a task.
        warm: whether it can start from the solution before.
        jacobian: whether a label comes with its Jacobian.
    """

    name: str
    package: str
    ladder: tuple[float | None, ...]
    build: Callable[[ControlProblem, float | None, Task], Label]
    needs: tuple[str, ...] = ()
    warm: bool = False
    jacobian: bool = False

    @property
    def missing(self) -> tuple[str, ...]:
        """Packages that are not installed."""
        return tuple(name for name in (self.package, *self.needs) if find_spec(name) is None)

    @property
    def version(self) -> str:
        return version(self.package)


def one_by_one(solve: Solve, m: int) -> Label:
    """The label function that asks ``solve`` for state after state."""

    def label(x: Array) -> Array:
        u = np.empty((len(x), m))
        for i, state in enumerate(x):
            u[i] = solve(state)
        return u

    return label


def stated(tolerance: float | None) -> float:
    """The tolerance of a peer that has one."""
    if tolerance is None:
        raise TypeError("this peer needs a tolerance")
    return tolerance
