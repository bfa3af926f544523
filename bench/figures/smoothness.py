"""Imitation error against the smoothness of the expert: the figure of the barrier-MPC papers."""

from dataclasses import replace

import numpy as np
import pandas as pd

from bench.figures.demonstrations import ERROR
from bench.figures.palette import KINDS, ramp
from bench.figures.results import BAND, Results, curve
from bench.figures.spec import Figure, Line, Panel, Style, reference

_PARAMETER = {"barrier": "eta", "smoothed": "sigma"}
_HESSIAN = "largest ‖Hessian‖ of the expert"
_JACOBIAN = "largest ‖Jacobian‖ of the expert"


def smoothness(results: Results) -> Figure | None:
    """Error against Hessian (smallest and largest data set), against eta and sigma, and the trade-off."""
    measured = _any_known(results, "hessian_max")
    panels: list[Panel] = []
    sizes = results.sizes
    if measured:
        panels += [_error_panel(results, n, "hessian_max", _HESSIAN) for n in sorted({sizes[0], sizes[-1]})]
    if len(np.unique(results.table["smoothing"].dropna())) > 1:
        panels.append(_error_panel(results, sizes[-1], "smoothing", "eta (barrier), sigma (smoothed)"))
    if measured and _any_known(results, "jacobian_max"):
        panels.append(_trade_off(results))
    if not panels:
        return None
    caption = (
        "Mean error over test states. Each marker is one expert, in its colour; lines join the experts of "
        f"one kind in the order of their smoothing parameter; {BAND}. Experts without a finite abscissa (the "
        "Hessian of a piecewise affine law is unbounded at its kinks) are dotted horizontal lines. Largest "
        "norms are over the region of interest, on the points the study looked at: lower bounds at a kink."
    )
    return Figure("smoothness", "Imitation error against the expert's smoothness", caption, tuple(panels))


def _any_known(results: Results, column: str) -> bool:
    return bool(np.any(results.table[column].notna()))


def _error_panel(results: Results, n: int, x: str, x_label: str) -> Panel:
    rows = results.table.loc[results.table["demonstrations"] == n]
    lines = _kind_lines(results, rows, x, "imitation_error_mean")
    return Panel(f"{n} demonstrations", x_label, ERROR, lines, log_x=True, log_y=True)


def _trade_off(results: Results) -> Panel:
    lines = _kind_lines(results, results.table, "hessian_max", "jacobian_max")
    return Panel("smoothness of the experts themselves", _HESSIAN, _JACOBIAN, lines, log_x=True)


def _kind_lines(results: Results, rows: pd.DataFrame, x: str, y: str) -> tuple[Line, ...]:
    """``y`` over ``x``: joined markers for each kind, dotted lines where an expert has no finite x."""
    extent = rows[x].astype(float)
    extent = extent[np.isfinite(extent) & (extent > 0)]
    lines: list[Line] = []
    for kind in _kinds(rows):
        points = _points(results, rows.loc[rows["expert_kind"] == kind], x, y)
        lines += _joined(kind, [point for point in points if _placed(point)])
        flat = [point for point in points if not _placed(point)] if len(extent) else []
        lines += [reference(float(p.y[0]), extent, p.label, p.style.color) for p in flat]
    return tuple(lines)


def _placed(point: Line) -> bool:
    return bool(np.isfinite(point.x[0]) and point.x[0] > 0)


def _kinds(rows: pd.DataFrame) -> list[str]:
    found = set(rows["expert_kind"])
    return [kind for kind in KINDS if kind in found] + sorted(found - set(KINDS))


def _points(results: Results, rows: pd.DataFrame, x: str, y: str) -> list[Line]:
    """One point for each expert: its own ``x`` (the same in every repetition) and the median of ``y``."""
    points = []
    for expert, mine in rows.groupby("expert", sort=False):
        style = replace(results.styles[str(expert)], dash="none", size=8.0)
        steady = mine.assign(abscissa=1.0)
        line = curve(str(expert), style, steady, "abscissa", y)
        if len(line.x):
            at = mine[x].astype(float).median()
            points.append((mine["smoothing"].iloc[0], replace(line, x=np.array([at]))))
    return [point for _, point in sorted(points, key=lambda pair: (pair[0], pair[1].label))]


def _joined(kind: str, points: list[Line]) -> list[Line]:
    """The points, and beneath them a line with their bands."""
    if len(points) < 2:
        return points
    x, y, low, high = (
        np.concatenate([getattr(point, name) for point in points]) for name in ("x", "y", "low", "high")
    )
    label = f"{kind}, increasing {_PARAMETER[kind]}" if kind in _PARAMETER else kind
    return [Line(x, y, Style(ramp(kind, 0.5), width=1.6), label, low, high), *points]
