"""Draw a figure with matplotlib's Agg canvas, for the PNG files beside the page."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from bench.figures.palette import DIVERGING, GREY, INK, PALE, SEQUENTIAL
from bench.figures.spec import BAND_OPACITY, Figure, Line, Panel, capped, log_ticks

_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "star": "*", "triangle": "^", "cross": "X", "": ""}
_DASHES = {"solid": "-", "dash": "--", "dot": ":", "none": ""}
_PANEL_INCHES = (4.4, 3.3)


def to_png(figure: Figure, path: Path) -> Path:
    """Write the figure to ``path`` at 150 dots per inch."""
    static(figure).savefig(path, dpi=150, facecolor="white")
    return path


def static(figure: Figure) -> Any:
    """The figure as a ``matplotlib.figure.Figure`` (no pyplot, no global state)."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(figure.columns, len(figure.panels))
    panels = [capped(panel) for panel in figure.panels]
    labels = {line.label for panel in panels for line in panel.lines if line.label}
    width = max(6.4, _PANEL_INCHES[0] * columns)
    longest = 0.6 + 0.085 * max((len(label) for label in labels), default=0)
    legend_columns = max(1, min(len(labels), int(width / longest)))
    legend_inches = 0.26 * -(-len(labels) // legend_columns)
    caption = textwrap.wrap(figure.caption, int(width * 16))
    size = (width, _PANEL_INCHES[1] * figure.rows + 0.6 + legend_inches + 0.15 * len(caption))
    canvas = Canvas(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08))
    grid = canvas.subplots(figure.rows, columns, squeeze=False)
    mesh = None
    for index, axes in enumerate(grid.flat):
        if index < len(panels):
            mesh = _draw(axes, panels[index]) or mesh
        else:
            axes.set_visible(False)
    canvas.suptitle("\n".join(textwrap.wrap(figure.title, int(size[0] * 11))), fontsize=12.5, color=INK)
    if mesh is not None and panels[0].heat is not None:
        canvas.colorbar(mesh, ax=grid, label=panels[0].heat.label, shrink=0.8, pad=0.02)
    _legend(canvas, grid, legend_columns, "\n".join(caption))
    return canvas


def _legend(canvas: Any, grid: Any, columns: int, caption: str) -> None:
    """The legend below the panels, under the caption: as the legend's title it gets room of its own."""
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        canvas.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize=9,
            title=caption,
            title_fontsize=7.5,
        )
    else:
        canvas.supxlabel(caption, fontsize=7.5)


def _draw(axes: Any, panel: Panel) -> Any:
    """Draw one panel; the colour mesh of its heat map, or None."""
    from matplotlib.colors import LinearSegmentedColormap

    mesh = None
    axes.set_axisbelow(True)
    if panel.heat is not None:
        heat = panel.heat
        stops = DIVERGING if heat.floor is None else SEQUENTIAL
        colors = LinearSegmentedColormap.from_list("heat", list(stops))
        axes.set_facecolor("#ffffff")
        mesh = axes.pcolormesh(
            heat.x, heat.y, heat.z.T, vmin=heat.low, vmax=heat.limit, cmap=colors, shading="nearest"
        )
    else:
        axes.grid(True, color=PALE, linewidth=0.6)
    for line in panel.lines:
        _line(axes, line)
    _frame(axes, panel)
    return mesh


def _line(axes: Any, line: Line) -> None:
    style = line.style
    if line.low is not None and line.high is not None:
        axes.fill_between(line.x, line.low, line.high, color=style.color, alpha=BAND_OPACITY, linewidth=0)
    axes.plot(
        line.x,
        line.y,
        color=style.color,
        linestyle=_DASHES[style.dash],
        marker=_MARKERS[style.marker],
        markersize=style.size * (1.4 if style.marker == "star" else 0.8),
        markerfacecolor="#ffffff" if style.marker == "triangle" else style.color,
        markeredgewidth=1.6 if style.marker == "triangle" else 0.5,
        linewidth=style.width * 0.8,
        alpha=style.opacity,
        label=line.label or "_",
    )


def _frame(axes: Any, panel: Panel) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_title(panel.title, fontsize=10, color=INK)
    axes.set_xlabel(panel.x_label, fontsize=9.5)
    axes.set_ylabel(panel.y_label, fontsize=9.5)
    if panel.log_x:
        axes.set_xscale("log")
    if panel.log_y:
        axes.set_yscale("log", nonpositive="mask")
    if panel.x_range is not None:
        axes.set_xlim(panel.x_range)
    if panel.y_range is not None:
        axes.set_ylim(panel.y_range)
    for name, axis, log in (("x", axes.xaxis, panel.log_x), ("y", axes.yaxis, panel.log_y)):
        ticks = panel.x_ticks if name == "x" and panel.x_ticks else log_ticks(panel, name)
        if log and ticks:
            axis.set_ticks(np.array(ticks), [f"{tick:g}" for tick in ticks])
            axis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=8.5, color=GREY)
    for side in ("top", "right"):
        axes.spines[side].set_visible(panel.heat is not None)
    for spine in axes.spines.values():
        spine.set_color(PALE if spine.spine_type in ("top", "right") else GREY)
