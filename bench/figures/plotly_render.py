"""Draw a figure with plotly, for the interactive page."""

from typing import Any

import numpy as np

from bench.figures.palette import DIVERGING, INK, PALE, SEQUENTIAL, rgb
from bench.figures.spec import BAND_OPACITY, Figure, Heat, Line, Panel, capped, extent, log_ticks

_SYMBOLS = {"triangle": "triangle-up", "star": "star", "": "circle"}
_DASHES = {"solid": "solid", "dash": "dash", "dot": "dot", "none": "solid"}
_ROW_PIXELS = 330


def to_html(figure: Figure) -> str:
    """The figure as one ``<div>`` with its data; the page supplies plotly.js."""
    return interactive(figure).to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"plot-{figure.name}",
        config={"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"]},
    )


def interactive(figure: Figure) -> Any:
    """The figure as a ``plotly.graph_objects.Figure``."""
    from plotly.subplots import make_subplots

    legend_rows = -(-len(_labels(figure)) // 5)
    top, bottom = 64, 62 + 24 * legend_rows
    height = _ROW_PIXELS * figure.rows + top + bottom
    columns = min(figure.columns, len(figure.panels))
    canvas = make_subplots(
        rows=figure.rows,
        cols=columns,
        subplot_titles=[panel.title for panel in figure.panels],
        horizontal_spacing=min(0.1, 0.22 / columns),
        vertical_spacing=min(0.9 / max(1, figure.rows), 95 / (height - top - bottom)),
    )
    shown: set[str] = set()
    for index, panel in enumerate(figure.panels):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        _draw(canvas, capped(panel), place, shown, colorbar=index == 0)
    canvas.update_layout(
        template="plotly_white",
        height=height,
        margin={"t": top, "b": bottom, "l": 70, "r": 20},
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        legend={"orientation": "h", "yref": "container", "y": 0.005, "yanchor": "bottom", "x": 0.0},
        hoverlabel={"namelength": -1},
    )
    canvas.update_annotations(font={"size": 13.5})
    return canvas


def _labels(figure: Figure) -> set[str]:
    return {line.label for panel in figure.panels for line in capped(panel).lines if line.label}


def _draw(canvas: Any, panel: Panel, place: dict[str, int], shown: set[str], colorbar: bool) -> None:
    if panel.heat is not None:
        canvas.add_trace(_heat(panel, panel.heat, colorbar), **place)
    for line in panel.lines:
        if line.low is not None and line.high is not None:
            canvas.add_trace(_band(line), **place)
    for line in panel.lines:
        canvas.add_trace(_line(line, panel, show=bool(line.label) and line.label not in shown), **place)
        shown.add(line.label)
    across = _axis(panel.x_label, panel.x_range) | (_log_axis(panel, "x") if panel.log_x else {})
    canvas.update_xaxes(**across, **place)
    up = _axis(panel.y_label, panel.y_range) | (_log_axis(panel, "y") if panel.log_y else {})
    canvas.update_yaxes(**up, **place)
    if panel.heat is not None:
        canvas.update_xaxes(showgrid=False, **place)
        canvas.update_yaxes(showgrid=False, **place)


def _axis(label: str, limits: tuple[float, float] | None) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "title": {"text": label, "standoff": 8, "font": {"size": 13}},
        "showline": True,
        "linecolor": PALE,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": PALE,
    }
    if limits is not None:
        axis["range"] = list(limits)
    return axis


def _log_axis(panel: Panel, name: str) -> dict[str, Any]:
    ticks = panel.x_ticks if name == "x" and panel.x_ticks else log_ticks(panel, name)
    if ticks:
        return {"type": "log", "tickvals": list(ticks), "ticktext": [f"{tick:g}" for tick in ticks]}
    low, high = extent(panel, name)
    decades = np.log10(high / low)
    return {
        "type": "log",
        "exponentformat": "power",
        "dtick": int(-(-decades // 7)) if decades >= 2 else None,
    }


def _heat(panel: Panel, heat: Heat, colorbar: bool) -> Any:
    from plotly import graph_objects

    colors = DIVERGING if heat.floor is None else SEQUENTIAL
    stops = np.linspace(0.0, 1.0, len(colors))
    return graph_objects.Heatmap(
        x=heat.x,
        y=heat.y,
        z=heat.z.T,
        zmin=heat.low,
        zmax=heat.limit,
        colorscale=[[float(stop), color] for stop, color in zip(stops, colors, strict=True)],
        showscale=colorbar,
        colorbar={"title": {"text": heat.label, "side": "right"}, "thickness": 14, "x": 1.01},
        hovertemplate=f"{panel.x_label} %{{x:.3g}}<br>{panel.y_label} %{{y:.3g}}"
        f"<br>{heat.label} %{{z:.3g}}<extra></extra>",
        hoverongaps=False,
    )


def _band(line: Line) -> Any:
    from plotly import graph_objects

    assert line.low is not None
    assert line.high is not None
    keep = np.isfinite(line.low) & np.isfinite(line.high)
    x, low, high = line.x[keep], line.low[keep], line.high[keep]
    red, green, blue = rgb(line.style.color)
    return graph_objects.Scatter(
        x=np.concatenate([x, x[::-1]]),
        y=np.concatenate([low, high[::-1]]),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},{BAND_OPACITY})",
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        legendgroup=line.label,
    )


def _line(line: Line, panel: Panel, show: bool) -> Any:
    from plotly import graph_objects

    style = line.style
    mode = "+".join(["lines"] * (style.dash != "none") + ["markers"] * bool(style.marker)) or "none"
    hover = "%{text}<br>" if line.hover else ""
    return graph_objects.Scatter(
        x=line.x,
        y=line.y,
        mode=mode,
        name=line.label,
        text=list(line.hover) or None,
        line={"color": style.color, "width": style.width, "dash": _DASHES[style.dash]},
        marker={
            "symbol": _SYMBOLS.get(style.marker, style.marker),
            "size": style.size * (1.4 if style.marker == "star" else 1.15),
            "color": "#ffffff" if style.marker == "triangle" else style.color,
            "line": {"color": style.color, "width": 2 if style.marker == "triangle" else 0},
        },
        opacity=style.opacity,
        legendgroup=line.label or None,
        showlegend=show,
        hovertemplate=f"{hover}{panel.x_label}: %{{x:.4g}}<br>{panel.y_label}: %{{y:.3g}}",
    )
