"""Closed-loop trajectories of policies and their experts inside the state polytope."""

from dataclasses import replace
from typing import Any

import numpy as np

from bench.figures.palette import GREY, INK
from bench.figures.results import Results, left_out, selection
from bench.figures.spec import Figure, Line, Panel, Style
from mpc.arrays import Array
from mpc.polytope import Polytope

_PHASE_PANELS, _COLUMNS, _STATES = 6, 3, 4
_EXPERT = Style("#979da5", dash="dash", width=2.0)
_POLICY_WIDTH = 1.6
# Bounds farther away than this many times the expert's reach are not shown.
_REVEAL_PLANE, _REVEAL_TIME = 5.0, 2.0


def trajectories(results: Results) -> Figure | None:
    """Phase plane where the state has two entries, else states over time, for a few experts."""
    kinds = {
        label: str(rows["expert_kind"].iloc[0])
        for label, _, rows in results.series()
        if stored_loops(results, rows) is not None
    }
    if not kinds:
        return None
    planar = results.problem is not None and results.problem.n == 2
    chosen = selection(kinds, _PHASE_PANELS if planar else _COLUMNS)
    pairs = []
    for label, style, rows in results.series():
        found = stored_loops(results, rows)
        if label in chosen and found is not None:
            pairs.append((label, style, *found))
    panels = _phase(results, pairs) if planar else _states(results, pairs)
    where = "Outline: the state polytope X. Dots: initial states." if planar else "Grey lines: bounds of X."
    caption = (
        f"Fixed test initial states, policy of the first repetition with the most demonstrations "
        f"({results.sizes[-1]}). Coloured: learned policy; dashed: its expert. {where}"
        + left_out(len(chosen), len(kinds), "experts")
    )
    if not planar:
        caption += left_out(len(panels) // len(pairs), pairs[0][2].shape[-1], "states")
    return Figure(
        "trajectories",
        "Closed-loop trajectories: learned and expert",
        caption,
        panels,
        len(pairs) if not planar else 3,
    )


def stored_loops(results: Results, rows: Any) -> tuple[Array, Array] | None:
    """Trajectories ``(E, T+1, n)`` of the learned policy and of its expert, where they are stored."""
    row = results.representative(rows)
    learned, expert = results.array(row, "trajectories"), results.array(row, "expert_trajectories")
    return None if learned is None or expert is None else (learned, expert)


def _phase(results: Results, pairs: list[tuple[str, Style, Array, Array]]) -> tuple[Panel, ...]:
    problem = results.problem
    assert problem is not None
    reach = _reach(np.concatenate([expert for *_, expert in pairs]))
    low, high = problem.X.bounds
    ranges = [_range(low[i], high[i], reach[i], _REVEAL_PLANE) for i in range(2)]
    outline, names = _outline(problem.X), problem.state_labels
    panels = []
    for label, style, learned, expert in pairs:
        lines = [] if outline is None else [outline]
        lines += [
            Line(*joined(expert), _EXPERT, "expert"),
            Line(*joined(learned), _policy(style), f"learned from {label}"),
            Line(learned[:, 0, 0], learned[:, 0, 1], Style(INK, dash="none", marker="circle", size=5.0)),
        ]
        title = f"{label}{_share_diverged(learned)}"
        panels.append(Panel(title, names[0], names[1], tuple(lines), x_range=ranges[0], y_range=ranges[1]))
    return tuple(panels)


def _states(results: Results, pairs: list[tuple[str, Style, Array, Array]]) -> tuple[Panel, ...]:
    n = pairs[0][2].shape[-1]
    names = results.problem.state_labels if results.problem else tuple(f"x{i + 1}" for i in range(n))
    dt = results.problem.system.dt if results.problem else 1.0
    reach = _reach(np.concatenate([expert for *_, expert in pairs]))
    infinite = np.full(n, np.inf)
    low, high = results.problem.X.bounds if results.problem else (-infinite, infinite)
    panels = []
    for i in range(min(n, _STATES)):
        limits = _range(low[i], high[i], reach[i], _REVEAL_TIME)
        for label, style, learned, expert in pairs:
            time = np.arange(learned.shape[1]) * dt
            lines = [
                Line(*_over_time(time, expert[..., i]), _EXPERT, "expert"),
                Line(*_over_time(time, learned[..., i]), _policy(style), f"learned from {label}"),
            ]
            for bound in (low[i], high[i]):
                if limits[0] <= bound <= limits[1]:
                    lines.append(Line(time[[0, -1]], np.full(2, bound), Style(GREY, width=1.2), "bound of X"))
            title = f"{label}{_share_diverged(learned)}" if i == 0 else ""
            panels.append(Panel(title, "time t [s]", names[i], tuple(lines), y_range=limits))
    return tuple(panels)


def _policy(style: Style) -> Style:
    return replace(style, marker="", width=_POLICY_WIDTH)


def _reach(expert: Array) -> Array:
    """Largest absolute value of each state over the expert's trajectories."""
    return np.nanmax(np.abs(np.where(np.isfinite(expert), expert, 0.0)), axis=(0, 1))


def _range(low: float, high: float, reach: float, reveal: float) -> tuple[float, float]:
    """Bounds within ``reveal`` times the expert's reach are shown, others cut off beyond the reach."""
    reach = reach or 1.0
    bottom = low if -low <= reveal * reach else -1.3 * reach
    top = high if high <= reveal * reach else 1.3 * reach
    margin = 0.06 * (top - bottom)
    return float(bottom - margin), float(top + margin)


def _outline(X: Polytope) -> Line | None:
    """Boundary of a bounded planar polytope as a closed line."""
    if not np.isfinite(np.concatenate(X.bounds)).all():
        return None
    vertices = X.vertices()
    centred = vertices - vertices.mean(axis=0)
    order = np.argsort(np.arctan2(centred[:, 1], centred[:, 0]))
    closed = vertices[[*order, order[0]]]
    return Line(closed[:, 0], closed[:, 1], Style(GREY, width=2.8), "state polytope X")


def joined(trajectories: Array) -> tuple[Array, Array]:
    """Planar trajectories ``(E, T+1, 2)`` as one line with gaps between them."""
    gaps = np.full((len(trajectories), 1, 2), np.nan)
    points = np.concatenate([_finite(trajectories), gaps], axis=1).reshape(-1, 2)
    return points[:, 0], points[:, 1]


def _over_time(time: Array, states: Array) -> tuple[Array, Array]:
    """One state ``(E, T+1)`` over time as one line with gaps."""
    gaps = np.full((len(states), 1), np.nan)
    x = np.tile(np.append(time, np.nan), len(states))
    return x, np.concatenate([_finite(states), gaps], axis=1).ravel()


def _finite(values: Array) -> Array:
    return np.where(np.isfinite(values), values, np.nan)


def _share_diverged(learned: Array) -> str:
    count = int((~np.isfinite(learned[:, -1]).all(axis=-1)).sum())
    return f" ({count} of {len(learned)} diverged)" if count else ""
