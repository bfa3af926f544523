"""Error along the episode: how imitation errors compound."""

import numpy as np
import pandas as pd

from bench.figures.results import Results
from bench.figures.spec import Figure, Line, Panel, Style
from mpc.arrays import Array

_HIGH = 0.9
_EXPERTS = 7
# Errors below this are rounding; a log axis would spend itself on them.
_FLOOR = 1e-9


def error_over_time(results: Results) -> Figure | None:
    """Median and 90 % quantile of ``||x*_t - x_t||`` over test states and repetitions, at each t.

    Two lines an expert and no bands: those of six experts cover each other.
    """
    sizes = results.sizes
    series, others = results.few_series(_EXPERTS)
    panels = []
    for n in sorted({sizes[0], sizes[-1]}):
        drawn = tuple(
            line
            for label, style, rows in series
            for line in _lines(results, label, style, rows.loc[rows["demonstrations"] == n])
        )
        if drawn:
            panels.append(
                Panel(
                    f"{n} demonstrations",
                    f"time t {_unit(results)}",
                    "‖x*ₜ − xₜ‖ [state units]",
                    drawn,
                    log_y=True,
                )
            )
    if not panels:
        return None
    caption = (
        "Deviation from the expert's trajectory at each time; solid: median, dotted: 90 % quantile, over "
        "all test states and repetitions together. Straight upward lines are exponential compounding. "
        "A diverged episode counts as infinitely far from then on; an episode in which the expert's own loop "
        f"was cut short is left out from there. Errors below {_FLOOR:g} (t = 0 among them) are not drawn."
        f"{others}"
    )
    return Figure("error-over-time", "Error along the episode", caption, tuple(panels))


def quantiles_over_time(errors: Array) -> tuple[Array, Array]:
    """50 % and 90 % quantiles of ``errors (E, T+1)`` at each time.

    inf (the learner's loop has diverged) counts as infinitely far; NaN (the expert's own loop has ended,
    there is nothing to compare with) is left out, and gives NaN where nothing is left. Quantiles are
    order statistics without interpolation, so that infinities never turn into NaN.
    """
    out = np.full((2, errors.shape[1]), np.nan)
    for t, column in enumerate(errors.T):
        known = column[~np.isnan(column)]
        if known.size:
            out[:, t] = np.quantile(known, [0.5, _HIGH], method="inverted_cdf")
    return out[0], out[1]


def _lines(results: Results, label: str, style: Style, rows: pd.DataFrame) -> tuple[Line, ...]:
    found = [results.array(row, "error_over_time") for _, row in rows.iterrows()]
    errors = [array for array in found if array is not None]
    if not errors:
        return ()
    pooled = np.concatenate(errors)
    middle, high = quantiles_over_time(pooled)
    time = np.arange(pooled.shape[1]) * _step(results)
    diverged, ended = int(np.isinf(pooled[:, -1]).sum()), int(np.isnan(pooled[:, -1]).sum())
    hover = f"<b>{label}</b><br>{diverged} of {len(pooled)} episodes diverged"
    if ended:
        hover += f"; left out at the end: {ended} whose expert's loop was cut short"
    return (
        _line(time, middle, Style(style.color, style.dash, width=style.width), label, hover),
        _line(time, high, Style(style.color, "dot", width=1.4), "", f"{hover}<br>90 % quantile"),
    )


def _line(time: Array, error: Array, style: Style, label: str, hover: str) -> Line:
    seen = error > _FLOOR
    return Line(time[seen], error[seen], style, label, hover=(hover,) * int(seen.sum()))


def _step(results: Results) -> float:
    return results.problem.system.dt if results.problem is not None else 1.0


def _unit(results: Results) -> str:
    return "[s]" if results.problem is not None else "[steps]"
