"""The control problem: a linear system inside polytopes, with the quadratic cost an MPC expert minimises."""

import hashlib
import json
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array, real_array, require_psd, whole_number
from mpc.polytope import Polytope
from mpc.system import LinearSystem

_DIVERGED_AT = 100.0


@dataclass(frozen=True, eq=False)
class ControlProblem:
    """A linear system inside polytopes with a quadratic cost over a horizon of ``N`` steps.

    The plan of an MPC expert at ``x_0`` minimises (the cost is not halved, x_0 is not charged)::

        V(x_0) = sum_{k=0..N-1} u_k'R u_k + sum_{k=1..N-1} x_k'Q x_k + x_N'Qf x_N
        x_{k+1} = A x_k + B u_k
        u_k in U, (x_k, u_k) in XU  (k = 0..N-1),   x_k in X  (k = 1..N),   x_N in Xf

    ``x_0`` itself is not constrained by ``X``; the feasible set is every x_0 with a plan.

    Args:
        system: the plant.
        X, U: state and input polytopes (None: no constraint).
        Q, R: stage weights, ``(n, n)`` positive semidefinite and ``(m, m)`` positive definite.
        Qf: terminal weight: 'dare' (solution of the discrete algebraic Riccati equation, the
            default), 'Q', or an array ``(n, n)``.
        N: horizon, at least 1.
        Xf: terminal polytope in addition to X, or None.
        XU: mixed constraints over ``z = (x, u)``, or None.
        initial: initial states are uniform on this polytope's part of the feasible set (None: X).
        W: polytope of disturbances ``w`` in ``x+ = A x + B u + w``, or None.
        name, state_labels, input_labels: for reports; a label carries its unit, as in "position [m]".

    Raises:
        ValueError: names the argument, what it was and the remedy.
    """

    system: LinearSystem
    X: Polytope = None  # type: ignore[assignment]
    U: Polytope = None  # type: ignore[assignment]
    Q: Array = None  # type: ignore[assignment]
    R: Array = None  # type: ignore[assignment]
    Qf: Array = "dare"  # type: ignore[assignment]
    N: int = 10
    Xf: Polytope | None = None
    XU: Polytope | None = None
    initial: Polytope | None = None
    W: Polytope | None = None
    name: str = "unnamed"
    state_labels: tuple[str, ...] = ()
    input_labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n, m = self.n, self.m

        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("X", Polytope.whole_space(n) if self.X is None else self.X)
        put("U", Polytope.whole_space(m) if self.U is None else self.U)
        for name, dimension in (("X", n), ("U", m), ("Xf", n), ("XU", n + m), ("initial", n), ("W", n)):
            polytope = getattr(self, name)
            if not isinstance(polytope, Polytope | None):
                raise ValueError(f"{name} must be a Polytope(G, h), got {type(polytope).__name__}")
            if polytope is not None and polytope.dimension != dimension:
                raise ValueError(
                    f"{name} must be a polytope in R^{dimension} (n={n} states, m={m} inputs), "
                    f"got one in R^{polytope.dimension}"
                )
        put("Q", require_psd("Q", np.eye(n) if self.Q is None else self.Q, n, definite=False))
        put("R", require_psd("R", np.eye(m) if self.R is None else self.R, m, definite=True))
        put("Qf", require_psd("Qf", self._terminal_weight(), n, definite=False))
        put("N", whole_number("N, the horizon,", self.N, 1))
        for name, letter, count in (("state_labels", "x", n), ("input_labels", "u", m)):
            labels = tuple(getattr(self, name)) or tuple(f"{letter}{i + 1}" for i in range(count))
            if len(labels) != count:
                raise ValueError(f"{name} must have {count} entries, got {len(labels)}: {labels}")
            put(name, labels)

    def _terminal_weight(self) -> ArrayLike:
        if not isinstance(self.Qf, str):
            return self.Qf
        if self.Qf == "Q":
            return self.Q
        if self.Qf != "dare":
            raise ValueError(f"Qf must be 'Q', 'dare' or an array, got {self.Qf!r}")
        return riccati_solution(self.system, self.Q, self.R)

    @property
    def n(self) -> int:
        """Number of states."""
        return self.system.n

    @property
    def m(self) -> int:
        """Number of inputs."""
        return self.system.m

    @property
    def initial_set(self) -> Polytope:
        """Where initial states are drawn from, before intersection with the feasible set."""
        return self.X if self.initial is None else self.initial

    @cached_property
    def divergence_limit(self) -> float:
        """A closed loop with ``||x||_inf`` above this has diverged: 100 times the radius of X.

        Where X bounds nothing, the radius of the set of initial states stands in for it.
        """
        radius = self.X.radius or self.initial_set.radius
        return _DIVERGED_AT * radius if radius else np.inf

    def with_(self, **changes: Any) -> "ControlProblem":
        """A copy with some fields replaced, e.g. ``problem.with_(N=20)``."""
        return replace(self, **changes)

    def record(self) -> dict[str, Any]:
        """JSON-able form that ``ControlProblem.from_record`` reads back to the same bits."""
        out: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Polytope):
                value = {"G": value.G.tolist(), "h": value.h.tolist()}
            elif isinstance(value, LinearSystem):
                value = {"A": value.A.tolist(), "B": value.B.tolist(), "dt": value.dt}
            elif isinstance(value, np.ndarray):
                value = value.tolist()
            elif isinstance(value, tuple):
                value = list(value)
            out[field.name] = value
        return out

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "ControlProblem":
        """Inverse of ``record``.

        Raises:
            ValueError: if a field is missing, unknown or invalid.
        """
        names = {field.name for field in fields(cls)}
        if set(record) != names:
            raise ValueError(
                f"not the record of a ControlProblem: missing {sorted(names - set(record))}, "
                f"unknown {sorted(set(record) - names)}"
            )
        arguments = dict(record)
        _require_keys("system", record["system"], {"A", "B", "dt"})
        system = LinearSystem(**record["system"])
        n, m = system.n, system.m
        arguments["system"] = system
        for name, dimension in (("X", n), ("U", m), ("Xf", n), ("XU", n + m), ("initial", n), ("W", n)):
            if record[name] is not None:
                arguments[name] = _polytope_of(name, record[name], dimension)
        for name in ("state_labels", "input_labels"):
            arguments[name] = tuple(record[name])
        return cls(**arguments)

    @cached_property
    def key(self) -> str:
        """sha256 of the problem's arrays and names: what identifies it on disk."""
        text = json.dumps(self.record(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _require_keys(name: str, record: Any, keys: set[str]) -> None:
    if not (isinstance(record, dict) and set(record) == keys):
        found = sorted(record) if isinstance(record, dict) else type(record).__name__
        raise ValueError(f"{name} of a problem's record must hold {sorted(keys)}, got {found}")


def _polytope_of(name: str, record: Any, dimension: int) -> Polytope:
    _require_keys(name, record, {"G", "h"})
    G = real_array(f"G of {name}", record["G"])
    try:
        return Polytope(G.reshape(0, dimension) if not G.size else G, record["h"])
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def riccati_solution(system: LinearSystem, Q: Array, R: Array) -> Array:
    """``P = Q + A'PA - A'PB (R + B'PB)^-1 B'PA``, the infinite-horizon cost x'Px (not halved).

    Raises:
        ValueError: where no stabilising solution exists.
    """
    from scipy.linalg import solve_discrete_are

    try:
        P = solve_discrete_are(system.A, system.B, Q, R)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "Qf='dare' needs (A, B) stabilisable and (A, Q) without unobservable modes on the unit circle; "
            "pass Qf='Q' or an array"
        ) from error
    return (P + P.T) / 2


def stage_rows(problem: ControlProblem, k: int) -> tuple[Array, Array, Array]:
    """The rows ``C x_k + D u_k <= d`` of prediction stage ``k`` in their fixed order.

    ``k < N``: X (only k >= 1), then U, then XU. ``k = N``: X, then Xf, with D of zeros.
    """
    n, m = problem.n, problem.m
    blocks: list[tuple[Array, Array, Array]] = []

    def add(polytope: Polytope | None, C: Array, D: Array) -> None:
        if polytope is not None:
            blocks.append((C, D, polytope.h))

    def states(polytope: Polytope) -> tuple[Array, Array]:
        return polytope.G, np.zeros((len(polytope.h), m))

    if k >= 1:
        add(problem.X, *states(problem.X))
    if k < problem.N:
        add(problem.U, np.zeros((len(problem.U.h), n)), problem.U.G)
        if problem.XU is not None:
            add(problem.XU, problem.XU.G[:, :n], problem.XU.G[:, n:])
    elif problem.Xf is not None:
        add(problem.Xf, *states(problem.Xf))
    C, D, d = zip(*blocks, strict=True)
    return np.vstack(C), np.vstack(D), np.concatenate(d)


def stage_cost(problem: ControlProblem, x_next: ArrayLike, u: ArrayLike) -> Array:
    """``x_{t+1}'Q x_{t+1} + u_t'R u_t`` for rows of states and inputs: the summand of J."""
    return quadratic(np.asarray(x_next, float), problem.Q) + quadratic(np.asarray(u, float), problem.R)


def quadratic(x: Array, M: Array) -> Array:
    """``x' M x`` for each row of ``x (..., n)``, summed in a fixed order."""
    out = np.zeros(x.shape[:-1])
    for i in range(M.shape[0]):
        row = np.zeros(x.shape[:-1])
        for j in range(M.shape[1]):
            row += M[i, j] * x[..., j]
        out += x[..., i] * row
    return out
