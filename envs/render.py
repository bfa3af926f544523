"""One image of an episode so far: a phase plane for two states, panels over time otherwise."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mpc.arrays import Array
from mpc.polytope import Polytope
from mpc.problem import ControlProblem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 100
_STATE, _INPUT, _NOW, _OUTSIDE, _ALLOWED, _TERMINAL = (
    "#1f5fa8",
    "#4d4d4d",
    "#e07b00",
    "#c8102e",
    "#dcebdc",
    "#9fd0a8",
)
_TOLERANCE = 1e-9


def frame(problem: ControlProblem, x: Array, u: Array, steps: int) -> np.ndarray:
    """The episode so far as an image ``(height, width, 3)`` in uint8, drawn by matplotlib's Agg.

    Two states: the phase plane with X (and Xf), the trajectory and the current state, and the inputs
    over time beside it. Otherwise one panel for each state and each input over time, with the bounds
    that the polytope's bounding box gives it. Points outside the bounds are red. All images of a
    problem have one size.

    Args:
        x: states so far ``(t+1, n)``.
        u: inputs so far ``(t, m)``.
        steps: length of a whole episode, the extent of the time axis.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(dpi=_DPI)
    canvas = FigureCanvasAgg(figure)
    draw = _phase_figure if problem.n == 2 else _panel_figure
    with np.errstate(over="ignore"):
        draw(figure, problem, x, u, steps)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _title(problem: ControlProblem, taken: int, steps: int) -> str:
    dt = problem.system.dt
    return f"{problem.name.replace('_', ' ')}: step {taken} of {steps} (t = {taken * dt:g} s)"


def _phase_figure(figure: "Figure", problem: ControlProblem, x: Array, u: Array, steps: int) -> None:
    dt = problem.system.dt
    figure.set_size_inches(9.6, 5.2)
    grid = figure.add_gridspec(
        problem.m, 2, width_ratios=(5, 4), left=0.085, right=0.98, bottom=0.22, top=0.9
    )
    figure.suptitle(_title(problem, len(u), steps), fontsize=12)
    plane = figure.add_subplot(grid[:, 0])
    _draw_plane(plane, problem, x)
    plane.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4, fontsize=8, frameon=False)
    panels = [figure.add_subplot(grid[i, 1]) for i in range(problem.m)]
    for i, panel in enumerate(panels):
        _draw_over_time(panel, dt, _stepped(u[:, i]), _interval(problem.U, i), steps=steps, colour=_INPUT)
        panel.set_title(problem.input_labels[i], fontsize=9)
        panel.tick_params(labelbottom=i == problem.m - 1)
    panels[-1].set_xlabel("time [s]", fontsize=9)
    handles, labels = _unique_legend(panels)
    panels[-1].legend(
        handles, labels, loc="upper center", bbox_to_anchor=(0.5, -0.13 * problem.m), ncols=3, fontsize=8,
        frameon=False,
    )  # fmt: skip


def _draw_plane(axes: "Axes", problem: ControlProblem, x: Array) -> None:
    low, high = _window(problem, x)
    for polytope, colour, label in ((problem.X, _ALLOWED, "X"), (problem.Xf, _TERMINAL, "Xf (terminal)")):
        corners = None if polytope is None or not len(polytope.h) else _corners(polytope, low, high)
        if corners is not None:
            axes.fill(*corners.T, facecolor=colour, edgecolor="#5a8a5a", linewidth=1.2, label=label, zorder=1)
    axes.axhline(0, color="0.8", linewidth=0.7, zorder=2)
    axes.axvline(0, color="0.8", linewidth=0.7, zorder=2)
    axes.plot(*x.T, "-o", color=_STATE, linewidth=1.4, markersize=3, label="trajectory", zorder=3)
    outside = ~problem.X.contains(x, _TOLERANCE)
    if outside.any():
        axes.plot(*x[outside].T, "o", color=_OUTSIDE, markersize=4, label="outside X", zorder=4)
    axes.plot(*x[-1], "o", color=_NOW, markersize=9, markeredgecolor="black", label="current state", zorder=5)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set_xlabel(problem.state_labels[0], fontsize=9)
    axes.set_ylabel(problem.state_labels[1], fontsize=9)
    axes.tick_params(labelsize=8)


def _panel_figure(figure: "Figure", problem: ControlProblem, x: Array, u: Array, steps: int) -> None:
    n, count, dt = problem.n, problem.n + problem.m, problem.system.dt
    columns = min(count, 4 if count > 6 else 3)
    rows = -(-count // columns)
    width, height = max(2.6 * columns, 5.2), 1.7 * rows + 1.2
    figure.set_size_inches(width, height)
    figure.suptitle(_title(problem, len(u), steps), fontsize=12, y=1 - 0.12 / height)
    figure.subplots_adjust(
        left=0.55 / width, right=1 - 0.15 / width, bottom=0.8 / height, top=1 - 0.6 / height,
        wspace=0.3, hspace=0.5,
    )  # fmt: skip
    panels = []
    for i in range(count):
        panel = figure.add_subplot(rows, columns, i + 1)
        if i < n:
            _draw_over_time(panel, dt, x[:, i], _interval(problem.X, i), steps=steps, colour=_STATE)
            panel.set_title(problem.state_labels[i], fontsize=9)
        else:
            data = _stepped(u[:, i - n])
            _draw_over_time(panel, dt, data, _interval(problem.U, i - n), steps=steps, colour=_INPUT)
            panel.set_title(problem.input_labels[i - n], fontsize=9)
        if i + columns >= count:
            panel.set_xlabel("time [s]", fontsize=9)
        else:
            panel.tick_params(labelbottom=False)
        panels.append(panel)
    handles, labels = _unique_legend(panels)
    figure.legend(handles, labels, loc="lower center", ncols=5, fontsize=9, frameon=False)


def _draw_over_time(
    axes: "Axes", dt: float, data: Array, interval: tuple[float, float], *, steps: int, colour: str
) -> None:
    """One coordinate over time with the interval that its polytope allows."""
    low, high = interval
    is_input = colour == _INPUT
    time = dt * np.arange(len(data))
    bottom, top = _limits(data, low, high)
    if np.isfinite(low) or np.isfinite(high):
        axes.axhspan(max(low, bottom), min(high, top), color=_ALLOWED, zorder=0, label="within bounds")
    for bound in (low, high):
        if bottom <= bound <= top:
            axes.axhline(bound, color="#5a8a5a", linewidth=1.2, linestyle="--", zorder=1)
    style: dict[str, Any] = {"color": colour, "linewidth": 1.4, "label": "input" if is_input else "state"}
    axes.plot(time, data, drawstyle="steps-post" if is_input else "default", zorder=3, **style)
    outside = (data < low - _TOLERANCE) | (data > high + _TOLERANCE)
    if outside.any():
        axes.plot(time[outside], data[outside], ".", color=_OUTSIDE, label="outside bounds", zorder=4)
    if len(data):
        axes.plot(
            time[-1], data[-1], "o", color=_NOW, markersize=5, markeredgecolor="black", label="now", zorder=5
        )
    axes.set(xlim=(0, dt * steps), ylim=(bottom, top))
    axes.tick_params(labelsize=8)


def _limits(data: Array, low: float, high: float) -> tuple[float, float]:
    """The data and zero with a margin, and the bounds as well where they do not dwarf the data."""
    bottom, top = min(data.min(initial=0.0), 0.0), max(data.max(initial=0.0), 0.0)
    extent = max(top - bottom, 1e-12)
    if np.isfinite(low) and (-low <= 4 * extent or not len(data)):
        bottom = min(bottom, low)
    if np.isfinite(high) and (high <= 4 * extent or not len(data)):
        top = max(top, high)
    margin = 0.12 * (top - bottom) or 1.0
    return bottom - margin, top + margin


def _stepped(u: Array) -> Array:
    """Inputs with the last one repeated, since it holds until the next sampling time."""
    return np.append(u, u[-1:])


def _interval(polytope: Polytope, i: int) -> tuple[float, float]:
    low, high = polytope.bounds
    return float(low[i]), float(high[i])


def _window(problem: ControlProblem, x: Array) -> tuple[Array, Array]:
    """A box around X where it is bounded, the initial set where that is, and the trajectory."""
    points = [x.min(axis=0), x.max(axis=0)]
    for polytope in (problem.X, problem.initial_set):
        points += [np.where(np.isfinite(bound), bound, x[0]) for bound in polytope.bounds]
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    margin = 0.08 * np.where(high > low, high - low, 1.0)
    return low - margin, high + margin


def _corners(polytope: Polytope, low: Array, high: Array) -> Array | None:
    """Corners ``(v, 2)`` of the set within the window, in order; None where it is flat or outside."""
    window = Polytope.box(low, high)
    G, h = np.vstack([polytope.G, window.G]), np.concatenate([polytope.h, window.h])
    clipped = Polytope(G, h)
    if clipped.chebyshev[1] <= 0:
        return None
    corners = clipped.vertices()
    offsets = corners - corners.mean(axis=0)
    return corners[np.argsort(np.arctan2(offsets[:, 1], offsets[:, 0]))]


def _unique_legend(panels: "list[Axes]") -> tuple[list[Any], list[str]]:
    """Each label once."""
    named: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    return list(named.values()), list(named)
