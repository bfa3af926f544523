"""Control problems built from their answer: the optimal plan and its multipliers are drawn, not solved for.

The rows of a problem are the same at every stage, but their bounds need not be: states that no input moves
can carry them. A mixed row i has N such states, a register that shifts by one each stage, and reads
``C_i x + D_i u + (head of register i) <= 0``. So any multipliers y can be drawn on the mixed rows of any
stages and on the terminal rows; the plan is ``H U = -F'x - G'y``, and then the registers and the bounds of
all other rows follow from where the plan stands.
"""

from dataclasses import dataclass

import numpy as np
from awkward_problems import definite

from mpc.arrays import Array
from mpc.condense import condense
from mpc.polytope import Polytope
from mpc.problem import ControlProblem
from mpc.system import LinearSystem


@dataclass(frozen=True)
class Shape:
    """What to draw.

    Args:
        n, m, N: plant states, inputs, horizon; each mixed row adds N states.
        mixed, terminal: rows over (x, u), and rows over x_N.
        active, weak: how many of these, over all stages, hold with equality, with and without a multiplier.
        touching: rows of X and of U that the plan touches at some stage with multiplier 0.
    """

    n: int
    m: int
    N: int
    mixed: int
    terminal: int
    active: int
    weak: int = 0
    touching: int = 0


@dataclass(frozen=True, eq=False)
class Known:
    """A problem and a state ``x`` whose optimal plan ``(N m,)`` and multipliers ``(c,)`` are known."""

    problem: ControlProblem
    x: Array
    plan: Array
    multipliers: Array


def known_answer(shape: Shape, seed: int) -> Known:
    """A random problem of a shape; rows that are not to be met stay at least 0.1 away from the plan."""
    rng, s = np.random.default_rng(seed), shape
    free = _without_bounds(s, rng)
    name, index, stage = _rows(free)
    choice = rng.permutation(np.flatnonzero((name == "XU") | (name == "Xf")))
    y = np.zeros(len(name))
    room = np.where((name == "XU") | (name == "Xf"), rng.uniform(0.1, 2.0, len(name)), 0.0)
    y[choice[: s.active]] = rng.uniform(0.1, 2.0, len(choice[: s.active]))
    room[choice[: s.active + s.weak]] = 0.0
    form, x = condense(free), np.append(rng.normal(size=s.n), np.zeros(s.mixed * s.N))
    plan = np.linalg.solve(form.H, -form.F.T @ x - form.G.T @ y)
    needed = form.G @ plan - form.E @ x + room  # the least bound that leaves this much room
    mixed = name == "XU"
    x[s.n + s.N * index[mixed] + stage[mixed]] = -needed[mixed]
    bounds = {which: np.full(rows, -np.inf) for which, rows in _counts(free).items() if which != "XU"}
    for which, bound in bounds.items():
        np.maximum.at(bound, index[name == which], needed[name == which])
    for which in ("X", "U"):
        bounds[which][s.touching :] += 1.0
    sets = {which: Polytope(getattr(free, which).G, bound) for which, bound in bounds.items() if len(bound)}
    return Known(free.with_(**sets), x, plan, y)


def _without_bounds(s: Shape, rng: np.random.Generator) -> ControlProblem:
    """The problem with every bound 0."""
    registers = s.mixed * s.N
    A, B = rng.normal(size=(s.n, s.n)), rng.normal(size=(s.n, s.m))
    A *= rng.uniform(0.4, 1.1) / max(np.abs(np.linalg.eigvals(A)).max(), 1e-9)
    shift = np.kron(np.eye(s.mixed), np.eye(s.N, k=1))
    heads = np.kron(np.eye(s.mixed), np.eye(1, s.N))
    Q, R = definite(rng, s.n), 10.0 ** rng.uniform(-2, 1) * definite(rng, s.m)

    def rows(count: int, *widths: int) -> list[Array]:
        return [rng.normal(size=(count, width)) for width in widths]

    def over_states(count: int) -> Polytope:
        return Polytope(np.hstack([*rows(count, s.n), np.zeros((count, registers))]), np.zeros(count))

    C, D = rows(s.mixed, s.n, s.m)
    return ControlProblem(
        system=LinearSystem(_blocks(A, shift), np.vstack([B, np.zeros((registers, s.m))])),
        X=over_states(2 * s.n + 1),
        U=Polytope(*rows(2 * s.m + 1, s.m), np.zeros(2 * s.m + 1)),
        XU=Polytope(np.hstack([C, heads, D]), np.zeros(s.mixed)) if s.mixed else None,
        Xf=over_states(s.terminal) if s.terminal else None,
        Q=_blocks(Q, np.eye(registers)),
        R=R,
        Qf=_blocks(2 * Q, np.eye(registers)),
        N=s.N,
    )


def _blocks(first: Array, second: Array) -> Array:
    n, r = len(first), len(second)
    return np.block([[first, np.zeros((n, r))], [np.zeros((r, n)), second]])


def _rows(problem: ControlProblem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Set, row of the set, and stage of each condensed row, in the order of ``stage_rows``."""
    out, counts = [], _counts(problem)
    for k in range(problem.N + 1):
        sets = (["X"] if k else []) + (["U", "XU"] if k < problem.N else ["Xf"])
        out += [(which, i, k) for which in sets for i in range(counts[which])]
    name, index, stage = zip(*out, strict=True)
    return np.array(name), np.array(index), np.array(stage)


def _counts(problem: ControlProblem) -> dict[str, int]:
    sets = {which: getattr(problem, which) for which in ("X", "U", "XU", "Xf")}
    return {which: len(P.h) if P else 0 for which, P in sets.items()}


def said_again(problem: ControlProblem, seed: int) -> ControlProblem:
    """Every row once more, rescaled, half of them with room to spare: the same law."""
    rng = np.random.default_rng(seed)

    def again(polytope: Polytope | None) -> Polytope | None:
        if polytope is None:
            return None
        scale = rng.uniform(0.1, 10.0, len(polytope.h))
        weaker = polytope.h + rng.integers(2, size=len(scale))
        G = np.vstack([polytope.G, scale[:, None] * polytope.G])
        return Polytope(G, np.append(polytope.h, scale * weaker))

    return problem.with_(**{name: again(getattr(problem, name)) for name in ("X", "U", "Xf", "XU")})
