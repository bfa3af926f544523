"""Sets of states that a control problem gives rise to: invariant, control-invariant, feasible.

All are polytopes in minimal form with rows of norm 1, from half-spaces by recursions over
``Pre(S) = {x : u in U, (x, u) in XU, A x + B u in S for some u}`` (Borrelli, Bemporad, Morari, Predictive
Control for Linear and Hybrid Systems, 2017, chapter 10).
"""

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array, frozen
from mpc.lqr import LqrExpert
from mpc.polytope import Polytope, inscribed_ball
from mpc.problem import ControlProblem
from mpc.redundancy import eliminated, facets, unit_rows

_TOLERANCE = 1e-9  # of a row's bound and 1: sets that differ by less are the same
_CORNERS = 4  # dimensions in which corners are so few that they are quicker than linear programs


def positively_invariant(
    problem: ControlProblem, K: ArrayLike | None = None, max_steps: int = 500
) -> Polytope:
    """All states from which ``u = K x`` keeps every constraint for ever.

    ``{x : G (A + B K)^t x <= h, t = 0, 1, ...}`` over the rows of X, of ``(x, K x)`` in XU and of K x in U;
    it is finite once no row of the next step cuts (Gilbert, Tan, "Linear systems with state and control
    constraints", IEEE Trans. Automatic Control 36, 1991). As ``Xf`` it makes MPC recursively feasible.

    Args:
        K: gain ``(m, n)``; by default that of LQR with the problem's Q and R.
        max_steps: when to give up.

    Raises:
        ValueError: if ``A + B K`` is unstable, the set is empty, or ``max_steps`` do not suffice.
    """
    n, m = problem.n, problem.m
    gain = LqrExpert(problem).K if K is None else frozen("K", K, (m, n))
    closed = problem.system.A + problem.system.B @ gain
    radius = np.abs(np.linalg.eigvals(closed)).max()
    if radius >= 1:
        raise ValueError(f"A + B K must be stable, its spectral radius is {radius:.6g}; give another K")
    both = np.vstack([np.eye(n), gain])
    blocks = [(problem.X.G, problem.X.h), (problem.U.G @ gain, problem.U.h)]
    blocks += [] if problem.XU is None else [(problem.XU.G @ both, problem.XU.h)]
    G, h = unit_rows(
        np.vstack([block[0] for block in blocks]), np.concatenate([block[1] for block in blocks])
    )
    known, step = _minimal(G, h), G
    for _ in range(max_steps):
        step = step @ closed
        if _within(known, step, h, _TOLERANCE):
            return known
        known = _minimal(np.vstack([known.G, step]), np.concatenate([known.h, h]))
    raise ValueError(
        f"the invariant set is not determined by {max_steps} steps (A + B K has spectral radius "
        f"{radius:.6g}); raise max_steps, or give a K that contracts faster"
    )


def control_invariant(
    problem: ControlProblem, tolerance: float = 1e-9, max_steps: int = 100, max_facets: int = 2000
) -> Polytope:
    """All states from which some inputs keep every constraint for ever: the largest S in ``Pre(S)`` and X.

    ``S_0 = X, S_{j+1} = Pre(S_j) and X`` shrink to it. They are there once the next one cuts off no more than
    ``tolerance`` (of a bound and 1): then the answer is invariant to so much, and holds the set in question.
    For an unstable plant they may go on for ever, with ever more facets.

    Args:
        tolerance: how much of the last set the next one may cut off.
        max_steps, max_facets: when to give up.

    Raises:
        ValueError: if no state is left, or a limit is hit.
    """
    here = _minimal(problem.X.G, problem.X.h)
    for _ in range(max_steps):
        earlier = _eliminated(problem, here, max_facets)
        if earlier is None:
            break
        if _within(here, earlier.G, earlier.h, tolerance):
            return here
        here = _both(earlier, problem.X)
        if len(here.h) > max_facets:
            break
    raise ValueError(
        f"the control-invariant set is not determined within the limits ({len(here.h)} facets so far, "
        f"max_facets={max_facets}, max_steps={max_steps}); raise the limit or the tolerance "
        f"({tolerance:g}), or take positively_invariant(problem), which lies inside it"
    )


def feasible_set(problem: ControlProblem, steps: int | None = None, max_facets: int = 1000) -> Polytope:
    """All states ``x_0`` from which a plan of ``steps`` steps exists (by default the horizon N).

    X holds at k = 1..N, Xf at N, U and XU at k = 0..N-1; ``x_0`` need not be in X. It is where
    ``OnlineExpert`` has labels.

    Args:
        max_facets: when to give up, of this set or of one on the way to it; one step from a set of 1000 takes
            seconds to minutes, and the next set has more.

    Raises:
        ValueError: if no state has a plan, ``steps < 1``, or the limit is hit.
    """
    N = problem.N if steps is None else steps
    if N < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    here = _minimal(problem.X.G, problem.X.h) if problem.Xf is None else _both(problem.Xf, problem.X)
    for step in range(N):
        found = _eliminated(problem, here, max_facets)
        if found is None:
            raise ValueError(
                f"the set of states with a plan of {N} steps has too many facets to list: more than "
                f"max_facets={max_facets} at {step + 1} steps ({problem.n} states); ask for fewer steps or "
                f"raise max_facets, or have states tested one by one by mpc.online.feasible(problem, x)"
            )
        here = found if step == N - 1 else _both(found, problem.X)
    return here


def predecessors(problem: ControlProblem, target: Polytope) -> Polytope:
    """``Pre(target)``: the states that one admissible input leads into the target.

    The inputs are eliminated one by one from the half-spaces over (x, u).

    Raises:
        ValueError: if there is no such state.
    """
    found = _eliminated(problem, target, None)
    assert found is not None
    return found


def _eliminated(problem: ControlProblem, target: Polytope, max_facets: int | None) -> Polytope | None:
    """``Pre(target)``, or None once there are more than ``max_facets`` while inputs are eliminated."""
    A, B, n, m = problem.system.A, problem.system.B, problem.n, problem.m
    rows = [
        np.hstack([target.G @ A, target.G @ B]),
        np.hstack([np.zeros((len(problem.U.h), n)), problem.U.G]),
    ]
    bounds = [target.h, problem.U.h]
    if problem.XU is not None:
        rows, bounds = [*rows, problem.XU.G], [*bounds, problem.XU.h]
    G, h = np.vstack(rows), np.concatenate(bounds)
    others = len(h) - len(target.h)
    for column in range(n + m - 1, n - 1, -1):
        if max_facets is not None and len(h) - others > max_facets:
            return None
        G, h = eliminated(G, h, column)
    return _minimal(G, h)


def _both(one: Polytope, other: Polytope) -> Polytope:
    return _minimal(np.vstack([one.G, other.G]), np.concatenate([one.h, other.h]))


def _minimal(G: Array, h: Array) -> Polytope:
    G, h = unit_rows(G, h)
    keep = facets(G, h)
    if len(keep) and inscribed_ball(G[keep], h[keep])[1] < 0:
        raise ValueError("no state satisfies the constraints for so many steps; relax X, U, XU or Xf")
    return Polytope(G[keep], h[keep])


def _within(inner: Polytope, G: Array, h: Array, tolerance: float) -> bool:
    """Whether ``G x <= h`` holds on all of ``inner`` to a part of its bounds and of 1."""
    room = tolerance * (1 + np.abs(h))
    if 2 <= inner.dimension <= _CORNERS and np.isfinite(inner.bounds).all() and inner.chebyshev[1] > 1e-6:
        return bool((inner.vertices() @ G.T <= h + room).all())
    return all(inner.support(g) <= bound for g, bound in zip(G, h + room, strict=True))
