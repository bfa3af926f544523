"""Plants of the literature: one JSON file each in this folder, all read by ``load``.

A file has the letters of the benchmark collection it comes from (Kouzoupis, Zanelli, Peyrl and Ferreau,
"Towards proper assessment of QP algorithms for embedded model predictive control", ECC 2015; repository
ferreau/mpcBenchmarking), and ``problem_from`` turns them into a ``ControlProblem`` by these rules::

    y_k = C x_k + D u_k                 C = I where missing, D = 0 where missing
    cost   y_k'Q y_k + u_k'R u_k        so the weight of the states is C'QC; a cross weight S must be zero
    P      terminal weight              C'QC where missing (the collection's own program takes zero there)
    umin <= u <= umax,   ymin <= y <= ymax,   dmin <= M y + N u <= dmax,   dNmin <= T x_N <= dNmax

null (or an infinite number) is no bound: the row is left out. Rows of y, M and N that do not touch u are
rows of X, hold at k = 1..N and leave x_0 free, as everywhere in this project; rows that touch u are mixed
constraints. Upper bounds come first, then lower ones. ``initial`` is the box that x_0 is drawn from, a
choice made here; references, offsets and blocked moves (``uIdx``) have no place in a regulation problem.
"""

import json
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.system import LinearSystem

Weight = str | ArrayLike


def names() -> tuple[str, ...]:
    """Names of the plants in alphabetical order, e.g. 'spring_mass_2'."""
    entries = (entry.name for entry in files("mpc.plants").iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in entries if name.endswith(".json")))


def read(name: str) -> dict[str, Any]:
    """The content of the plant's file."""
    return json.loads((files("mpc.plants") / f"{name}.json").read_text(encoding="utf-8"))


def load(name: str, N: int | None = None, Qf: Weight | None = None) -> ControlProblem:
    """The plant called ``name``; N and Qf replace the horizon and the terminal weight of the literature."""
    problem = problem_from(read(name))
    changes: dict[str, Any] = {"N": N, "Qf": Qf}
    changes = {key: value for key, value in changes.items() if value is not None}
    return problem.with_(**changes) if changes else problem


def problem_from(data: dict[str, Any]) -> ControlProblem:
    """The regulation problem in a plant's file, by the rules at the top of this module.

    Raises:
        ValueError: if the problem does not regulate to the origin (yr, ur or f not zero), blocks moves
            (uIdx), has a cross weight S, a singular R, or an empty set.
    """
    _refuse_what_has_no_place(data)
    A, B = np.array(data["A"], float), np.array(data["B"], float)
    n, m = B.shape
    C = np.array(data.get("C", np.eye(n)), float)
    D = np.array(data.get("D", np.zeros((len(C), m))), float)
    weight = np.array(data["Q"], float)
    if (weight @ D).any():
        raise ValueError(
            f"{data['name']}: D must be zero where Q weights the output, else x and u are coupled"
        )
    Q = _symmetric(C.T @ weight @ C)
    X, XU = _state_and_mixed(data, C, D)
    T = np.array(data.get("T", np.zeros((0, n))), float)
    initial = data.get("initial")
    return ControlProblem(
        system=LinearSystem(A, B, dt=data.get("Ts", 1.0)),
        X=X,
        U=Polytope(*_interval(data, "umin", "umax", np.eye(m))),
        Q=Q,
        R=_symmetric(np.array(data["R"], float)),
        Qf=_symmetric(np.array(data["P"], float)) if "P" in data else Q,
        N=int(data["ni"]),
        Xf=Polytope(*_interval(data, "dNmin", "dNmax", T)) if len(T) else None,
        XU=XU if len(XU.h) else None,
        initial=None if initial is None else Polytope.box(initial["low"], initial["high"]),
        name=data["name"],
        state_labels=tuple(data.get("state_labels", ())),
        input_labels=tuple(data.get("input_labels", ())),
    )


def _refuse_what_has_no_place(data: dict[str, Any]) -> None:
    for key, meaning in (
        ("yr", "a reference of the outputs"),
        ("ur", "a reference of the inputs"),
        ("f", "an offset of the dynamics"),
        ("S", "a cross weight"),
    ):
        if np.any(np.array(data.get(key, 0.0), float)):
            raise ValueError(f"{data['name']}: {key}, {meaning}, must be zero to regulate to the origin")
    if data.get("uIdx"):
        raise ValueError(
            f"{data['name']}: uIdx blocks moves of the input, which a ControlProblem cannot express"
        )


def _state_and_mixed(data: dict[str, Any], C: Array, D: Array) -> tuple[Polytope, Polytope]:
    """Rows of ymin, ymax, dmin, dmax: those without u over x, the others over (x, u)."""
    n, m = C.shape[1], D.shape[1]
    outputs = np.hstack([C, D])
    M = np.array(data.get("M", np.zeros((0, len(C)))), float)
    N = np.array(data.get("N", np.zeros((0, m))), float)
    mixed_rows = M @ outputs + np.hstack([np.zeros((len(M), n)), N])
    blocks = _interval(data, "ymin", "ymax", outputs), _interval(data, "dmin", "dmax", mixed_rows)
    G, h = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    mixed = G[:, n:].any(axis=1)
    return Polytope(G[~mixed, :n], h[~mixed]), Polytope(G[mixed], h[mixed])


def _interval(data: dict[str, Any], low: str, high: str, G: Array) -> tuple[Array, Array]:
    """``low <= G z <= high`` as rows, upper bounds first; a bound that is missing or infinite has none."""
    none = [None] * len(G)
    upper = _vector(data.get(high, none), np.inf)
    lower = _vector(data.get(low, none), -np.inf)
    rows, h = np.vstack([G, -G]), np.concatenate([upper, -lower])
    return rows[np.isfinite(h)], h[np.isfinite(h)]


def _vector(values: Iterable[float | None], missing: float) -> Array:
    return np.array([missing if value is None else value for value in values], float)


def _symmetric(M: Array) -> Array:
    """``(M + M')/2``: the same cost."""
    return (M + M.T) / 2


def _function(name: str) -> Callable[..., ControlProblem]:
    def plant(N: int | None = None, Qf: Weight | None = None) -> ControlProblem:
        return load(name, N, Qf)

    data = read(name)
    plant.__name__ = plant.__qualname__ = name
    notes = "".join(f"\n\n    {note}" for note in data.get("notes", ()))
    plant.__doc__ = f"{data['description']}{notes}\n\n    Source: {data['citation']}\n    "
    return plant


FUNCTIONS: tuple[Callable[..., ControlProblem], ...] = tuple(_function(name) for name in names())
"""One function for each plant, called by the plant's name, with ``N`` and ``Qf`` as in the catalogue."""
