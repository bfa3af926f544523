"""The regions of exact MPC: over them its law, its value, closed loops, and what policies get wrong."""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from bench.figures.landscape import EXACT, first_input, law_grids, learned_from
from bench.figures.palette import INK
from bench.figures.results import Results, left_out, selection
from bench.figures.spec import Figure, Heat, Line, Panel, Style
from bench.figures.trajectories import joined, stored_loops
from mpc.arrays import Array
from mpc.problem import ControlProblem

if TYPE_CHECKING:
    from mpc.explicit import ExplicitExpert

_MOST_REGIONS, _LEARNED, _GRID = 2000, 3, 181
_BORDER = Style("#3a4048", width=0.8, opacity=0.8)
_LOOPS = Style(INK, width=1.4, opacity=0.9)
Borders = tuple[Array, Array, np.ndarray]
"""Facets ``A x <= b`` of polytope p in the rows ``first[p]:first[p + 1]``."""


@dataclass(frozen=True, eq=False)
class Plane:
    """The states that agree with ``at (n,)`` but in two coordinates, from ``low (2,)`` to ``high (2,)``."""

    axes: tuple[int, int]
    at: Array
    low: Array
    high: Array

    def around(self, borders: Borders) -> "Plane":
        """The same plane, cut to what the polytopes take of it.

        Raises:
            ValueError: where that is nothing.
        """
        line = self.outline(borders, "")
        if np.isnan(line.x).all():
            raise ValueError(f"no state with a plan lies on the slice through {self.at}; pass another at")
        ends = np.array([[np.nanmin(v), np.nanmax(v)] for v in (line.x, line.y)])
        room = 0.03 * (ends[:, 1] - ends[:, 0])
        return replace(self, low=ends[:, 0] - room, high=ends[:, 1] + room)

    def grid(self, points: int = _GRID) -> tuple[Array, Array, Array]:
        """Coordinates ``(points,)`` of both axes, and the states ``(points^2, n)``."""
        x, y = (np.linspace(self.low[i], self.high[i], points) for i in range(2))
        states = np.tile(self.at, (points * points, 1))
        states[:, self.axes[0]], states[:, self.axes[1]] = np.repeat(x, points), np.tile(y, points)
        return x, y, states

    def outline(self, borders: Borders, label: str) -> Line:
        """Every polytope's part of the plane as one line with gaps."""
        A, b, first = borders
        b = b - np.delete(A, self.axes, axis=1) @ np.delete(self.at, self.axes)
        pieces = []
        for start, stop in pairwise(first):
            corners = self._corners()
            for normal, bound in zip(A[start:stop][:, self.axes], b[start:stop], strict=True):
                corners = clipped(corners, normal, bound)
            if len(corners):
                pieces += [corners, corners[:1], np.full((1, 2), np.nan)]
        points = np.vstack(pieces) if pieces else np.full((1, 2), np.nan)
        return Line(points[:, 0], points[:, 1], _BORDER, label)

    def _corners(self) -> Array:
        (a, b), (c, d) = self.low, self.high
        return np.array([[a, b], [c, b], [c, d], [a, d]])


def clipped(corners: Array, normal: Array, bound: float) -> Array:
    """The part of a convex polygon ``(k, 2)`` where ``normal'p <= bound`` (Sutherland, Hodgman 1974)."""
    height = corners @ normal - bound
    out = []
    for i in range(len(corners)):
        j = (i + 1) % len(corners)
        if height[i] <= 0:
            out.append(corners[i])
        if height[i] * height[j] < 0:
            share = height[i] / (height[i] - height[j])
            out.append(corners[i] + share * (corners[j] - corners[i]))
    return np.array(out).reshape(-1, 2)


def law(expert: "ExplicitExpert", plane: Plane, loops: Array | None = None) -> Figure:
    """First input over all regions, and over those that are left when the same first moves are merged."""
    x, y, states = plane.grid()
    u, problem, told = expert(states).u[:, 0].reshape(len(x), -1), expert.problem, expert.complexity
    heat = Heat(x, y, u, _limit(problem, u), problem.input_labels[0])
    moves, regions = expert.first_moves, expert.regions
    panels = (
        _panel(problem, plane, f"{told.regions} regions", heat, borders_of(regions), None),
        _panel(
            problem,
            plane,
            f"{told.merged} polytopes, {told.laws} first moves",
            heat,
            borders_of(moves),
            loops,
        ),
    )
    caption = (
        "First input of exact MPC. Left: on each region another set of constraints is active. Right: "
        "regions with the same first move, merged where their union is convex. Blank: no plan exists."
    )
    return Figure(
        "regions", "The piecewise-affine law of exact MPC", caption + _where(problem, plane), panels
    )


def value(expert: "ExplicitExpert", plane: Plane, loops: Array | None = None) -> Figure:
    """The value function over the regions: convex, continuous, quadratic on each."""
    x, y, states = plane.grid()
    V, problem = expert(states).value, expert.problem
    assert V is not None
    z = np.log10(1.0 + V).reshape(len(x), -1)
    heat = Heat(x, y, z, float(np.nanmax(z)), "log10(1 + V)", floor=0.0)
    panel = _panel(problem, plane, f"{len(expert.regions)} regions", heat, borders_of(expert.regions), loops)
    caption = "Optimal cost V of the plan, on each region a quadratic function. Blank: no plan exists."
    title = "The value function of exact MPC"
    return Figure("regions-value", title, caption + _where(problem, plane), (panel,), 1)


def smoothed(expert: "ExplicitExpert", plane: Plane, etas: tuple[float, ...] = (0.01, 0.1, 1.0)) -> Figure:
    """The exact law beside barrier MPC of several weights, over the same regions."""
    from mpc.barrier import BarrierExpert

    x, y, states = plane.grid()
    problem, shape = expert.problem, (len(x), len(y))
    laws = {"exact": expert(states).u[:, 0].reshape(shape)}
    laws |= {f"barrier eta={e:g}": BarrierExpert(problem, e)(states).u[:, 0].reshape(shape) for e in etas}
    limit = _limit(problem, laws["exact"])
    panels = tuple(
        _panel(
            problem,
            plane,
            label,
            Heat(x, y, u, limit, problem.input_labels[0]),
            borders_of(expert.regions),
            None,
        )
        for label, u in laws.items()
    )
    caption = "First input; the regions are those of exact MPC. Blank: no plan exists."
    title = "Exact and barrier-smoothed MPC"
    return Figure("regions-barrier", title, caption + _where(problem, plane), panels)


def regions(results: Results) -> Figure | None:
    """The exact law of a study's plant over its regions, with closed loops of exact MPC."""
    found = _found(results)
    return None if found is None else law(*found)


def regions_value(results: Results) -> Figure | None:
    """The value function of a study's plant, with closed loops of exact MPC."""
    found = _found(results)
    return None if found is None else value(*found)


def regions_error(results: Results) -> Figure | None:
    """What learned policies do other than exact MPC, over its regions."""
    found = _found(results)
    if found is None:
        return None
    (expert, plane, _), problem, grids = found, found[0].problem, law_grids(results)
    learned = {name: grid for name, grid in grids.items() if learned_from(name)}
    chosen = selection({name: results.kind(str(learned_from(name))) for name in learned}, _LEARNED)
    if not chosen:
        return None
    errors = {}
    for name in chosen:
        x, y, u = learned[name]
        states = np.column_stack([np.repeat(x, len(y)), np.tile(y, len(x))])
        errors[name] = (x, y, u - first_input(expert(states).u.reshape(len(x), len(y), -1)))
    limit = float(np.nanquantile(np.abs(np.concatenate([z.ravel() for *_, z in errors.values()])), 0.98))
    panels = tuple(
        _panel(
            problem,
            plane,
            name,
            Heat(x, y, z, limit or 1.0, "learned - exact"),
            borders_of(expert.regions),
            None,
        )
        for name, (x, y, z) in errors.items()
    )
    caption = (
        "Learned first input minus that of exact MPC, over the regions of exact MPC; the colours end at the "
        "98 % quantile. Policy of the first repetition with the most demonstrations "
        f"({results.sizes[-1]})." + left_out(len(chosen), len(learned), "experts")
    )
    return Figure("regions-error", "Where learned policies differ from exact MPC", caption, panels, 3)


def explicit_of(results: Results) -> "ExplicitExpert | None":
    """The explicit law of a planar plant with few regions, where they are asked for, else None."""
    return _listed(results.problem) if results.regions and results.problem is not None else None


@lru_cache(maxsize=4)
def _listed(problem: ControlProblem) -> "ExplicitExpert | None":
    if problem.n != 2:
        return None
    from mpc.explicit import ExplicitExpert
    from mpc.walk import NoPartition

    try:
        return ExplicitExpert(problem, max_regions=_MOST_REGIONS)
    except NoPartition:
        return None


def _found(results: Results) -> "tuple[ExplicitExpert, Plane, Array | None] | None":
    expert = explicit_of(results)
    if expert is None:
        return None
    low, high = (np.asarray(side) for side in expert.regions.within.bounds)
    mine = results.table.loc[results.table["expert"] == EXACT]
    loops = stored_loops(results, mine) if len(mine) else None
    return expert, Plane((0, 1), np.zeros(2), low, high), None if loops is None else loops[1]


def _panel(
    problem: ControlProblem, plane: Plane, title: str, heat: Heat, borders: Borders, loops: Array | None
) -> Panel:
    lines = [plane.outline(borders, "borders of regions")]
    if loops is not None:
        lines.append(Line(*joined(loops), _LOOPS, "closed loops of exact MPC"))
        lines.append(Line(loops[:, 0, 0], loops[:, 0, 1], Style(INK, dash="none", marker="circle", size=5.0)))
    x, y = (problem.state_labels[i] for i in plane.axes)
    ranges = [(float(plane.low[i]), float(plane.high[i])) for i in range(2)]
    return Panel(title, x, y, tuple(lines), heat, x_range=ranges[0], y_range=ranges[1])


def borders_of(polytopes: object) -> Borders:
    """The facets of a ``Partition``, or of its ``FirstMoves``."""
    return polytopes.A, polytopes.b, polytopes.first  # type: ignore[attr-defined]


def _where(problem: ControlProblem, plane: Plane) -> str:
    """What the other states are on a slice."""
    others = [i for i in range(problem.n) if i not in plane.axes]
    fixed = ", ".join(f"{problem.state_labels[i]} = {plane.at[i]:g}" for i in others)
    return f" Slice at {fixed}." if fixed else ""


def _limit(problem: ControlProblem, u: Array) -> float:
    """The input's bound where there is one, else the largest action."""
    low, high = problem.U.bounds
    bounded = np.isfinite([low[0], high[0]]).all()
    return float(max(abs(low[0]), abs(high[0]))) if bounded else float(np.nanmax(np.abs(u)))
