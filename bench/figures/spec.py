"""What a figure is, before anything draws it: computed once, rendered by plotly and by matplotlib."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from mpc.arrays import Array

DIVERGED = "infinite: diverged"
BAND_OPACITY = 0.1


@dataclass(frozen=True)
class Style:
    """How a line looks. ``dash`` is 'solid', 'dash', 'dot' or 'none' (markers only); a triangle is hollow."""

    color: str
    dash: str = "solid"
    marker: str = ""
    width: float = 2.0
    opacity: float = 1.0
    size: float = 6.0


@dataclass(frozen=True, eq=False)
class Line:
    """``y`` over ``x`` with an optional band ``low..high``; NaN is a gap, inf is a diverged value.

    An empty ``label`` keeps the line out of the legend; ``hover`` has one text for each point.
    """

    x: Array
    y: Array
    style: Style
    label: str = ""
    low: Array | None = None
    high: Array | None = None
    hover: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("x", "y", "low", "high"):
            value = getattr(self, name)
            if value is not None:
                value = np.atleast_1d(np.asarray(value, float))
                if value.shape != np.shape(np.atleast_1d(self.x)):
                    raise ValueError(f"{name} of a line must be as long as x, got {value.shape}")
                object.__setattr__(self, name, value)


@dataclass(frozen=True, eq=False)
class Heat:
    """``z[i, j]`` at ``(x[i], y[j])``; NaN is left blank.

    Coloured symmetrically from -limit to limit, or, where a ``floor`` is given, from there to limit.
    """

    x: Array
    y: Array
    z: Array
    limit: float
    label: str
    floor: float | None = None

    @property
    def low(self) -> float:
        """The value with the first colour."""
        return -self.limit if self.floor is None else self.floor


@dataclass(frozen=True, eq=False)
class Panel:
    """One pair of axes. A range of None follows the data."""

    title: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...] = ()
    heat: Heat | None = None
    log_x: bool = False
    log_y: bool = False
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    x_ticks: tuple[float, ...] = ()
    """Ticks of a log x axis; empty: chosen by ``log_ticks`` or the renderer."""

    @property
    def holds_data(self) -> bool:
        """Whether there is a point to draw (an infinite one is drawn too, as a triangle)."""
        least = 0.0 if self.log_y else -np.inf
        return self.heat is not None or any((line.y > least).any() for line in self.lines)


@dataclass(frozen=True, eq=False)
class Figure:
    """Panels in reading order over ``columns`` columns; ``name`` is the stem of its PNG file."""

    name: str
    title: str
    caption: str
    panels: tuple[Panel, ...] = field(default=())
    columns: int = 2

    @property
    def rows(self) -> int:
        return -(-len(self.panels) // self.columns)


def reference(y: float, x: ArrayLike, label: str, color: str = "#777777") -> Line:
    """A thin dotted horizontal line at ``y`` over the extent of ``x``."""
    x = np.asarray(x, float)
    ends = np.array([np.nanmin(x), np.nanmax(x)])
    return Line(ends, np.full(2, y), Style(color, dash="dot", width=1.3), label)


def log_ticks(panel: Panel, axis: str) -> tuple[float, ...]:
    """1, 2, 5 times powers of ten for a log axis ('x' or 'y') over half a decade to two, else nothing.

    Over more, decades do; over less, a renderer's own ticks are nearly linear.
    """
    low, high = extent(panel, axis)
    if not 0.5 <= np.log10(high / low) < 2:
        return ()
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = (float(f"{step}e{power}") for power in powers for step in (1, 2, 5))
    return tuple(tick for tick in ticks if 0.9 * low <= tick <= 1.1 * high)


def extent(panel: Panel, axis: str) -> tuple[float, float]:
    """Smallest and largest positive finite value on an axis ('x' or 'y'); (1, 1) where there is none."""
    names = ("x",) if axis == "x" else ("y", "low", "high")
    found = [getattr(line, name) for line in panel.lines for name in names]
    values = np.concatenate([np.ones(0), *(value for value in found if value is not None)])
    values = values[np.isfinite(values) & (values > 0)]
    return (float(values.min()), float(values.max())) if values.size else (1.0, 1.0)


def capped(panel: Panel) -> Panel:
    """The panel with every infinite y drawn as a triangle just above its largest finite value.

    A renderer can then draw all lines as they are; nothing that diverged drops out of sight.
    """
    infinite = [line for line in panel.lines if _has_infinite(line)]
    if not infinite:
        return panel
    top = _ceiling(panel)
    lines = [_below(line, top) for line in panel.lines]
    label = DIVERGED
    for line in infinite:
        at = np.isposinf(line.y)
        if at.any():
            style = replace(line.style, dash="none", marker="triangle", size=11.0)
            hover = tuple(f"{line.label}: infinite" for _ in range(at.sum()))
            lines.append(Line(line.x[at], np.full(at.sum(), top), style, label, hover=hover))
            label = ""
    return replace(panel, lines=tuple(lines))


def _has_infinite(line: Line) -> bool:
    return any(np.isposinf(v).any() for v in (line.y, line.high) if v is not None)


def _ceiling(panel: Panel) -> float:
    values = [v for line in panel.lines for v in (line.y, line.low, line.high) if v is not None]
    finite = np.concatenate(values)
    finite = finite[np.isfinite(finite) & ((finite > 0) | (not panel.log_y))]
    if not finite.size:
        return 1.0
    low, high = finite.min(), finite.max()
    if panel.log_y:
        return float(high * max(1.5, (high / low) ** 0.06))
    return float(high + 0.08 * ((high - low) or 1.0))


def _below(line: Line, top: float) -> Line:
    """The line with infinities moved to ``top``; a band that is infinite at both ends is a gap."""
    low, high = line.low, line.high
    if low is not None and high is not None:
        high = np.where(np.isposinf(low), np.nan, np.minimum(high, top))
        low = np.where(np.isposinf(low), np.nan, low)
    return replace(line, y=np.where(np.isposinf(line.y), top, line.y), low=low, high=high)
